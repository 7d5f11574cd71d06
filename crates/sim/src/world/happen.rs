//! What happens in a world, from its story.

use std::sync::Arc;
use std::time::Duration;

use airboss_model::traffic::Weight;
use tokio::time::{Instant, sleep};

use super::{World, lock};
use crate::agent::AgentFaults;
use crate::store::WireFaults;
use crate::story::Happening;

impl World {
    /// Lets one thing happen; what lasts ends by itself.
    pub(super) fn let_happen(self: &Arc<Self>, happening: &Happening) {
        let now = Instant::now();
        let until = |seconds: u64| Some(now + Duration::from_secs(seconds));
        let wire = |index: usize, with: &dyn Fn(&mut WireFaults)| {
            lock(&self.controllers[index % self.controllers.len()])
                .wire
                .change(with);
        };
        let agent = |with: &dyn Fn(&mut AgentFaults)| with(&mut lock(&self.agent).faults);
        match *happening {
            Happening::Operator {
                lane,
                through,
                verb,
            } => self.operate(lane % self.lanes.len().max(1), through, verb),
            Happening::Crash {
                controller,
                down,
                skew,
            } => {
                let index = controller % self.controllers.len();
                self.crash(index, skew);
                let world = Arc::clone(self);
                let name = lock(&self.controllers[index]).name.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_secs(down)).await;
                    if lock(&world.controllers[index]).name == name {
                        world.start(index);
                    }
                });
            }
            Happening::Freeze {
                controller,
                seconds,
            } => {
                wire(controller, &|faults| faults.frozen_until = until(seconds));
                let index = controller % self.controllers.len();
                lock(&self.controllers[index]).cut_until = until(seconds);
            }
            Happening::StoreAway { seconds } => {
                for index in 0..self.controllers.len() {
                    wire(index, &|faults| faults.away_until = until(seconds));
                }
            }
            Happening::LostAnswers {
                controller,
                percent,
                seconds,
            } => {
                wire(controller, &|faults| {
                    faults.lost_answers = percent as f64 / 100.0
                });
                self.later(seconds, move |world| {
                    let index = controller % world.controllers.len();
                    lock(&world.controllers[index])
                        .wire
                        .change(|faults| faults.lost_answers = 0.0);
                });
            }
            Happening::SlowStore {
                controller,
                millis,
                seconds,
            } => {
                wire(controller, &|faults| {
                    faults.slow = Duration::from_millis(millis)
                });
                self.later(seconds, move |world| {
                    let index = controller % world.controllers.len();
                    lock(&world.controllers[index])
                        .wire
                        .change(|faults| faults.slow = Duration::from_millis(3));
                });
            }
            Happening::Cut {
                controller,
                seconds,
            } => {
                let index = controller % self.controllers.len();
                lock(&self.controllers[index]).cut_until = until(seconds);
            }
            Happening::LostAcks { seconds } => {
                agent(&|faults| faults.lost_acks_until = until(seconds))
            }
            Happening::Duplicates { seconds } => {
                agent(&|faults| faults.duplicates_until = until(seconds))
            }
            Happening::Delays { millis, seconds } => {
                agent(&|faults| faults.delays = until(seconds).map(|until| (millis, until)));
            }
            Happening::AgentDown { seconds } => {
                let mut agent = lock(&self.agent);
                agent.restart();
                agent.faults.down_until = until(seconds);
            }
            Happening::Stuck { seconds } => agent(&|faults| faults.stuck_until = until(seconds)),
            Happening::Lie { weight, seconds } => {
                let weight = Weight::from_basis_points(weight);
                agent(&|faults| faults.lie = until(seconds).map(|until| (weight, until)));
            }
            Happening::NoMeasurements { seconds } => {
                agent(&|faults| faults.mute_until = until(seconds))
            }
            Happening::OldMeasurements { seconds } => {
                agent(&|faults| faults.old_until = until(seconds))
            }
            Happening::AbsurdMeasurements { seconds } => {
                agent(&|faults| faults.absurd_until = until(seconds));
            }
        }
    }

    fn later(self: &Arc<Self>, seconds: u64, act: impl FnOnce(&Self) + Send + 'static) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(Duration::from_secs(seconds)).await;
            act(&world);
        });
    }
}
