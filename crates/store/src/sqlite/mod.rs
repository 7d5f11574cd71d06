//! The store in one SQLite file.
//!
//! One connection writes ([`writer`]), a few read. The file is in WAL mode, so readers never
//! wait for the writer, and every commit is flushed before it is acknowledged. Each noun has
//! a module with its SQL. Placeholders are `$1` and the SQL is plain on purpose: PostgreSQL
//! understands nearly all of it.

mod artifacts;
mod backup;
mod codec;
mod commit;
mod effects;
mod events;
mod evidence;
mod fault;
mod inbox;
mod lanes;
mod log;
mod log_check;
mod migrate;
mod notes;
mod open;
mod releases;
mod rollouts;
mod services;
mod writer;

pub use backup::{RestoreError, backup_name, newest_backup, rotate_backups};

use std::path::Path;
use std::time::Duration;

use airboss_ledger::{Frontier, Hash, Record, Tile};
use airboss_model::{Digest, LaneId, ReleaseId, RolloutId, ServiceName, Timestamp};
use async_trait::async_trait;
use sqlx::SqlitePool;

use crate::{
    ArtifactRow, Commit, Committed, EffectRow, EventFilter, EventRow, EvidenceRow, InboxEntry,
    InputRow, LaneRow, NewInboxEntry, NoteRow, RecordFilter, ReleaseRow, Result, RolloutFilter,
    RolloutRow, ServiceRow, Store,
};
use codec::limit;
use fault::{Fault, Place};
use writer::Writer;

/// How a [`SqliteStore`] behaves. The defaults fit one controller on one machine.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Connections for reading; at least 1. Default 4.
    pub readers: u32,
    /// How long an operation waits for another process that writes. Default 5 s.
    pub busy_timeout: Duration,
    /// Files below this size, in bytes, are checked page by page when they are opened; of
    /// larger ones only the header, the length and the schema, to start in bounded time.
    /// Default 256 MiB.
    pub check_below_bytes: u64,
    /// How large the database may grow, in bytes; a write beyond it is
    /// [`StoreError::DiskFull`](crate::StoreError::DiskFull). Default: as large as the disk.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            check_below_bytes: 256 * 1024 * 1024,
            max_bytes: None,
        }
    }
}

/// Most rows that one call returns where nothing else is said.
const MOST: u32 = 5_000;

/// Durable state in one SQLite file.
///
/// Writes that wait at the same moment share one flush to disk. At most 1,024 wait in the
/// store; callers beyond that wait for room. A write that was handed over happens even where
/// its caller stops waiting for the answer. Points in time are kept in microseconds.
pub struct SqliteStore {
    writer: Writer,
    readers: SqlitePool,
    place: Place,
}

impl SqliteStore {
    /// Opens the database file, or creates it in a folder that exists.
    ///
    /// A damaged, truncated or missing database is [`StoreError::Corrupt`](crate::StoreError::Corrupt)
    /// with how to restore it; it is never replaced by an empty one. To know a lost database
    /// from a new one, a marker file `<path>.created` is kept beside it. A database that a newer
    /// Airboss made is [`StoreError::TooNew`](crate::StoreError::TooNew). Damage inside a value
    /// that leaves the file's structure whole is not found here.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self> {
        open::open(path.as_ref(), &options).await
    }

    async fn read<T>(
        &self,
        what: &'static str,
        query: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T> {
        query.await.map_err(|fault| self.place.explain(what, fault))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn put_service(&self, service: &ServiceRow) -> Result<()> {
        self.writer.run(services::Put::new(service)).await
    }
    async fn service(&self, name: &ServiceName) -> Result<Option<ServiceRow>> {
        let query = services::newest(&self.readers, name.as_str());
        self.read("the reading of a service", query).await
    }
    async fn services(&self) -> Result<Vec<ServiceRow>> {
        let query = services::all(&self.readers);
        self.read("the reading of services", query).await
    }

    async fn put_artifact(&self, artifact: &ArtifactRow) -> Result<()> {
        self.writer.run(artifacts::Put::new(artifact)).await
    }
    async fn artifact(&self, digest: &Digest) -> Result<Option<ArtifactRow>> {
        let digest = digest.to_string();
        let query = artifacts::get(&self.readers, &digest);
        self.read("the reading of an artifact", query).await
    }

    async fn create_release(&self, release: &ReleaseRow) -> Result<ReleaseRow> {
        self.writer.run(releases::Create::new(release)).await
    }
    async fn release(&self, id: &ReleaseId) -> Result<Option<ReleaseRow>> {
        let query = releases::get(&self.readers, id.as_str());
        self.read("the reading of a release", query).await
    }
    async fn releases(&self, service: &ServiceName, count: u32) -> Result<Vec<ReleaseRow>> {
        let query = releases::of_service(&self.readers, service.as_str(), limit(count, 50, 500));
        self.read("the reading of releases", query).await
    }
    async fn allocate_rollout(&self, service: &ServiceName) -> Result<RolloutId> {
        self.writer
            .run(releases::NextRollout(service.clone()))
            .await
    }

    async fn enqueue(&self, entry: &NewInboxEntry) -> Result<InboxEntry> {
        self.writer.run(inbox::Enqueue::new(entry)).await
    }
    async fn inbox(&self, lane: &LaneId, count: u32) -> Result<Vec<InboxEntry>> {
        let query = inbox::unconsumed(&self.readers, lane.as_str(), limit(count, 500, MOST));
        self.read("the reading of commands", query).await
    }
    async fn inbox_entry(&self, key: &str) -> Result<Option<InboxEntry>> {
        let query = inbox::by_key(&self.readers, key);
        self.read("the reading of a command", query).await
    }

    async fn claim(
        &self,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LaneRow>> {
        self.writer
            .run(lanes::Claim::new(owner, until, now, limit))
            .await
    }
    async fn claim_lane(
        &self,
        lane: &LaneId,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<LaneRow>> {
        self.writer
            .run(lanes::ClaimOne::new(lane, owner, until, now))
            .await
    }
    async fn renew(&self, owner: &str, until: Timestamp, now: Timestamp) -> Result<Vec<LaneId>> {
        self.writer.run(lanes::Renew::new(owner, until, now)).await
    }
    async fn release_claims(&self, owner: &str) -> Result<()> {
        self.writer.run(lanes::Release(owner.to_owned())).await
    }
    async fn lane(&self, lane: &LaneId) -> Result<Option<LaneRow>> {
        let query = lanes::get(&self.readers, lane.as_str());
        self.read("the reading of a lane", query).await
    }
    async fn lanes(&self) -> Result<Vec<LaneRow>> {
        let query = lanes::all(&self.readers);
        self.read("the reading of lanes", query).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Committed> {
        self.writer.run(commit::Prepared::new(commit)).await
    }
    async fn inputs(&self, lane: &LaneId, after: u64, count: u32) -> Result<Vec<InputRow>> {
        let query = commit::inputs(&self.readers, lane.as_str(), after, limit(count, 500, MOST));
        self.read("the reading of inputs", query).await
    }

    async fn pending_effects(&self, lane: &LaneId) -> Result<Vec<EffectRow>> {
        let query = effects::unfinished(&self.readers, lane.as_str());
        self.read("the reading of effects", query).await
    }
    async fn finish_effect(
        &self,
        lane: &LaneId,
        seq: u64,
        ordinal: u32,
        outcome: &str,
    ) -> Result<()> {
        let finish = effects::Finish {
            lane: lane.clone(),
            seq,
            ordinal,
            outcome: outcome.to_owned(),
        };
        self.writer.run(finish).await
    }

    async fn append_evidence(&self, rows: &[EvidenceRow]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let append = self.read(evidence::WHAT, async { evidence::Append::new(rows) });
        self.writer.run(append.await?).await
    }
    async fn evidence_since_snapshot(
        &self,
        rollout: &RolloutId,
    ) -> Result<(Option<EvidenceRow>, Vec<EvidenceRow>)> {
        let query = evidence::since_snapshot(&self.readers, rollout.as_str());
        self.read("the reading of measurements", query).await
    }
    async fn evidence(
        &self,
        rollout: &RolloutId,
        from: u64,
        count: u32,
    ) -> Result<Vec<EvidenceRow>> {
        let query = evidence::from(
            &self.readers,
            rollout.as_str(),
            from,
            limit(count, 500, MOST),
        );
        self.read("the reading of measurements", query).await
    }

    async fn put_note(&self, note: &NoteRow) -> Result<()> {
        self.writer.run(notes::Put::new(note)).await
    }
    async fn note(&self, lane: &LaneId, topic: &str) -> Result<Option<NoteRow>> {
        let query = notes::get(&self.readers, lane.as_str(), topic);
        self.read("the reading of a note", query).await
    }

    async fn rollout(&self, id: &RolloutId) -> Result<Option<RolloutRow>> {
        let query = rollouts::get(&self.readers, id.as_str());
        self.read("the reading of a rollout", query).await
    }
    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<RolloutRow>> {
        let query = rollouts::list(&self.readers, filter, limit(filter.limit, 50, 500));
        self.read("the reading of rollouts", query).await
    }
    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRow>> {
        let query = events::list(&self.readers, filter, limit(filter.limit, 500, MOST));
        self.read("the reading of events", query).await
    }
    async fn last_event(&self) -> Result<u64> {
        let query = events::last(&self.readers);
        self.read("the reading of the newest event", query).await
    }

    async fn log_head(&self) -> Result<Frontier> {
        self.read("the reading of the ledger", log::head(&self.readers))
            .await
    }
    async fn log_tile(&self, tile: Tile) -> Result<Vec<Hash>> {
        let query = log::tile(&self.readers, tile);
        self.read("the reading of the ledger", query).await
    }
    async fn log_records(&self, filter: &RecordFilter) -> Result<Vec<Record>> {
        let query = log::records(&self.readers, filter, limit(filter.limit, 500, MOST));
        self.read("the reading of records", query).await
    }

    async fn backup(&self, to: &Path) -> Result<()> {
        backup::write(&self.place, to).await
    }
    async fn verify(&self) -> Result<Vec<String>> {
        self.read("the check", backup::verify(&self.readers)).await
    }
    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
