//! How far a lane can go with what is known.

use airboss_judge::Verdict;
use airboss_model::Span;
use airboss_model::manifest::Then;
use airboss_model::time::{after, since};

use super::Turn;
use super::command::plan_of;
use crate::event::{Cause, Event, Outcome, PassedBy, then_word};
use crate::input::Urgency;
use crate::lane::{Phase, process};
use crate::timer::{ROUTER_DEADLINE, drain_deadline, prepare_deadline};

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
            let reason = format!("{} is stable already: nothing to change", next.release);
            self.emit(Event::Withdrawn {
                rollout,
                outcome: Outcome::Shipped,
                reason,
            });
        } else {
            let plan = plan_of(&next, self.lane.stable.is_some());
            self.emit(Event::Started {
                rollout,
                plan,
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
        let needed = rollout
            .plan
            .weight(step)
            .of_instances(process(&rollout.request.service).instances)
            .max(1);
        let arm = self.lane.seen_arm(rollout.id());
        if arm.ready >= needed && rollout.paused.is_none() {
            let weight = rollout.plan.weight(step);
            let ready_took = Span(since(began, self.now));
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
                Span(since(began, self.now))
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
        if self.lane.traffic_confirmed() {
            let weight = rollout.plan.weight(step);
            let took = Span(since(began, self.now));
            self.emit(Event::StepConfirmed {
                step,
                weight,
                took,
                at: self.now,
            });
            return true;
        }
        if rollout.stalled_since.is_none() && after(began, ROUTER_DEADLINE) <= self.now {
            let weight = rollout.plan.weight(step);
            let seen = self
                .lane
                .seen_traffic()
                .map_or("nothing".to_owned(), |seen| seen.canary_weight.to_string());
            let reason = format!(
                "stalled: weight {weight} was asked for {} ago and the data plane shows {seen}; the step does not count until it is confirmed",
                Span(since(began, self.now))
            );
            let text = format!("{} {reason}", rollout.id());
            self.notify(Urgency::Page, text);
            self.emit(Event::Stalled {
                reason,
                at: self.now,
            });
            return true;
        }
        false
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
        if rollout.paused.is_some() {
            return false;
        }
        let watched = since(began, self.now);
        let note = rollout.verdict.clone().filter(|note| note.step == step);
        let verdict = note.as_ref().map(|note| note.verdict);
        let grows = !note.as_ref().is_some_and(|note| note.hold_growth);
        let proven = verdict == Some(Verdict::Pass) && grows;
        if watched >= plan.at_least.0 && (proven || !plan.needs_pass) {
            let reason = match (&note, plan.needs_pass) {
                (Some(note), true) => note.reason.clone(),
                (Some(note), false) => format!("watched for {}: {}", plan.at_least, note.reason),
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
            Then::Promote if grows => self.pass(step, PassedBy::Policy, reason),
            Then::Rollback => self.roll_back(Cause::Deadline, reason, false),
            Then::Promote | Then::Hold => {
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
        let release = &rollout.request.release;
        let (gone, late) = match old {
            None => (true, false),
            Some(old) => (
                self.is_gone(old),
                drain_deadline(rollout).is_some_and(|at| at <= self.now),
            ),
        };
        if !gone && !late {
            return false;
        }
        let took = Span(since(rollout.started_at, self.now));
        let mut reason = format!("{release} serves all users, {took} after the start");
        if !gone {
            reason += &format!(
                "; the old version is still draining after {}",
                Span(since(*began, self.now))
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
        if !self.is_gone(rollout.id()) && drain_deadline(rollout).is_none_or(|at| at > self.now) {
            return false;
        }
        let outcome = match cause {
            Cause::Person { .. } => Outcome::Aborted,
            Cause::Superseded { .. } => Outcome::Superseded,
            Cause::Instances if !rollout.exposed => Outcome::Failed,
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

    /// True where the target took in that the arm shall be gone, and it is.
    fn is_gone(&self, arm: &airboss_model::ArmId) -> bool {
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
