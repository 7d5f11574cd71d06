//! Compares what is known of an artifact with what a rollout requires.

use airboss_model::evidence::{ItemState, ItemVerdict, Requirement};
use airboss_model::{Digest, Timestamp};

use crate::facts::Facts;
use crate::verify::Verification;

/// A document that is known of an artifact.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// The SHA-256 of its bytes.
    pub id: Digest,
    /// What it says.
    pub facts: &'a Facts,
    /// Who stands behind it, by the latest check.
    pub verification: &'a Verification,
    /// When Airboss first saw it.
    pub seen: Timestamp,
}

/// A verdict for each requirement, in their order. `add` is the command that adds evidence to the
/// artifact, such as `airboss artifact add --version 1.4.0`; remedies are written with it.
///
/// To come: the judging. Until then every item is missing.
pub fn assess(
    requirements: &[Requirement],
    known: &[Known<'_>],
    add: &str,
    now: Timestamp,
) -> Vec<ItemVerdict> {
    let _ = (known, now);
    requirements
        .iter()
        .map(|item| ItemVerdict {
            item: *item,
            state: ItemState::Missing,
            reason: format!("no {} is known of the artifact", item.name()),
            remedy: Some(add.to_owned()),
            rests_on: Vec::new(),
            good_until: None,
        })
        .collect()
}
