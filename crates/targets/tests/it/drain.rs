//! Instances go without a user noticing, and never while users are sent to them.

use std::fs;

use airboss_model::target::InstanceState;
use airboss_targets::process::StopMode;

use super::world::{World, desired, id, in_force, lives, pids, split, stable};

#[tokio::test]
async fn a_drained_instance_finishes_its_slow_request() {
    let world = World::new().await;
    let (agent, old) = world.serving(1).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let pid = pids(&lane, "app-1")[0];
    let new = world.arm("app-2", "ok", 1);
    let (status, gate) = (world.get("/slow"), world.gate());
    let rest = async {
        let log = world.folder.path().join("agent/logs/app-1.0.log");
        world
            .controller
            .until("the request is under way", |_| {
                fs::read_to_string(&log).is_ok_and(|log| log.contains("slow request came"))
            })
            .await;
        world
            .controller
            .ask(desired(2, &[&old, &new], split("app-1", "app-2", 100)));
        world
            .controller
            .sees("the new one serves", |lane| in_force(lane) == 2)
            .await;
        world.controller.ask(desired(3, &[&new], stable("app-2")));
        world
            .controller
            .sees("the old one drains", |lane| {
                in_force(lane) == 3
                    && lane
                        .arm(&id("app-1"))
                        .is_some_and(|arm| arm.instances[0].state == InstanceState::Draining)
            })
            .await;
        assert!(lives(pid));
        assert!(world.get("/").await.1.starts_with("1.0.2 "));
        fs::write(gate, "").unwrap();
        world
            .controller
            .sees("the old one is gone", |lane| {
                lane.arm(&id("app-1")).is_none()
            })
            .await;
        assert!(!lives(pid));
    };
    let ((status, body), ()) = tokio::join!(status, rest);
    assert_eq!((status, body.as_str()), (200, "slow but sure"));
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_arm_that_users_are_sent_to_is_not_stopped() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let pid = pids(&lane, "app-1")[0];
    // The new stable can never take over, and the old one is not asked for any more.
    let bad = world.arm("app-2", "crash", 1);
    world.controller.ask(desired(2, &[&bad], stable("app-2")));
    let lane = world
        .controller
        .sees("the new arm fails", |lane| {
            lane.arm(&id("app-2"))
                .is_some_and(|arm| arm.failed.is_some())
        })
        .await;
    assert_eq!((lane.generation, in_force(&lane)), (2, 1));
    assert_eq!(pids(&lane, "app-1"), [pid]);
    assert!(world.get("/").await.1.ends_with(&format!(" {pid}")));
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_service_without_arms_is_stopped_and_its_address_is_free() {
    let world = World::new().await;
    let (agent, _) = world.serving(2).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let before = pids(&lane, "app-1");
    let nobody = super::world::nobody();
    world.controller.ask(desired(2, &[], nobody));
    world
        .controller
        .sees("all is gone", |lane| {
            lane.arms.is_empty() && lane.traffic.is_none()
        })
        .await;
    assert!(!before.into_iter().any(lives));
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_lower_count_keeps_the_instances_that_remain() {
    let world = World::new().await;
    let (agent, mut arm) = world.serving(3).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let before = pids(&lane, "app-1");
    arm.instances = 1;
    world.controller.ask(desired(2, &[&arm], stable("app-1")));
    let lane = world
        .controller
        .sees("one is left", |lane| {
            lane.arm(&id("app-1")).unwrap().instances.len() == 1 && in_force(lane) == 2
        })
        .await;
    assert_eq!(pids(&lane, "app-1"), before[..1]);
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_release_with_another_address_takes_its_users_there_when_it_is_stable() {
    let world = World::new().await;
    let (agent, old) = world.serving(1).await;
    let mut new = world.arm("app-2", "ok", 1);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    new.process.listen = socket.local_addr().unwrap().to_string();
    drop(socket);
    world
        .controller
        .ask(desired(2, &[&old, &new], split("app-1", "app-2", 100)));
    world
        .controller
        .sees("all go to the new one", |lane| in_force(lane) == 2)
        .await;
    assert!(world.get("/").await.1.starts_with("1.0.2 "));
    world.controller.ask(desired(3, &[&new], stable("app-2")));
    world
        .controller
        .sees("only the new one is left", |lane| {
            in_force(lane) == 3 && lane.arm(&id("app-1")).is_none() && lane.problems.is_empty()
        })
        .await;
    let url = format!("http://{}/", new.process.listen);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    agent.stop(StopMode::StopInstances).await;
}
