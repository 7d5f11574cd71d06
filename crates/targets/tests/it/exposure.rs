//! Who is exposed to a canary, and for how long without anybody watching.

use airboss_model::Span;
use airboss_model::traffic::Weight;
use airboss_targets::process::StopMode;

use super::world::{World, desired, id, in_force, split, stable};

#[tokio::test]
async fn nobody_is_sent_to_an_arm_before_it_is_ready() {
    let world = World::new().await;
    let (agent, good) = world.serving(1).await;
    let deaf = world.arm("app-2", "deaf", 1);
    world
        .controller
        .ask(desired(2, &[&good, &deaf], split("app-1", "app-2", 50)));
    let lane = world
        .controller
        .sees("it is started", |lane| {
            lane.arm(&id("app-2"))
                .is_some_and(|arm| arm.instances[0].pid.is_some())
        })
        .await;
    assert_eq!((lane.generation, in_force(&lane)), (2, 1));
    for _ in 0..20 {
        assert!(world.get("/").await.1.starts_with("1.0.1 "));
    }
    // Taking it back does not wait for anything.
    world.controller.ask(desired(3, &[&good], stable("app-1")));
    world
        .controller
        .sees("the division is confirmed", |lane| in_force(lane) == 3)
        .await;
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_exposure_that_nobody_watches_ends_and_stays_ended() {
    let world = World::new().await;
    let (agent, good) = world.serving(1).await;
    let new = world.arm("app-2", "ok", 1);
    let mut exposed = desired(2, &[&good, &new], split("app-1", "app-2", 100));
    exposed.exposure_lease = Span::secs(2);
    world.controller.ask(exposed.clone());
    world
        .controller
        .sees("it is exposed", |lane| in_force(lane) == 2)
        .await;
    assert!(world.get("/").await.1.starts_with("1.0.2 "));
    // The controller hears reports, but its rollout machine is gone.
    world.controller.renews(false);
    let expired = |lane: &airboss_model::target::Observed| {
        lane.traffic
            .as_ref()
            .is_some_and(|traffic| traffic.lease_expired_at.is_some())
    };
    let lane = world.controller.sees("the lease ends", expired).await;
    let traffic = lane.traffic.unwrap();
    assert_eq!(traffic.canary_weight, Weight::ZERO);
    assert!(world.get("/").await.1.starts_with("1.0.1 "));
    // Neither a watching controller nor another agent revives it.
    world.controller.renews(true);
    agent.kill().await;
    world.controller.is_away(true);
    world.controller.is_away(false);
    let agent = world.agent();
    world.controller.sees("it is still ended", expired).await;
    assert!(world.get("/").await.1.starts_with("1.0.1 "));
    // A newer generation is a decision that knows.
    exposed.generation = 3;
    world.controller.ask(exposed);
    world
        .controller
        .sees("it is exposed again", |lane| {
            in_force(lane) == 3 && !expired(lane)
        })
        .await;
    assert!(world.get("/").await.1.starts_with("1.0.2 "));
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_share_that_was_asked_for_is_not_begun_while_nobody_watches() {
    let world = World::new().await;
    world.controller.renews(false);
    let (agent, good) = world.serving(1).await;
    let new = world.arm("app-2", "ok", 1);
    let asked = desired(2, &[&good, &new], split("app-1", "app-2", 50));
    world.controller.ask(asked);
    let lane = world
        .controller
        .sees("the new version is ready", |lane| {
            lane.ready(&id("app-2")) == 1
        })
        .await;
    assert_eq!((lane.generation, in_force(&lane)), (2, 1));
    for _ in 0..20 {
        assert!(world.get("/").await.1.starts_with("1.0.1 "));
    }
    // Somebody watches again: nothing has to be asked once more.
    world.controller.renews(true);
    world
        .controller
        .sees("it is exposed", |lane| in_force(lane) == 2)
        .await;
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_lower_generation_is_refused() {
    let world = World::new().await;
    let (agent, good) = world.serving(1).await;
    world.controller.ask(desired(7, &[&good], stable("app-1")));
    world
        .controller
        .sees("it is taken in", |lane| in_force(lane) == 7)
        .await;
    world.controller.ask(desired(3, &[], stable("app-1")));
    let lane = world
        .controller
        .sees("it is refused", |lane| !lane.problems.is_empty())
        .await;
    assert_eq!(lane.generation, 7);
    assert!(
        lane.problems[0].contains("generation 3"),
        "{:?}",
        lane.problems
    );
    assert_eq!(world.get("/").await.0, 200);
    agent.stop(StopMode::StopInstances).await;
}
