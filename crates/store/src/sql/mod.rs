//! The store in a SQL database.
//!
//! Each noun has a module with its SQL, written once for SQLite and PostgreSQL; [`db`] runs it on
//! either. One connection writes ([`writer`]), a few read.

mod agents;
mod artifacts;
mod attestations;
mod builds;
pub(crate) mod codec;
mod commit;
pub(crate) mod connect;
mod copy;
pub(crate) mod db;
mod deliveries;
mod effects;
mod events;
mod evidence;
pub(crate) mod fault;
#[cfg(test)]
mod freeze;
mod inbox;
mod journal;
mod lanes;
mod log;
mod log_check;
pub(crate) mod migrate;
mod notes;
mod prune;
mod releases;
mod rollouts;
mod script;
mod services;
mod tokens;
pub(crate) mod verify;
pub(crate) mod writer;

use std::path::Path;
use std::time::Duration;

use airboss_ledger::{Frontier, Hash, Record, Tile};
use airboss_model::{Digest, LaneId, Origin, ReleaseId, RolloutId, ServiceName, Timestamp};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{
    AgentRow, ArtifactFilter, ArtifactRow, AttestationRow, BuildRow, Commit, Committed,
    DeliveryFilter, DeliveryRow, DocumentRow, EffectRow, EventFilter, EventRow, EvidenceRow,
    InboxEntry, InputRow, InviteError, KeptArtifact, LaneRow, NewAttestation, NewEvent,
    NewInboxEntry, NoteRow, Pruning, RecordFilter, ReleaseFilter, ReleaseRow, Removal, Result,
    RolloutFilter, RolloutRow, ServiceRow, Store, TagSeen, TokenRow,
};
use codec::limit;
use connect::Connect;
pub use copy::Copied;
use db::Pool;
use fault::{Broken, Explain, Fault};
use writer::Writer;

/// Most rows that one call returns where nothing else is said.
const MOST: u32 = 5_000;

/// What the two databases do each in its own way.
#[async_trait]
pub(crate) trait Backend: Explain + Clone + 'static {
    /// How long one reading may take.
    fn read_within(&self) -> Duration;
    /// What other controllers write, where there may be any.
    fn hints(&self) -> Option<watch::Receiver<u64>>;
    /// Writes a consistent copy of the whole database to a new file.
    async fn backup(store: &SqlStore<Self>, to: &Path) -> Result<()>
    where
        Self: Sized;
}

/// Durable state in a SQL database.
///
/// Writes that wait at the same moment share one transaction. At most 1,024 wait in the store;
/// callers beyond that wait for room. A write that was handed over happens even where its caller
/// stops waiting for the answer. Points in time are kept in microseconds.
pub struct SqlStore<B> {
    pub(crate) writer: Writer,
    pub(crate) readers: Pool,
    pub(crate) connect: Connect,
    pub(crate) backend: B,
}

#[allow(private_bounds, reason = "nobody else makes a backend")]
impl<B: Backend> SqlStore<B> {
    /// Copies everything, as it is at one moment, into a new and empty store; all or nothing.
    /// From then on controllers work on the copy: whoever still works on this one is not obeyed by
    /// targets that heard of the copy. `tell` hears how far it is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) where the other store holds anything.
    pub async fn copy_to<C: Backend>(
        &self,
        to: &SqlStore<C>,
        mut tell: impl FnMut(Copied) + Send,
    ) -> Result<()> {
        self.copy(to, true, &mut tell).await
    }

    pub(crate) async fn copy<C: Backend>(
        &self,
        to: &SqlStore<C>,
        to_work: bool,
        tell: &mut (dyn FnMut(Copied) + Send),
    ) -> Result<()> {
        let ours = |fault| self.backend.explain(copy::WHAT, fault);
        let mut from = self.readers.take().await.map_err(ours)?;
        let connected = to.connect.connect().await;
        let mut target =
            connected.map_err(|broken| to.backend.explain_broken(copy::WHAT, &broken))?;
        let done = copy::copy(&mut from, &mut target, to_work, tell).await;
        if done.is_err() {
            // The reading transaction must not stay in the pool.
            drop(from.run("ROLLBACK").await);
        }
        done.map_err(|fault| to.backend.explain(copy::WHAT, fault))?;
        let closed = target.close().await;
        closed.map_err(|fault| to.backend.explain(copy::WHAT, fault))
    }

    async fn read<T>(
        &self,
        what: &'static str,
        query: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T> {
        let within = self.backend.read_within();
        let done = timeout(within, query).await;
        let done = done.unwrap_or_else(|_| Err(Fault::Broken(Broken::silent(within))));
        done.map_err(|fault| self.backend.explain(what, fault))
    }
}

#[async_trait]
impl<B: Backend> Store for SqlStore<B> {
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
    async fn artifacts(&self, filter: &ArtifactFilter) -> Result<Vec<KeptArtifact>> {
        let query = artifacts::list(&self.readers, filter);
        self.read("the reading of artifacts", query).await
    }
    async fn put_origin(&self, digest: &Digest, origin: &Origin, at: Timestamp) -> Result<()> {
        self.writer
            .run(artifacts::PutOrigin::new(digest, origin, at))
            .await
    }
    async fn put_tag(&self, repository: &str, tag: &str, seen: &TagSeen) -> Result<()> {
        self.writer
            .run(artifacts::PutTag::new(repository, tag, seen))
            .await
    }
    async fn remove_artifact(
        &self,
        digest: &Digest,
        removal: &Removal,
        planned: Timestamp,
    ) -> Result<bool> {
        self.writer
            .run(artifacts::Remove::new(digest, removal, planned))
            .await
    }

    async fn create_release(&self, release: &ReleaseRow) -> Result<ReleaseRow> {
        self.writer.run(releases::Create::new(release)).await
    }
    async fn release(&self, id: &ReleaseId) -> Result<Option<ReleaseRow>> {
        let query = releases::get(&self.readers, id.as_str());
        self.read("the reading of a release", query).await
    }
    async fn releases(&self, service: &ServiceName, count: u32) -> Result<Vec<ReleaseRow>> {
        let query = releases::of_service(&self.readers, service.as_str(), limit(count, 50, MOST));
        self.read("the reading of releases", query).await
    }
    async fn find_releases(&self, filter: &ReleaseFilter, count: u32) -> Result<Vec<ReleaseRow>> {
        let query = releases::find(&self.readers, filter, limit(count, 50, MOST));
        self.read("the search for releases", query).await
    }
    async fn put_attestations(&self, attestations: &[NewAttestation]) -> Result<Vec<bool>> {
        let put = attestations::Put(attestations.to_vec());
        self.writer.run(put).await
    }
    async fn attestations(&self, digest: &Digest) -> Result<Vec<AttestationRow>> {
        let digest = digest.to_string();
        let query = attestations::of_digest(&self.readers, &digest);
        self.read("the reading of attestations", query).await
    }
    async fn attestations_after(&self, after: u64, count: u32) -> Result<Vec<AttestationRow>> {
        let query = attestations::behind(&self.readers, after, limit(count, 500, MOST));
        self.read("the reading of attestations", query).await
    }
    async fn document(&self, digest: &Digest, id: &Digest) -> Result<Option<DocumentRow>> {
        let (digest, id) = (digest.to_string(), id.to_string());
        let query = attestations::document(&self.readers, &digest, &id);
        self.read("the reading of a document", query).await
    }
    async fn put_check(
        &self,
        digest: &Digest,
        id: &Digest,
        verification: &serde_json::Value,
        at: Timestamp,
    ) -> Result<()> {
        let checked = attestations::Checked {
            digest: *digest,
            id: *id,
            verification: verification.clone(),
            at,
        };
        self.writer.run(checked).await
    }

    async fn put_build(&self, build: &BuildRow) -> Result<BuildRow> {
        self.writer.run(builds::Put(build.clone())).await
    }
    async fn build(&self, release: &ReleaseId) -> Result<Option<BuildRow>> {
        let query = builds::get(&self.readers, release.as_str());
        self.read("the reading of a build", query).await
    }
    async fn put_delivery(&self, delivery: &DeliveryRow, forget_before: Timestamp) -> Result<bool> {
        let deliver = deliveries::Deliver {
            delivery: delivery.clone(),
            forget_before,
        };
        self.writer.run(deliver).await
    }
    async fn deliveries(&self, filter: &DeliveryFilter, count: u32) -> Result<Vec<DeliveryRow>> {
        let query = deliveries::list(&self.readers, filter, limit(count, 50, 500));
        self.read("the reading of deliveries", query).await
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
    async fn raise_epoch(&self, lane: &LaneId, epoch: u64, to: u64) -> Result<()> {
        let lane = lane.clone();
        self.writer.run(lanes::Raise { lane, epoch, to }).await
    }
    async fn waiting(&self, owner: &str) -> Result<Vec<LaneId>> {
        let query = lanes::waiting(&self.readers, owner);
        self.read("the reading of lanes", query).await
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
        self.writer.commit(commit::Prepared::new(commit)).await
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
        epoch: u64,
        seq: u64,
        ordinal: u32,
        outcome: &str,
    ) -> Result<()> {
        let finish = effects::Finish {
            lane: lane.clone(),
            epoch,
            seq,
            ordinal,
            outcome: outcome.to_owned(),
        };
        self.writer.run(finish).await
    }

    async fn append_evidence(&self, lane: &LaneId, epoch: u64, rows: &[EvidenceRow]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let append = async { evidence::Append::new(lane, epoch, rows) };
        let append = self.read(evidence::WHAT, append);
        self.writer.append(append.await?).await
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

    async fn put_token(&self, token: &TokenRow) -> Result<()> {
        self.writer.run(tokens::Put(token.clone())).await
    }
    async fn token(&self, secret: &Digest) -> Result<Option<TokenRow>> {
        let query = tokens::by_secret(&self.readers, secret);
        self.read("the reading of a token", query).await
    }
    async fn tokens(&self, count: u32) -> Result<Vec<TokenRow>> {
        let query = tokens::all(&self.readers, limit(count, 500, MOST));
        self.read("the reading of tokens", query).await
    }
    async fn revoke_token(&self, id: &str, by: &str, at: Timestamp) -> Result<Option<TokenRow>> {
        let (id, by) = (id.to_owned(), by.to_owned());
        self.writer.run(tokens::Revoke { id, by, at }).await
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
    async fn events_naming(&self, text: &str, count: u32) -> Result<Vec<EventRow>> {
        let query = events::naming(&self.readers, text, limit(count, 50, 500));
        self.read("the search in events", query).await
    }
    async fn last_event(&self) -> Result<u64> {
        let query = events::last(&self.readers);
        self.read("the reading of the newest event", query).await
    }

    async fn invite_agent(&self, agent: &AgentRow) -> Result<()> {
        self.writer.run(agents::Invite(agent.clone())).await
    }
    async fn join_agent(
        &self,
        invite: &Digest,
        key: &str,
        at: Timestamp,
    ) -> Result<Result<AgentRow, InviteError>> {
        let join = agents::Join {
            invite: *invite,
            key: key.to_owned(),
            at,
        };
        self.writer.run(join).await
    }
    async fn agents(&self) -> Result<Vec<AgentRow>> {
        let query = agents::all(&self.readers);
        self.read("the reading of agents", query).await
    }
    async fn revoke_agent(&self, id: &str, by: &str, at: Timestamp) -> Result<Option<AgentRow>> {
        let revoke = agents::Revoke {
            id: id.to_owned(),
            by: by.to_owned(),
            at,
        };
        self.writer.run(revoke).await
    }

    async fn log_head(&self) -> Result<Frontier> {
        self.read("the reading of the ledger", log::head(&self.readers))
            .await
    }
    async fn log_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<Hash>>> {
        let query = log::tiles(&self.readers, tiles);
        self.read("the reading of the ledger", query).await
    }
    async fn log_records(&self, filter: &RecordFilter) -> Result<Vec<Record>> {
        let query = log::records(&self.readers, filter, limit(filter.limit, 500, MOST));
        self.read("the reading of records", query).await
    }
    async fn seal(&self, event: &NewEvent, by: &str, at: Timestamp) -> Result<()> {
        let (event, by) = (event.clone(), by.to_owned());
        self.writer.run(journal::Seal { event, by, at }).await
    }
    async fn prune(&self, pruning: &Pruning) -> Result<u64> {
        self.writer.run(prune::Prune(pruning.clone())).await
    }

    fn hints(&self) -> Option<watch::Receiver<u64>> {
        self.backend.hints()
    }

    async fn backup(&self, to: &Path) -> Result<()> {
        B::backup(self, to).await
    }
    async fn verify(&self) -> Result<Vec<String>> {
        let query = verify::check(&self.readers);
        query
            .await
            .map_err(|fault| self.backend.explain("the check", fault))
    }
    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A new empty database in memory.
pub(crate) async fn fresh() -> Result<db::Db, Fault> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().in_memory(true);
    let connect = connect::Connect::Sqlite(options);
    let mut db = connect.connect().await.map_err(Fault::Broken)?;
    migrate::run(&mut db).await?;
    Ok(db)
}
