//! A store in memory behind a wire that delays, loses answers, freezes and is cut.
//!
//! It keeps every promise of the conformance suite that SQLite is held to; the suite runs over it.

mod agents;
mod attested;
mod lanes;
mod own;
mod record;
mod shelf;
mod tables;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airboss_ledger::{Frontier, Hash, Record, Tile};
use airboss_model::{Digest, LaneId, Origin, ReleaseId, RolloutId, ServiceName, Timestamp};
use airboss_store::{
    AgentRow, ArtifactFilter, ArtifactRow, AttestationRow, BuildRow, Commit, Committed,
    DeliveryFilter, DeliveryRow, DocumentRow, EffectRow, EventFilter, EventRow, EvidenceRow,
    InboxEntry, InputRow, InviteError, KeptArtifact, LaneRow, NewAttestation, NewEvent,
    NewInboxEntry, NoteRow, Pruning, RecordFilter, ReleaseFilter, ReleaseRow, Removal, Result,
    RolloutFilter, RolloutRow, ServiceRow, Store, TagSeen, TokenRow,
};
use async_trait::async_trait;
use tokio::sync::watch;

pub use tables::{Broken, Tables};
pub use wire::{Wire, WireFaults};

/// What is told of everything that a store did, in the moment that it did it.
pub trait Observer: Send + Sync {
    /// `owner` has a claim that nobody had before.
    fn claimed(&self, owner: &str, row: &LaneRow);
    /// A commit was acknowledged to `owner`.
    fn committed(&self, owner: &str, commit: &Commit, tables: &Tables);
    /// `owner`'s second was recorded: its lane is watched.
    fn recorded(&self, owner: &str, rows: &[EvidenceRow]);
}

/// One controller's line to the tables that all share.
#[derive(Clone)]
pub struct SimStore {
    tables: Arc<Mutex<Tables>>,
    wire: Wire,
    owner: String,
    observer: Option<Arc<dyn Observer>>,
    shared: bool,
}

impl SimStore {
    /// A store of its own on a wire without faults, as SQLite's: for one controller, without hints.
    pub fn alone() -> Self {
        Self {
            tables: Arc::default(),
            wire: Wire::sound(),
            owner: String::new(),
            observer: None,
            shared: false,
        }
    }

    /// One for several controllers, as PostgreSQL's: it hints at what the others do.
    pub fn shared() -> Self {
        Self {
            shared: true,
            ..Self::alone()
        }
    }

    /// Another line to the same tables.
    pub fn line(&self, owner: &str, wire: Wire, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            tables: Arc::clone(&self.tables),
            wire,
            owner: owner.to_owned(),
            observer,
            shared: self.shared,
        }
    }

    /// The tables themselves.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic while holding the lock ends the world anyway.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(
        &self,
        what: &'static str,
        act: impl FnOnce(&mut Tables) -> Result<T>,
    ) -> Result<T> {
        self.wire.before(what).await?;
        let done = act(&mut self.tables());
        self.wire.after(what).await?;
        done
    }
}

#[async_trait]
impl Store for SimStore {
    async fn put_service(&self, service: &ServiceRow) -> Result<()> {
        self.call("the manifest", |t| {
            t.put_service(service);
            Ok(())
        })
        .await
    }
    async fn service(&self, name: &ServiceName) -> Result<Option<ServiceRow>> {
        self.call("a manifest", |t| Ok(t.service(name))).await
    }
    async fn services(&self) -> Result<Vec<ServiceRow>> {
        self.call("manifests", |t| Ok(t.services())).await
    }
    async fn put_artifact(&self, artifact: &ArtifactRow) -> Result<()> {
        self.call("an artifact", |t| {
            t.put_artifact(artifact);
            Ok(())
        })
        .await
    }
    async fn artifact(&self, digest: &Digest) -> Result<Option<ArtifactRow>> {
        self.call("an artifact", |t| Ok(t.artifact(digest))).await
    }
    async fn artifacts(&self, filter: &ArtifactFilter) -> Result<Vec<KeptArtifact>> {
        self.call("artifacts", |t| Ok(t.artifacts(filter))).await
    }
    async fn put_origin(&self, digest: &Digest, origin: &Origin, at: Timestamp) -> Result<()> {
        self.call("an origin", |t| {
            if t.shelf().put_origin(digest, origin, at) {
                let message = format!("{digest} was taken from {}", origin.repository);
                t.tell("origin_noted", message, origin, "", at);
            }
            Ok(())
        })
        .await
    }
    async fn put_tag(&self, repository: &str, tag: &str, seen: &TagSeen) -> Result<()> {
        self.call("a tag", |t| {
            t.shelf().put_tag(repository, tag, seen);
            Ok(())
        })
        .await
    }
    async fn remove_artifact(
        &self,
        digest: &Digest,
        removal: &Removal,
        planned: Timestamp,
    ) -> Result<bool> {
        self.call("the removal of an artifact", |t| {
            let gone = t.shelf().remove(digest, removal, planned);
            if gone {
                let message = format!("the content of {digest} was removed: {}", removal.why);
                t.tell("artifact_removed", message, removal, "", removal.at);
            }
            Ok(gone)
        })
        .await
    }
    async fn create_release(&self, release: &ReleaseRow) -> Result<ReleaseRow> {
        self.call("a release", |t| t.create_release(release)).await
    }
    async fn release(&self, id: &ReleaseId) -> Result<Option<ReleaseRow>> {
        self.call("a release", |t| Ok(t.release(id))).await
    }
    async fn releases(&self, service: &ServiceName, limit: u32) -> Result<Vec<ReleaseRow>> {
        self.call("releases", |t| Ok(t.releases(service, limit)))
            .await
    }
    async fn find_releases(&self, filter: &ReleaseFilter, limit: u32) -> Result<Vec<ReleaseRow>> {
        self.call("the search for releases", |t| {
            Ok(t.find_releases(filter, limit))
        })
        .await
    }
    async fn put_attestations(&self, attestations: &[NewAttestation]) -> Result<Vec<bool>> {
        self.call("attestations", |t| t.put_attestations(attestations))
            .await
    }
    async fn attestations(&self, digest: &Digest) -> Result<Vec<AttestationRow>> {
        self.call("attestations", |t| Ok(t.attestations(digest)))
            .await
    }
    async fn attestations_after(&self, after: u64, limit: u32) -> Result<Vec<AttestationRow>> {
        self.call("attestations", |t| Ok(t.attestations_after(after, limit)))
            .await
    }
    async fn document(&self, digest: &Digest, id: &Digest) -> Result<Option<DocumentRow>> {
        self.call("a document", |t| Ok(t.document(digest, id)))
            .await
    }
    async fn put_check(
        &self,
        digest: &Digest,
        id: &Digest,
        verification: &serde_json::Value,
        at: Timestamp,
    ) -> Result<()> {
        self.call("a check", |t| {
            t.put_check(digest, id, verification, at);
            Ok(())
        })
        .await
    }
    async fn put_build(&self, build: &BuildRow) -> Result<BuildRow> {
        self.call("a build", |t| Ok(t.put_build(build))).await
    }
    async fn build(&self, release: &ReleaseId) -> Result<Option<BuildRow>> {
        self.call("a build", |t| Ok(t.build(release))).await
    }
    async fn put_delivery(&self, delivery: &DeliveryRow, forget_before: Timestamp) -> Result<bool> {
        self.call(
            "a delivery",
            |t| Ok(t.put_delivery(delivery, forget_before)),
        )
        .await
    }
    async fn deliveries(&self, filter: &DeliveryFilter, limit: u32) -> Result<Vec<DeliveryRow>> {
        self.call("deliveries", |t| Ok(t.deliveries(filter, limit)))
            .await
    }
    async fn allocate_rollout(&self, service: &ServiceName) -> Result<RolloutId> {
        self.call("a number", |t| t.allocate_rollout(service)).await
    }
    async fn enqueue(&self, entry: &NewInboxEntry) -> Result<InboxEntry> {
        self.call("the acceptance of a command", |t| {
            if entry.lane == LaneId::installation() {
                let detail = "that name is kept for the installation itself".to_owned();
                return Err(tables::conflict("a command to it", detail));
            }
            Ok(t.enqueue(entry))
        })
        .await
    }
    async fn inbox(&self, lane: &LaneId, limit: u32) -> Result<Vec<InboxEntry>> {
        self.call("the inbox", |t| Ok(t.inbox(lane, limit))).await
    }
    async fn inbox_entry(&self, key: &str) -> Result<Option<InboxEntry>> {
        self.call("a command", |t| Ok(t.inbox_entry(key))).await
    }
    async fn claim(
        &self,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LaneRow>> {
        self.call("the claim of lanes", |t| {
            let rows = t.claim(owner, until, now, limit);
            if let Some(observer) = &self.observer {
                rows.iter().for_each(|row| observer.claimed(owner, row));
            }
            Ok(rows)
        })
        .await
    }
    async fn claim_lane(
        &self,
        lane: &LaneId,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<LaneRow>> {
        self.call("the claim of a lane", |t| {
            let row = t.claim_lane(lane, owner, until, now);
            if let (Some(observer), Some(row)) = (&self.observer, &row) {
                observer.claimed(owner, row);
            }
            Ok(row)
        })
        .await
    }
    async fn renew(&self, owner: &str, until: Timestamp, now: Timestamp) -> Result<Vec<LaneId>> {
        self.call("the renewal of claims", |t| Ok(t.renew(owner, until, now)))
            .await
    }
    async fn release_claims(&self, owner: &str) -> Result<()> {
        self.call("the return of claims", |t| {
            t.release_claims(owner);
            Ok(())
        })
        .await
    }
    async fn lane(&self, lane: &LaneId) -> Result<Option<LaneRow>> {
        self.call("a lane", |t| Ok(t.lane(lane))).await
    }
    async fn lanes(&self) -> Result<Vec<LaneRow>> {
        self.call("lanes", |t| Ok(t.lanes())).await
    }
    async fn commit(&self, commit: &Commit) -> Result<Committed> {
        self.call("the commit of a decision", |t| {
            let committed = t.commit(commit)?;
            if let Some(observer) = &self.observer {
                observer.committed(&self.owner, commit, t);
            }
            Ok(committed)
        })
        .await
    }
    async fn inputs(&self, lane: &LaneId, after: u64, limit: u32) -> Result<Vec<InputRow>> {
        self.call("inputs", |t| Ok(t.inputs(lane, after, limit)))
            .await
    }
    async fn pending_effects(&self, lane: &LaneId) -> Result<Vec<EffectRow>> {
        self.call("effects", |t| Ok(t.pending_effects(lane))).await
    }
    async fn raise_epoch(&self, lane: &LaneId, epoch: u64, to: u64) -> Result<()> {
        self.call("the raising of an epoch", |t| {
            t.raise_epoch(lane, epoch, to)
        })
        .await
    }
    async fn waiting(&self, owner: &str) -> Result<Vec<LaneId>> {
        self.call("lanes", |t| Ok(t.waiting(owner))).await
    }
    fn hints(&self) -> Option<watch::Receiver<u64>> {
        self.shared.then(|| self.tables().hints())
    }
    async fn finish_effect(
        &self,
        lane: &LaneId,
        epoch: u64,
        seq: u64,
        ordinal: u32,
        outcome: &str,
    ) -> Result<()> {
        self.call("the finishing of an effect", |t| {
            t.finish_effect(lane, epoch, seq, ordinal, outcome)
        })
        .await
    }
    async fn append_evidence(&self, lane: &LaneId, epoch: u64, rows: &[EvidenceRow]) -> Result<()> {
        self.call("the recording of evidence", |t| {
            t.append_evidence(lane, epoch, rows)?;
            if let Some(observer) = &self.observer {
                observer.recorded(&self.owner, rows);
            }
            Ok(())
        })
        .await
    }
    async fn evidence_since_snapshot(
        &self,
        rollout: &RolloutId,
    ) -> Result<(Option<EvidenceRow>, Vec<EvidenceRow>)> {
        self.call("evidence", |t| Ok(t.evidence_since_snapshot(rollout)))
            .await
    }
    async fn evidence(
        &self,
        rollout: &RolloutId,
        from: u64,
        limit: u32,
    ) -> Result<Vec<EvidenceRow>> {
        self.call("evidence", |t| Ok(t.evidence(rollout, from, limit)))
            .await
    }
    async fn put_note(&self, note: &NoteRow) -> Result<()> {
        self.call("a note", |t| {
            t.put_note(note);
            Ok(())
        })
        .await
    }
    async fn note(&self, lane: &LaneId, topic: &str) -> Result<Option<NoteRow>> {
        self.call("a note", |t| Ok(t.note(lane, topic))).await
    }
    async fn rollout(&self, id: &RolloutId) -> Result<Option<RolloutRow>> {
        self.call("a rollout", |t| Ok(t.rollout(id))).await
    }
    async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<RolloutRow>> {
        self.call("rollouts", |t| Ok(t.rollouts(filter))).await
    }
    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRow>> {
        self.call("events", |t| Ok(t.events(filter))).await
    }
    async fn events_naming(&self, text: &str, limit: u32) -> Result<Vec<EventRow>> {
        self.call("the search in events", |t| Ok(t.events_naming(text, limit)))
            .await
    }
    async fn last_event(&self) -> Result<u64> {
        self.call("the newest event", |t| Ok(t.last_event())).await
    }
    async fn put_token(&self, token: &TokenRow) -> Result<()> {
        self.call("the keeping of a token", |t| t.put_token(token))
            .await
    }
    async fn token(&self, secret: &Digest) -> Result<Option<TokenRow>> {
        self.call("a token", |t| Ok(t.token(secret))).await
    }
    async fn tokens(&self, limit: u32) -> Result<Vec<TokenRow>> {
        self.call("tokens", |t| Ok(t.tokens(limit))).await
    }
    async fn invite_agent(&self, agent: &AgentRow) -> Result<()> {
        self.call("the invitation of an agent", |t| {
            t.agents.invite(agent)?;
            let (by, at) = (&agent.invited_by, agent.invited_at);
            let message = format!("agent {} was invited by {by}", agent.name);
            t.tell("agent_invited", message, agent, by, at);
            Ok(())
        })
        .await
    }
    async fn join_agent(
        &self,
        invite: &Digest,
        key: &str,
        at: Timestamp,
    ) -> Result<Result<AgentRow, InviteError>> {
        self.call("the joining of an agent", |t| {
            let before = t.agents.all();
            let joined = t.agents.join(invite, key, at);
            if let Ok(row) = &joined
                && before != t.agents.all()
            {
                let message = format!("agent {} joined", row.name);
                t.tell("agent_joined", message, row, &row.name, at);
            }
            Ok(joined)
        })
        .await
    }
    async fn agents(&self) -> Result<Vec<AgentRow>> {
        self.call("agents", |t| Ok(t.agents.all())).await
    }
    async fn revoke_agent(&self, id: &str, by: &str, at: Timestamp) -> Result<Option<AgentRow>> {
        self.call("the revocation of an agent", |t| {
            let before = t.agents.all();
            let revoked = t.agents.revoke(id, by, at);
            if let Some(row) = &revoked
                && before != t.agents.all()
            {
                let message = format!("agent {} was revoked by {by}", row.name);
                t.tell("agent_revoked", message, row, by, at);
            }
            Ok(revoked)
        })
        .await
    }
    async fn revoke_token(&self, id: &str, by: &str, at: Timestamp) -> Result<Option<TokenRow>> {
        self.call("the revocation of a token", |t| {
            Ok(t.revoke_token(id, by, at))
        })
        .await
    }
    async fn log_head(&self) -> Result<Frontier> {
        self.call("the log", |t| Ok(t.log_head().clone())).await
    }
    async fn log_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<Hash>>> {
        let all = |t: &mut Tables| Ok(tiles.iter().map(|tile| t.log_tile(*tile)).collect());
        self.call("tiles", all).await
    }
    async fn log_records(&self, filter: &RecordFilter) -> Result<Vec<Record>> {
        self.call("records", |t| Ok(t.log_records(filter))).await
    }
    async fn seal(&self, event: &NewEvent, by: &str, at: Timestamp) -> Result<()> {
        self.call("a note", |t| {
            t.tell(&event.kind, event.message.clone(), &event.body, by, at);
            Ok(())
        })
        .await
    }
    async fn prune(&self, pruning: &Pruning) -> Result<u64> {
        self.call("the removal of old history", |t| t.prune(pruning))
            .await
    }
    async fn backup(&self, to: &std::path::Path) -> Result<()> {
        Err(airboss_store::StoreError::Conflict {
            what: "a backup",
            detail: format!("a store in memory has no file to copy to {}", to.display()),
        })
    }
    async fn verify(&self) -> Result<Vec<String>> {
        self.call("a check", |t| Ok(t.verify())).await
    }
    async fn close(&self) {}
}
