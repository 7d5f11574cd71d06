//! The way back to stable. It always proceeds: nothing in here waits for anyone.

use airboss_model::traffic::Weight;

use super::Turn;
use crate::event::{Cause, Event};
use crate::input::Urgency;
use crate::lane::{Phase, process};
use crate::timer::{ROUTER_DEADLINE, elapsed, retry_at};

impl Turn {
    /// Starts the way back; on the way already, `force` hurries it.
    pub(super) fn roll_back(&mut self, cause: Cause, reason: String, force: bool) {
        let Some(rollout) = self.active() else { return };
        match &rollout.phase {
            // Stable is being replaced for good: there is no way back but a new rollout.
            Phase::Draining { .. } => {}
            Phase::RollingBack { weight, surge, .. } => {
                if force && *weight > Weight::ZERO {
                    let surge = *surge;
                    self.emit(Event::RollbackStaged {
                        weight: Weight::ZERO,
                        surge,
                    });
                }
            }
            Phase::Preparing { .. } | Phase::Shifting { .. } | Phase::Observing { .. } => {
                let (weight, surge) = if force {
                    (Weight::ZERO, 0)
                } else {
                    self.staged_weight()
                };
                let text = format!(
                    "{} of {} is rolled back: {}",
                    rollout.id(),
                    rollout.request.release,
                    first_line(&reason)
                );
                let urgency = if matches!(cause, Cause::Person { .. } | Cause::Superseded { .. }) {
                    Urgency::Note
                } else {
                    Urgency::Ticket
                };
                self.notify(urgency, text);
                self.emit(Event::RollbackStarted {
                    cause,
                    reason,
                    weight,
                    surge,
                    at: self.now,
                });
            }
        }
    }

    /// The share that must stay on the canary for now, and the extra stable instances to ask
    /// for: 0 % at once wherever stable has the capacity for all, or the canary has none ready.
    fn staged_weight(&self) -> (Weight, u32) {
        let (Some(rollout), Some(stable)) = (self.active(), &self.lane.stable) else {
            return (Weight::ZERO, 0);
        };
        let current = self
            .lane
            .desired
            .as_ref()
            .map_or(Weight::ZERO, |desired| desired.traffic.canary_weight);
        let full = process(&stable.service).instances.max(1);
        let ready = self.lane.seen_arm(&stable.arm).ready.min(full);
        let canary_ready = self.lane.seen_arm(rollout.id()).ready;
        // A silent target's readiness is not known: assume the best, its splitter protects users.
        if ready == full || canary_ready == 0 || self.lane.target_lost.is_some() {
            return (Weight::ZERO, 0);
        }
        // A stable of any use takes an eighth more, and a bad canary shall not wait for that.
        if ready > 0
            && u32::from(current.basis_points()) * 8 <= u32::from(current.rest().basis_points())
        {
            return (Weight::ZERO, 0);
        }
        let takes = u16::try_from(u64::from(ready) * 10_000 / u64::from(full)).unwrap_or(10_000);
        (
            Weight::from_basis_points(takes).rest().min(current),
            full - ready,
        )
    }

    /// Why a share stays on the canary, for people; nothing where none shall.
    fn lacking(&self, weight: Weight) -> String {
        match &self.lane.stable {
            Some(stable) if weight > Weight::ZERO => format!(
                ", stable has {} of {} instances ready (`airboss abort --force` does not wait for them)",
                self.lane.seen_arm(&stable.arm).ready,
                process(&stable.service).instances
            ),
            _ => String::new(),
        }
    }

    /// One step on the way back; false where there is nothing to do yet.
    pub(super) fn advance_rollback(&mut self) -> bool {
        let Some(rollout) = self.active() else {
            return false;
        };
        let Phase::RollingBack {
            since,
            weight,
            surge,
            returned_at: None,
            retries,
            ..
        } = &rollout.phase
        else {
            return false;
        };
        let (since, weight, surge, retries) = (*since, *weight, *surge, *retries);
        if weight == Weight::ZERO && self.lane.traffic_confirmed() {
            let took = elapsed(since, self.now);
            self.emit(Event::ReturnedToStable { took, at: self.now });
            return true;
        }
        let (possible, missing) = self.staged_weight();
        if possible < weight || (missing > surge && weight > Weight::ZERO) {
            self.emit(Event::RollbackStaged {
                weight: possible.min(weight),
                surge: missing.max(surge),
            });
            return true;
        }
        if retry_at(rollout).is_some_and(|at| at <= self.now) {
            let id = rollout.id().clone();
            let waited = elapsed(since, self.now);
            self.emit(Event::RollbackRetried {
                retries: retries + 1,
                at: self.now,
            });
            if waited.0 >= ROUTER_DEADLINE {
                let text = format!(
                    "{id} is not back on stable after {waited}: asked for {weight}, observed {}{}; still trying",
                    self.shown(),
                    self.lacking(weight)
                );
                self.notify(Urgency::Page, text);
            }
            self.ask_again();
            return true;
        }
        false
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
