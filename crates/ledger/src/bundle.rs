//! Audit bundles: everything about one rollout that a stranger needs to check it offline.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::note::{KeyError, VerifyingKey};
use crate::proof::{ProofError, verify_inclusion};
use crate::record::{EntryTooLarge, Record};

/// The version of the bundle's form.
pub const BUNDLE_FORMAT: &str = "airboss-audit/1";

/// A record with the proof that it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The record.
    pub record: Record,
    /// The proof of inclusion in the tree of the bundle's checkpoint.
    pub proof: Vec<Hash>,
}

/// One rollout's record with its proofs.
///
/// It holds the events of the rollout's lane from the lane's first one to the rollout's last:
/// what a decision rests on includes the state that earlier events left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_FORMAT`].
    pub format: String,
    /// The rollout.
    pub rollout: String,
    /// Its lane.
    pub lane: String,
    /// The log's public key, for convenience: whoever checks should have it from elsewhere.
    pub key: String,
    /// The signed checkpoint that the proofs lead to.
    pub checkpoint: String,
    /// The lane's events, in order.
    pub records: Vec<Sealed>,
}

/// The first thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not JSON of a bundle.
    #[error("this is no audit bundle: {0}")]
    Form(String),
    /// Another version.
    #[error("the bundle has the form `{0}`; this Airboss reads `{BUNDLE_FORMAT}`")]
    Format(String),
    /// The same content in other bytes.
    #[error(
        "the bundle is not byte for byte what Airboss writes: it was edited or formatted anew (first at byte {0})"
    )]
    NotAsWritten(usize),
    /// Its key.
    #[error("the bundle's key: {0}")]
    Key(#[from] KeyError),
    /// Made by another log than the trusted one.
    #[error("the bundle is of the log `{found}`, not of the one whose key is trusted here")]
    OtherLog {
        /// Its key.
        found: String,
    },
    /// Its checkpoint.
    #[error("the bundle's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// An event of another lane.
    #[error("event {number} is of {found}, not of the bundle's lane {lane}")]
    OtherLane {
        /// The event.
        number: u64,
        /// Its lane.
        found: String,
        /// The bundle's lane.
        lane: String,
    },
    /// An event is missing, doubled or out of order.
    #[error(
        "event {number} follows event {told} in its lane, but the bundle has event {found} before it: events were removed, added or moved"
    )]
    Chain {
        /// The event.
        number: u64,
        /// What it follows.
        told: u64,
        /// What is there.
        found: u64,
    },
    /// An event that is not what was sealed.
    #[error("event {number} ({kind}) is not what was sealed: {why}")]
    NotSealed {
        /// The event.
        number: u64,
        /// Its kind, as the bundle says.
        kind: String,
        /// What the proof says.
        why: ProofError,
    },
    /// An event that cannot be a leaf.
    #[error(transparent)]
    TooLarge(#[from] EntryTooLarge),
    /// The rollout is not in it, or something else is behind it.
    #[error("the bundle's last decision is not of {rollout}")]
    NotOfRollout {
        /// The rollout.
        rollout: String,
    },
}

impl Bundle {
    /// Reads a bundle. Every byte counts: one that was formatted anew is refused.
    ///
    /// # Errors
    /// Where it is no bundle, or not as [`Self::to_bytes`] writes it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let bundle: Self =
            serde_json::from_slice(bytes).map_err(|error| BundleError::Form(error.to_string()))?;
        if bundle.format != BUNDLE_FORMAT {
            return Err(BundleError::Format(bundle.format));
        }
        let written = bundle.to_bytes();
        if written == bytes {
            return Ok(bundle);
        }
        let same = written
            .iter()
            .zip(bytes)
            .take_while(|(a, b)| a == b)
            .count();
        Err(BundleError::NotAsWritten(same))
    }

    /// The bundle as a file: JSON without spaces and a line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing strings and integers to memory cannot fail.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Checks signature, proofs and completeness, trusting `key` alone, or the bundle's own key
    /// where None; then it says only that the bundle is whole, not whose it is.
    ///
    /// # Errors
    /// The first thing that is wrong, with the event.
    pub fn verify(&self, key: Option<&VerifyingKey>) -> Result<Checkpoint, BundleError> {
        let own: VerifyingKey = self.key.parse()?;
        if key.is_some_and(|key| *key != own) {
            return Err(BundleError::OtherLog {
                found: own.name().to_owned(),
            });
        }
        let checkpoint = Checkpoint::open(&self.checkpoint, std::slice::from_ref(&own))?;
        let mut previous = 0;
        for Sealed { record, proof } in &self.records {
            let number = record.number;
            if record.lane != self.lane {
                return Err(BundleError::OtherLane {
                    number,
                    found: record.lane.clone(),
                    lane: self.lane.clone(),
                });
            }
            // An event before the first one has no index; the tree then says so.
            let index = number.wrapping_sub(1);
            verify_inclusion(
                proof,
                index,
                record.leaf()?,
                checkpoint.size,
                checkpoint.root,
            )
            .map_err(|why| BundleError::NotSealed {
                number,
                kind: record.kind.clone(),
                why,
            })?;
            if record.previous != previous {
                return Err(BundleError::Chain {
                    number,
                    told: record.previous,
                    found: previous,
                });
            }
            previous = number;
        }
        // One decision may end this rollout and begin the next, so its other events are here too.
        let of_rollout = |it: &&Sealed| it.record.rollout.as_ref() == Some(&self.rollout);
        let end = self.records.iter().rfind(of_rollout);
        if end.map(|it| it.record.seq) == self.records.last().map(|it| it.record.seq)
            && end.is_some()
        {
            Ok(checkpoint)
        } else {
            Err(BundleError::NotOfRollout {
                rollout: self.rollout.clone(),
            })
        }
    }
}
