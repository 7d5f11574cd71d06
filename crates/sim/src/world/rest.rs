//! The end of a world: all faults stop, and everything has to come to rest.

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::Phase;
use tokio::time::sleep;

use super::{World, lock};
use crate::agent::AgentFaults;
use crate::store::WireFaults;
use crate::story::Verb;
use crate::witness::{Finding, Promise, Sight};

/// Seconds after the last fault within which every rollout has ended.
const REST: u64 = 300;

impl World {
    /// Every fault stops.
    pub(super) fn heal(self: &Arc<Self>) {
        lock(&self.agent).faults = AgentFaults::default();
        for index in 0..self.controllers.len() {
            let dead = {
                let mut it = lock(&self.controllers[index]);
                it.cut_until = None;
                it.wire.change(|faults| {
                    *faults = WireFaults {
                        dead: faults.dead,
                        slow: Duration::from_millis(3),
                        ..WireFaults::default()
                    };
                });
                it.runtime.is_none()
            };
            // One that waits for its start is started now; one that starts already goes on.
            if dead {
                self.crash(index, 0);
                self.start(index);
            }
        }
    }

    /// Whatever is still under way is aborted, and must come to its end.
    pub(super) async fn rest(self: &Arc<Self>) {
        for round in 0..REST {
            sleep(Duration::from_secs(1)).await;
            if self.eye.is_over() {
                return;
            }
            let mut quiet = true;
            for (number, (id, _)) in self.lanes.iter().enumerate() {
                quiet &= self.store.tables().inbox(id, 1).is_empty();
                let Some(lane) = self.state(id) else { continue };
                quiet &= lane.active.is_none() && lane.queue.is_empty();
                let stoppable = lane.active.as_ref().is_some_and(|active| {
                    !matches!(
                        active.phase,
                        Phase::RollingBack { .. } | Phase::Draining { .. }
                    )
                });
                let waits = lane.active.is_none() && !lane.queue.is_empty();
                // What asked first may be answered late: no faster than a person would.
                if round % 10 == 5 && (stoppable || waits) {
                    self.operate(number, number, Verb::Abort { force: false });
                }
            }
            if quiet && round > 20 {
                break;
            }
        }
        for (id, _) in &self.lanes {
            let waiting = self.store.tables().inbox(id, 1).len();
            if waiting > 0 && !self.eye.is_over() {
                self.eye.inner().finding = Some(Finding {
                    promise: Promise::Commands,
                    what: format!("a command of {id} was accepted and never decided"),
                });
                return;
            }
            let routes = lock(&self.agent).host.routes(id);
            let weight = lock(&self.agent).host.exposure(id).0;
            self.eye.see(Sight::Rested {
                lane: id.clone(),
                weight,
                stable: routes.first().map(|route| route.arm.clone()),
                effects: self.store.tables().pending_effects(id).len(),
            });
        }
    }
}
