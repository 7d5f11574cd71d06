//! The hard cases that other release tools get wrong or leave undefined, one test a case.
//!
//! Cases that another room owns:
//!
//! | case | owner |
//! |---|---|
//! | the router cannot do what a step asks | `model`: manifest validation refuses it |
//! | a query answers nothing, NaN or infinity | `judge`: data quality; here: what follows of the verdict |
//! | one blip over the threshold, traffic that drifts | `judge`: sequential tests against a concurrent baseline |
//! | how long a verdict would take at this rate | `judge`: `seconds_to_verdict` |
//! | two controllers after a network split | `store`: the epoch fences every commit |
//! | the same version built again with another digest | `store`: a version is pinned to its digest |
//! | freezes, windows, approvals, points of no return, artifact sets, drifting tags, re-verification | gates that do not exist yet; their tests come with them |

use std::time::Duration;

use airboss_engine::{Input, Lane, Outcome, Refusal, decide};
use airboss_judge::Verdict;
use airboss_model::manifest::{Then, WhenBusy};
use airboss_model::traffic::Weight;

use crate::harness::*;

#[test]
fn an_abort_returns_a_small_share_at_once_even_while_stable_is_not_fully_available() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.target.unready.insert(rollout(1), 1);
    world.report();
    assert!(is_accepted(&world.abort(2, false)));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.exposed(2), Weight::ZERO);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
}

#[test]
fn an_abort_goes_down_stepwise_while_stable_lacks_the_capacity_and_surges_it() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.target.unready.insert(rollout(1), 2);
    world.report();
    world.abort(2, false);
    // Half of stable is there: half of the traffic is what it can take.
    assert_eq!(phase(&world.lane), "rolling back, 50% left");
    let stable = world.lane.desired.as_ref().unwrap().arms[0].clone();
    assert_eq!((stable.arm, stable.instances), (rollout(1), 6));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.exposed(2), percent(50));
    // Stable takes more with every instance that becomes ready.
    world.target.unready.insert(rollout(1), 1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.exposed(2), percent(25));
    world.settle();
    assert_eq!(world.exposed(2), Weight::ZERO);
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
    assert!(world.happened("rollback_staged"));
}

#[test]
fn a_forced_abort_does_not_wait_for_the_capacity_of_stable() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.target.unready.insert(rollout(1), 8);
    world.report();
    world.abort(2, false);
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.exposed(2), percent(50));
    assert_eq!(
        world.pages(),
        [
            "checkout-2 is not back on stable after 14s: asked for 50%, observed 50%, stable has \
             0 of 4 instances ready (`airboss abort --force` does not wait for them); still trying"
        ]
    );
    world.abort(2, true);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.exposed(2), Weight::ZERO);
}

#[test]
fn a_rollback_that_the_target_does_not_follow_keeps_trying_and_pages_and_is_never_called_done() {
    let mut world = World::with_stable();
    world.judge = Judge::failing_from(1);
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.target.deaf = true;
    world.run_for(Duration::from_secs(600));
    assert_eq!(phase(&world.lane), "rolling back");
    assert_eq!(world.outcome(2), None);
    assert!(world.messages("rollback_retried").len() > 10);
    assert!(
        world
            .pages()
            .last()
            .unwrap()
            .contains("asked for 0%, observed 50%; still trying"),
        "{:?}",
        world.pages()
    );
    world.target.deaf = false;
    world.settle();
    assert_eq!(world.exposed(2), Weight::ZERO);
    assert_eq!(world.outcome(2), Some(Outcome::RolledBack));
}

#[test]
fn an_abort_after_promote_full_is_honoured_as_long_as_the_old_version_is_kept() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    assert!(is_accepted(&world.promote(2, true)));
    world.run_until_phase("observing 2");
    assert_eq!(world.exposed(2), Weight::FULL);
    assert!(is_accepted(&world.abort(2, false)));
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
    assert_eq!(world.exposed(1), Weight::FULL);
}

#[test]
fn an_abort_after_the_old_version_went_is_offered_as_a_rollback_with_its_duration() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("draining");
    let answer = world.abort(2, false);
    assert!(is_refused(&answer, Refusal::WrongPhase));
    assert_eq!(
        message(&answer),
        "checkout-2 is draining: it serves all users and the old version is on its way out. \
         `airboss rollback checkout` returns to checkout@1.0.0; its instances took 3s to become \
         ready the last time"
    );
}

#[test]
fn a_new_release_waits_while_a_rollout_runs_and_older_ones_that_wait_say_by_whom() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    assert!(is_accepted(&world.ship(release(3))));
    assert!(is_accepted(&world.ship(release(4))));
    assert_eq!(world.outcome(3), Some(Outcome::Superseded));
    assert_eq!(
        world.messages("withdrawn"),
        ["checkout-3 superseded: checkout-4 of checkout@4.0.0 by ana is newer"]
    );
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
    assert_eq!(world.outcome(4), Some(Outcome::Shipped));
}

#[test]
fn a_release_that_supersedes_starts_only_after_the_canary_was_confirmed_off() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.forget();
    assert!(is_accepted(
        &world.ship(release(3).when_busy(WhenBusy::Supersede))
    ));
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Superseded));
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
    let kinds = world.kinds();
    let at = |kind| kinds.iter().position(|k| *k == kind).unwrap();
    assert!(at("rollback_started") < at("returned_to_stable"));
    assert!(at("returned_to_stable") < at("started"));
}

#[test]
fn a_release_is_refused_while_a_rollout_runs_where_the_policy_says_so() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    let answer = world.ship(release(3).when_busy(WhenBusy::Reject));
    assert!(is_refused(&answer, Refusal::Busy));
    assert!(message(&answer).contains("airboss abort checkout-2"));
    assert_eq!(world.outcome(3), None);
}

#[test]
fn shipping_what_is_stable_skips_to_stable_at_once() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.forget();
    assert!(is_accepted(&world.ship(content(3, 1))));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.exposed(2), Weight::ZERO);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Superseded));
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
    // No step was walked again, and no instance was started for it.
    assert!(!world.happened("started"));
    assert_eq!(world.exposed(1), Weight::FULL);
}

#[test]
fn instances_that_come_and_go_neither_stop_a_rollout_nor_revive_an_aborted_arm() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.target.unready.insert(rollout(1), 1);
    world.report();
    world.run_until_phase("observing 1");
    world.abort(2, true);
    for unready in [3, 0, 4, 1] {
        world.target.unready.insert(rollout(1), unready);
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.exposed(2), Weight::ZERO);
    }
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
}

#[test]
fn a_weight_that_the_router_accepted_but_did_not_apply_stalls_the_step() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("preparing 0");
    world.target.stuck = true;
    world.run_for(Duration::from_secs(3600));
    assert_eq!(phase(&world.lane), "shifting 0");
    assert_eq!(
        world.messages("stalled"),
        [
            "stalled: weight 10% is asked for and the data plane has shown 0% for 10s; \
             the step does not count until it is confirmed"
        ]
    );
    assert_eq!(world.pages().len(), 1);
    world.target.stuck = false;
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn a_step_whose_queries_return_nothing_holds_and_tells_people_at_its_deadline() {
    let mut world = World::with_stable();
    world.judge = Judge::saying(&[Verdict::NotEnoughData]);
    world.ship(release(2));
    world.run_for(Duration::from_secs(24 * 3600));
    assert_eq!(phase(&world.lane), "observing 0");
    assert_eq!(
        world.messages("deadline_held"),
        [
            "20m passed without proof, and the policy is to hold; the evidence: \
             12 of about 900 requests that a verdict needs"
        ]
    );
    assert_eq!(world.notices.len(), 1);
}

#[test]
fn a_pass_that_rests_on_nan_is_not_enough_data() {
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    let mut broken = assessment(Verdict::Pass);
    broken.log_e = f64::NAN;
    broken.fail_at = f64::INFINITY;
    world.send(&Input::Assessed {
        rollout: rollout(2),
        step: 0,
        assessment: broken.into(),
    });
    assert_eq!(phase(&world.lane), "observing 0");
    let note = world.lane.active.as_ref().unwrap().verdict.clone().unwrap();
    assert_eq!(note.verdict, Verdict::NotEnoughData);
    // The record can be read again: JSON knows neither NaN nor infinity.
    for (_, event) in &world.log {
        let text = serde_json::to_string(event).unwrap();
        let back: airboss_engine::Event = serde_json::from_str(&text).unwrap();
        assert_eq!(back, *event);
    }
}

#[test]
fn a_metric_source_that_is_down_holds_the_step_and_keeps_the_exposure() {
    let mut world = World::with_stable();
    world.judge = Judge::saying(&[Verdict::Pass, Verdict::SourceDown]);
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.run_for(Duration::from_secs(600));
    assert_eq!(phase(&world.lane), "observing 1");
    assert_eq!(world.exposed(2), percent(50));
    assert!(world.notices.last().unwrap().1.contains("does not answer"));
    world.judge = Judge::passing();
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn a_judge_that_never_speaks_is_never_a_pass() {
    for then in [Then::Hold, Then::Rollback] {
        let mut world = World::with_stable();
        world.judge = Judge::silent();
        world.ship(release(2).at_deadline(then));
        world.run_for(Duration::from_secs(24 * 3600));
        assert!(!world.happened("step_passed"));
        let expected = (then == Then::Rollback).then_some(Outcome::RolledBack);
        assert_eq!(world.outcome(2), expected);
    }
}

#[test]
fn a_policy_that_promotes_without_proof_is_recorded_as_policy() {
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2).at_deadline(Then::Promote));
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
    assert_eq!(
        world.messages("step_passed")[0],
        "step 1 is over: 20m passed without proof, and the policy is to promote; \
         the evidence: no verdict yet"
    );
}

#[test]
fn a_failure_of_both_arms_blames_no_release() {
    let mut world = World::with_stable();
    world.judge = Judge::saying(&[Verdict::External]);
    world.ship(release(2));
    world.run_for(Duration::from_secs(600));
    assert_eq!(phase(&world.lane), "observing 0");
    assert_eq!(world.exposed(2), percent(10));
    assert!(!world.happened("rollback_started"));
    assert!(world.notices[0].1.contains("both versions fail alike"));
}

#[test]
fn a_controller_that_restarts_mid_step_resumes_with_the_original_times() {
    let mut world = World::with_stable();
    world.judge.takes = Duration::from_secs(0);
    world.ship(release(2).bake(3600));
    world.run_until_phase("observing 0");
    let began = world.now;
    world.run_for(Duration::from_secs(3000));
    // All that survives is what the store keeps.
    let text = serde_json::to_string(&world.lane).unwrap();
    let restored: Lane = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, *world.lane);
    world.lane = restored.into();
    world.forget();
    world.run_until_phase("preparing 1");
    let watched = airboss_model::time::since(began, world.now);
    assert_eq!(watched, Duration::from_secs(3600));
    assert!(!world.happened("started"));
}

#[test]
fn a_clock_that_is_set_back_ends_no_step_early_and_breaks_nothing() {
    let mut world = World::with_stable();
    world.judge.takes = Duration::from_secs(0);
    world.ship(release(2).bake(600));
    world.run_until_phase("observing 0");
    let began = world.now;
    world.run_for(Duration::from_secs(60));
    world.now = START.parse().unwrap();
    let early = decide(&world.lane, &Input::Clock, world.now);
    assert_eq!(early.events, Vec::new());
    world.run_until_phase("preparing 1");
    assert!(airboss_model::time::since(began, world.now) >= Duration::from_secs(600));
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn the_first_deployment_is_watched_against_its_objectives_alone_and_says_so() {
    let mut world = World::empty();
    world.ship(release(1));
    world.run_until_phase("observing 0");
    assert_eq!(world.exposed(1), Weight::FULL);
    assert_eq!(
        world.messages("started"),
        [
            "started: canary 100% (first deployment: there is no baseline, so only the \
             absolute objectives are watched)"
        ]
    );
    world.settle();
    assert_eq!(world.outcome(1), Some(Outcome::Shipped));
}

#[test]
fn a_first_deployment_that_misses_its_objectives_keeps_serving_and_pages() {
    let mut world = World::empty();
    world.judge = Judge::failing_from(0);
    world.ship(release(1));
    world.settle();
    assert_eq!(world.outcome(1), Some(Outcome::Failed));
    assert_eq!(world.exposed(1), Weight::FULL);
    assert!(world.pages()[0].contains("no version to return to, so it keeps serving"));
}
