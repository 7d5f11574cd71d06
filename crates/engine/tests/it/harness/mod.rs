//! A world without I/O: a clock that jumps to the next moment at which something can happen, a
//! target, a judge, and a lane that [`decide`] moves.

mod judge;
mod make;
mod target;

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{
    Answer, Command, Decision, Effect, Event, Input, Lane, Outcome, Phase, Refusal, Request,
    Urgency, decide, next_deadline,
};
use airboss_model::evidence::ItemVerdict;
use airboss_model::time::after;
use airboss_model::traffic::Weight;
use airboss_model::{RolloutId, Timestamp};

pub use judge::{Judge, assessment};
pub use make::*;
pub use target::{FakeTarget, share};

use crate::invariants::Watch;

/// More inputs than any rollout in these tests needs.
const INPUTS_MAX: usize = 5_000;

/// A lane, its target, its judge, the time, and everything that happened.
pub struct World {
    pub lane: Arc<Lane>,
    pub target: FakeTarget,
    pub judge: Judge,
    pub now: Timestamp,
    pub log: Vec<(Timestamp, Event)>,
    pub notices: Vec<(Urgency, String)>,
    pub watch: Watch,
    /// What was let through with all its evidence.
    pub vouched: Vec<airboss_model::ReleaseId>,
}

impl World {
    /// A lane where nothing was ever deployed, and a target that follows.
    pub fn empty() -> Self {
        Self {
            lane: Arc::new(Lane::new(LANE.parse().unwrap())),
            target: FakeTarget::default(),
            judge: Judge::passing(),
            now: START.parse().unwrap(),
            log: Vec::new(),
            notices: Vec::new(),
            watch: Watch::default(),
            vouched: Vec::new(),
        }
    }

    /// A lane that serves `checkout@1.0.0`, deployed by `checkout-1`.
    pub fn with_stable() -> Self {
        let mut world = Self::empty();
        world.ship(release(1));
        world.settle();
        assert_eq!(world.outcome(1), Some(Outcome::Shipped));
        world.forget();
        world
    }

    /// A lane that serves 2.0.0 with 1.0.0 before it.
    pub fn with_two_versions() -> Self {
        let mut world = Self::with_stable();
        world.ship(release(2));
        world.settle();
        assert_eq!(world.outcome(2), Some(Outcome::Shipped));
        world.forget();
        world
    }

    /// Forgets the log, so that a test reads only what it causes.
    pub fn forget(&mut self) {
        self.log.clear();
        self.notices.clear();
    }

    /// One decision, checked, its effects handed to the target.
    pub fn send(&mut self, input: &Input) -> Decision {
        let decision = decide(&self.lane, input, self.now);
        self.watch.check(&self.lane, input, self.now, &decision);
        self.lane = decision.lane.clone();
        let at = self.now;
        self.log
            .extend(decision.events.iter().map(|event| (at, event.clone())));
        for effect in &decision.effects {
            match effect {
                Effect::Apply { desired } => self.target.apply(desired, self.now),
                Effect::Notify { urgency, text } => self.notices.push((*urgency, text.clone())),
                Effect::Vouch { release, .. } => self.vouched.push(release.clone()),
            }
        }
        decision
    }

    pub fn command(&mut self, command: Command) -> Answer {
        let by = "ana".to_owned();
        self.send(&Input::Command { command, by }).answer.unwrap()
    }
    pub fn ship(&mut self, request: Request) -> Answer {
        self.command(Command::Ship(request))
    }
    pub fn pause(&mut self, number: u64) -> Answer {
        self.command(Command::Pause {
            rollout: rollout(number),
        })
    }
    pub fn resume(&mut self, number: u64) -> Answer {
        self.command(Command::Resume {
            rollout: rollout(number),
        })
    }
    pub fn promote(&mut self, number: u64, full: bool) -> Answer {
        self.command(Command::Promote {
            rollout: rollout(number),
            full,
        })
    }
    pub fn abort(&mut self, number: u64, force: bool) -> Answer {
        self.command(Command::Abort {
            rollout: rollout(number),
            force,
            reason: "the graphs look wrong".to_owned(),
        })
    }
    /// A return to `to`, carried by the rollout `number`.
    pub fn rollback(&mut self, number: u64, to: Option<&str>) -> Answer {
        self.command(Command::Rollback {
            rollout: rollout(number),
            to: to.map(|to| to.parse().unwrap()),
            reason: String::new(),
        })
    }
    /// What the judge says of a rollout's step, now.
    pub fn say(&mut self, number: u64, step: usize, verdict: airboss_judge::Verdict) -> Decision {
        self.send(&Input::Assessed {
            rollout: rollout(number),
            step,
            assessment: assessment(verdict).into(),
        })
    }
    /// What a look at a rollout's evidence shows.
    pub fn evidence(&mut self, number: u64, items: Vec<ItemVerdict>) -> Decision {
        self.send(&Input::Evidence {
            rollout: rollout(number),
            items,
        })
    }
    /// The target's report as it is now, even where it is silent.
    pub fn report(&mut self) -> Decision {
        self.target.advance(self.now);
        let seen = self.target.seen(self.now);
        self.send(&Input::Observed { seen })
    }
    pub fn lose_target(&mut self) -> Decision {
        self.target.silent = true;
        let last_seen = self.now;
        self.send(&Input::TargetLost { last_seen })
    }

    /// Lets the next thing happen, jumping to its time but not beyond `until`. False where
    /// nothing is to come.
    fn step(&mut self, until: Timestamp) -> bool {
        self.target.advance(self.now);
        if !self.target.silent {
            let seen = self.target.seen(self.now);
            if self.lane.seen.as_ref() != Some(&seen) || self.lane.target_lost.is_some() {
                // A world where nothing runs and nothing was asked reports nothing.
                if self.lane.desired.is_some() {
                    self.send(&Input::Observed { seen });
                    return true;
                }
            }
        }
        if let Some(input) = self.judge.due(&self.lane, self.now) {
            self.send(&input);
            return true;
        }
        let next = [
            next_deadline(&self.lane),
            self.target.next_change(self.now),
            self.judge.next(&self.lane, self.now),
        ]
        .into_iter()
        .flatten()
        .min();
        match next {
            Some(at) if at <= until => {
                assert!(at > self.now, "time stands still at {at}: {:?}", self.lane);
                self.now = at;
                self.send(&Input::Clock);
                true
            }
            _ => false,
        }
    }

    /// Runs until nothing more is to come.
    pub fn settle(&mut self) {
        self.run_to(Timestamp::MAX);
    }
    pub fn run_for(&mut self, span: Duration) {
        self.run_to(after(self.now, span));
    }
    fn run_to(&mut self, until: Timestamp) {
        for _ in 0..INPUTS_MAX {
            if !self.step(until) {
                if until < Timestamp::MAX {
                    self.now = until;
                }
                return;
            }
        }
        let phase = phase(&self.lane);
        let (desired, seen) = (&self.lane.desired, &self.lane.seen);
        panic!("does not settle: {phase}, desired {desired:?}, seen {seen:?}");
    }
    /// Runs until `reached` holds.
    pub fn run_until(&mut self, reached: impl Fn(&Lane) -> bool) {
        for _ in 0..INPUTS_MAX {
            if reached(&self.lane) {
                return;
            }
            assert!(
                self.step(Timestamp::MAX),
                "never reached: {:#?}",
                self.lane.active
            );
        }
        panic!("never reached: {:#?}", self.lane.active);
    }
    /// Runs until the rollout in progress is in this phase, as [`phase`] writes it.
    pub fn run_until_phase(&mut self, name: &str) {
        self.run_until(|lane| phase(lane) == name);
    }

    /// How a rollout ended; None while it has not.
    pub fn outcome(&self, number: u64) -> Option<Outcome> {
        self.watch.outcome(&rollout(number))
    }
    /// The new version's share that the data plane works by.
    pub fn exposed(&self, number: u64) -> Weight {
        self.target.share(&rollout(number))
    }
    pub fn kinds(&self) -> Vec<&'static str> {
        self.log.iter().map(|(_, event)| event.kind()).collect()
    }
    pub fn happened(&self, kind: &str) -> bool {
        self.kinds().contains(&kind)
    }
    /// The messages of one kind of event.
    pub fn messages(&self, kind: &str) -> Vec<String> {
        self.log
            .iter()
            .filter(|(_, event)| event.kind() == kind)
            .map(|(_, event)| event.message())
            .collect()
    }
    pub fn pages(&self) -> Vec<&str> {
        self.notices
            .iter()
            .filter(|(urgency, _)| *urgency == Urgency::Page)
            .map(|(_, text)| text.as_str())
            .collect()
    }
}

/// The phase of the rollout in progress in one word and its step, such as `observing 1`.
pub fn phase(lane: &Lane) -> String {
    let Some(active) = &lane.active else {
        return "idle".to_owned();
    };
    match &active.phase {
        Phase::RollingBack {
            returned_at: Some(_),
            ..
        } => "returned".to_owned(),
        Phase::RollingBack { weight, .. } if *weight > Weight::ZERO => {
            format!("rolling back, {weight} left")
        }
        other => match other.step() {
            Some(step) => format!("{} {step}", other.name()),
            None => other.name().replace('_', " "),
        },
    }
}

pub fn is_refused(answer: &Answer, with: Refusal) -> bool {
    matches!(answer, Answer::Refused { refusal, .. } if *refusal == with)
}
pub fn is_accepted(answer: &Answer) -> bool {
    matches!(answer, Answer::Accepted { .. })
}
pub fn message(answer: &Answer) -> &str {
    match answer {
        Answer::Accepted { message, .. } | Answer::Refused { message, .. } => message,
    }
}
/// The rollout in progress.
pub fn active_id(lane: &Lane) -> Option<RolloutId> {
    lane.active.as_ref().map(|active| active.id().clone())
}
