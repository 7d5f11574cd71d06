//! What goes wrong at three in the morning, beyond the well-known cases.

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Answer, Effect, Input, Outcome, Refusal};
use airboss_judge::{Assessment, Verdict};
use airboss_model::manifest::WhenBusy;
use airboss_model::traffic::Weight;

use crate::harness::*;

#[test]
fn a_canary_that_fails_while_the_next_step_comes_up_is_taken_back_at_once() {
    // The judge may name the step that is in force or the one that is prepared.
    for step in [0, 1] {
        let mut world = World::with_stable();
        world.ship(release(2));
        world.run_until_phase("preparing 1");
        world.say(2, step, Verdict::Fail);
        assert_eq!(phase(&world.lane), "rolling back");
        world.settle();
        assert_eq!(world.outcome(2), Some(Outcome::RolledBack));
    }
}

#[test]
fn a_pass_said_before_the_weight_is_in_force_proves_nothing() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("preparing 1");
    world.judge = Judge::silent();
    assert_eq!(world.say(2, 1, Verdict::Pass).events, Vec::new());
    world.run_until_phase("shifting 1");
    assert_eq!(world.say(2, 1, Verdict::Pass).events, Vec::new());
    world.run_until_phase("observing 1");
    world.run_for(Duration::from_secs(600));
    assert_eq!(phase(&world.lane), "observing 1");
}

#[test]
fn evidence_that_gathers_while_instances_come_up_holds_the_growth_until_a_person_insists() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("preparing 1");
    world.judge = Judge::silent();
    let mut doubtful = assessment(Verdict::Undecided);
    doubtful.hold_growth = true;
    let say = Input::Assessed {
        rollout: rollout(2),
        step: 0,
        assessment: doubtful.into(),
    };
    world.send(&say);
    world.run_for(Duration::from_secs(600));
    assert_eq!(phase(&world.lane), "preparing 1");
    assert_eq!(world.exposed(2), percent(10));
    assert!(is_accepted(&world.promote(2, false)));
    world.run_until_phase("observing 1");
    // The person spoke for that step alone: what the judge says of the next one counts again.
    world.send(&Input::Assessed {
        rollout: rollout(2),
        step: 1,
        assessment: Arc::new(Assessment {
            hold_growth: true,
            ..assessment(Verdict::Pass)
        }),
    });
    world.run_for(Duration::from_secs(600));
    assert_eq!(phase(&world.lane), "observing 1");
    assert!(
        world.messages("step_passed")[1]
            .starts_with("step 1 is over: ana went on to 50% without waiting")
    );
}

#[test]
fn promote_full_keeps_the_old_share_until_all_instances_are_ready() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.promote(2, true);
    assert_eq!(phase(&world.lane), "preparing 2");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.exposed(2), percent(10));
    world.run_until_phase("observing 2");
    assert_eq!(world.exposed(2), Weight::FULL);
}

#[test]
fn no_canary_instance_goes_before_zero_is_confirmed() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.target.stuck = true;
    world.abort(2, false);
    let canary = world.lane.desired.as_ref().unwrap().arms[1].clone();
    assert_eq!((canary.arm, canary.instances), (rollout(2), 2));
}

#[test]
fn an_agent_that_falls_silent_during_a_rollback_is_asked_until_it_confirms() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.target.deaf = true;
    world.lose_target();
    world.abort(2, false);
    world.run_for(Duration::from_secs(120));
    assert_eq!(phase(&world.lane), "rolling back");
    assert!(world.pages().len() > 2);
    let desired = world.lane.desired.clone();
    world.target.heal(desired.as_ref(), world.now);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
    assert_eq!(world.exposed(1), Weight::FULL);
}

#[test]
fn an_agent_that_falls_silent_at_the_last_step_does_not_lose_the_old_version() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 2");
    world.lose_target();
    world.run_for(Duration::from_secs(3600));
    assert_eq!(phase(&world.lane), "observing 2");
    let answer = world.promote(2, false);
    assert!(is_refused(&answer, Refusal::WrongPhase), "{answer:?}");
    world.target.silent = false;
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn an_expired_lease_takes_the_rollout_back_even_where_a_newer_generation_is_under_way() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("preparing 1");
    world.run_for(Duration::from_secs(1));
    world.target.deaf = true;
    world.run_until_phase("shifting 1");
    // The agent has not taken in the newer generation when its lease runs out.
    world.target.expire_lease(world.now);
    world.report();
    assert_eq!(phase(&world.lane), "rolling back");
    let desired = world.lane.desired.clone();
    world.target.heal(desired.as_ref(), world.now);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::RolledBack));
    assert!(world.messages("ended")[0].contains("no controller renewed the exposure for 1m"));
}

#[test]
fn a_lease_cannot_take_down_the_first_version_of_a_service() {
    let mut world = World::empty();
    world.ship(release(1));
    world.run_until_phase("observing 0");
    let traffic = &world.lane.desired.as_ref().unwrap().traffic;
    assert_eq!(
        (&traffic.stable, &traffic.canary),
        (&Some(rollout(1)), &None)
    );
}

#[test]
fn a_release_that_supersedes_does_not_take_the_only_version_down() {
    let mut world = World::empty();
    world.ship(release(1));
    world.run_until_phase("observing 0");
    let answer = world.ship(release(2).when_busy(WhenBusy::Supersede));
    assert_eq!(
        message(&answer),
        "checkout-2 starts once checkout-1 is stable: there is no other version to serve until then"
    );
    world.settle();
    assert_eq!(world.outcome(1), Some(Outcome::Shipped));
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
    // One that serves nobody yet gives way at once: it may never come up.
    let mut world = World::empty();
    world.ship(release(1));
    world.run_for(Duration::from_secs(1));
    world.ship(release(2).when_busy(WhenBusy::Supersede));
    world.settle();
    assert_eq!(world.outcome(1), Some(Outcome::Superseded));
}

#[test]
fn a_data_plane_that_forgets_a_weight_holds_the_step_and_keeps_its_time() {
    let mut world = World::with_stable();
    world.judge.takes = Duration::from_secs(0);
    world.ship(release(2).bake(600));
    world.run_until_phase("observing 0");
    let began = world.now;
    world.run_for(Duration::from_secs(500));
    world.target.lie = Some(Weight::ZERO);
    world.run_for(Duration::from_secs(3000));
    assert!(!world.happened("deadline_held"));
    assert_eq!(phase(&world.lane), "observing 0");
    assert_eq!(
        world.messages("step_unconfirmed"),
        [
            "the data plane no longer confirms 10%, it shows 0%; the step's time stands still until it does"
        ]
    );
    assert_eq!(world.pages().len(), 1);
    world.target.lie = None;
    world.run_until_phase("preparing 1");
    assert_eq!(
        airboss_model::time::since(began, world.now),
        Duration::from_secs(3600)
    );
}

#[test]
fn an_agent_that_restarts_for_two_seconds_wakes_nobody() {
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.target.lie = Some(Weight::ZERO);
    world.run_for(Duration::from_secs(2));
    world.target.lie = None;
    world.run_for(Duration::from_secs(60));
    assert_eq!(phase(&world.lane), "observing 0");
    assert!(world.notices.is_empty(), "{:?}", world.notices);
}

#[test]
fn a_new_version_that_crashes_under_all_traffic_does_not_cost_the_old_one() {
    let mut world = World::with_stable();
    world.ship(release(2).all_at_once());
    world.run_until_phase("shifting 0");
    // It came up, took the traffic and died before the data plane confirmed.
    world.target.unready.insert(rollout(2), 4);
    world.run_for(Duration::from_secs(1));
    assert_eq!(phase(&world.lane), "observing 0");
    world.target.restarts.insert(rollout(2), 3);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::RolledBack));
    assert_eq!(world.exposed(1), Weight::FULL);
}

#[test]
fn a_last_step_that_never_gets_all_its_instances_back_is_given_up() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("shifting 2");
    world.target.unready.insert(rollout(2), 1);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::RolledBack));
    assert_eq!(
        world.messages("ended"),
        ["rolled back: 3 of 4 instances ready at 100% after 1m20s, so the old version cannot go"]
    );
}

#[test]
fn a_rollback_while_the_old_version_drains_does_not_wait_for_the_drain() {
    let mut world = World::with_two_versions();
    world.target.drain_takes = Duration::from_secs(3600);
    world.ship(release(3).drain(3600));
    world.run_until_phase("draining");
    assert!(is_accepted(&world.rollback(4, None)));
    assert_eq!(active_id(&world.lane), Some(rollout(4)));
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.exposed(4), Weight::FULL);
    let stable = world.lane.stable.clone().unwrap();
    assert_eq!(stable.release.version(), "2.0.0");
}

#[test]
fn a_rollback_that_is_asked_for_twice_is_not_taken_back() {
    let mut world = World::with_two_versions();
    assert!(is_accepted(&world.rollback(3, None)));
    world.run_for(Duration::from_secs(1));
    let again = world.rollback(4, None);
    assert_eq!(
        message(&again),
        "checkout-3 returns to checkout@1.0.0 already"
    );
    assert!(is_accepted(&world.rollback(5, Some("checkout@1.0.0"))));
    world.settle();
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
    assert_eq!(world.outcome(4), None);
    assert_eq!(
        world.lane.stable.as_ref().unwrap().release.version(),
        "1.0.0"
    );
    assert_eq!(world.exposed(3), Weight::FULL);
}

#[test]
fn nothing_that_is_shipped_takes_the_place_of_a_return() {
    for policy in [WhenBusy::Queue, WhenBusy::Supersede] {
        let mut world = World::with_two_versions();
        world.rollback(3, None);
        world.run_for(Duration::from_secs(1));
        let answer = world.ship(release(4).when_busy(policy));
        assert_eq!(
            message(&answer),
            "checkout-4 waits for checkout-3, which returns to checkout@1.0.0"
        );
        // Nor does the build of what is stable, run again by a robot.
        world.ship(content(5, 2).when_busy(policy));
        world.run_until(|lane| lane.stable.as_ref().unwrap().arm == rollout(3));
        assert_eq!(world.outcome(4), Some(Outcome::Superseded));
        world.settle();
        assert_eq!(world.outcome(3), Some(Outcome::Shipped));
    }
}

#[test]
fn a_return_that_waits_is_not_withdrawn_by_a_release() {
    let mut world = World::with_two_versions();
    world.ship(release(3));
    world.run_until_phase("observing 0");
    world.rollback(4, Some("checkout@1.0.0"));
    assert_eq!(phase(&world.lane), "rolling back");
    world.ship(release(5));
    world.settle();
    assert_eq!(world.outcome(3), Some(Outcome::Superseded));
    assert_eq!(world.outcome(4), Some(Outcome::Shipped));
    assert_eq!(world.outcome(5), Some(Outcome::Shipped));
}

#[test]
fn a_rollback_to_an_earlier_version_clears_the_queue_and_says_so() {
    let mut world = World::with_two_versions();
    world.ship(release(3));
    world.run_until_phase("observing 0");
    world.ship(release(4));
    world.rollback(5, Some("checkout@1.0.0"));
    assert_eq!(
        world.messages("withdrawn"),
        ["checkout-4 superseded: checkout-5 of checkout@1.0.0 by ana is newer"]
    );
    world.settle();
    assert_eq!(
        world.lane.stable.as_ref().unwrap().release.version(),
        "1.0.0"
    );
}

#[test]
fn a_rollback_to_the_stable_release_by_name_is_an_abort() {
    let mut world = World::with_two_versions();
    world.ship(release(3));
    world.run_until_phase("observing 0");
    let answer = world.rollback(4, Some("checkout@2.0.0"));
    assert_eq!(message(&answer), "checkout-3 is taken back");
    world.settle();
    assert_eq!(world.outcome(3), Some(Outcome::Aborted));
    let idle = world.rollback(5, Some("checkout@2.0.0"));
    assert_eq!(
        message(&idle),
        "checkout@2.0.0 is stable already: nothing to change"
    );
}

#[test]
fn a_rollback_to_a_version_that_never_served_is_refused_with_those_that_did() {
    let mut world = World::with_two_versions();
    let answer = world.rollback(3, Some("checkout@9.0.0"));
    assert!(is_refused(&answer, Refusal::NothingToReturnTo));
    assert_eq!(
        message(&answer),
        "checkout@9.0.0 never served checkout/production; earlier versions: checkout@1.0.0"
    );
}

#[test]
fn an_aborted_first_deployment_ends_with_nothing_running_and_the_service_can_start_again() {
    for reached in ["preparing 0", "observing 0"] {
        let mut world = World::empty();
        world.ship(release(1));
        world.run_until_phase(reached);
        world.abort(1, false);
        world.settle();
        assert_eq!(world.outcome(1), Some(Outcome::Aborted));
        assert!(world.lane.desired.as_ref().unwrap().arms.is_empty());
        world.ship(release(2));
        world.settle();
        assert_eq!(world.outcome(2), Some(Outcome::Shipped));
        assert_eq!(world.exposed(2), Weight::FULL);
    }
}

#[test]
fn a_first_deployment_whose_instances_die_under_traffic_is_failed_not_rolled_back() {
    let mut world = World::empty();
    world.ship(release(1));
    world.run_until_phase("observing 0");
    world
        .target
        .failed
        .insert(rollout(1), "crashed 5 times in 10s".to_owned());
    world.settle();
    assert_eq!(world.outcome(1), Some(Outcome::Failed));
}

#[test]
fn a_version_that_never_starts_fails_with_its_log_lines_and_stable_is_untouched() {
    let mut world = World::with_stable();
    let generation = world.lane.stable.clone();
    world.ship(release(2));
    world.target.failed.insert(
        rollout(2),
        "exited with status 1 at start\npanic: no DATABASE_URL".to_owned(),
    );
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Failed));
    assert_eq!(
        world.messages("ended"),
        ["failed: exited with status 1 at start\npanic: no DATABASE_URL"]
    );
    assert_eq!(world.lane.stable, generation);
    assert!(!world.happened("step_shifting"));
}

#[test]
fn a_release_that_supersedes_during_a_drain_waits_for_its_end() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("draining");
    let answer = world.ship(release(3).when_busy(WhenBusy::Supersede));
    assert_eq!(
        message(&answer),
        "checkout-3 starts once checkout-2 has drained the old version"
    );
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
}

#[test]
fn a_drain_that_the_data_plane_never_confirmed_is_not_called_shipped() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 2");
    world.target.stuck = true;
    world.run_for(Duration::from_secs(3600));
    assert_eq!(phase(&world.lane), "draining");
    assert_eq!(world.outcome(2), None);
    assert_eq!(world.pages().len(), 1);
    world.target.stuck = false;
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn a_pause_stops_the_clock_of_a_step_but_not_its_judge() {
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.run_for(Duration::from_secs(600));
    world.pause(2);
    world.run_for(Duration::from_secs(24 * 3600));
    assert!(!world.happened("deadline_held"));
    world.resume(2);
    world.run_for(Duration::from_secs(599));
    assert!(!world.happened("deadline_held"));
    world.run_for(Duration::from_secs(2));
    assert!(world.happened("deadline_held"));
    world.pause(2);
    world.say(2, 0, Verdict::Fail);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::RolledBack));
}

#[test]
fn a_pause_that_began_before_the_weight_was_confirmed_lengthens_nothing() {
    let mut world = World::with_stable();
    world.judge.takes = Duration::ZERO;
    world.target.switch_takes = Duration::from_secs(8);
    world.ship(release(2).bake(60));
    world.run_until_phase("shifting 0");
    world.pause(2);
    world.run_until_phase("observing 0");
    let confirmed = world.now;
    world.run_for(Duration::from_secs(2));
    world.resume(2);
    world.run_until_phase("preparing 1");
    assert_eq!(
        airboss_model::time::since(confirmed, world.now),
        Duration::from_secs(62)
    );
}

#[test]
fn resuming_what_is_on_its_way_back_is_refused() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.pause(2);
    world.abort(2, false);
    assert!(is_refused(&world.resume(2), Refusal::WrongPhase));
    assert!(is_refused(&world.promote(2, true), Refusal::WrongPhase));
}

#[test]
fn the_same_content_under_another_manifest_is_refused_with_the_way_to_do_it() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    let answer = world.ship(content(3, 2).bake(60));
    assert!(is_refused(&answer, Refusal::Busy));
    assert!(message(&answer).contains("or end it with `airboss abort checkout-2`"));
    // Instances that run otherwise are another deployment, whatever the content.
    assert!(is_accepted(&world.ship(content(4, 2).instances(6))));
}

#[test]
fn the_stable_content_under_a_new_version_changes_nothing_and_says_so() {
    let mut world = World::with_stable();
    let mut same = content(2, 1);
    same.release = "checkout@1.0.1".parse().unwrap();
    let answer = world.ship(same);
    assert_eq!(
        message(&answer),
        "checkout@1.0.1 has the content of checkout@1.0.0, which is stable: nothing to change"
    );
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
    assert!(!world.happened("desired_changed"));
}

#[test]
fn a_command_that_arrives_twice_is_done_once() {
    let mut world = World::with_stable();
    world.ship(release(2));
    assert_eq!(
        message(&world.ship(release(2))),
        "checkout-2 was asked for already"
    );
    world.settle();
    // Even after it has shipped: an arm's name is never used again.
    assert!(matches!(world.ship(release(2)), Answer::Accepted { .. }));
    assert_eq!(
        world
            .kinds()
            .iter()
            .filter(|kind| **kind == "requested")
            .count(),
        1
    );
}

#[test]
fn a_target_that_is_ahead_of_a_restored_store_is_taken_over_not_waited_for() {
    let mut world = World::with_stable();
    world.target.remember_generation(5_000);
    let decision = world.report();
    assert!(matches!(
        &decision.effects[..],
        [Effect::Apply { desired }] if desired.generation == 5_001
    ));
    world.ship(release(2));
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn a_generation_that_target_and_store_mean_differently_does_not_block_a_rollback() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    let generation = world.lane.desired.as_ref().unwrap().generation;
    world.target.silent = true;
    world.target.remember_generation(generation + 1);
    world.abort(2, false);
    world.target.silent = false;
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
    assert_eq!(world.exposed(1), Weight::FULL);
}

#[test]
fn a_verdict_about_another_rollout_is_nobody_s_business() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    assert_eq!(world.say(1, 0, Verdict::Fail).events, Vec::new());
    assert_eq!(world.say(2, 2, Verdict::Fail).events, Vec::new());
}
