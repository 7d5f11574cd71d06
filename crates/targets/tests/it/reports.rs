//! What the controller learns, in spite of a network that loses things.

use std::net::TcpListener;

use airboss_model::traffic::Counts;
use airboss_targets::process::StopMode;

use super::world::{World, desired, id, in_force, stable};

fn counted(world: &World) -> Counts {
    let mut all = Counts::default();
    for increment in world.controller.traffic() {
        assert_eq!(increment.arm, id("app-1"));
        all.add(&increment.counts);
    }
    all
}

#[tokio::test]
async fn no_request_is_lost_or_counted_twice_when_answers_are_lost() {
    let world = World::new().await;
    let (agent, _) = world.serving(2).await;
    let mut sent = 0;
    for round in 0..3 {
        world.controller.loses_answers(true);
        let repeats = world.controller.repeats();
        for _ in 0..20 {
            assert_eq!(world.get("/").await.0, 200);
            sent += 1;
        }
        world
            .controller
            .until("a report is repeated", |told| told.repeats() > repeats)
            .await;
        world.controller.loses_answers(false);
        if round == 1 {
            world.controller.is_away(true);
            for _ in 0..20 {
                assert_eq!(world.get("/").await.0, 200);
                sent += 1;
            }
            world.controller.is_away(false);
        }
    }
    world
        .controller
        .until("all are counted", |_| counted(&world).requests >= sent)
        .await;
    agent.stop(StopMode::StopInstances).await;
    let all = counted(&world);
    assert_eq!(all.requests, sent);
    assert_eq!(all.by_status.get(&200), Some(&sent));
}

#[tokio::test]
async fn what_was_counted_last_is_reported_before_the_agent_ends() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    for _ in 0..10 {
        assert_eq!(world.get("/").await.0, 200);
    }
    agent.stop(StopMode::StopInstances).await;
    assert_eq!(counted(&world).requests, 10);
}

#[tokio::test]
async fn a_taken_address_is_named_with_its_holder_and_used_once_it_is_free() {
    let world = World::new().await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut arm = world.arm("app-1", "ok", 1);
    arm.process.listen = socket.local_addr().unwrap().to_string();
    world.controller.ask(desired(1, &[&arm], stable("app-1")));
    let agent = world.agent();
    let lane = world
        .controller
        .sees("the problem is told", |lane| !lane.problems.is_empty())
        .await;
    let problem = &lane.problems[0];
    assert!(problem.contains(&arm.process.listen), "{problem}");
    let holder = format!("(process {})", std::process::id());
    assert!(problem.contains(&holder), "{problem}");
    assert_eq!(lane.traffic, None);
    drop(socket);
    world
        .controller
        .sees("it serves", |lane| {
            in_force(lane) == 1 && lane.problems.is_empty()
        })
        .await;
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn what_instances_publish_is_read_every_second_and_what_they_do_not_is_named() {
    let world = World::new().await;
    let arm = world.arm("app-1", "ok", 2);
    let mut desired = desired(1, &[&arm], stable("app-1"));
    let asked = ["asked_total", "depth", "nothing"];
    desired.traffic.measure.metrics = asked.map(|series| series.parse().unwrap()).to_vec();
    world.controller.ask(desired);
    let agent = world.agent();
    let read = |world: &World| {
        let mut read = std::collections::BTreeMap::new();
        for increment in world.controller.traffic() {
            let sum: &mut Counts = read.entry(increment.instance).or_default();
            sum.add(&increment.counts);
        }
        read
    };
    world
        .controller
        .until("both have risen", |_| {
            let read = read(&world);
            let risen = |counts: &Counts| counts.metrics["asked_total"].rise >= 20.0;
            read.len() == 2 && read.values().all(risen)
        })
        .await;
    for counts in read(&world).values() {
        let (asked, depth) = (&counts.metrics["asked_total"], &counts.metrics["depth"]);
        assert_eq!(depth.mean(), Some(5.0));
        // The first reading of a counter tells nothing, each later one at least ten more.
        assert!(
            asked.rise >= 10.0 * f64::from(asked.readings - 1),
            "{asked:?}"
        );
        assert!(asked.over_ms > 0 && !counts.metrics.contains_key("nothing"));
    }
    let lane = world
        .controller
        .sees("what is missing is named", |lane| !lane.problems.is_empty())
        .await;
    assert!(lane.problems[0].contains("/metrics: no number for nothing"));
    // Nobody asks any more: nothing is read, nothing is missing.
    let mut desired = super::world::desired(2, &[&arm], stable("app-1"));
    desired.traffic.measure.metrics = vec!["depth".parse().unwrap()];
    world.controller.ask(desired);
    world
        .controller
        .sees("nothing is missing", |lane| {
            in_force(lane) == 2 && lane.problems.is_empty()
        })
        .await;
    agent.stop(StopMode::StopInstances).await;
}
