//! What stays and what goes. Pure.

use std::collections::BTreeMap;

use airboss_model::manifest::Retention;
use airboss_model::{Digest, ReleaseId, ServiceName, Span, Timestamp, time};
use airboss_store::{KeptArtifact, ReleaseRow};

/// What was registered within this time stays: somebody is about to ship it (1 hour).
pub const FRESH_FOR: Span = Span::secs(3_600);
/// What no release was made of stays this long (7 days).
pub const UNUSED_FOR: Span = Span::secs(7 * 24 * 3_600);

/// All that the rules rest on.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Artifacts whose content is kept, those kept last first.
    pub artifacts: Vec<KeptArtifact>,
    /// What runs, waits or can be returned to, with the reason in words.
    pub in_use: BTreeMap<Digest, String>,
    /// What services' manifests say. A service that is not named has the default.
    pub policies: BTreeMap<ServiceName, Retention>,
    /// Releases of services, newest first.
    pub newest: BTreeMap<ServiceName, Vec<ReleaseRow>>,
    /// When releases were made.
    pub made_at: BTreeMap<ReleaseId, Timestamp>,
}

/// What becomes of an artifact's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// The artifact.
    pub digest: Digest,
    /// Bytes of its archive.
    pub size: u64,
    /// The releases that are pinned to it.
    pub releases: Vec<ReleaseId>,
    /// Whether it stays.
    pub stays: bool,
    /// Why.
    pub why: String,
}

/// The fate of every artifact, in their order. What one rule keeps stays.
pub fn plan(known: &Known, now: Timestamp) -> Vec<Fate> {
    known
        .artifacts
        .iter()
        .map(|kept| {
            let reason = reason_to_stay(known, kept, now);
            Fate {
                digest: kept.artifact.digest,
                size: kept.artifact.size,
                releases: kept.releases.clone(),
                stays: reason.is_some(),
                why: reason.unwrap_or_else(|| reason_to_go(known, kept)),
            }
        })
        .collect()
}

fn policy(known: &Known, release: &ReleaseId) -> Retention {
    let service = release.service();
    known.policies.get(&service).copied().unwrap_or_default()
}

fn reason_to_stay(known: &Known, kept: &KeptArtifact, now: Timestamp) -> Option<String> {
    if let Some(why) = known.in_use.get(&kept.artifact.digest) {
        return Some(why.clone());
    }
    let age = |since: Timestamp| Span(time::since(since, now));
    let since_kept = age(kept.kept_at);
    if since_kept.0 < FRESH_FOR.0 {
        return Some(format!("was uploaded less than {FRESH_FOR} ago"));
    }
    if kept.releases.is_empty() && since_kept.0 < UNUSED_FOR.0 {
        return Some(format!("was uploaded less than {UNUSED_FOR} ago"));
    }
    kept.releases.iter().find_map(|release| {
        let policy = policy(known, release);
        let service = release.service();
        let rank = known
            .newest
            .get(&service)
            .and_then(|newest| newest.iter().position(|row| row.id == *release));
        let last = usize::try_from(policy.keep_last).unwrap_or(usize::MAX);
        if rank.is_some_and(|rank| rank < last) {
            return Some(format!(
                "{release} is among the last {} releases of {service}",
                policy.keep_last
            ));
        }
        // A release whose time is not known is not old.
        let young = known
            .made_at
            .get(release)
            .is_none_or(|made| age(*made).0 < policy.keep_for.0);
        young.then(|| format!("{release} was made less than {} ago", policy.keep_for))
    })
}

fn reason_to_go(known: &Known, kept: &KeptArtifact) -> String {
    let Some(release) = kept.releases.last() else {
        return format!("no release was made of it within {UNUSED_FOR}");
    };
    let policy = policy(known, release);
    format!(
        "runs nowhere, cannot be returned to, is not among the last {} releases and older than {}",
        policy.keep_last, policy.keep_for
    )
}
