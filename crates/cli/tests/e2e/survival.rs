//! Processes that die without a word.

use rustix::process::Signal;
use serde_json::Value;
use xtask::load::Load;
use xtask::versions::GOOD;

use crate::harness::{House, Manifest, http, processes};

/// A step of a tenth at a few requests a second: it has no verdict for minutes.
fn slow_going() -> Manifest {
    Manifest {
        steps: "[10%, 100%]",
        ..Manifest::default()
    }
}

async fn observing(house: &House) -> Value {
    house
        .until_lane("the first step is observed", |lane| {
            lane["rollout"]["phase"] == "observing" && lane["traffic"]["confirmed"] == true
        })
        .await
}

fn pids(lane: &Value) -> Vec<u64> {
    let arms = lane["arms"].as_array().cloned().unwrap_or_default();
    let mut pids: Vec<u64> = arms
        .iter()
        .flat_map(|arm| arm["instances"].as_array().cloned().unwrap_or_default())
        .filter_map(|instance| instance["pid"].as_u64())
        .collect();
    pids.sort_unstable();
    pids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_controller_stops_no_request_and_resumes_the_rollout_with_its_times() {
    let house = House::serving(&slow_going()).await;
    house.ship(GOOD, &[]).await.ended(0);
    let before = observing(&house).await;
    let load = Load::start(house.listen, "/checkout", 20);
    let dead = house.part("serve").await;
    assert!(processes::signal(dead, Signal::KILL));
    house
        .until("another controller answers", async || {
            let status = house.run(&["status", "--output", "json"]).await;
            processes::part(&house.data(), "serve").is_some_and(|pid| pid != dead)
                && status.code == Some(0)
        })
        .await;
    // The record is read at once; the agent's report comes a moment later.
    let after = house
        .until_lane("the same processes are known", |lane| {
            pids(lane) == pids(&before)
        })
        .await;
    for field in ["id", "started_at", "phase_since", "steps"] {
        assert_eq!(before["rollout"][field], after["rollout"][field], "{field}");
    }
    assert_eq!(after["rollout"]["phase"], "observing");
    // A controller may be back before many requests were due.
    house
        .until("requests went on over the death", async || {
            load.so_far().shots.len() > 10
        })
        .await;
    let record = load.stop().await;
    let ours: Vec<String> = record
        .not_the_services()
        .map(|shot| shot.describe())
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_stays_away_loses_the_exposure_and_the_record_says_so() {
    let manifest = Manifest {
        lease: "5s",
        ..Manifest::default()
    };
    let api = xtask::ports::free().unwrap().to_string();
    let mut house = House::empty(&manifest);
    house.start(&["serve", "--listen", &api]).await;
    house.start(&["agent", "--on-stop", "stop"]).await;
    house
        .ship(xtask::versions::FIRST, &["--watch"])
        .await
        .ended(0);
    house.ship(GOOD, &[]).await.ended(0);
    observing(&house).await;
    house.kill_started(0);
    // Nobody is there who could decide: the agent does.
    house.until_only("1.0.0").await;
    house.start(&["serve", "--listen", &api]).await;
    let rollout = house.until_ended("checkout-2").await;
    assert_eq!(rollout["outcome"], "rolled_back", "{rollout:#}");
    house
        .run(&["explain", "checkout-2"])
        .await
        .ended(0)
        .says(&["lease"]);
    house.until_only("1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_comes_back_to_the_same_processes_and_weights() {
    let house = House::serving(&slow_going()).await;
    house.ship(GOOD, &[]).await.ended(0);
    let before = observing(&house).await;
    let dead = house.part("agent").await;
    assert!(processes::signal(dead, Signal::KILL));
    house
        .until("another agent runs and users are answered", async || {
            processes::part(&house.data(), "agent").is_some_and(|pid| pid != dead)
                && http::version(house.listen).await.is_some()
        })
        .await;
    let after = house
        .until_lane("the same weight is confirmed", |lane| {
            lane["traffic"]["observed"] == "10%" && lane["traffic"]["confirmed"] == true
        })
        .await;
    assert_eq!(pids(&before), pids(&after), "{after:#}");
    assert_eq!(
        before["rollout"]["started_at"],
        after["rollout"]["started_at"]
    );
    for arm in after["arms"].as_array().unwrap() {
        assert_eq!(arm["instances"][0]["restarts"], 0, "{arm:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_death_of_everything_but_the_service_the_next_up_takes_it_over() {
    let mut house = House::serving(&Manifest::default()).await;
    let before = pids(&house.lane().await);
    house.kill_started(0);
    house
        .until("server and agent follow their supervisor", async || {
            processes::part(&house.data(), "agent").is_none()
                && processes::part(&house.data(), "serve").is_none()
        })
        .await;
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    house.until_only("1.0.0").await;
    let lane = house
        .until_lane("the instance is known again", |lane| {
            lane["arms"][0]["ready"] == 1
        })
        .await;
    assert_eq!(pids(&lane), before);
}
