//! What lanes do: commands wait, claims are taken, decisions are committed, effects finished.

use airboss_ledger::Record;
use airboss_model::{LaneId, RolloutId, Timestamp};
use airboss_store::{
    Commit, Committed, EffectRow, EventRow, EvidenceRow, InboxEntry, InputRow, LaneRow,
    NewInboxEntry, StoreError,
};
use serde_json::Value;

use super::tables::{Broken, Result, Tables, conflict, most};

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

impl Tables {
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
