//! The rows that callers and the store exchange.

use airboss_model::{
    Digest, EnvironmentName, LaneId, Origin, ReleaseId, RolloutId, ServiceName, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A service's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// The service.
    pub name: ServiceName,
    /// The manifest as it was written.
    pub text: String,
    /// The manifest as JSON of `model::manifest::Service`.
    pub manifest: serde_json::Value,
    /// SHA-256 of `text`.
    pub hash: Digest,
    /// When this text was first seen.
    pub at: Timestamp,
}

/// An artifact whose content is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRow {
    /// SHA-256 of the archive as it was uploaded.
    pub digest: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// What it was made from, for people: a path or a reference.
    pub source: String,
    /// When it was first registered.
    pub at: Timestamp,
}

/// An artifact with all that is known of where it came from and whether its content is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptArtifact {
    /// The artifact as it was first registered.
    pub artifact: ArtifactRow,
    /// When it was registered last.
    pub kept_at: Timestamp,
    /// When and why its content was removed; None while it is there.
    pub removed: Option<Removal>,
    /// Where it was taken from, the newest first.
    pub origins: Vec<KnownOrigin>,
    /// The releases that are pinned to it, oldest first.
    pub releases: Vec<ReleaseId>,
}

/// Why an artifact's content is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// When it was removed.
    pub at: Timestamp,
    /// Why, in a line.
    pub why: String,
}

/// Where an artifact was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownOrigin {
    /// The place, as it was then.
    pub origin: Origin,
    /// When it was taken from there first.
    pub at: Timestamp,
    /// What the tag was last seen to point to; None without a tag.
    pub seen: Option<TagSeen>,
}

/// What a tag was seen to point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagSeen {
    /// The manifest or index.
    pub digest: Digest,
    /// When.
    pub at: Timestamp,
}

/// Which artifacts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactFilter {
    /// The one with this digest.
    pub digest: Option<Digest>,
    /// Those that were taken from this manifest of a registry, or from this index.
    pub manifest: Option<Digest>,
    /// Those that were taken from this repository under this tag.
    pub tag: Option<(String, String)>,
    /// Only those whose content is there, or only those whose content was removed.
    pub kept: Option<bool>,
    /// At most so many; 0 means 100, more than 10,000 means 10,000.
    pub limit: u32,
}

/// A version of a service, pinned to a digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRow {
    /// `service@version`.
    pub id: ReleaseId,
    /// What runs.
    pub digest: Digest,
    /// The hash of the manifest that it was made with.
    pub manifest_hash: Digest,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub at: Timestamp,
}

/// A token that lets its holder in. Its text is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// Names it, for people and for its revocation.
    pub id: String,
    /// Who holds it, for the record.
    pub name: String,
    /// What it allows: words with a space between, such as `read ship`.
    pub scopes: String,
    /// SHA-256 of its text. The text has 256 random bits, so a plain hash is enough.
    pub secret: Digest,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is of no use.
    pub expires_at: Option<Timestamp>,
    /// Since when it is of no use, because somebody said so.
    pub revoked_at: Option<Timestamp>,
}

/// An agent on a host of its own, from its invitation on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Names it for programs, and in its requests.
    pub id: String,
    /// Names it for people; no two that are not revoked have the same.
    pub name: String,
    /// What it carries: patterns of lanes with a space between, such as `*/production`.
    pub carries: String,
    /// SHA-256 of the public half of its join token.
    pub invite: Digest,
    /// Who invited it.
    pub invited_by: String,
    /// When it was invited.
    pub invited_at: Timestamp,
    /// From when on the invitation cannot be used.
    pub invited_till: Timestamp,
    /// Its Ed25519 public key in hexadecimal digits, once it joined.
    pub public_key: Option<String>,
    /// When it joined.
    pub joined_at: Option<Timestamp>,
    /// Who revoked it.
    pub revoked_by: Option<String>,
    /// Since when it is revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Why an invitation cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// There is none like it.
    #[error("the join token is not known here")]
    Unknown,
    /// It, or the agent that it let in, was revoked.
    #[error("the join token was revoked")]
    Revoked,
    /// Another key joined with it.
    #[error("the join token was used already, at {0}")]
    Used(Timestamp),
    /// It was not used in time.
    #[error("the join token expired at {0}")]
    Expired(Timestamp),
}

/// Most attestations of one artifact.
pub const ATTESTATIONS_MAX: u64 = 500;

/// What is known of a document that says something of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttestationRow {
    /// Its place in the order of arrival, from 1; 0 before it is kept.
    pub number: u64,
    /// The artifact.
    pub digest: Digest,
    /// SHA-256 of the document's bytes.
    pub id: Digest,
    /// What the document is, such as `dsse` or `j_unit`.
    pub form: String,
    /// The predicate type of the statement in it.
    pub predicate: String,
    /// What it says, JSON of `attest::Facts`.
    pub facts: serde_json::Value,
    /// Who stands behind it by the latest check, JSON of `attest::Verification`.
    pub verification: serde_json::Value,
    /// Where it is from, for people: a file's name, or an address.
    pub source: String,
    /// Who added it.
    pub by: String,
    /// When it was first seen here.
    pub at: Timestamp,
    /// When it was last checked.
    pub checked_at: Timestamp,
}

/// A document as it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The envelope that Airboss signed about it, where it was a plain report.
    pub envelope: Option<String>,
}

/// An attestation to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAttestation {
    /// What is known of it.
    pub row: AttestationRow,
    /// The document itself.
    pub document: DocumentRow,
}

/// Where a release comes from, as CI told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRow {
    /// The release.
    pub release: ReleaseId,
    /// The commit, in hexadecimal digits.
    pub commit: Option<String>,
    /// The branch or tag, such as `refs/heads/main`.
    pub reference: Option<String>,
    /// The address of the run.
    pub run: Option<String>,
    /// Who or what started the run.
    pub actor: Option<String>,
    /// The address of the repository.
    pub repository: Option<String>,
    /// What built it, such as `github-actions`.
    pub builder: Option<String>,
    /// When this was first told.
    pub at: Timestamp,
}

/// An event that somebody pushed, with what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// The sender's id of it, behind the sender's name: what comes twice has the same.
    pub id: String,
    /// Who sent it, such as `github`.
    pub sender: String,
    /// What kind of event it is, such as `workflow_run`.
    pub event: String,
    /// What became of it, in one sentence.
    pub outcome: String,
    /// What it tells of a build, JSON of the server's; None where it tells nothing.
    pub build: Option<serde_json::Value>,
    /// The commit in it, in lower case.
    pub commit: Option<String>,
    /// The address of the run in it.
    pub run: Option<String>,
    /// The release that it names.
    pub release: Option<ReleaseId>,
    /// When it came.
    pub at: Timestamp,
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeliveryFilter {
    /// All of them.
    #[default]
    All,
    /// The one with this id.
    Id(String),
    /// Those about a release, a commit or a run, whichever is named.
    About {
        /// The release.
        release: Option<ReleaseId>,
        /// The whole commit, in lower case.
        commit: Option<String>,
        /// The address of the run.
        run: Option<String>,
    },
}

/// A command to accept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewInboxEntry {
    /// Which lane shall decide it.
    pub lane: LaneId,
    /// Unique; a repeated request has the same.
    pub key: String,
    /// The command, JSON of the engine's.
    pub body: serde_json::Value,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A command that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxEntry {
    /// Grows with every entry.
    pub id: u64,
    /// Which lane decides it.
    pub lane: LaneId,
    /// Unique.
    pub key: String,
    /// The command.
    pub body: serde_json::Value,
    /// When it was accepted.
    pub at: Timestamp,
    /// The engine's answer, once decided.
    pub answer: Option<serde_json::Value>,
}

/// A lane as it is committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneRow {
    /// The lane.
    pub lane: LaneId,
    /// Commits so far.
    pub seq: u64,
    /// Claims so far: the fence against former owners.
    pub epoch: u64,
    /// Who owns it.
    pub owner: Option<String>,
    /// Until when.
    pub owned_until: Option<Timestamp>,
    /// The engine's state. None before the first commit.
    pub state: Option<serde_json::Value>,
    /// Whether the engine has work here (a rollout in progress or waiting, or a live service).
    pub active: bool,
}

/// What one decision changes, all or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The lane.
    pub lane: LaneId,
    /// The `seq` that the decision was made on; it becomes `seq + 1`.
    pub seq: u64,
    /// The claim that the decision was made under.
    pub epoch: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The input that was decided on, kept so that the decision can be replayed.
    pub input: serde_json::Value,
    /// The inbox entry that this consumes, with the answer to it.
    pub consumes: Option<(u64, serde_json::Value)>,
    /// What happened, in order.
    pub events: Vec<NewEvent>,
    /// The state after it.
    pub state: serde_json::Value,
    /// Whether the lane still has work.
    pub active: bool,
    /// What shall be done after the commit, in order.
    pub effects: Vec<serde_json::Value>,
    /// Rollouts whose readable row changes.
    pub rollouts: Vec<RolloutRow>,
}

/// What a commit was decided on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputRow {
    /// The lane.
    pub lane: LaneId,
    /// The commit that it led to: the lane's `seq` after it.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The input.
    pub input: serde_json::Value,
}

/// An event before it has its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// The rollout that it belongs to, where it belongs to one.
    pub rollout: Option<RolloutId>,
    /// Its kind, such as `step_passed`.
    pub kind: String,
    /// One line for people.
    pub message: String,
    /// The engine's event.
    pub body: serde_json::Value,
}

/// The result of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The lane's `seq` from now on.
    pub seq: u64,
    /// The numbers of the events in the global order.
    pub events: Vec<u64>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its number in the global order, from 1, without gaps.
    pub number: u64,
    /// The lane.
    pub lane: LaneId,
    /// The commit of the lane that it came with: the lane's `seq` after it.
    pub seq: u64,
    /// The rollout that it belongs to.
    pub rollout: Option<RolloutId>,
    /// When it was decided.
    pub at: Timestamp,
    /// Its kind.
    pub kind: String,
    /// One line for people.
    pub message: String,
    /// The engine's event.
    pub body: serde_json::Value,
}

impl EventRow {
    /// Whether retention removed its words: then it has neither message nor body.
    pub fn is_wordless(&self) -> bool {
        self.message.is_empty() && self.body.is_null()
    }
}

/// Something to do after its commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectRow {
    /// The lane.
    pub lane: LaneId,
    /// The commit that it came with: the lane's `seq` after it.
    pub seq: u64,
    /// Its place in that commit, from 0.
    pub ordinal: u32,
    /// The engine's effect.
    pub body: serde_json::Value,
}

/// One second of measurements of one rollout, or the judge's state after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceRow {
    /// The rollout.
    pub rollout: RolloutId,
    /// The tick, growing by one.
    pub tick: u64,
    /// When it ended.
    pub at: Timestamp,
    /// What was measured, as JSON text: there are many of these and nobody but the judge reads them.
    pub body: String,
    /// The judge's state after it, where it was saved, as JSON text.
    pub snapshot: Option<String>,
}

/// What a controller has learnt about a lane. Losing it loses no decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoteRow {
    /// The lane.
    pub lane: LaneId,
    /// What it is about.
    pub topic: String,
    /// What was learnt.
    pub body: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

/// A rollout as readers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutRow {
    /// `service-number`.
    pub id: RolloutId,
    /// The lane.
    pub lane: LaneId,
    /// What it rolls out.
    pub release: ReleaseId,
    /// The content.
    pub digest: Digest,
    /// The phase's name, such as `observing`.
    pub phase: String,
    /// How it ended, such as `shipped`; None while it has not.
    pub outcome: Option<String>,
    /// One line for people.
    pub reason: String,
    /// Who asked for it.
    pub created_by: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Which rollouts to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RolloutFilter {
    /// Of one service.
    pub service: Option<ServiceName>,
    /// Of one environment.
    pub environment: Option<EnvironmentName>,
    /// Of one release.
    pub release: Option<ReleaseId>,
    /// Asked for by one person.
    pub by: Option<String>,
    /// Only those that have not ended, or only those that have.
    pub ended: Option<bool>,
    /// Only those created before this one (for the next page).
    pub before: Option<RolloutId>,
    /// At most so many; 0 means 50, more than 500 means 500.
    pub limit: u32,
}

/// Which releases to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseFilter {
    /// Of any service, with this version.
    Version(String),
    /// With a digest that begins so: `sha256:` and hexadecimal digits in lower case.
    Digest(String),
    /// Made by a person.
    By(String),
    /// Registered since a time.
    Since(Timestamp),
    /// Built from a commit, by its first digits or all of them, in lower case.
    Commit(String),
    /// Built by a run: its address, whichever attempt, or the number in it.
    Run(String),
    /// Built by a run that somebody started.
    Actor(String),
    /// Made of an image that has a digest which begins so, as in [`Self::Digest`].
    Image(String),
    /// With a document about its artifact whose digest begins so, as in [`Self::Digest`].
    Document(String),
    /// With a document about its artifact whose facts hold a text, among the newest
    /// [`DOCUMENTS_SEARCHED`](crate::DOCUMENTS_SEARCHED) documents.
    Said(String),
}

/// Which events to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventFilter {
    /// Only those behind this number.
    pub after: u64,
    /// Of one lane.
    pub lane: Option<LaneId>,
    /// Of one rollout.
    pub rollout: Option<RolloutId>,
    /// At most so many; 0 means 500, more than 5,000 means 5,000.
    pub limit: u32,
}

/// How far the words of a lane's history shall go.
#[derive(Debug, Clone, PartialEq)]
pub struct Pruning {
    /// The lane.
    pub lane: LaneId,
    /// The last of its commits whose words go.
    pub seq: u64,
    /// The state that they led to, JSON of the engine's.
    pub state: serde_json::Value,
    /// When.
    pub at: Timestamp,
    /// Who or what asks for it.
    pub by: String,
    /// Why, in a line.
    pub why: String,
}

/// Which records to read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordFilter {
    /// Only those behind this number.
    pub after: u64,
    /// Of one lane.
    pub lane: Option<LaneId>,
    /// At most so many; 0 means 500, more than 5,000 means 5,000.
    pub limit: u32,
}
