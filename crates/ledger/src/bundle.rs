//! Audit bundles: everything about a release or a rollout that a stranger needs to check it offline.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::note::{KeyError, VerifyingKey};
use crate::proof::{ProofError, verify_inclusion};
use crate::record::{EntryTooLarge, Record, TextHash};

/// The version of the bundle's form that is written.
pub const BUNDLE_FORMAT: &str = "airboss-audit/3";

/// The second version: no word of the installation. It is still read.
pub const SECOND_BUNDLE_FORMAT: &str = "airboss-audit/2";

/// The first version: one lane, no documents. It is still read.
pub const FIRST_BUNDLE_FORMAT: &str = "airboss-audit/1";

/// A record with the proof that it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The record.
    pub record: Record,
    /// The proof of inclusion in the tree of the bundle's checkpoint.
    pub proof: Vec<Hash>,
}

/// What a lane's rollouts were decided on: the lane's events from its first one to the last one
/// of these rollouts, because a decision rests on the state that earlier events left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneRecords {
    /// The lane.
    pub lane: String,
    /// The rollouts that the bundle is about, in the order of their last events.
    pub rollouts: Vec<String>,
    /// The record that says how far the lane's history was removed, and what it led to; then the
    /// events begin behind that. None where they begin with the lane's first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<Sealed>,
    /// The lane's events, in order.
    pub records: Vec<Sealed>,
}

/// A document about an artifact, such as an attestation, as it was received. When it came and who
/// brought it is sealed; who signed it stands behind what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The artifact, `sha256:` and 64 hexadecimal digits.
    pub artifact: String,
    /// SHA-256 of its bytes, written likewise.
    pub id: String,
    /// Its bytes in base64.
    pub bytes: String,
    /// What Airboss signed about it, where it is a plain report: an envelope's JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<String>,
    /// What the check of its signatures came to when the bundle was made, as JSON. Whoever checks
    /// the bundle comes to the same, or something was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<serde_json::Value>,
}

impl Document {
    /// A document with its id.
    pub fn new(artifact: String, bytes: &[u8]) -> Self {
        Self {
            artifact,
            id: format!("sha256:{}", TextHash::of_bytes(bytes)),
            bytes: STANDARD.encode(bytes),
            envelope: None,
            verification: None,
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// Where they are not those that its id tells.
    pub fn content(&self) -> Result<Vec<u8>, BundleError> {
        STANDARD
            .decode(&self.bytes)
            .ok()
            .filter(|bytes| self.id == format!("sha256:{}", TextHash::of_bytes(bytes)))
            .ok_or_else(|| BundleError::Document {
                id: self.id.clone(),
            })
    }
}

/// The record of a release or a rollout with its proofs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`BUNDLE_FORMAT`], or that of the earlier version that it was read from.
    pub format: String,
    /// What it is about: a release such as `checkout@1.4.0`, or a rollout such as `checkout-7`.
    pub subject: String,
    /// The log's public key, for convenience: whoever checks should have it from elsewhere.
    pub key: String,
    /// The signed checkpoint that the proofs lead to.
    pub checkpoint: String,
    /// The events, by lane.
    pub lanes: Vec<LaneRecords>,
    /// What happened to the installation and bears on these rollouts: how each document came, and
    /// whose signatures were believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installation: Vec<Sealed>,
    /// What is known of the artifacts.
    pub documents: Vec<Document>,
}

/// A bundle of the first form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    format: String,
    rollout: String,
    lane: String,
    key: String,
    checkpoint: String,
    records: Vec<Sealed>,
}

impl From<First> for Bundle {
    fn from(first: First) -> Self {
        Self {
            format: first.format,
            subject: first.rollout.clone(),
            key: first.key,
            checkpoint: first.checkpoint,
            lanes: vec![LaneRecords {
                lane: first.lane,
                rollouts: vec![first.rollout],
                begins: None,
                records: first.records,
            }],
            installation: Vec::new(),
            documents: Vec::new(),
        }
    }
}

/// The first thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not JSON of a bundle.
    #[error("this is no audit bundle: {0}")]
    Form(String),
    /// Another version.
    #[error(
        "the bundle has the form `{0}`; this Airboss reads `{BUNDLE_FORMAT}`, `{SECOND_BUNDLE_FORMAT}` and `{FIRST_BUNDLE_FORMAT}`: check it with the Airboss that wrote it or a newer one"
    )]
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
    /// A rollout is not in it, or something else is behind it.
    #[error("the bundle's last decision in {lane} is not of {rollout}")]
    NotOfRollout {
        /// The rollout.
        rollout: String,
        /// Its lane.
        lane: String,
    },
    /// It is about nothing, or about something else than it says.
    #[error("the bundle's rollouts are not what its subject {subject} says")]
    Subject {
        /// What it says to be about.
        subject: String,
    },
    /// A document about something that no event names.
    #[error("the document {id} is about {artifact}, which no event of the bundle names")]
    OtherArtifact {
        /// Its id.
        id: String,
        /// The artifact.
        artifact: String,
    },
    /// A document of which no sealed record says that it came.
    #[error("no sealed record of the bundle says that the document {id} about {artifact} came")]
    UnsealedDocument {
        /// Its id.
        id: String,
        /// The artifact.
        artifact: String,
    },
    /// An event without its words.
    #[error("the words of event {0} were removed by retention; a bundle holds none of those")]
    Removed(u64),
    /// A document that is not what its id tells.
    #[error("the document {id} does not have the bytes that its id tells")]
    Document {
        /// Its id.
        id: String,
    },
}

impl Bundle {
    /// Reads a bundle. Every byte counts: one that was formatted anew is refused.
    ///
    /// # Errors
    /// Where it is no bundle, or not as [`Self::to_bytes`] writes it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Form {
            format: String,
        }
        let form: Form = read(bytes)?;
        match form.format.as_str() {
            BUNDLE_FORMAT | SECOND_BUNDLE_FORMAT => {
                let bundle: Self = read(bytes)?;
                as_written(&bundle, bytes)?;
                Ok(bundle)
            }
            FIRST_BUNDLE_FORMAT => {
                let first: First = read(bytes)?;
                as_written(&first, bytes)?;
                Ok(first.into())
            }
            _ => Err(BundleError::Format(form.format)),
        }
    }

    /// The bundle as a file: JSON without spaces and a line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        write(self)
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
        let rollouts: Vec<&String> = self.lanes.iter().flat_map(|it| &it.rollouts).collect();
        // Which rollouts are a release's is for those to say who can read events.
        let is_named =
            rollouts == [&self.subject] || self.subject.contains('@') && self.names(&self.subject);
        if rollouts.is_empty() || !is_named {
            return Err(BundleError::Subject {
                subject: self.subject.clone(),
            });
        }
        for lane in &self.lanes {
            lane.verify(&checkpoint)?;
        }
        for sealed in &self.installation {
            sealed.verify(&checkpoint)?;
        }
        for document in &self.documents {
            document.content()?;
            if self.format == BUNDLE_FORMAT && !self.tells_of(document) {
                return Err(BundleError::UnsealedDocument {
                    id: document.id.clone(),
                    artifact: document.artifact.clone(),
                });
            }
            if !self.names(&document.artifact) {
                return Err(BundleError::OtherArtifact {
                    id: document.id.clone(),
                    artifact: document.artifact.clone(),
                });
            }
        }
        Ok(checkpoint)
    }
}

impl Bundle {
    /// Whether a sealed event names something, as a whole JSON text.
    fn names(&self, text: &str) -> bool {
        let quoted = format!("\"{text}\"");
        let mut records = self.lanes.iter().flat_map(|it| &it.records);
        records.any(|it| it.record.body.contains(&quoted))
    }

    /// Whether a sealed record of the installation names a document and what it is about.
    fn tells_of(&self, document: &Document) -> bool {
        let quoted = [&document.id, &document.artifact].map(|text| format!("\"{text}\""));
        let mut records = self.installation.iter().map(|it| &it.record.body);
        records.any(|body| quoted.iter().all(|text| body.contains(text)))
    }
}

impl Sealed {
    /// That it has its words and is in the tree.
    fn verify(&self, checkpoint: &Checkpoint) -> Result<(), BundleError> {
        let number = self.record.number;
        if self.record.removed.is_some() {
            return Err(BundleError::Removed(number));
        }
        verify_inclusion(
            &self.proof,
            // An event before the first one has no index; the tree then says so.
            number.wrapping_sub(1),
            self.record.leaf()?,
            checkpoint.size,
            checkpoint.root,
        )
        .map_err(|why| BundleError::NotSealed {
            number,
            kind: self.record.kind.clone(),
            why,
        })
    }
}

impl LaneRecords {
    fn verify(&self, checkpoint: &Checkpoint) -> Result<(), BundleError> {
        let mut previous = 0;
        if let Some(begins) = &self.begins {
            begins.verify(checkpoint)?;
            // Which event it leads up to is for those to say who can read it.
            previous = self.records.first().map_or(0, |it| it.record.previous);
        }
        for sealed in &self.records {
            let record = &sealed.record;
            let number = record.number;
            if record.lane != self.lane {
                return Err(BundleError::OtherLane {
                    number,
                    found: record.lane.clone(),
                    lane: self.lane.clone(),
                });
            }
            sealed.verify(checkpoint)?;
            if record.previous != previous {
                return Err(BundleError::Chain {
                    number,
                    told: record.previous,
                    found: previous,
                });
            }
            previous = number;
        }
        // One decision may end a rollout and begin the next, so its other events are here too.
        let end = self.records.last().map(|it| it.record.seq);
        let mut newest = None;
        for rollout in &self.rollouts {
            let of_rollout = |it: &&Sealed| it.record.rollout.as_ref() == Some(rollout);
            let last = self.records.iter().rfind(of_rollout);
            newest = newest.max(last.map(|it| it.record.seq));
            let is_last = self.rollouts.last() == Some(rollout);
            if last.is_none() || is_last && newest != end {
                return Err(BundleError::NotOfRollout {
                    rollout: rollout.clone(),
                    lane: self.lane.clone(),
                });
            }
        }
        Ok(())
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BundleError> {
    serde_json::from_slice(bytes).map_err(|error| BundleError::Form(error.to_string()))
}

fn write(bundle: &impl Serialize) -> Vec<u8> {
    // Writing strings and integers to memory cannot fail.
    let mut bytes = serde_json::to_vec(bundle).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn as_written(bundle: &impl Serialize, bytes: &[u8]) -> Result<(), BundleError> {
    let written = write(bundle);
    if written == bytes {
        return Ok(());
    }
    let same = written
        .iter()
        .zip(bytes)
        .take_while(|(a, b)| a == b)
        .count();
    Err(BundleError::NotAsWritten(same))
}
