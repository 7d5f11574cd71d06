//! What is recorded for ever, and how readers find it.

use airboss_ledger::{Frontier, Hash, Record, Tile, Walk};
use airboss_model::{LaneId, RolloutId};
use airboss_store::{EventFilter, EventRow, NAMED_AMONG, RecordFilter, RolloutFilter, RolloutRow};

use super::tables::{Broken, Tables, most};

impl Tables {
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
