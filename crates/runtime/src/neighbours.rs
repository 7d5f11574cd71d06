//! Several controllers over one store: what the others own is seen here too, and what they
//! decided is heard of.
//!
//! Hints only say when to look; what is true is always read from the store. Agents report to every
//! controller, so a lane's target is seen here whoever owns the lane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airboss_engine::Lane;
use airboss_model::LaneId;
use airboss_store::{EventFilter, LaneRow, StoreError};
use airboss_telemetry::Recent;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::judging::Judging;
use crate::lane::{Listener as _, Snapshot};
use crate::{Runtime, lock};

/// How often the store is looked at where no hint comes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Hints that come within this time are one.
const TOGETHER: Duration = Duration::from_millis(5);
/// Lanes of others whose judge is followed each second; beyond it they are shown without.
const JUDGED_MAX: usize = 32;

/// Lanes that other controllers own, as readers see them.
#[derive(Default)]
pub(crate) struct Neighbours(Mutex<BTreeMap<LaneId, watch::Sender<Arc<Snapshot>>>>);

impl Neighbours {
    pub(crate) fn follow(&self, lane: &LaneId) -> Option<watch::Receiver<Arc<Snapshot>>> {
        lock(&self.0).get(lane).map(watch::Sender::subscribe)
    }
    pub(crate) fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let lanes = lock(&self.0);
        lanes.values().map(|it| it.borrow().clone()).collect()
    }
    /// The lane is ours now.
    pub(crate) fn forget(&self, lane: &LaneId) {
        lock(&self.0).remove(lane);
    }

    fn change(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let mut lanes = lock(&self.0);
        match lanes.get(snapshot.id()) {
            Some(known) => drop(known.send_replace(snapshot)),
            None => drop(lanes.insert(snapshot.id().clone(), watch::Sender::new(snapshot))),
        }
    }
}

impl Runtime {
    /// Learns of every lane that others own.
    pub(crate) async fn meet_neighbours(&self) -> Result<(), StoreError> {
        for row in self.store.lanes().await? {
            self.meet(row);
        }
        Ok(())
    }

    /// Looks when there is a hint, and now and then without one, until the process ends.
    pub(crate) async fn look_around(self: Arc<Self>, mut hints: watch::Receiver<u64>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut seen) = (false, *self.shared.last_event.borrow());
        loop {
            let is_second = tokio::select! {
                // In one order: worlds are played again from their seeds.
                biased;
                _ = second.tick() => true,
                hint = hints.changed() => {
                    // Without hints there is the clock.
                    tokio::time::sleep(if hint.is_ok() { TOGETHER } else { LOOK_EVERY }).await;
                    false
                }
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            hints.mark_unchanged();
            let looked = match is_second {
                true => self.watch_neighbours().await,
                false => self.look(&mut seen).await,
            };
            match looked {
                Ok(()) => told = false,
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(%error, "the store does not say what other controllers do");
                }
                Err(_) => {}
            }
        }
    }

    /// What happened since: new events, commands for lanes of ours, answers by others.
    async fn look(&self, seen: &mut u64) -> Result<(), StoreError> {
        let newest = self.store.last_event().await?;
        while *seen < newest {
            let filter = EventFilter {
                after: *seen,
                ..EventFilter::default()
            };
            let events = self.store.events(&filter).await?;
            let Some(last) = events.last().map(|event| event.number) else {
                break;
            };
            let lanes: BTreeSet<_> = events.into_iter().map(|event| event.lane).collect();
            for lane in lanes {
                if !self.is_ours(&lane)
                    && let Some(row) = self.store.lane(&lane).await?
                {
                    self.meet(row);
                }
            }
            *seen = last;
        }
        self.shared.happened(newest);
        for lane in self.store.waiting(&self.owner).await? {
            if let Some(handle) = lock(&self.shared.lanes).get(&lane) {
                handle.wake.notify_one();
            }
        }
        let keys: Vec<String> = lock(&self.shared.waiting).keys().cloned().collect();
        for key in keys {
            if let Some(entry) = self.store.inbox_entry(&key).await?
                && let Some(answer) = &entry.answer
                && let Ok(answer) = serde_json::from_value(answer.clone())
            {
                self.shared.answered(&entry, &answer);
            }
        }
        Ok(())
    }

    fn is_ours(&self, lane: &LaneId) -> bool {
        lock(&self.shared.lanes).contains_key(lane)
    }

    /// Shows a lane of another as it is committed.
    pub(crate) fn meet(&self, row: LaneRow) {
        if self.is_ours(&row.lane) {
            return;
        }
        let lane = match row.state.map(serde_json::from_value::<Arc<Lane>>) {
            Some(Ok(lane)) => lane,
            None => return,
            Some(Err(error)) => {
                tracing::warn!(lane = %row.lane, %error, "a lane of another controller is not understood here");
                return;
            }
        };
        let known = self.shared.neighbours.follow(&lane.id);
        let known = known.map(|known| known.borrow().clone());
        self.shared.neighbours.change(Snapshot {
            at: self.clock.now(),
            observed: self.hub.follow(&lane.id).borrow().clone(),
            assessment: known.as_ref().and_then(|known| known.assessment.clone()),
            recent: known
                .as_ref()
                .map_or_else(Recent::default, |known| known.recent.clone()),
            learnt: known.and_then(|known| known.learnt.clone()),
            lane,
        });
    }

    /// A second of every lane that others own: its traffic and target as agents told us, its
    /// judge as it is recorded. Traffic is taken here so that a lane which becomes ours begins
    /// with its newest second.
    async fn watch_neighbours(&self) -> Result<(), StoreError> {
        let mut judged = 0;
        for known in self.shared.neighbours.snapshots() {
            if self.is_ours(known.id()) {
                self.shared.neighbours.forget(known.id());
                continue;
            }
            let mut next = Snapshot::clone(&known);
            next.at = self.clock.now();
            next.observed = self.hub.follow(known.id()).borrow().clone();
            next.recent.push(self.hub.take_traffic(known.id()).sums());
            let exposed = known.lane.active.as_ref().filter(|it| it.exposed);
            next.assessment = match exposed {
                Some(rollout) if judged < JUDGED_MAX => {
                    judged += 1;
                    let judging = Judging::resume(rollout, &*self.store, None).await?;
                    judging.assessment().cloned().or(next.assessment)
                }
                _ => None,
            };
            // It may have become ours meanwhile.
            if !self.is_ours(known.id()) {
                self.shared.neighbours.change(next);
            }
        }
        Ok(())
    }
}
