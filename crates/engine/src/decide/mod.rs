//! From a state, one input and the time to what happened and what shall be done.
//!
//! [`decide`] hands the input to its function (in [`command`] or [`evidence`]) and then lets the
//! lane [`advance`] as far as what is known carries it.

mod advance;
mod command;
mod evidence;
mod rollback;

use std::sync::Arc;

use airboss_model::Timestamp;
use airboss_model::target::Desired;

use crate::event::Event;
use crate::evolve::evolve;
use crate::gate::told;
use crate::input::{Answer, Effect, Input, Request, Urgency};
use crate::lane::{Lane, Rollout};
use crate::wanted::wanted;

/// What follows from one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The state with the events folded in; the very same one where nothing happened.
    pub lane: Arc<Lane>,
    /// What shall be done once the events are committed, in order.
    pub effects: Vec<Effect>,
    /// The answer, where the input was a command.
    pub answer: Option<Answer>,
}

/// What follows from `input` at `now`. Pure: the same arguments give the same decision. Of the many
/// inputs that change nothing none copies the state.
pub fn decide(lane: &Arc<Lane>, input: &Input, now: Timestamp) -> Decision {
    let mut turn = Turn {
        lane: Arc::clone(lane),
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
        Input::Evidence { rollout, items } => {
            turn.evidence(rollout, items);
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
    lane: Arc<Lane>,
    now: Timestamp,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

impl Turn {
    /// Records an event and brings the desired state in line with it.
    fn emit(&mut self, event: Event) {
        self.fold(event);
        if let Some(desired) = wanted(&self.lane)
            && self.lane.desired.as_ref() != Some(&desired)
        {
            self.ask(desired);
        }
    }

    /// Asks the target for this under a generation that nobody has used.
    fn ask(&mut self, mut desired: Desired) {
        desired.generation = desired.generation.max(self.lane.seen_generation()) + 1;
        self.fold(Event::DesiredChanged {
            desired: desired.clone(),
        });
        self.apply(desired);
    }

    /// Asks the target for the same again, where it was asked for anything. One that says it has
    /// this generation and shows something else may have it from another controller: it is
    /// asked under a new one.
    fn ask_again(&mut self) {
        let Some(desired) = self.lane.desired.clone() else {
            return;
        };
        if self.lane.seen_generation() >= desired.generation && !self.lane.traffic_confirmed() {
            self.ask(desired);
        } else {
            self.apply(desired);
        }
    }

    fn fold(&mut self, event: Event) {
        // Taken out, so that from the second event on nobody else has it and nothing is copied.
        let placeholder = Arc::new(Lane::new(self.lane.id.clone()));
        let lane = std::mem::replace(&mut self.lane, placeholder);
        self.lane = Arc::new(evolve(Arc::unwrap_or_clone(lane), &event));
        self.events.push(event);
    }

    /// Only the newest of several is worth doing.
    fn apply(&mut self, desired: Desired) {
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

    /// What keeps a request from starting now, in one line.
    fn blocked(&self, request: &Request) -> Option<String> {
        let lacking = self.lane.lacking(request, self.now);
        (!lacking.is_empty()).then(|| told(&lacking))
    }
}
