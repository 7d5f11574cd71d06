//! Where one thing ends and the next begins: what holds exactly there. `mutants.md` says which
//! changes of the engine these were written to see.

use std::time::Duration;

use airboss_engine::{Cause, Event, Input, Outcome, Seen, SeenArm};
use airboss_judge::Verdict;
use airboss_model::evidence::{ItemState, ItemVerdict, Requirement};
use airboss_model::manifest::Then;
use airboss_model::target::{InstanceState, Observed, ObservedArm, ObservedInstance};
use airboss_model::traffic::Weight;

use crate::harness::*;

type Happens = fn(&mut World);

fn signed(state: ItemState) -> Vec<ItemVerdict> {
    vec![item(Requirement::Signed, state)]
}

/// The instances that stable was asked to have last.
fn stable_instances(world: &World) -> u32 {
    world.lane.desired.as_ref().unwrap().arms[0].instances
}

#[test]
fn a_policy_to_promote_goes_against_no_evidence_and_past_no_silence() {
    let cases: [(&str, Happens); 3] = [
        ("the evidence forbids to grow the exposure", |world| {
            let mut said = assessment(Verdict::Undecided);
            said.hold_growth = true;
            world.send(&Input::Assessed {
                rollout: rollout(2),
                step: 0,
                assessment: said.into(),
            });
        }),
        ("the artifact's evidence holds no longer", |world| {
            world.evidence(2, signed(ItemState::BadlySigned));
        }),
        ("the data plane does not follow", |world| {
            world.lose_target();
        }),
    ];
    for (why, happens) in cases {
        let mut world = World::with_stable();
        world.judge = Judge::silent();
        let request = release(2).at_deadline(Then::Promote);
        world.ship(request.requires(&[Requirement::Signed]));
        world.evidence(2, signed(ItemState::Passed));
        world.run_until_phase("observing 0");
        happens(&mut world);
        world.run_for(Duration::from_secs(3_600));
        assert_eq!(phase(&world.lane), "observing 0", "{why}");
        let told = world.messages("deadline_held");
        assert!(told[0].ends_with(&format!("; it holds: {why}")), "{told:?}");
    }
}

#[test]
fn who_goes_on_without_waiting_is_told_what_was_known_of_that_step_and_of_no_other() {
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.say(2, 0, Verdict::Undecided);
    world.promote(2, false);
    let known = assessment(Verdict::Undecided).reason;
    let told = world.messages("step_passed");
    assert!(told[0].contains(&known), "{told:?}");
    world.run_until_phase("observing 1");
    world.promote(2, false);
    let told = world.messages("step_passed");
    assert!(told[1].contains("not judged yet"), "{told:?}");
}

#[test]
fn a_rollout_that_a_person_holds_is_called_paused_until_it_goes_back() {
    let name = |world: &World| world.lane.active.as_ref().unwrap().phase_name();
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2));
    assert_eq!(name(&world), "preparing");
    world.run_until_phase("observing 0");
    assert_eq!(name(&world), "observing");
    world.pause(2);
    assert_eq!(name(&world), "paused");
    world.say(2, 0, Verdict::Fail);
    assert_eq!(name(&world), "rolling_back");
}

#[test]
fn instances_that_are_ready_and_held_are_never_late() {
    let mut world = World::with_stable();
    world.ship(release(2).requires(&[Requirement::Signed]));
    world.evidence(2, signed(ItemState::Passed));
    world.evidence(2, signed(ItemState::BadlySigned));
    world.run_for(Duration::from_secs(3_000));
    world.evidence(2, signed(ItemState::Failed));
    assert_eq!(phase(&world.lane), "preparing 0");
    world.evidence(2, signed(ItemState::Passed));
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn a_stable_without_any_ready_instance_gets_nobody_back_at_once_however_few_they_are() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.target.unready.insert(rollout(1), 4);
    world.report();
    world.abort(2, false);
    assert_eq!(phase(&world.lane), "rolling back, 10% left");
    world.target.unready.clear();
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
}

#[test]
fn a_stable_that_loses_more_instances_on_the_way_back_is_given_more() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.target.unready.insert(rollout(1), 2);
    world.report();
    world.abort(2, false);
    assert_eq!(stable_instances(&world), 6);
    world.target.unready.insert(rollout(1), 3);
    world.report();
    assert_eq!(phase(&world.lane), "rolling back, 50% left");
    assert_eq!(stable_instances(&world), 7);
}

#[test]
fn a_forced_way_back_asks_stable_for_nothing_more() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.target.unready.insert(rollout(1), 4);
    world.target.stuck = true;
    world.report();
    world.abort(2, true);
    world.report();
    assert_eq!(stable_instances(&world), 4);
    assert!(!world.happened("rollback_staged"));
    world.target.stuck = false;
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.exposed(2), Weight::ZERO);
}

#[test]
fn a_failure_counts_whatever_step_showed_it_and_a_doubt_only_where_users_are() {
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.say(2, 0, Verdict::Pass);
    world.run_until_phase("preparing 1");
    assert_eq!(world.say(2, 2, Verdict::External).events, []);
    world.run_until_phase("observing 1");
    assert_eq!(world.say(2, 0, Verdict::External).events, []);
    world.say(2, 0, Verdict::Fail);
    assert_eq!(phase(&world.lane), "rolling back");
}

#[test]
fn requests_are_copied_to_a_canary_only_while_it_has_some_users_and_not_all() {
    let mirrored = |number| {
        let mut request = release(number);
        let service = std::sync::Arc::make_mut(&mut request.service);
        service.spec.rollout.canary.as_mut().unwrap().mirror = percent(20);
        request
    };
    let copied = |world: &World| world.lane.desired.as_ref().unwrap().traffic.mirror;
    // A first version has nobody to copy from.
    let mut world = World::empty();
    world.ship(mirrored(1));
    assert_eq!(
        world.lane.active.as_ref().unwrap().plan.mirror,
        Weight::ZERO
    );
    world.settle();
    world.ship(mirrored(2));
    world.run_until_phase("preparing 0");
    assert_eq!(copied(&world), Weight::ZERO);
    world.run_until_phase("observing 0");
    assert_eq!(copied(&world), percent(20));
    world.run_until_phase("observing 2");
    assert_eq!(copied(&world), Weight::ZERO);
}

#[test]
fn of_a_report_what_decisions_rest_on_is_kept_and_stopped_instances_are_not_there() {
    let instance = |number: u32, state: InstanceState| ObservedInstance {
        name: format!("checkout-2.{number}"),
        state,
        pid: None,
        address: None,
        restarts: number,
        last_error: None,
    };
    use InstanceState::{Crashed, Ready, Stopped};
    let observed = Observed {
        lane: LANE.parse().unwrap(),
        generation: 7,
        epoch: 3,
        traffic: None,
        arms: vec![ObservedArm {
            arm: rollout(2),
            instances: vec![
                instance(1, Ready),
                instance(2, Crashed),
                instance(3, Stopped),
            ],
            failed: Some("it crashed".to_owned()),
        }],
        problems: vec!["no room".to_owned()],
        at: START.parse().unwrap(),
    };
    let arm = SeenArm {
        ready: 1,
        present: 2,
        restarts: 6,
        failed: Some("it crashed".to_owned()),
    };
    let seen = Seen {
        generation: 7,
        traffic: None,
        arms: [(rollout(2), arm)].into(),
        problems: vec!["no room".to_owned()],
    };
    assert_eq!(Seen::from(&observed), seen);
}

#[test]
fn whoever_looks_at_the_evidence_is_told_what_is_there_or_what_is_not() {
    let mut world = World::with_stable();
    world.ship(release(2).requires(&[Requirement::Signed]));
    world.forget();
    world.evidence(2, signed(ItemState::BadlySigned));
    world.evidence(2, signed(ItemState::Passed));
    let told = world.messages("evidence_changed");
    assert!(
        told[0].contains("evidence: signed (badly signed)"),
        "{told:?}"
    );
    assert!(
        told[1].contains("the evidence is complete: signed"),
        "{told:?}"
    );
}

#[test]
fn behind_each_decision_stands_somebody_or_a_part_by_name() {
    let by = |event: Event| {
        let (by, judged) = event.decided_by()?;
        Some((by.to_string(), judged))
    };
    let said = |name: &str, judged| Some((name.to_owned(), judged));
    let at = START.parse().unwrap();
    let started = |cause| Event::RollbackStarted {
        cause,
        reason: "why".to_owned(),
        weight: Weight::ZERO,
        surge: 0,
        at,
    };
    let other = rollout(3);
    assert_eq!(by(Event::TargetLost { since: at }), said("agent", false));
    assert_eq!(by(started(Cause::Judge)), said("evidence", true));
    assert_eq!(
        by(started(Cause::Superseded { by: other })),
        said("checkout-3", false)
    );
    let paused = Event::Paused {
        by: "ana".to_owned(),
        at,
    };
    assert_eq!(by(paused), said("ana", false));
}
