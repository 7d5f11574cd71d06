//! What must hold after every single decision, whatever came before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use airboss_engine::{
    Decision, Effect, Event, Input, Lane, Outcome, PassedBy, Phase, Request, decide, evolve,
    next_deadline,
};
use airboss_judge::Verdict;
use airboss_model::evidence::ItemState;
use airboss_model::target::{Desired, ObservedTraffic};
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, RolloutId, Timestamp};

/// What is remembered between decisions to tell whether a promise is kept.
#[derive(Default)]
pub struct Watch {
    requested: BTreeSet<RolloutId>,
    outcomes: BTreeMap<RolloutId, Outcome>,
    /// Steps that the judge said `pass` about while their weight was in force.
    proven: BTreeSet<(RolloutId, usize)>,
    /// Arms on their way back or gone, with the highest share that they may still be given.
    doomed: BTreeMap<ArmId, Weight>,
}

impl Watch {
    pub fn outcome(&self, rollout: &RolloutId) -> Option<Outcome> {
        self.outcomes.get(rollout).copied()
    }
    /// Rollouts that were accepted and have not ended.
    pub fn open(&self) -> Vec<&RolloutId> {
        self.requested
            .iter()
            .filter(|id| !self.outcomes.contains_key(*id))
            .collect()
    }

    /// Fails where the decision breaks a promise.
    pub fn check(&mut self, before: &Lane, input: &Input, now: Timestamp, decision: &Decision) {
        let mut lane = before.clone();
        for event in &decision.events {
            assert!(!event.message().is_empty(), "{event:?} says nothing");
            self.check_event(&lane, event);
            lane = evolve(lane, event);
        }
        assert_eq!(lane, *decision.lane, "the lane is not what its events say");
        assert_eq!(
            decision.answer.is_some(),
            matches!(input, Input::Command { .. }),
            "a command is answered, and nothing else"
        );
        check_effects(decision);
        check_rest(&decision.lane, now);
        assert!(decision.lane.queue.len() <= 2, "{:?}", decision.lane.queue);
    }

    fn check_event(&mut self, lane: &Lane, event: &Event) {
        let active = lane.active.as_ref();
        let phase = active.map(|active| &active.phase);
        let id = active.map(|active| active.id().clone());
        match event {
            Event::Requested { request, .. } => {
                let new = self.requested.insert(request.rollout.clone());
                assert!(new, "{} was requested twice", request.rollout);
            }
            Event::Withdrawn {
                rollout, outcome, ..
            } => self.end(rollout, *outcome),
            Event::Ended { outcome, .. } => self.end(&id.unwrap(), *outcome),
            Event::Started { rollout, at, .. } => {
                let request = lane.queue.iter().find(|it| it.rollout == *rollout);
                check_evidence(lane, request.unwrap(), Some(*at));
            }
            Event::StepShifting { step, .. } => {
                assert!(
                    matches!(phase, Some(Phase::Preparing { step: prepared, .. }) if prepared == step),
                    "step {step} shifts out of {phase:?}"
                );
                let active = active.unwrap();
                check_evidence(lane, &active.request, None);
                assert!(active.paused.is_none(), "a paused rollout takes no step");
                assert!(
                    active.insisted || !doubted(lane),
                    "exposure grows against the evidence"
                );
            }
            Event::StepConfirmed { .. } => assert!(lane.traffic_confirmed()),
            Event::VerdictChanged { step, assessment } if assessment.verdict == Verdict::Pass => {
                assert!(matches!(phase, Some(Phase::Observing { .. })));
                self.proven.insert((id.unwrap(), *step));
            }
            Event::StepPassed { step, by, .. } => self.check_passed(lane, *step, by),
            Event::Promoted { .. } => {
                // A first version that misses its objectives has no one to give way to.
                assert!(lane.follows() || lane.stable.is_none());
                if lane.stable.is_some() {
                    check_evidence(lane, &active.unwrap().request, None);
                }
            }
            Event::RollbackStarted { .. } => {
                let given = self.given(lane.desired.as_ref(), &id.clone().unwrap());
                self.doomed.insert(id.unwrap(), given);
            }
            Event::ReturnedToStable { .. } => {
                assert!(lane.traffic_confirmed());
                self.doomed.insert(id.unwrap(), Weight::ZERO);
            }
            Event::DesiredChanged { desired } => self.check_desired(lane, desired),
            _ => {}
        }
    }

    fn end(&mut self, rollout: &RolloutId, outcome: Outcome) {
        assert!(self.requested.contains(rollout), "{rollout} never began");
        let earlier = self.outcomes.insert(rollout.clone(), outcome);
        assert_eq!(earlier, None, "{rollout} ended twice");
    }

    fn check_passed(&self, lane: &Lane, step: usize, by: &PassedBy) {
        let active = lane.active.as_ref().unwrap();
        check_evidence(lane, &active.request, None);
        let observed = matches!(active.phase, Phase::Observing { step: now, .. } if now == step);
        match by {
            PassedBy::Person { .. } => {
                let insists =
                    matches!(active.phase, Phase::Preparing { step: next, .. } if next == step + 1);
                assert!(observed || insists);
            }
            PassedBy::Evidence => {
                assert!(observed && lane.follows() && !doubted(lane));
                assert!(
                    self.proven.contains(&(active.id().clone(), step)),
                    "step {step} passed by evidence that nobody gave"
                );
            }
            PassedBy::Plan => {
                assert!(observed && lane.follows() && !active.plan.steps[step].needs_pass);
            }
            PassedBy::Policy => assert!(observed && lane.follows() && !doubted(lane)),
        }
    }

    fn check_desired(&mut self, lane: &Lane, desired: &Desired) {
        let old = lane.desired.as_ref();
        assert!(desired.generation > old.map_or(0, |old| old.generation));
        let named: BTreeSet<&ArmId> = desired.arms.iter().map(|arm| &arm.arm).collect();
        assert_eq!(named.len(), desired.arms.len(), "an arm is named twice");
        for routed in [&desired.traffic.stable, &desired.traffic.canary] {
            assert!(
                routed.as_ref().is_none_or(|arm| named.contains(arm)),
                "traffic goes to an arm that shall not run: {desired:?}"
            );
        }
        // An arm on trial grows only while its step is shifted.
        if let Some(active) = &lane.active {
            let (was, is) = (
                self.given(old, active.id()),
                self.given(Some(desired), active.id()),
            );
            let promoted = lane
                .stable
                .as_ref()
                .is_some_and(|stable| stable.arm == *active.id());
            if is > was && !promoted {
                assert!(
                    matches!(active.phase, Phase::Shifting { step, .. } if active.plan.weight(step) == is),
                    "from {was} to {is} in {:?}",
                    active.phase
                );
            }
        }
        let doomed: Vec<ArmId> = self.doomed.keys().cloned().collect();
        for arm in doomed {
            let is = self.given(Some(desired), &arm);
            assert!(
                is <= self.doomed[&arm],
                "{arm} was taken back and gets {is}"
            );
            self.doomed.insert(arm, is);
        }
        // What users may be on stays until the data plane shows them elsewhere.
        for arm in old.into_iter().flat_map(|old| &old.arms) {
            let on_trial = lane
                .active
                .as_ref()
                .is_some_and(|active| *active.id() == arm.arm && !active.exposed);
            if named.contains(&arm.arm) || on_trial {
                continue;
            }
            let share = lane
                .seen_traffic()
                .map_or(Weight::ZERO, |table| seen_share(table, &arm.arm));
            assert_eq!(
                share,
                Weight::ZERO,
                "{} goes away with users on it",
                arm.arm
            );
        }
    }

    /// The share that an arm shall have.
    fn given(&self, desired: Option<&Desired>, arm: &ArmId) -> Weight {
        desired.map_or(Weight::ZERO, |desired| {
            let table = ObservedTraffic {
                generation: 0,
                stable: desired.traffic.stable.clone(),
                canary: desired.traffic.canary.clone(),
                canary_weight: desired.traffic.canary_weight,
                lease_expired_at: None,
            };
            seen_share(&table, arm)
        })
    }
}

/// Everything that is required is there: at the start of age as well, later all but that.
fn check_evidence(lane: &Lane, request: &Request, starts: Option<Timestamp>) {
    if request.is_return {
        return;
    }
    let mut served = lane.stable.iter().chain(&lane.earlier);
    let served = served.any(|it| it.digest == request.digest);
    for item in &request.service.spec.rollout.require {
        let verdict = request.evidence.iter().find(|it| it.item == *item).unwrap();
        let aged = starts.is_some_and(|at| verdict.good_until.is_some_and(|end| end <= at));
        let may_be_old = served || starts.is_none();
        let fits = match verdict.state {
            ItemState::Passed => !aged || may_be_old,
            ItemState::Stale => may_be_old,
            ItemState::Missing | ItemState::Failed | ItemState::BadlySigned => false,
        };
        assert!(fits, "{} goes on with {verdict:?}", request.rollout);
    }
}

/// True where the newest evidence forbids to grow the exposure.
fn doubted(lane: &Lane) -> bool {
    let note = lane
        .active
        .as_ref()
        .and_then(|active| active.verdict.as_ref());
    note.is_some_and(|note| note.hold_growth)
}

fn check_effects(decision: &Decision) {
    let applied: Vec<&Desired> = decision
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Apply { desired } => Some(desired),
            Effect::Notify { .. } | Effect::Vouch { .. } => None,
        })
        .collect();
    assert!(applied.len() <= 1, "only the newest is worth doing");
    for desired in &applied {
        assert_eq!(Some(*desired), decision.lane.desired.as_ref());
    }
    let changed = decision
        .events
        .iter()
        .any(|event| matches!(event, Event::DesiredChanged { .. }));
    assert!(!changed || !applied.is_empty(), "a change is not asked for");
}

/// Nothing is left to do, and no timer is due that would do nothing.
fn check_rest(lane: &Arc<Lane>, now: Timestamp) {
    if let Some(at) = next_deadline(lane) {
        assert!(at > now, "a timer of {at} does nothing at {now}: {lane:?}");
        let later = decide(lane, &Input::Clock, at);
        assert!(
            !later.events.is_empty(),
            "the timer of {at} does nothing: {lane:?}"
        );
    }
    let again = decide(lane, &Input::Clock, now);
    assert_eq!(again.events, Vec::new(), "it does not rest");
    assert_eq!(again.effects, Vec::new());
}

fn seen_share(table: &ObservedTraffic, arm: &ArmId) -> Weight {
    crate::harness::share(table, arm)
}
