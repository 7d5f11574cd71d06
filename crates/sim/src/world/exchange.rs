//! The agent at work: users, instances, and what it and the controllers tell each other.

use std::sync::Arc;
use std::time::Duration;

use airboss_model::traffic::Weight;
use rand::RngExt as _;
use tokio::time::sleep;

use super::{World, lock};
use crate::agent::lasts;
use crate::witness::Sight;

/// The agent's step.
const TICK: Duration = Duration::from_millis(250);

impl World {
    /// The agent at work.
    pub(super) async fn serve(self: Arc<Self>) {
        loop {
            sleep(TICK).await;
            let now = self.now();
            if lasts(lock(&self.agent).faults.down_until) {
                continue;
            }
            lock(&self.agent).pass(TICK.as_secs_f64(), now);
            for (lane, _) in &self.lanes {
                let (weight, until) = lock(&self.agent).host.exposure(lane);
                // While the splitter hears nothing it does nothing: that is this fault.
                if lasts(lock(&self.agent).faults.stuck_until) {
                    continue;
                }
                // A first version is no exposure: there is nothing that users could return to.
                self.eye.see(Sight::Exposed {
                    lane: lane.clone(),
                    weight: until.map_or(Weight::ZERO, |_| weight),
                    at: self.begun.elapsed(),
                });
            }
            for index in 0..self.controllers.len() {
                let reached = lock(&self.controllers[index]).is_reached();
                let busy = std::mem::replace(&mut lock(&self.agent).links[index].busy, true);
                if busy {
                    continue;
                }
                if reached {
                    tokio::spawn(Arc::clone(&self).exchange(index));
                } else {
                    lock(&self.agent).links[index].busy = false;
                }
            }
        }
    }

    /// How long a message is under way.
    async fn travel(&self) {
        let most = match lock(&self.agent).faults.delays {
            Some((millis, until)) if lasts(Some(until)) => millis,
            _ => 5,
        };
        let millis = lock(&self.rng).random_range(0..=most);
        sleep(Duration::from_millis(millis)).await;
    }

    /// One report and its answer, then what shall be true.
    async fn exchange(self: Arc<Self>, index: usize) {
        let (hub, clock, boot) = {
            let it = lock(&self.controllers[index]);
            let boot = lock(&self.agent).links[index].boot;
            (Arc::clone(&it.hub), it.clock.clone(), boot)
        };
        let report = lock(&self.agent).report(index, self.now());
        let twice = lasts(lock(&self.agent).faults.duplicates_until);
        self.travel().await;
        let alike = |world: &Self| lock(&world.agent).links[index].boot == boot;
        if alike(&self) && lock(&self.controllers[index]).is_reached() {
            if twice {
                let _ = hub.report(report.clone(), clock.now());
            }
            let answer = hub.report(report, clock.now());
            self.travel().await;
            let lost =
                lasts(lock(&self.agent).faults.lost_acks_until) && lock(&self.rng).random_bool(0.5);
            if let Ok(ack) = answer
                && alike(&self)
                && !lost
                && !lasts(lock(&self.agent).faults.down_until)
            {
                lock(&self.agent).acknowledged(index, &ack.renewed, self.now());
            }
            let world = Arc::clone(&self);
            // An older answer may be overtaken by a newer one.
            tokio::spawn(async move {
                let set = hub.desired("agent", 0, Duration::ZERO).await;
                world.travel().await;
                if !lasts(lock(&world.agent).faults.down_until) {
                    for desired in &set.lanes {
                        let took = lock(&world.agent).host.take_in(desired, world.now());
                        if took {
                            world.eye.see(Sight::TookIn(Box::new(desired.clone())));
                        }
                    }
                }
            });
        }
        if alike(&self) {
            lock(&self.agent).links[index].busy = false;
        }
    }
}
