//! Whole rollouts as a person reads them afterwards: every event's message, with its time.

use std::time::Duration;

use airboss_engine::Urgency;
use airboss_model::time::since;

use crate::harness::*;

/// Seconds since the start of the test, the message; then what people were told.
fn timeline(world: &World) -> String {
    let began = world.log.first().unwrap().0;
    let mut text = String::new();
    for (at, event) in &world.log {
        let seconds = since(began, *at).as_secs_f64();
        let message = event.message();
        let mut lines = message.lines();
        text += &format!("{seconds:>8.2}s  {}\n", lines.next().unwrap());
        for line in lines {
            text += &format!("{:>11}{line}\n", "");
        }
    }
    for (urgency, notice) in &world.notices {
        let how = match urgency {
            Urgency::Page => "page",
            Urgency::Ticket => "ticket",
            Urgency::Note => "note",
        };
        text += &format!("{how:>9}  {notice}\n");
    }
    text
}

#[test]
fn a_good_release_reads_well() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.settle();
    insta::assert_snapshot!(timeline(&world));
}

#[test]
fn a_bad_release_reads_well() {
    let mut world = World::with_stable();
    world.judge = Judge::failing_from(1);
    world.ship(release(2));
    world.settle();
    insta::assert_snapshot!(timeline(&world));
}

#[test]
fn an_aborted_release_reads_well() {
    let mut world = World::with_stable();
    world.ship(release(2));
    world.run_until_phase("observing 1");
    world.pause(2);
    world.run_for(Duration::from_secs(60));
    world.target.unready.insert(rollout(1), 1);
    world.report();
    world.abort(2, false);
    world.settle();
    insta::assert_snapshot!(timeline(&world));
}

#[test]
fn an_expired_lease_reads_well() {
    let mut world = World::with_stable();
    world.judge = Judge::silent();
    world.ship(release(2));
    world.run_until_phase("observing 0");
    world.run_for(Duration::from_secs(30));
    world.lose_target();
    world.run_for(Duration::from_secs(60));
    world.target.expire_lease(world.now);
    world.run_for(Duration::from_secs(120));
    world.target.silent = false;
    world.settle();
    insta::assert_snapshot!(timeline(&world));
}

#[test]
fn a_first_deployment_that_never_starts_reads_well() {
    let mut world = World::empty();
    world.ship(release(1));
    world.target.unready.insert(rollout(1), 4);
    world.settle();
    insta::assert_snapshot!(timeline(&world));
}

#[test]
fn a_return_to_an_earlier_version_reads_well() {
    let mut world = World::with_two_versions();
    world.rollback(3, None);
    world.settle();
    insta::assert_snapshot!(timeline(&world));
}
