//! How far a lane can go with what is known.

use airboss_model::manifest::Then;
use airboss_model::time::since;
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, Timestamp};

use super::Turn;
use super::command::plan_of;
use crate::event::{Cause, Event, Outcome, PassedBy, then_word};
use crate::input::{Effect, Urgency};
use crate::lane::Phase;
use crate::plan::Step;
use crate::timer::{
    drain_deadline, elapsed, may_end, may_take_all, prepare_deadline, replace_deadline,
    stall_deadline,
};

/// More moves than one input can ever cause: 50 steps of three moves, twice over.
const MOVES_MAX: usize = 300;

impl Turn {
    /// Moves on until there is nothing more to do.
    pub(super) fn advance(&mut self) {
        for _ in 0..MOVES_MAX {
            if !self.move_once() {
                return;
            }
        }
        debug_assert!(false, "the lane does not come to rest: {:?}", self.lane);
    }

    fn move_once(&mut self) -> bool {
        let Some(rollout) = self.active() else {
            return self.start_next();
        };
        match rollout.phase {
            Phase::Preparing { .. } => self.advance_preparing(),
            Phase::Shifting { .. } => self.advance_shifting(),
            Phase::Observing { .. } => self.advance_observing(),
            Phase::Draining { .. } => self.advance_draining(),
            Phase::RollingBack {
                returned_at: None, ..
            } => self.advance_rollback(),
            Phase::RollingBack { .. } => self.advance_returned(),
        }
    }

    fn start_next(&mut self) -> bool {
        let Some(next) = self.lane.queue.front().cloned() else {
            return false;
        };
        let rollout = next.rollout.clone();
        if self.is_stable(&next) {
            let reason = self.nothing_to_change(&next);
            self.emit(Event::Withdrawn {
                rollout,
                outcome: Outcome::Shipped,
                reason,
            });
            return true;
        }
        if self.blocked(&next).is_some() {
            return false;
        }
        let mut plan = plan_of(&next, self.lane.stable.is_some());
        let forgiven = self.lane.forgiven(&next, self.now);
        let vouch = forgiven.is_none() && !next.evidence.is_empty();
        let notes: Vec<String> = plan.note.take().into_iter().chain(forgiven).collect();
        plan.note = (!notes.is_empty()).then(|| notes.join("; "));
        self.emit(Event::Started {
            rollout,
            plan,
            at: self.now,
        });
        if vouch {
            self.effects.push(Effect::Vouch {
                release: next.release,
                digest: next.digest,
                lane: self.lane.id.clone(),
                items: next.evidence,
                at: self.now,
            });
        }
        true
    }

    fn advance_preparing(&mut self) -> bool {
        let Some(rollout) = self.active() else {
            return false;
        };
        let Phase::Preparing { step, since: began } = rollout.phase else {
            return false;
        };
        let needed = rollout.needed(step);
        let arm = self.lane.seen_arm(rollout.id());
        if arm.ready >= needed
            && rollout.paused.is_none()
            && !rollout.growth_held()
            && rollout.shaken().is_empty()
        {
            let weight = rollout.plan.weight(step);
            let ready_took = elapsed(began, self.now);
            self.emit(Event::StepShifting {
                step,
                weight,
                ready_took,
                at: self.now,
            });
            return true;
        }
        if arm.ready < needed && prepare_deadline(rollout).is_some_and(|at| at <= self.now) {
            let mut reason = format!(
                "{} of {needed} instances ready after {}",
                arm.ready,
                elapsed(began, self.now)
            );
            if let Some(lost) = self.lane.target_lost {
                reason += &format!("; the agent has been silent since {lost}");
            }
            if let Some(problem) = self
                .lane
                .seen
                .as_ref()
                .and_then(|seen| seen.problems.first())
            {
                reason += &format!("; {problem}");
            }
            self.roll_back(Cause::Instances, reason, false);
            return true;
        }
        false
    }

    fn advance_shifting(&mut self) -> bool {
        let Some(rollout) = self.active() else {
            return false;
        };
        let Phase::Shifting { step, since: began } = rollout.phase else {
            return false;
        };
        let weight = rollout.plan.weight(step);
        if self.lane.traffic_confirmed() {
            let took = elapsed(began, self.now);
            self.emit(Event::StepConfirmed {
                step,
                weight,
                took,
                at: self.now,
            });
            return true;
        }
        self.stall_of_a_weight(weight, began)
    }

    /// Tells people that a weight, asked for or lost at `since`, has not been confirmed in time.
    fn stall_of_a_weight(&mut self, weight: Weight, since: Timestamp) -> bool {
        let late = self
            .active()
            .and_then(|rollout| stall_deadline(rollout, since))
            .is_some_and(|at| at <= self.now);
        if late {
            let reason = format!(
                "stalled: weight {weight} is asked for and the data plane has shown {} for {}; the step does not count until it is confirmed",
                self.shown(),
                elapsed(since, self.now)
            );
            self.stall(reason);
        }
        late
    }

    fn stall(&mut self, reason: String) {
        let Some(rollout) = self.active() else { return };
        let text = format!("{} {reason}", rollout.id());
        self.notify(Urgency::Page, text);
        self.emit(Event::Stalled {
            reason,
            at: self.now,
        });
        self.ask_again();
    }

    /// The canary's share that the data plane shows, for people.
    pub(super) fn shown(&self) -> String {
        self.lane
            .seen_traffic()
            .map_or("nothing".to_owned(), |seen| seen.canary_weight.to_string())
    }

    fn advance_observing(&mut self) -> bool {
        let Some(rollout) = self.active() else {
            return false;
        };
        let Phase::Observing {
            step,
            since: began,
            deadline_passed,
        } = rollout.phase
        else {
            return false;
        };
        let Some(plan) = rollout.plan.steps.get(step).cloned() else {
            return false;
        };
        let lost = rollout.unconfirmed_since;
        match (self.lane.traffic_confirmed(), lost) {
            (true, Some(lost)) => {
                let (weight, took) = (plan.weight, elapsed(lost, self.now));
                self.emit(Event::StepConfirmed {
                    step,
                    weight,
                    took,
                    at: self.now,
                });
                true
            }
            (false, None) => {
                let seen = self.lane.seen_traffic().map(|seen| seen.canary_weight);
                self.emit(Event::StepUnconfirmed {
                    step,
                    weight: plan.weight,
                    seen,
                    at: self.now,
                });
                true
            }
            // A step without its weight is not over by any measure: its time stands still.
            (false, Some(lost)) => self.stall_of_a_weight(plan.weight, lost),
            (true, None) => self.end_step(step, &plan, began, deadline_passed),
        }
    }

    /// Ends a step by proof, plan or policy, where its time has come.
    fn end_step(
        &mut self,
        step: usize,
        plan: &Step,
        began: Timestamp,
        deadline_passed: bool,
    ) -> bool {
        let Some(rollout) = self.active().filter(|rollout| rollout.paused.is_none()) else {
            return false;
        };
        let watched = since(began, self.now);
        let note = rollout.verdict.clone().filter(|note| note.step == step);
        let shaken = rollout.shaken();
        let grows = !rollout.growth_held() && shaken.is_empty();
        if watched >= plan.at_least.0 && may_end(&self.lane, rollout, step) {
            if may_take_all(&self.lane, rollout, step) {
                let reason = match (&note, plan.needs_pass) {
                    (Some(note), true) => note.reason.clone(),
                    (Some(note), false) => {
                        format!("watched for {}: {}", plan.at_least, note.reason)
                    }
                    (None, _) => format!("watched for {}; the step needs no proof", plan.at_least),
                };
                let by = if plan.needs_pass {
                    PassedBy::Evidence
                } else {
                    PassedBy::Plan
                };
                self.pass(step, by, reason);
                return true;
            }
            if replace_deadline(rollout, began, plan.at_least) <= self.now {
                let reason = format!(
                    "{} of {} instances ready at {} after {}, so the old version cannot go",
                    self.lane.seen_arm(rollout.id()).ready,
                    rollout.needed(step),
                    plan.weight,
                    elapsed(began, self.now)
                );
                self.roll_back(Cause::Instances, reason, false);
                return true;
            }
        }
        let Some(at_most) = plan
            .at_most
            .filter(|span| !deadline_passed && watched >= span.0)
        else {
            return false;
        };
        let evidence = note.map_or("no verdict yet".to_owned(), |note| note.reason);
        let reason = format!(
            "{at_most} passed without proof, and the policy is to {}; the evidence: {evidence}",
            then_word(plan.then)
        );
        match plan.then {
            Then::Promote if grows && self.lane.follows() => {
                self.pass(step, PassedBy::Policy, reason);
            }
            Then::Rollback => self.roll_back(Cause::Deadline, reason, false),
            Then::Promote | Then::Hold => {
                let why = match plan.then {
                    Then::Promote if grows => "; it holds: the data plane does not follow",
                    Then::Promote if !shaken.is_empty() => {
                        "; it holds: the artifact's evidence holds no longer"
                    }
                    Then::Promote => "; it holds: the evidence forbids to grow the exposure",
                    Then::Hold | Then::Rollback => "",
                };
                let reason = reason + why;
                let text = format!("{} holds: {reason}", rollout.id());
                self.notify(Urgency::Ticket, text);
                self.emit(Event::DeadlineHeld { step, reason });
            }
        }
        true
    }

    fn pass(&mut self, step: usize, by: PassedBy, reason: String) {
        let last = self
            .active()
            .is_none_or(|rollout| rollout.plan.is_last(step));
        if last {
            self.emit(Event::Promoted {
                reason,
                at: self.now,
            });
        } else {
            self.emit(Event::StepPassed {
                step,
                next: step + 1,
                by,
                reason,
                at: self.now,
            });
        }
    }

    fn advance_draining(&mut self) -> bool {
        let Some(rollout) = self.active() else {
            return false;
        };
        let Phase::Draining { old, since: began } = &rollout.phase else {
            return false;
        };
        let (old, began) = (old.clone(), *began);
        let release = rollout.request.release.clone();
        let started = rollout.started_at;
        let late = drain_deadline(rollout).is_some_and(|at| at <= self.now);
        let stalled = rollout.stalled_since.is_some();
        let gone = old.as_ref().is_none_or(|old| self.is_gone(old));
        let confirmed = self.lane.traffic_confirmed();
        let returns = self.a_return_waits();
        if !returns && !(confirmed && (gone || late)) {
            if late && !stalled {
                self.stall(format!(
                    "stalled: {release} shall serve as stable since {} and the data plane does not confirm it",
                    elapsed(began, self.now)
                ));
                return true;
            }
            return false;
        }
        let mut reason = format!(
            "{release} serves all users, {} after the start",
            elapsed(started, self.now)
        );
        if !gone {
            reason += &format!(
                "; the old version is still draining after {}",
                elapsed(began, self.now)
            );
        }
        self.emit(Event::Ended {
            outcome: Outcome::Shipped,
            reason,
            at: self.now,
        });
        true
    }

    fn advance_returned(&mut self) -> bool {
        let Some(rollout) = self.active() else {
            return false;
        };
        let Phase::RollingBack { cause, reason, .. } = &rollout.phase else {
            return false;
        };
        let late = drain_deadline(rollout).is_some_and(|at| at <= self.now);
        if !self.is_gone(rollout.id()) && !late && !self.a_return_waits() {
            return false;
        }
        let outcome = match cause {
            Cause::Person { .. } => Outcome::Aborted,
            Cause::Superseded { .. } => Outcome::Superseded,
            Cause::Instances if !rollout.exposed => Outcome::Failed,
            _ if self.lane.stable.is_none() => Outcome::Failed,
            Cause::Instances | Cause::Judge | Cause::Lease | Cause::Deadline => Outcome::RolledBack,
        };
        let reason = reason.clone();
        self.emit(Event::Ended {
            outcome,
            reason,
            at: self.now,
        });
        true
    }

    /// A return to an earlier version waits for a confirmed weight, but for nobody's drain.
    fn a_return_waits(&self) -> bool {
        self.lane.queue.front().is_some_and(|next| next.is_return)
    }

    /// True where the target took in that the arm shall be gone, and it is.
    fn is_gone(&self, arm: &ArmId) -> bool {
        let generation = self
            .lane
            .desired
            .as_ref()
            .map_or(0, |desired| desired.generation);
        let heard = self
            .lane
            .seen
            .as_ref()
            .is_some_and(|seen| seen.generation >= generation);
        heard && self.lane.seen_arm(arm).present == 0
    }
}
