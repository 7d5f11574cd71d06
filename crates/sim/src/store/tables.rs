//! What a store keeps, as plain tables with the very promises that the conformance suite names.

use std::collections::BTreeMap;

use airboss_ledger::{Frontier, Hash, Record, Tile, Walk};
use airboss_model::{Digest, LaneId, ReleaseId, RolloutId, ServiceName, Timestamp};
use airboss_store::{
    ArtifactFilter, ArtifactRow, BuildRow, Commit, Committed, DeliveryRow, EffectRow, EventFilter,
    EventRow, EvidenceRow, InboxEntry, InputRow, KeptArtifact, LaneRow, NAMED_AMONG,
    NewAttestation, NewInboxEntry, NoteRow, RecordFilter, ReleaseFilter, ReleaseRow, RolloutFilter,
    RolloutRow, ServiceRow, StoreError, TokenRow,
};
use serde_json::Value;
use tokio::sync::watch;

use super::agents::Agents;
use super::shelf::Shelf;

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A deliberately broken store, to prove that its fault is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// None.
    #[default]
    No,
    /// It takes a write under an epoch that is over.
    TakesOldEpochs,
    /// It forgets to seal an event now and then.
    ForgetsToSeal,
    /// It says that a commit is done and has thrown it away.
    LosesCommits,
}

/// One lane's row with what hangs on it.
#[derive(Debug, Clone, Default)]
pub(super) struct LaneTable {
    pub(super) seq: u64,
    epoch: u64,
    owner: Option<(String, Timestamp)>,
    state: Option<Value>,
    active: bool,
    pending: u64,
    pub(super) last_event: u64,
}

/// Everything that a store keeps.
#[derive(Debug, Default)]
pub struct Tables {
    /// What is wrong with it.
    pub broken: Broken,
    services: BTreeMap<ServiceName, ServiceRow>,
    shelf: Shelf,
    releases: Vec<ReleaseRow>,
    pub(super) attestations: Vec<NewAttestation>,
    pub(super) builds: Vec<BuildRow>,
    pub(super) deliveries: Vec<DeliveryRow>,
    counters: BTreeMap<ServiceName, u64>,
    pub(super) lanes: BTreeMap<LaneId, LaneTable>,
    pub(super) inbox: Vec<InboxEntry>,
    pub(super) events: Vec<EventRow>,
    pub(super) records: Vec<Record>,
    pub(super) inputs: BTreeMap<(LaneId, u64), InputRow>,
    pub(super) effects: BTreeMap<(LaneId, u64, u32), (Value, Option<String>)>,
    pub(super) evidence: BTreeMap<RolloutId, BTreeMap<u64, EvidenceRow>>,
    notes: BTreeMap<(LaneId, String), NoteRow>,
    rollouts: Vec<RolloutRow>,
    tokens: Vec<TokenRow>,
    pub(super) agents: Agents,
    frontier: Frontier,
    hashes: BTreeMap<(u8, u64), Hash>,
    /// What happened, for those who listen; see [`Tables::hints`].
    happened: watch::Sender<u64>,
    /// Of the installation's own lane.
    pub(super) own: LaneTable,
    /// The last commit of each lane whose words were removed.
    pub(super) pruned: BTreeMap<LaneId, u64>,
}

pub(super) fn most(limit: u32, usual: usize, cap: usize) -> usize {
    match limit {
        0 => usual,
        limit => (limit as usize).min(cap),
    }
}

pub(super) fn conflict(what: &'static str, detail: String) -> StoreError {
    StoreError::Conflict { what, detail }
}

impl Tables {
    /// Every second thing that happens is hinted at: a hint may be lost.
    pub(super) fn hints(&self) -> watch::Receiver<u64> {
        self.happened.subscribe()
    }
    fn hint(&self) {
        self.happened.send_if_modified(|count| {
            *count += 1;
            *count % 2 == 0
        });
    }
    pub(super) fn put_service(&mut self, service: &ServiceRow) {
        let kept = self.services.get(&service.name);
        if kept.is_none_or(|kept| kept.text != service.text) {
            self.services.insert(service.name.clone(), service.clone());
            let message = format!("a manifest of {} is in force", service.name);
            self.tell("manifest_kept", message, service, "", service.at);
        }
    }
    pub(super) fn service(&self, name: &ServiceName) -> Option<ServiceRow> {
        self.services.get(name).cloned()
    }
    pub(super) fn services(&self) -> Vec<ServiceRow> {
        self.services.values().cloned().collect()
    }
    pub(super) fn put_artifact(&mut self, artifact: &ArtifactRow) {
        let is_new = self.shelf.get(&artifact.digest).is_none();
        self.shelf.put(artifact);
        if is_new {
            let message = format!("{} is kept, {} bytes", artifact.digest, artifact.size);
            self.tell("artifact_kept", message, artifact, "", artifact.at);
        }
    }
    pub(super) fn artifact(&self, digest: &Digest) -> Option<ArtifactRow> {
        self.shelf.get(digest)
    }
    pub(super) fn artifacts(&self, filter: &ArtifactFilter) -> Vec<KeptArtifact> {
        self.shelf.list(filter, &self.releases)
    }
    pub(super) fn shelf(&mut self) -> &mut Shelf {
        &mut self.shelf
    }
    pub(super) fn create_release(&mut self, release: &ReleaseRow) -> Result<ReleaseRow> {
        match self.release(&release.id) {
            Some(kept) if kept.digest != release.digest => Err(StoreError::VersionPinned {
                release: release.id.clone(),
                existing: kept.digest,
                offered: release.digest,
            }),
            Some(kept) => Ok(kept),
            None => {
                self.releases.push(release.clone());
                let (by, at) = (&release.created_by, release.at);
                let message = format!("{} stands for {}", release.id, release.digest);
                self.tell("release_registered", message, release, by, at);
                Ok(release.clone())
            }
        }
    }
    pub(super) fn release(&self, id: &ReleaseId) -> Option<ReleaseRow> {
        self.releases.iter().find(|row| row.id == *id).cloned()
    }
    pub(super) fn releases(&self, service: &ServiceName, limit: u32) -> Vec<ReleaseRow> {
        let prefix = format!("{service}@");
        let of = self.releases.iter().rev();
        of.filter(|row| row.id.as_str().starts_with(&prefix))
            .take(most(limit, 50, 5_000))
            .cloned()
            .collect()
    }
    pub(super) fn find_releases(&self, filter: &ReleaseFilter, limit: u32) -> Vec<ReleaseRow> {
        let fits = |row: &&ReleaseRow| match filter {
            ReleaseFilter::Version(version) => row.id.version() == version,
            ReleaseFilter::Digest(prefix) => row.digest.to_string().starts_with(prefix),
            ReleaseFilter::By(name) => row.created_by == *name,
            ReleaseFilter::Since(at) => row.at >= *at,
            ReleaseFilter::Image(prefix) => self.shelf.is_made_of(&row.digest, prefix),
            said => self.is_said(row, said),
        };
        let newest = self.releases.iter().rev().filter(fits);
        newest.take(most(limit, 50, 5_000)).cloned().collect()
    }
    pub(super) fn allocate_rollout(&mut self, service: &ServiceName) -> Result<RolloutId> {
        let last = self.counters.entry(service.clone()).or_default();
        *last += 1;
        format!("{service}-{last}")
            .parse()
            .map_err(|error| conflict("a rollout's number", format!("{error}")))
    }

    pub(super) fn enqueue(&mut self, entry: &NewInboxEntry) -> InboxEntry {
        let lane = self.lanes.entry(entry.lane.clone()).or_default();
        if let Some(kept) = self.inbox.iter().find(|kept| kept.key == entry.key) {
            return kept.clone();
        }
        lane.pending += 1;
        let entry = InboxEntry {
            id: self.inbox.len() as u64 + 1,
            lane: entry.lane.clone(),
            key: entry.key.clone(),
            body: entry.body.clone(),
            at: entry.at,
            answer: None,
        };
        self.inbox.push(entry.clone());
        self.hint();
        entry
    }
    /// Commands that wait, oldest first.
    pub fn inbox(&self, lane: &LaneId, limit: u32) -> Vec<InboxEntry> {
        let waiting = self.inbox.iter();
        waiting
            .filter(|entry| entry.lane == *lane && entry.answer.is_none())
            .take(most(limit, 500, 5_000))
            .cloned()
            .collect()
    }
    /// The answer to a command, once it is decided.
    pub fn answer(&self, key: &str) -> Option<Value> {
        self.inbox_entry(key).and_then(|entry| entry.answer)
    }
    pub(super) fn inbox_entry(&self, key: &str) -> Option<InboxEntry> {
        self.inbox.iter().find(|entry| entry.key == key).cloned()
    }

    pub(super) fn claim(
        &mut self,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Vec<LaneRow> {
        let mut free: Vec<(Option<Timestamp>, LaneId)> = self
            .lanes
            .iter()
            .filter(|(_, lane)| (lane.active || lane.pending > 0) && lane.is_free(now))
            .map(|(id, lane)| (lane.owner.as_ref().map(|(_, until)| *until), id.clone()))
            .collect();
        free.sort();
        free.truncate(limit as usize);
        free.into_iter()
            .filter_map(|(_, id)| self.take(&id, owner, until))
            .collect()
    }
    pub(super) fn claim_lane(
        &mut self,
        id: &LaneId,
        owner: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Option<LaneRow> {
        let lane = self.lanes.entry(id.clone()).or_default();
        let ours = lane.owner.as_ref().is_some_and(|(by, _)| by == owner);
        if !ours && !lane.is_free(now) {
            return None;
        }
        self.take(id, owner, until)
    }
    fn take(&mut self, id: &LaneId, owner: &str, until: Timestamp) -> Option<LaneRow> {
        let lane = self.lanes.get_mut(id)?;
        lane.owner = Some((owner.to_owned(), until));
        lane.epoch += 1;
        Some(lane.row(id))
    }
    pub(super) fn renew(&mut self, owner: &str, until: Timestamp, now: Timestamp) -> Vec<LaneId> {
        let mut kept = Vec::new();
        for (id, lane) in &mut self.lanes {
            if let Some((by, end)) = &mut lane.owner
                && by == owner
                && *end >= now
            {
                *end = until;
                kept.push(id.clone());
            }
        }
        kept
    }
    pub(super) fn raise_epoch(&mut self, id: &LaneId, epoch: u64, to: u64) -> Result<()> {
        self.fence(id, epoch)?;
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.epoch = lane.epoch.max(to);
        }
        Ok(())
    }
    pub(super) fn waiting(&self, owner: &str) -> Vec<LaneId> {
        let ours = |lane: &LaneTable| lane.owner.as_ref().is_some_and(|(by, _)| by == owner);
        let lanes = self.lanes.iter();
        lanes
            .filter(|(_, lane)| ours(lane) && lane.pending > 0)
            .map(|(id, _)| id.clone())
            .collect()
    }
    /// Refuses who writes under a claim that is no longer the newest.
    fn fence(&self, id: &LaneId, epoch: u64) -> Result<()> {
        let newest = self.lanes.get(id).map(|lane| lane.epoch);
        if newest == Some(epoch) || self.broken == Broken::TakesOldEpochs {
            return Ok(());
        }
        Err(StoreError::Fenced {
            lane: id.clone(),
            seq: None,
            epoch,
        })
    }
    pub(super) fn release_claims(&mut self, owner: &str) {
        for lane in self.lanes.values_mut() {
            lane.owner.take_if(|(by, _)| by == owner);
        }
    }
    /// One lane as it is committed.
    pub fn lane(&self, id: &LaneId) -> Option<LaneRow> {
        self.lanes.get(id).map(|lane| lane.row(id))
    }
    /// Every lane.
    pub fn lanes(&self) -> Vec<LaneRow> {
        self.lanes.iter().map(|(id, lane)| lane.row(id)).collect()
    }

    pub(super) fn commit(&mut self, commit: &Commit) -> Result<Committed> {
        let fenced = || StoreError::Fenced {
            lane: commit.lane.clone(),
            seq: Some(commit.seq),
            epoch: commit.epoch,
        };
        let lane = self.lanes.get(&commit.lane).ok_or_else(fenced)?;
        let old_epoch = lane.epoch != commit.epoch && self.broken != Broken::TakesOldEpochs;
        if lane.seq != commit.seq || old_epoch {
            return Err(fenced());
        }
        if let Some((id, _)) = &commit.consumes {
            let mine = |entry: &&InboxEntry| {
                entry.id == *id && entry.lane == commit.lane && entry.answer.is_none()
            };
            self.inbox.iter().find(mine).ok_or_else(fenced)?;
        }
        if let Some(stranger) = commit
            .rollouts
            .iter()
            .find(|row| !self.lanes.contains_key(&row.lane))
        {
            let detail = format!("lane {} of {} does not exist", stranger.lane, stranger.id);
            return Err(conflict("the commit of a decision", detail));
        }
        let first = self.records.len() as u64 + 1;
        let committed = Committed {
            seq: commit.seq + 1,
            events: (first..first + commit.events.len() as u64).collect(),
        };
        if self.broken == Broken::LosesCommits && commit.seq % 3 == 2 {
            return Ok(committed);
        }
        self.write(commit, &committed);
        self.hint();
        Ok(committed)
    }

    fn write(&mut self, commit: &Commit, committed: &Committed) {
        let Some(lane) = self.lanes.get_mut(&commit.lane) else {
            return;
        };
        lane.seq = committed.seq;
        lane.active = commit.active;
        lane.state = Some(commit.state.clone());
        if let Some((id, answer)) = &commit.consumes {
            lane.pending = lane.pending.saturating_sub(1);
            if let Some(entry) = self.inbox.iter_mut().find(|entry| entry.id == *id) {
                entry.answer = Some(answer.clone());
            }
        }
        let mut previous = lane.last_event;
        if let Some(last) = committed.events.last() {
            lane.last_event = *last;
        }
        let input = commit.input.to_string();
        for (number, event) in committed.events.iter().zip(&commit.events) {
            let record = Record {
                number: *number,
                previous,
                lane: commit.lane.to_string(),
                seq: committed.seq,
                rollout: event.rollout.as_ref().map(ToString::to_string),
                at: commit.at.as_microsecond(),
                kind: event.kind.clone(),
                message: event.message.clone(),
                body: event.body.to_string(),
                input: input.clone(),
                removed: None,
            };
            previous = *number;
            self.append(record);
            self.events.push(EventRow {
                number: *number,
                lane: commit.lane.clone(),
                seq: committed.seq,
                rollout: event.rollout.clone(),
                at: commit.at,
                kind: event.kind.clone(),
                message: event.message.clone(),
                body: event.body.clone(),
            });
        }
        self.inputs.insert(
            (commit.lane.clone(), committed.seq),
            InputRow {
                lane: commit.lane.clone(),
                seq: committed.seq,
                at: commit.at,
                input: commit.input.clone(),
            },
        );
        for (ordinal, body) in (0..).zip(&commit.effects) {
            let place = (commit.lane.clone(), committed.seq, ordinal);
            self.effects.insert(place, (body.clone(), None));
        }
        for row in &commit.rollouts {
            match self.rollouts.iter_mut().find(|kept| kept.id == row.id) {
                Some(kept) => *kept = row.clone(),
                None => self.rollouts.push(row.clone()),
            }
        }
    }

    /// Seals a record.
    pub(super) fn append(&mut self, record: Record) {
        let forgotten = self.broken == Broken::ForgetsToSeal && record.number.is_multiple_of(7);
        if let Ok(leaf) = record.leaf()
            && !forgotten
        {
            let hashes = &mut self.hashes;
            self.frontier.append(leaf, |level, place, hash| {
                if level % 8 == 0 {
                    hashes.insert(((level / 8) as u8, place), hash);
                }
            });
        }
        self.records.push(record);
    }

    pub(super) fn inputs(&self, lane: &LaneId, after: u64, limit: u32) -> Vec<InputRow> {
        self.inputs
            .range((lane.clone(), after + 1)..)
            .take_while(|((of, _), _)| of == lane)
            .take(most(limit, 500, 5_000))
            .map(|(_, row)| row.clone())
            .collect()
    }
    /// Effects that are not finished, oldest first.
    pub fn pending_effects(&self, lane: &LaneId) -> Vec<EffectRow> {
        self.effects
            .range((lane.clone(), 0, 0)..)
            .take_while(|((of, ..), _)| of == lane)
            .filter(|(_, (_, outcome))| outcome.is_none())
            .map(|((lane, seq, ordinal), (body, _))| EffectRow {
                lane: lane.clone(),
                seq: *seq,
                ordinal: *ordinal,
                body: body.clone(),
            })
            .collect()
    }
    pub(super) fn finish_effect(
        &mut self,
        lane: &LaneId,
        epoch: u64,
        seq: u64,
        ordinal: u32,
        outcome: &str,
    ) -> Result<()> {
        self.fence(lane, epoch)?;
        match self.effects.get_mut(&(lane.clone(), seq, ordinal)) {
            Some((_, kept)) => {
                kept.get_or_insert_with(|| outcome.to_owned());
                Ok(())
            }
            None => Err(conflict(
                "the finishing of an effect",
                format!("no effect {lane}/{seq}/{ordinal} exists"),
            )),
        }
    }

    pub(super) fn append_evidence(
        &mut self,
        lane: &LaneId,
        epoch: u64,
        rows: &[EvidenceRow],
    ) -> Result<()> {
        self.fence(lane, epoch)?;
        for row in rows {
            let kept = self
                .evidence
                .get(&row.rollout)
                .and_then(|ticks| ticks.get(&row.tick));
            if kept.is_some_and(|kept| kept != row) {
                let detail = format!("tick {} of {} is recorded otherwise", row.tick, row.rollout);
                return Err(conflict("the recording of evidence", detail));
            }
        }
        for row in rows {
            let ticks = self.evidence.entry(row.rollout.clone()).or_default();
            ticks.insert(row.tick, row.clone());
        }
        Ok(())
    }
    pub(super) fn evidence_since_snapshot(
        &self,
        rollout: &RolloutId,
    ) -> (Option<EvidenceRow>, Vec<EvidenceRow>) {
        let Some(ticks) = self.evidence.get(rollout) else {
            return (None, Vec::new());
        };
        let newest = ticks.values().rev().find(|row| row.snapshot.is_some());
        let from = newest.map_or(0, |row| row.tick + 1);
        let behind = ticks.range(from..).map(|(_, row)| row.clone());
        (newest.cloned(), behind.collect())
    }
    pub(super) fn evidence(&self, rollout: &RolloutId, from: u64, limit: u32) -> Vec<EvidenceRow> {
        let ticks = self.evidence.get(rollout);
        ticks
            .into_iter()
            .flat_map(|ticks| ticks.range(from..))
            .take(most(limit, 500, 5_000))
            .map(|(_, row)| row.clone())
            .collect()
    }
    pub(super) fn put_note(&mut self, note: &NoteRow) {
        let place = (note.lane.clone(), note.topic.clone());
        if self.notes.get(&place).is_none_or(|kept| kept.at <= note.at) {
            self.notes.insert(place, note.clone());
        }
    }
    pub(super) fn note(&self, lane: &LaneId, topic: &str) -> Option<NoteRow> {
        self.notes.get(&(lane.clone(), topic.to_owned())).cloned()
    }

    /// One rollout as readers see it.
    pub fn rollout(&self, id: &RolloutId) -> Option<RolloutRow> {
        self.rollouts.iter().find(|row| row.id == *id).cloned()
    }
    pub(super) fn rollouts(&self, filter: &RolloutFilter) -> Vec<RolloutRow> {
        let before = filter.before.as_ref().map(|id| {
            self.rollouts
                .iter()
                .position(|row| row.id == *id)
                .unwrap_or(0)
        });
        self.rollouts[..before.unwrap_or(self.rollouts.len())]
            .iter()
            .rev()
            .filter(|row| {
                let (service, environment) = (row.lane.service(), row.lane.environment());
                filter.service.as_ref().is_none_or(|it| *it == service)
                    && filter
                        .environment
                        .as_ref()
                        .is_none_or(|it| *it == environment)
                    && filter.release.as_ref().is_none_or(|it| *it == row.release)
                    && filter.by.as_ref().is_none_or(|it| *it == row.created_by)
                    && filter.ended.is_none_or(|it| it == row.outcome.is_some())
            })
            .take(most(filter.limit, 50, 500))
            .cloned()
            .collect()
    }
    pub(super) fn events(&self, filter: &EventFilter) -> Vec<EventRow> {
        let ours = filter.lane == Some(LaneId::installation());
        let own = if ours { self.own_events() } else { Vec::new() };
        let events: &[EventRow] = if ours { &own } else { &self.events };
        let first = events.partition_point(|event| event.number <= filter.after);
        events[first..]
            .iter()
            .filter(|event| filter.lane.as_ref().is_none_or(|lane| event.lane == *lane))
            .filter(|event| filter.rollout.is_none() || event.rollout == filter.rollout)
            .take(most(filter.limit, 500, 5_000))
            .cloned()
            .collect()
    }
    pub(super) fn events_naming(&self, text: &str, limit: u32) -> Vec<EventRow> {
        let oldest = self.last_event().saturating_sub(NAMED_AMONG);
        let newest = self.events.iter().rev();
        let newest = newest.take_while(|event| event.number > oldest);
        newest
            .filter(|event| event.body.to_string().contains(text))
            .take(most(limit, 50, 500))
            .cloned()
            .collect()
    }
    /// How many events there are.
    pub fn last_event(&self) -> u64 {
        self.records.len() as u64
    }
    /// The ledger's right edge.
    pub fn log_head(&self) -> &Frontier {
        &self.frontier
    }
    pub(super) fn log_tile(&self, tile: Tile) -> Vec<Hash> {
        (tile.first()..tile.first().saturating_add(u64::from(tile.width)))
            .map_while(|place| self.hashes.get(&(tile.level, place)).copied())
            .collect()
    }
    /// Events as they are sealed.
    pub fn log_records(&self, filter: &RecordFilter) -> Vec<Record> {
        let lane = filter.lane.as_ref().map(ToString::to_string);
        let behind = self.records.iter().skip(filter.after as usize);
        behind
            .filter(|record| lane.as_ref().is_none_or(|lane| record.lane == *lane))
            .take(most(filter.limit, 500, 5_000))
            .cloned()
            .collect()
    }
    pub(super) fn put_token(&mut self, token: &TokenRow) -> Result<()> {
        let taken = |kept: &TokenRow| kept.id == token.id || kept.secret == token.secret;
        if self.tokens.iter().any(taken) {
            return Err(StoreError::Unavailable {
                what: "the keeping of a token",
                source: "its id or its secret exists".into(),
            });
        }
        self.tokens.push(token.clone());
        let (by, at) = (&token.created_by, token.created_at);
        let message = format!("token {} for {} was made by {by}", token.id, token.name);
        self.tell("token_made", message, token, by, at);
        Ok(())
    }
    pub(super) fn token(&self, secret: &Digest) -> Option<TokenRow> {
        self.tokens
            .iter()
            .find(|row| row.secret == *secret)
            .cloned()
    }
    pub(super) fn tokens(&self, limit: u32) -> Vec<TokenRow> {
        let mut rows = self.tokens.clone();
        rows.reverse();
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        rows.truncate(most(limit, 500, 5_000));
        rows
    }
    pub(super) fn revoke_token(&mut self, id: &str, by: &str, at: Timestamp) -> Option<TokenRow> {
        let row = self.tokens.iter_mut().find(|row| row.id == id)?;
        let is_new = row.revoked_at.is_none();
        row.revoked_at.get_or_insert(at);
        let row = row.clone();
        if is_new {
            let message = format!("token {id} of {} was revoked by {by}", row.name);
            self.tell("token_revoked", message, &row, by, at);
        }
        Some(row)
    }
    pub(super) fn verify(&self) -> Vec<String> {
        let mut walk = Walk::default();
        let mut findings: Vec<String> = self
            .records
            .iter()
            .filter_map(|record| walk.step(record).err().map(|error| error.to_string()))
            .collect();
        for (lane, seq) in walk.removed() {
            let told = self
                .pruned
                .iter()
                .any(|(id, to)| id.as_str() == lane && to >= seq);
            if !told {
                findings.push(format!("the words of {lane} are gone, and nothing says so"));
            }
        }
        if *walk.frontier() != self.frontier {
            findings.push("the ledger's root does not cover every event".to_owned());
        }
        findings
    }
}

impl LaneTable {
    /// The lease holds up to and including its last moment.
    fn is_free(&self, now: Timestamp) -> bool {
        self.owner.as_ref().is_none_or(|(_, until)| *until < now)
    }

    fn row(&self, id: &LaneId) -> LaneRow {
        LaneRow {
            lane: id.clone(),
            seq: self.seq,
            epoch: self.epoch,
            owner: self.owner.as_ref().map(|(owner, _)| owner.clone()),
            owned_until: self.owner.as_ref().map(|(_, until)| *until),
            state: self.state.clone(),
            active: self.active,
        }
    }
}
