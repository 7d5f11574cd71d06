//! Durable state: what must survive every crash.
//!
//! * **Is for**: the [`Store`] trait, SQLite and PostgreSQL behind it (`SqliteStore`,
//!   `PostgresStore`), migrations, backup.
//! * **Must never**: know what a state, an event or an effect means. Those are JSON texts of
//!   the engine's; the store keeps their order, their fences and their atomicity.
//! * **Start reading** at [`Store::commit`], the one transaction that everything rests on.

mod postgres;
mod rows;
// What the statements of a release are frozen from.
#[cfg(test)]
extern crate self as airboss_store;
#[cfg(test)]
#[path = "../tests/it/conformance/mod.rs"]
mod conformance;
#[cfg(test)]
#[path = "../tests/it/make.rs"]
mod make;
mod sql;
mod sqlite;

pub use postgres::{PostgresOptions, PostgresServer, PostgresStore};
pub use rows::*;
pub use sql::{Copied, SqlStore};
pub use sqlite::{
    RestoreError, SqliteFile, SqliteOptions, SqliteStore, backup_name, newest_backup,
    rotate_backups,
};

use airboss_ledger::{Frontier, Hash, Record, Tile};
use airboss_model::{Digest, LaneId, Origin, ReleaseId, RolloutId, ServiceName, Timestamp};
use async_trait::async_trait;
use tokio::sync::watch;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another controller owns the lane by now, or the lane moved on. Nothing was written; drop
    /// every conclusion drawn from the old state.
    #[error("fenced: lane {lane} is no longer at epoch {epoch}{}", seq.map(|seq| format!(", seq {seq}")).unwrap_or_default())]
    Fenced {
        /// The lane.
        lane: LaneId,
        /// The `seq` that the caller had, where that mattered.
        seq: Option<u64>,
        /// The `epoch` that the caller had.
        epoch: u64,
    },
    /// The version is pinned to another digest.
    #[error(
        "version {release} is already pinned to {existing}; it cannot also be {offered}. Give the new build a new version"
    )]
    VersionPinned {
        /// The release.
        release: ReleaseId,
        /// The digest that it is pinned to.
        existing: Digest,
        /// The digest that was offered.
        offered: Digest,
    },
    /// What was asked contradicts what is kept. Nothing was written; repeating it is of no use.
    #[error("the store refused {what}: {detail}")]
    Conflict {
        /// What was asked.
        what: &'static str,
        /// What it contradicts.
        detail: String,
    },
    /// The database was made by a newer Airboss.
    #[error(
        "the database {path} has schema {found}, this Airboss knows up to {known}: start the newer Airboss again, or restore a backup made before the upgrade"
    )]
    TooNew {
        /// The database file.
        path: String,
        /// The newest schema step in the database.
        found: i64,
        /// The newest schema step that this program knows.
        known: i64,
    },
    /// The database is damaged.
    #[error("the database {path} is damaged: {detail}. {restore}")]
    Corrupt {
        /// The database file.
        path: String,
        /// What the check found.
        detail: String,
        /// How to go on.
        restore: String,
    },
    /// The disk is full. Nothing was written; the operation may be repeated.
    #[error("the disk that holds {path} is full: free some space; Airboss goes on by itself then")]
    DiskFull {
        /// The database file.
        path: String,
    },
    /// The database cannot be reached or answered with an error. The operation may be repeated.
    #[error("the database did not do {what}: {source}")]
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How many of the newest events are searched for a text.
pub const NAMED_AMONG: u64 = 100_000;
/// How many of the newest documents are searched for a text.
pub const DOCUMENTS_SEARCHED: u64 = 10_000;

/// The result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Durable state. One conformance suite holds for every implementation.
///
/// Time is always an argument; leases are compared with the time given by callers.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // ---- what is known -------------------------------------------------------------------

    /// Keeps a service's manifest; a new text becomes a new version of it, the same text none.
    async fn put_service(&self, service: &ServiceRow) -> Result<()>;
    /// The newest manifest of a service.
    async fn service(&self, name: &ServiceName) -> Result<Option<ServiceRow>>;
    /// The newest manifest of every service, by name.
    async fn services(&self) -> Result<Vec<ServiceRow>>;

    /// Notes that an artifact's content is kept. Repeating it changes nothing but when it was
    /// kept last, and that it was removed meanwhile.
    async fn put_artifact(&self, artifact: &ArtifactRow) -> Result<()>;
    /// An artifact by its digest, while its content is kept.
    async fn artifact(&self, digest: &Digest) -> Result<Option<ArtifactRow>>;
    /// Artifacts with all that is known of them, those kept last first.
    async fn artifacts(&self, filter: &ArtifactFilter) -> Result<Vec<KeptArtifact>>;
    /// Notes where an artifact was taken from and, where that was a tag, what the tag points to.
    /// The same again changes nothing but the latter.
    async fn put_origin(&self, digest: &Digest, origin: &Origin, at: Timestamp) -> Result<()>;
    /// Notes what a tag points to; a later look replaces an earlier one.
    async fn put_tag(&self, repository: &str, tag: &str, seen: &TagSeen) -> Result<()>;
    /// Notes that an artifact's content is removed. What is known of it stays. False where it
    /// was kept again after `planned`, or is not there: its content must stay then.
    async fn remove_artifact(
        &self,
        digest: &Digest,
        removal: &Removal,
        planned: Timestamp,
    ) -> Result<bool>;

    /// Pins a version to a digest. The same pair again returns the row that exists; another
    /// digest is [`StoreError::VersionPinned`].
    async fn create_release(&self, release: &ReleaseRow) -> Result<ReleaseRow>;
    /// A release by its id.
    async fn release(&self, id: &ReleaseId) -> Result<Option<ReleaseRow>>;
    /// Releases of a service, newest first. At most `limit`, as in [`Self::find_releases`].
    async fn releases(&self, service: &ServiceName, limit: u32) -> Result<Vec<ReleaseRow>>;

    /// Releases of any service that a filter finds, newest first. At most `limit`; 0 means 50, more
    /// than 5,000 means 5,000.
    async fn find_releases(&self, filter: &ReleaseFilter, limit: u32) -> Result<Vec<ReleaseRow>>;
    /// Keeps documents about artifacts, all or none of them; which of them were not there before.
    /// The same bytes about the same artifact stay as they were. More than
    /// [`ATTESTATIONS_MAX`] about one artifact are [`StoreError::Conflict`].
    async fn put_attestations(&self, attestations: &[NewAttestation]) -> Result<Vec<bool>>;
    /// What is known of the documents about an artifact, in the order of their arrival.
    async fn attestations(&self, digest: &Digest) -> Result<Vec<AttestationRow>>;
    /// All documents behind number `after`, in the order of their arrival. At most `limit`; 0
    /// means 500, more than 5,000 means 5,000.
    async fn attestations_after(&self, after: u64, limit: u32) -> Result<Vec<AttestationRow>>;
    /// A document about an artifact as it was received.
    async fn document(&self, digest: &Digest, id: &Digest) -> Result<Option<DocumentRow>>;
    /// Keeps the result of a check; one that is older than the one kept is dropped.
    async fn put_check(
        &self,
        digest: &Digest,
        id: &Digest,
        verification: &serde_json::Value,
        at: Timestamp,
    ) -> Result<()>;

    /// Keeps where a release comes from. What is known of it stays, what is not is added; the row
    /// as it is then.
    async fn put_build(&self, build: &BuildRow) -> Result<BuildRow>;
    /// Where a release comes from.
    async fn build(&self, release: &ReleaseId) -> Result<Option<BuildRow>>;
    /// Notes an event that somebody pushed and forgets those before `forget_before`. False where
    /// the same one came before; that one stays as it was.
    async fn put_delivery(&self, delivery: &DeliveryRow, forget_before: Timestamp) -> Result<bool>;
    /// Events that others pushed, newest first. At most `limit`; 0 means 50, more than 500 means 500.
    async fn deliveries(&self, filter: &DeliveryFilter, limit: u32) -> Result<Vec<DeliveryRow>>;

    /// The next rollout id of a service. An id is never given twice; gaps may appear.
    async fn allocate_rollout(&self, service: &ServiceName) -> Result<RolloutId>;

    // ---- the inbox: commands accepted, not yet decided -----------------------------------

    /// Accepts a command durably, creating the lane where it is new. The same `key` again
    /// returns the entry that exists, so that a client may repeat a request.
    async fn enqueue(&self, entry: &NewInboxEntry) -> Result<InboxEntry>;
    /// Commands of a lane that no commit has consumed, oldest first.
    async fn inbox(&self, lane: &LaneId, limit: u32) -> Result<Vec<InboxEntry>>;
    /// One entry, with its answer once a commit has consumed it.
    async fn inbox_entry(&self, key: &str) -> Result<Option<InboxEntry>>;

    // ---- lanes: claim, load, commit ------------------------------------------------------

    /// Claims up to `limit` lanes that have work and no living owner, each with a new epoch.
    /// A lane has work while it is active or its inbox is not empty.
    async fn claim(
        &self,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LaneRow>>;
    /// Claims one lane, whether it has work or not; None where another owner lives. Who owns it
    /// already gets it under a new epoch.
    async fn claim_lane(
        &self,
        lane: &LaneId,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<LaneRow>>;
    /// Extends the owner's claims; returns the lanes that it still owns.
    async fn renew(&self, owner: &str, until: Timestamp, now: Timestamp) -> Result<Vec<LaneId>>;
    /// Raises the epoch of a claim to `to`, for a target that has heard of a higher one than the
    /// store knows: the store came back from a backup. [`StoreError::Fenced`] where the lane is no
    /// longer at `epoch`: then there was a newer claim.
    async fn raise_epoch(&self, lane: &LaneId, epoch: u64, to: u64) -> Result<()>;
    /// The owner's lanes with commands that no commit has consumed.
    async fn waiting(&self, owner: &str) -> Result<Vec<LaneId>>;
    /// Gives all the owner's lanes back.
    async fn release_claims(&self, owner: &str) -> Result<()>;
    /// One lane as it is committed.
    async fn lane(&self, lane: &LaneId) -> Result<Option<LaneRow>>;
    /// Every lane, by name.
    async fn lanes(&self) -> Result<Vec<LaneRow>>;

    /// The one transaction: events, state, effects, the consumed command with its answer, the
    /// projection for readers and the ledger's leaves, guarded by `seq` and `epoch`. Returns the numbers of the
    /// events in the global order, in their order. On any error nothing was written.
    async fn commit(&self, commit: &Commit) -> Result<Committed>;

    /// The inputs that a lane was decided on, from the commit behind `after` on, in order. At
    /// most `limit`, never more than 5,000.
    async fn inputs(&self, lane: &LaneId, after: u64, limit: u32) -> Result<Vec<InputRow>>;

    // ---- effects: done after their commit ------------------------------------------------

    /// Effects of a lane that are not finished, oldest first.
    async fn pending_effects(&self, lane: &LaneId) -> Result<Vec<EffectRow>>;
    /// Marks an effect as finished, with its outcome. [`StoreError::Fenced`] where the lane has
    /// another epoch by now.
    async fn finish_effect(
        &self,
        lane: &LaneId,
        epoch: u64,
        seq: u64,
        ordinal: u32,
        outcome: &str,
    ) -> Result<()>;

    // ---- evidence: measurements, recorded before they are used ---------------------------

    /// Appends measurements of a lane's rollouts in one transaction, with the judge's state after
    /// some of them. [`StoreError::Fenced`] where the lane has another epoch by now.
    async fn append_evidence(&self, lane: &LaneId, epoch: u64, rows: &[EvidenceRow]) -> Result<()>;
    /// The newest saved judge state of a rollout and the measurements after it, in order.
    async fn evidence_since_snapshot(
        &self,
        rollout: &RolloutId,
    ) -> Result<(Option<EvidenceRow>, Vec<EvidenceRow>)>;
    /// Measurements of a rollout from tick `from` on, in order.
    async fn evidence(
        &self,
        rollout: &RolloutId,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EvidenceRow>>;

    // ---- notes: what a controller has learnt, nice to have --------------------------------

    /// Keeps a note in the place of an older one of the same lane and topic. One that is older
    /// than the one kept is dropped.
    async fn put_note(&self, note: &NoteRow) -> Result<()>;
    /// The note of a lane on a topic.
    async fn note(&self, lane: &LaneId, topic: &str) -> Result<Option<NoteRow>>;

    // ---- tokens: who may ask -----------------------------------------------------------------

    /// Keeps a new token; one whose id or secret exists is [`StoreError::Unavailable`].
    async fn put_token(&self, token: &TokenRow) -> Result<()>;
    /// The token whose text has this SHA-256, also where it expired or was revoked.
    async fn token(&self, secret: &Digest) -> Result<Option<TokenRow>>;
    /// Tokens, newest first. At most `limit`; 0 means 500, more than 5,000 means 5,000.
    async fn tokens(&self, limit: u32) -> Result<Vec<TokenRow>>;
    /// Revokes a token for good, as `by` wants it, and returns it; one that was revoked keeps its
    /// time. None where there is no such id.
    async fn revoke_token(&self, id: &str, by: &str, at: Timestamp) -> Result<Option<TokenRow>>;

    // ---- agents: who carries what ------------------------------------------------------------

    /// Invites an agent. [`StoreError::Conflict`] where one of that name is not revoked.
    async fn invite_agent(&self, agent: &AgentRow) -> Result<()>;
    /// Uses an invitation, found by the hash of its public half, for an agent with this public
    /// key. Once only; the same key again is the same agent.
    async fn join_agent(
        &self,
        invite: &Digest,
        key: &str,
        at: Timestamp,
    ) -> Result<Result<AgentRow, InviteError>>;
    /// Every agent that was ever invited, in the order of invitation.
    async fn agents(&self) -> Result<Vec<AgentRow>>;
    /// Revokes an agent or its invitation for good; who did it first, and when, stands. None
    /// where there is none of that id.
    async fn revoke_agent(&self, id: &str, by: &str, at: Timestamp) -> Result<Option<AgentRow>>;

    // ---- reading -------------------------------------------------------------------------

    /// One rollout.
    async fn rollout(&self, id: &RolloutId) -> Result<Option<RolloutRow>>;
    /// Rollouts, newest first.
    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<RolloutRow>>;
    /// Events in the global order, behind number `after`, of one lane or rollout where named.
    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRow>>;
    /// Events whose body holds a text, newest first, among the newest [`NAMED_AMONG`] events. At
    /// most `limit`; 0 means 50, more than 500 means 500.
    async fn events_naming(&self, text: &str, limit: u32) -> Result<Vec<EventRow>>;
    /// The number of the newest event, 0 where there is none.
    async fn last_event(&self) -> Result<u64>;

    // ---- the ledger: every event is sealed in the transaction that brings it ---------------

    /// The tree over every event: the event with number n is the leaf with index n - 1.
    async fn log_head(&self) -> Result<Frontier>;
    /// The hashes of each tile, as far as the tree has them.
    async fn log_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<Hash>>>;
    /// The hashes of one tile, as far as the tree has them.
    async fn log_tile(&self, tile: Tile) -> Result<Vec<Hash>> {
        let mut hashes = self.log_tiles(&[tile]).await?;
        Ok(hashes.pop().unwrap_or_default())
    }
    /// Events in the global order exactly as they are stored, with the inputs of their decisions.
    /// At most as many as asked for, and no more than 8 MiB of texts, but always one where there
    /// is one.
    async fn log_records(&self, filter: &RecordFilter) -> Result<Vec<Record>>;
    /// Seals that something happened to the installation itself: an event of
    /// [`LaneId::installation`]. What becomes of rows (tokens, releases, artifacts and what is said of
    /// them) is sealed by the store itself, in the transaction that changes them.
    async fn seal(&self, event: &NewEvent, by: &str, at: Timestamp) -> Result<()>;
    /// Removes the words of a lane's old history and keeps their hashes, so that every seal and every
    /// proof still holds; says so in the installation's lane. Returns how many events lost their
    /// words. Events are then read without message and body, inputs of such commits not at all.
    /// Measurements go where no event of their rollout keeps its words; bodies of answered commands
    /// and finished effects go too.
    async fn prune(&self, pruning: &Pruning) -> Result<u64>;

    // ---- several controllers -------------------------------------------------------------

    /// Changes whenever another controller may have written something: a hint to look, which may
    /// be missing or come twice. None where a store serves one controller only.
    fn hints(&self) -> Option<watch::Receiver<u64>>;

    // ---- housekeeping --------------------------------------------------------------------

    /// Writes a consistent copy of the whole database to a new file.
    async fn backup(&self, to: &std::path::Path) -> Result<()>;
    /// Checks the whole database, each event against the ledger; the findings, empty where it is
    /// sound. Who can rewrite events and ledger alike is caught by earlier signed checkpoints only.
    async fn verify(&self) -> Result<Vec<String>>;
    /// Ends every connection after what is under way.
    async fn close(&self);
}
