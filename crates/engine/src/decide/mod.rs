//! From a state, one input and the time to what happened and what shall be done.
//!
//! [`decide`] hands the input to its function ([`command`], or [`observed`] and its siblings
//! below) and then lets the lane [`advance`] as far as what is known carries it.

mod advance;
mod command;
mod rollback;

use airboss_judge::{Assessment, Verdict};
use airboss_model::{RolloutId, Timestamp};

use crate::event::{Cause, Event, Outcome};
use crate::evolve::evolve;
use crate::input::{Answer, Effect, Input, Urgency};
use crate::lane::{Lane, Phase, Rollout, Seen};
use crate::wanted::wanted;

/// What follows from one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The state with the events folded in.
    pub lane: Lane,
    /// What shall be done once the events are committed, in order.
    pub effects: Vec<Effect>,
    /// The answer, where the input was a command.
    pub answer: Option<Answer>,
}

/// What follows from `input` at `now`. Pure: the same arguments give the same decision.
pub fn decide(lane: &Lane, input: &Input, now: Timestamp) -> Decision {
    let mut turn = Turn {
        lane: lane.clone(),
        now,
        events: Vec::new(),
        effects: Vec::new(),
    };
    let answer = match input {
        Input::Command { command, by } => Some(turn.command(command, by)),
        Input::Observed { seen } => {
            turn.observed(seen);
            None
        }
        Input::TargetLost { last_seen } => {
            turn.target_lost(*last_seen);
            None
        }
        Input::Assessed {
            rollout,
            step,
            assessment,
        } => {
            turn.assessed(rollout, *step, assessment);
            None
        }
        Input::Clock => None,
    };
    turn.advance();
    Decision {
        events: turn.events,
        lane: turn.lane,
        effects: turn.effects,
        answer,
    }
}

/// One decision in the making.
struct Turn {
    lane: Lane,
    now: Timestamp,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

impl Turn {
    /// Records an event and brings the desired state in line with it.
    fn emit(&mut self, event: Event) {
        self.fold(event);
        if let Some(mut desired) = wanted(&self.lane)
            && self.lane.desired.as_ref() != Some(&desired)
        {
            desired.generation += 1;
            self.fold(Event::DesiredChanged {
                desired: desired.clone(),
            });
            self.apply(desired);
        }
    }

    fn fold(&mut self, event: Event) {
        let placeholder = Lane::new(self.lane.id.clone());
        self.lane = evolve(std::mem::replace(&mut self.lane, placeholder), &event);
        self.events.push(event);
    }

    /// Only the newest of several is worth doing.
    fn apply(&mut self, desired: airboss_model::target::Desired) {
        self.effects
            .retain(|effect| !matches!(effect, Effect::Apply { .. }));
        self.effects.push(Effect::Apply { desired });
    }

    fn notify(&mut self, urgency: Urgency, text: String) {
        self.effects.push(Effect::Notify { urgency, text });
    }

    fn active(&self) -> Option<&Rollout> {
        self.lane.active.as_ref()
    }

    fn observed(&mut self, seen: &Seen) {
        if self.lane.seen.as_ref() == Some(seen) && self.lane.target_lost.is_none() {
            return;
        }
        self.emit(Event::Observed { seen: seen.clone() });
        self.take_back_what_cannot_serve();
    }

    /// A canary that does not start, does not stay up, or was taken out of traffic by its agent.
    fn take_back_what_cannot_serve(&mut self) {
        let Some(rollout) = self.active() else { return };
        if matches!(
            rollout.phase,
            Phase::RollingBack { .. } | Phase::Draining { .. }
        ) {
            return;
        }
        let id = rollout.id().clone();
        let arm = self.lane.seen_arm(&id);
        let lease = self.lane.seen_traffic().and_then(|traffic| {
            (traffic.canary.as_ref() == Some(&id))
                .then_some(traffic.lease_expired_at)
                .flatten()
        });
        if let Some(failed) = arm.failed {
            self.roll_back(Cause::Instances, failed, false);
        } else if let Some(at) = lease.filter(|_| rollout.exposed) {
            let lease = rollout.request.service.spec.rollout.exposure_lease;
            let reason = format!(
                "no controller renewed the exposure for {lease}; the agent returned traffic to stable by itself at {at}"
            );
            self.roll_back(Cause::Lease, reason, false);
        } else if rollout.exposed && arm.ready == 0 && arm.restarts >= CRASHES {
            let reason = format!(
                "its instances crashed {} times and none is ready",
                arm.restarts
            );
            self.roll_back(Cause::Instances, reason, false);
        }
    }

    fn target_lost(&mut self, last_seen: Timestamp) {
        if self.lane.target_lost.is_none() {
            self.emit(Event::TargetLost { since: last_seen });
            if self.lane.active.is_some() {
                let text = format!(
                    "the agent of {} has been silent since {last_seen}; its exposure lease decides",
                    self.lane.id
                );
                self.notify(Urgency::Page, text);
            }
        }
    }

    fn assessed(&mut self, rollout: &RolloutId, step: usize, assessment: &Assessment) {
        let Some(active) = self.active() else { return };
        // A verdict about another rollout or an earlier step came too late to matter.
        if active.id() != rollout || active.phase.step() != Some(step) || !active.exposed {
            return;
        }
        let news = active.verdict.as_ref().is_none_or(|note| {
            (note.step, note.verdict, note.hold_growth)
                != (step, assessment.verdict, assessment.hold_growth)
        });
        if !news {
            return;
        }
        self.emit(Event::VerdictChanged {
            step,
            assessment: assessment.clone(),
        });
        match assessment.verdict {
            Verdict::Fail if self.lane.stable.is_some() => {
                self.roll_back(Cause::Judge, assessment.reason.clone(), false);
            }
            Verdict::Fail => self.keep_failed_first(&assessment.reason),
            Verdict::External
            | Verdict::Misrouted
            | Verdict::InstanceFault
            | Verdict::SourceDown => {
                let text = format!("{rollout} holds: {}", assessment.reason);
                self.notify(Urgency::Ticket, text);
            }
            Verdict::Pass | Verdict::Undecided | Verdict::NotEnoughData => {}
        }
    }

    /// The first deployment of a service misses its objectives: there is nothing to return to,
    /// and no service at all would be worse.
    fn keep_failed_first(&mut self, why: &str) {
        let reason = format!(
            "first deployment misses its objectives and there is no version to return to, so it keeps serving: {why}"
        );
        self.notify(Urgency::Page, reason.clone());
        self.emit(Event::Promoted {
            reason: reason.clone(),
            at: self.now,
        });
        self.emit(Event::Ended {
            outcome: Outcome::Failed,
            reason,
            at: self.now,
        });
    }
}

/// Restarts after which a version with no ready instance is given up.
const CRASHES: u32 = 3;
