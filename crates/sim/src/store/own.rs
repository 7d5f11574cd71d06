//! What happens to the installation itself, and what retention takes of histories.

use std::collections::BTreeMap;

use airboss_ledger::Record;
use airboss_model::{LaneId, RolloutId, Timestamp};
use airboss_store::{EventRow, InboxEntry, Pruning, StoreError};
use serde_json::{Value, json};

use super::tables::{Tables, conflict};

impl Tables {
    /// Seals an event of the installation.
    pub(super) fn tell(
        &mut self,
        kind: &str,
        message: String,
        body: &impl serde::Serialize,
        by: &str,
        at: Timestamp,
    ) {
        let number = self.records.len() as u64 + 1;
        self.own.seq += 1;
        let record = Record {
            number,
            previous: self.own.last_event,
            lane: LaneId::installation().to_string(),
            seq: self.own.seq,
            rollout: None,
            at: at.as_microsecond(),
            kind: kind.to_owned(),
            message,
            body: json!(body).to_string(),
            input: json!({ "by": by }).to_string(),
            removed: None,
        };
        self.own.last_event = number;
        self.append(record);
    }

    /// The installation's events.
    pub(super) fn own_events(&self) -> Vec<EventRow> {
        let lane = LaneId::installation();
        let own = self.records.iter().filter(|it| it.lane == lane.as_str());
        own.map(|record| EventRow {
            number: record.number,
            lane: lane.clone(),
            seq: record.seq,
            rollout: None,
            at: Timestamp::from_microsecond(record.at).unwrap_or_default(),
            kind: record.kind.clone(),
            message: record.message.clone(),
            body: serde_json::from_str(&record.body).unwrap_or_default(),
        })
        .collect()
    }

    pub(super) fn prune(&mut self, pruning: &Pruning) -> Result<u64, StoreError> {
        let Pruning { lane, seq, .. } = pruning;
        if self.lanes.get(lane).is_none_or(|it| it.seq < *seq) {
            let detail = format!("{lane} has no commit {seq} yet");
            return Err(conflict("the removal of old history", detail));
        }
        let mut removed = 0;
        for record in &mut self.records {
            if record.lane == lane.as_str() && record.seq <= *seq && record.removed.is_none() {
                record.removed = Some(record.texts());
                record.message.clear();
                record.body.clear();
                record.input.clear();
                removed += 1;
            }
        }
        // The last commit of each of the lane's rollouts, and when the last that goes was decided.
        let mut ends: BTreeMap<RolloutId, u64> = BTreeMap::new();
        let mut at = None;
        for event in self.events.iter_mut().filter(|it| it.lane == *lane) {
            ends.extend(event.rollout.clone().map(|id| (id, event.seq)));
            if event.seq <= *seq {
                at = at.max(Some(event.at));
                event.message.clear();
                event.body = Value::Null;
            }
        }
        self.inputs.retain(|(of, at), _| of != lane || at > seq);
        let measured = self.evidence.len();
        self.evidence
            .retain(|id, _| ends.get(id).is_none_or(|end| end > seq));
        let measured = measured - self.evidence.len();
        let old = |it: &&mut InboxEntry| it.lane == *lane && it.answer.is_some();
        for entry in self.inbox.iter_mut().filter(old) {
            if Some(entry.at) <= at {
                entry.body = Value::Null;
            }
        }
        self.effects
            .retain(|(of, at, _), (_, outcome)| of != lane || at > seq || outcome.is_none());
        if removed > 0 {
            self.pruned.insert(lane.clone(), *seq);
            let message = format!(
                "the words of {removed} events of {lane} were removed, their seals stay, and the measurements of {measured} rollouts: {}",
                pruning.why
            );
            let body = json!({ "lane": lane, "seq": seq, "state": pruning.state });
            self.tell("history_removed", message, &body, &pruning.by, pruning.at);
        }
        Ok(removed)
    }
}
