//! What must hold after every step, whoever crashed. It sees what the store did and what the agent
//! took in, and believes nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Command, Event, Input, Lane, Outcome, PassedBy, Phase, decide, evolve};
use airboss_judge::Verdict;
use airboss_ledger::{Frontier, Record, Walk};
use airboss_model::manifest::Then;
use airboss_model::target::Desired;
use airboss_model::traffic::Weight;
use airboss_model::{LaneId, RolloutId};
use airboss_store::Commit;

/// Rollouts that wait in one lane: one, and a return before it.
pub const QUEUE_MAX: usize = 2;
/// Effects of one decision.
pub const EFFECTS_MAX: usize = 16;
/// Commands of one lane that wait, at the most: operators send no more at once in any story.
pub const INBOX_MAX: usize = 64;
/// How much longer than its lease an exposure may last without a watcher: the hub renews for
/// five seconds after a lane's last turn, and a renewal may be under way as long as any message.
pub const LEASE_SLACK: Duration = Duration::from_secs(5 + 9);

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// No write of a former owner is accepted.
    Fence,
    /// No step is passed without its gate.
    Gate,
    /// Rollback and abort reach a confirmed 0 %, and every rollout ends, once faults stop.
    Ends,
    /// No one watching, no one exposed.
    Lease,
    /// Each rollout has exactly one outcome.
    OneOutcome,
    /// Nothing is asked of a target that was not committed, or was superseded.
    Effects,
    /// The ledger's root covers every event.
    Ledger,
    /// Replay and a second decision give the same state and words.
    Replay,
    /// Every queue is bounded.
    Bounds,
    /// Nothing panics.
    Sound,
    /// An acknowledged command is decided once, and its answer is the one that was given.
    Commands,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which.
    pub promise: Promise,
    /// By what.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// Something that was seen.
#[derive(Debug, Clone)]
pub enum Sight {
    /// A lane has a new owner.
    Claimed {
        /// Which lane.
        lane: LaneId,
        /// Who.
        owner: String,
        /// The claim's number.
        epoch: u64,
    },
    /// A commit was acknowledged.
    Committed {
        /// To whom.
        owner: String,
        /// What.
        commit: Box<Commit>,
        /// The records that it brought, as the store has them.
        records: Vec<Record>,
        /// The ledger's edge after it.
        head: Frontier,
        /// Commands of its lane that wait now.
        waiting: usize,
        /// When, since the world's begin.
        at: Duration,
    },
    /// A lane's owner recorded a second of a rollout.
    Watched {
        /// Which rollout.
        rollout: RolloutId,
        /// When.
        at: Duration,
    },
    /// The agent took in what shall be true.
    TookIn(Box<Desired>),
    /// Users meet a new version.
    Exposed {
        /// Where.
        lane: LaneId,
        /// Its share.
        weight: Weight,
        /// When.
        at: Duration,
    },
    /// Faults have stopped long enough.
    Rested {
        /// Which lane.
        lane: LaneId,
        /// The new version's share in the splitter's table.
        weight: Weight,
        /// Who serves by that table.
        stable: Option<RolloutId>,
        /// Effects that are not finished.
        effects: usize,
    },
    /// An operator has an answer.
    Answered {
        /// The command's key.
        key: String,
        /// What the operator was told.
        told: String,
        /// What the store keeps.
        kept: Option<String>,
    },
}

#[derive(Default)]
struct Seen {
    owner: String,
    epoch: u64,
    seq: u64,
    lane: Option<Arc<Lane>>,
    desired: BTreeMap<u64, Desired>,
    taken: u64,
    watched: Duration,
    lease: Duration,
}

/// All that is remembered to tell whether the promises are kept.
#[derive(Default)]
pub struct Witness {
    lanes: BTreeMap<LaneId, Seen>,
    walk: Walk,
    outcomes: BTreeMap<RolloutId, Option<Outcome>>,
    proven: BTreeSet<(RolloutId, usize)>,
    /// Commits that were seen.
    pub commits: u64,
}

type Checked = Result<(), Finding>;

fn broken<T>(promise: Promise, what: impl Into<String>) -> Result<T, Finding> {
    Err(Finding {
        promise,
        what: what.into(),
    })
}

impl Witness {
    /// How many rollouts there were.
    pub fn rollouts(&self) -> usize {
        self.outcomes.len()
    }

    /// Takes a sight in.
    ///
    /// # Errors
    /// The promise that it breaks.
    pub fn see(&mut self, sight: &Sight) -> Checked {
        match sight {
            Sight::Claimed { lane, owner, epoch } => {
                let seen = self.lanes.entry(lane.clone()).or_default();
                if *epoch <= seen.epoch {
                    let what = format!(
                        "{owner} claims {lane} under epoch {epoch}, which was {}'s",
                        seen.owner
                    );
                    return broken(Promise::Fence, what);
                }
                (seen.owner, seen.epoch) = (owner.clone(), *epoch);
                Ok(())
            }
            Sight::Committed {
                owner,
                commit,
                records,
                head,
                waiting,
                at,
            } => {
                self.commits += 1;
                self.fence(owner, commit)?;
                if *waiting > INBOX_MAX || commit.effects.len() > EFFECTS_MAX {
                    let what = format!("{waiting} commands wait, {} effects", commit.effects.len());
                    return broken(Promise::Bounds, what);
                }
                self.decision(commit)?;
                self.ledger(commit, records, head)?;
                if let Some(seen) = self.lanes.get_mut(&commit.lane) {
                    seen.watched = seen.watched.max(*at);
                }
                Ok(())
            }
            Sight::Watched { rollout, at } => {
                for seen in self.lanes.values_mut() {
                    let active = seen.lane.as_ref().and_then(|lane| lane.active.as_ref());
                    if active.is_some_and(|active| active.id() == rollout) {
                        seen.watched = seen.watched.max(*at);
                    }
                }
                Ok(())
            }
            Sight::TookIn(desired) => self.took_in(desired),
            Sight::Exposed { lane, weight, at } => self.exposed(lane, *weight, *at),
            Sight::Rested {
                lane,
                weight,
                stable,
                effects,
            } => self.rested(lane, *weight, stable.as_ref(), *effects),
            Sight::Answered { key, told, kept } => match kept {
                Some(kept) if kept == told => Ok(()),
                kept => broken(
                    Promise::Commands,
                    format!("{key} was answered {told}, and the store keeps {kept:?}"),
                ),
            },
        }
    }

    fn fence(&mut self, owner: &str, commit: &Commit) -> Checked {
        let seen = self.lanes.entry(commit.lane.clone()).or_default();
        if owner != seen.owner || commit.epoch != seen.epoch {
            let what = format!(
                "{owner} wrote to {} under epoch {}; {} owns it under epoch {}",
                commit.lane, commit.epoch, seen.owner, seen.epoch
            );
            return broken(Promise::Fence, what);
        }
        if commit.seq != seen.seq {
            let what = format!(
                "{owner} wrote behind commit {} of {}; the newest is {}",
                commit.seq, commit.lane, seen.seq
            );
            return broken(Promise::Fence, what);
        }
        seen.seq += 1;
        Ok(())
    }

    fn ledger(&mut self, commit: &Commit, records: &[Record], head: &Frontier) -> Checked {
        if records.len() != commit.events.len() {
            let what = format!(
                "{} events and {} records",
                commit.events.len(),
                records.len()
            );
            return broken(Promise::Ledger, what);
        }
        for (record, event) in records.iter().zip(&commit.events) {
            if let Err(error) = self.walk.step(record) {
                return broken(Promise::Ledger, error.to_string());
            }
            let body = event.body.to_string();
            if record.body != body || record.message != event.message {
                return broken(
                    Promise::Ledger,
                    format!("event {} is not what was committed", record.number),
                );
            }
        }
        if self.walk.frontier() != head {
            let what = format!(
                "the root covers {} events of {}, or others",
                head.size(),
                self.walk.frontier().size()
            );
            return broken(Promise::Ledger, what);
        }
        Ok(())
    }

    fn decision(&mut self, commit: &Commit) -> Checked {
        let seen = self.lanes.entry(commit.lane.clone()).or_default();
        let before = seen
            .lane
            .take()
            .unwrap_or_else(|| Arc::new(Lane::new(commit.lane.clone())));
        let Ok(input) = serde_json::from_value::<Input>(commit.input.clone()) else {
            return broken(
                Promise::Replay,
                format!("an input that is none: {}", commit.input),
            );
        };
        let mut events = Vec::new();
        for event in &commit.events {
            match serde_json::from_value::<Event>(event.body.clone()) {
                Ok(event) => events.push(event),
                Err(error) => return broken(Promise::Replay, format!("{}: {error}", event.body)),
            }
        }
        let mut lane = Lane::clone(&before);
        for event in &events {
            self.event(&lane, event, &input)?;
            lane = evolve(lane, event);
        }
        let again = decide(&before, &input, commit.at);
        if again.events != events {
            let what = format!(
                "decided again on {}: {:?} in place of {events:?}",
                commit.input, again.events
            );
            return broken(Promise::Replay, what);
        }
        if serde_json::to_value(&lane).ok().as_ref() != Some(&commit.state) {
            return broken(
                Promise::Replay,
                format!("the state of {} is not what its events say", commit.lane),
            );
        }
        if lane.queue.len() > QUEUE_MAX {
            return broken(
                Promise::Bounds,
                format!("{} rollouts wait", lane.queue.len()),
            );
        }
        let seen = self.lanes.entry(commit.lane.clone()).or_default();
        if let Some(desired) = &lane.desired {
            seen.lease = desired.exposure_lease.0;
            seen.desired.insert(desired.generation, desired.clone());
        }
        seen.lane = Some(Arc::new(lane));
        Ok(())
    }

    fn event(&mut self, lane: &Lane, event: &Event, input: &Input) -> Checked {
        let active = lane.active.as_ref();
        let id = || active.map(|active| active.id().clone());
        match event {
            Event::Requested { request, .. } => {
                let earlier = self.outcomes.insert(request.rollout.clone(), None);
                return match earlier {
                    None => Ok(()),
                    Some(_) => {
                        let what = format!("{} began twice", request.rollout);
                        broken(Promise::OneOutcome, what)
                    }
                };
            }
            Event::Withdrawn {
                rollout, outcome, ..
            } => return self.end(rollout, *outcome),
            Event::Ended { outcome, .. } => {
                return match id() {
                    Some(id) => self.end(&id, *outcome),
                    None => broken(Promise::OneOutcome, "nothing in progress ended"),
                };
            }
            Event::VerdictChanged { step, assessment } if assessment.verdict == Verdict::Pass => {
                let in_force = active.is_some_and(|active| {
                    matches!(active.phase, Phase::Observing { step: now, .. } if now == *step)
                });
                if let (Some(id), true) = (id(), in_force) {
                    self.proven.insert((id, *step));
                }
            }
            Event::StepShifting { .. } if active.is_some_and(|active| active.paused.is_some()) => {
                return broken(Promise::Gate, "a paused rollout took a step");
            }
            Event::StepPassed { step, by, .. } => return self.passed(lane, *step, by, input),
            Event::Promoted { .. } => return promoted(lane, input),
            Event::StepConfirmed { .. } | Event::ReturnedToStable { .. }
                if !lane.traffic_confirmed() =>
            {
                return broken(
                    Promise::Gate,
                    format!("{} without a confirmation", event.kind()),
                );
            }
            Event::DesiredChanged { desired } => {
                let newest = lane.desired.as_ref().map_or(0, |old| old.generation);
                if desired.generation <= newest {
                    let what = format!("generation {} behind {newest}", desired.generation);
                    return broken(Promise::Effects, what);
                }
                // One decision may ask several times; only the last is done, all are committed.
                if let Some(seen) = self.lanes.get_mut(&lane.id) {
                    seen.desired.insert(desired.generation, desired.clone());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, rollout: &RolloutId, outcome: Outcome) -> Checked {
        match self.outcomes.get_mut(rollout) {
            Some(kept @ None) => {
                *kept = Some(outcome);
                Ok(())
            }
            Some(Some(kept)) => {
                let what = format!("{rollout} ended as {kept:?} and as {outcome:?}");
                broken(Promise::OneOutcome, what)
            }
            None => broken(
                Promise::OneOutcome,
                format!("{rollout} ended and never began"),
            ),
        }
    }

    fn passed(&self, lane: &Lane, step: usize, by: &PassedBy, input: &Input) -> Checked {
        let Some(active) = &lane.active else {
            return broken(Promise::Gate, "a step of nothing passed");
        };
        let wrong = |why: &str| {
            broken(
                Promise::Gate,
                format!("step {step} of {} passed {why}", active.id()),
            )
        };
        let asked = matches!(input, Input::Command { command: Command::Promote { rollout, .. }, .. } if rollout == active.id());
        let plan = active.plan.steps.get(step);
        let doubted = active.verdict.as_ref().is_some_and(|note| note.hold_growth);
        match by {
            PassedBy::Person { .. } if asked => Ok(()),
            PassedBy::Person { .. } => wrong("by a person who did not ask"),
            _ if !lane.follows() => wrong("without a confirmed weight"),
            _ if doubted => wrong("against the evidence"),
            PassedBy::Evidence if self.proven.contains(&(active.id().clone(), step)) => Ok(()),
            PassedBy::Evidence => wrong("by evidence that nobody gave"),
            PassedBy::Plan if plan.is_some_and(|plan| !plan.needs_pass) => Ok(()),
            PassedBy::Plan => wrong("by a plan that asks for proof"),
            PassedBy::Policy if plan.is_some_and(|plan| plan.then == Then::Promote) => Ok(()),
            PassedBy::Policy => wrong("by a policy that is not there"),
        }
    }

    fn took_in(&mut self, desired: &Desired) -> Checked {
        let seen = self.lanes.entry(desired.lane.clone()).or_default();
        let generation = desired.generation;
        // The claim is no part of what was decided: whoever sends it puts its own in.
        let committed = seen.desired.get(&generation).is_some_and(|committed| {
            let epoch = desired.epoch;
            *desired
                == Desired {
                    epoch,
                    ..committed.clone()
                }
        });
        if !committed {
            let what = format!(
                "{} took in generation {generation}, which was not committed so",
                desired.lane
            );
            return broken(Promise::Effects, what);
        }
        if generation <= seen.taken {
            let what = format!(
                "{} took in generation {generation} behind {}",
                desired.lane, seen.taken
            );
            return broken(Promise::Effects, what);
        }
        seen.taken = generation;
        Ok(())
    }

    fn exposed(&mut self, lane: &LaneId, weight: Weight, at: Duration) -> Checked {
        let seen = self.lanes.entry(lane.clone()).or_default();
        let until = seen.watched + seen.lease + LEASE_SLACK;
        if weight > Weight::ZERO && at > until {
            let what = format!(
                "{lane} has {weight} of its users on a new version at {at:?}; it was watched last at {:?} and the lease is {:?}",
                seen.watched, seen.lease
            );
            return broken(Promise::Lease, what);
        }
        Ok(())
    }

    fn rested(
        &self,
        id: &LaneId,
        weight: Weight,
        stable: Option<&RolloutId>,
        effects: usize,
    ) -> Checked {
        let lane = self.lanes.get(id).and_then(|seen| seen.lane.as_ref());
        let Some(lane) = lane else { return Ok(()) };
        if let Some(active) = &lane.active {
            let what = format!(
                "{} is still {} though all faults are over and it was aborted: {:?}, the splitter shows {:?}",
                active.id(),
                active.phase_name(),
                active.phase,
                lane.seen
            );
            return broken(Promise::Ends, what);
        }
        let serves = lane.stable.as_ref().map(|stable| &stable.arm);
        if weight != Weight::ZERO || stable != serves {
            let what = format!(
                "{id} came to rest with {serves:?} as stable; the splitter has {stable:?} and {weight} elsewhere"
            );
            return broken(Promise::Ends, what);
        }
        if let Some((rollout, _)) = self
            .outcomes
            .iter()
            .find(|(rollout, outcome)| outcome.is_none() && rollout.service() == id.service())
        {
            return broken(Promise::Ends, format!("{rollout} never ended"));
        }
        if effects > EFFECTS_MAX {
            return broken(
                Promise::Bounds,
                format!("{effects} effects of {id} are not finished"),
            );
        }
        Ok(())
    }
}

fn promoted(lane: &Lane, input: &Input) -> Checked {
    let Some(active) = &lane.active else {
        return broken(Promise::Gate, "nothing in progress was promoted");
    };
    // A first version that misses its objectives has no one to give way to.
    if lane.stable.is_none() {
        return Ok(());
    }
    let last = matches!(active.phase, Phase::Observing { step, .. } if active.plan.is_last(step));
    let asked = matches!(
        input,
        Input::Command {
            command: Command::Promote { .. },
            ..
        }
    );
    if !lane.follows() || !(last || asked) {
        let what = format!("{} was promoted out of {:?}", active.id(), active.phase);
        return broken(Promise::Gate, what);
    }
    Ok(())
}
