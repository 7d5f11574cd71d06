//! What people do to a rollout under way.

use serde_json::Value;
use xtask::load::Load;
use xtask::versions::{GOOD, Version};

use crate::harness::{House, Manifest};

const NEXT: Version = Version {
    number: "2.0.0",
    faults: "",
};
const AFTER: Version = Version {
    number: "2.1.0",
    faults: "",
};

/// A step that never has enough evidence by itself: nobody sends requests.
fn observing(weight: &str) -> impl Fn(&Value) -> bool {
    move |lane| {
        lane["rollout"]["phase"] == "observing"
            && lane["traffic"]["set"] == weight
            && lane["traffic"]["confirmed"] == true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_resume_promote_and_abort_do_what_they_say() {
    let manifest = Manifest {
        steps: "[10%, 40%, 100%]",
        ..Manifest::default()
    };
    let house = House::serving(&manifest).await;
    house.ship(GOOD, &[]).await.ended(0);
    house.until_lane("the first step", observing("10%")).await;

    house
        .run(&["pause", "checkout-2", "--reason", "lunch"])
        .await
        .ended(0);
    let lane = house
        .until_lane("paused", |lane| lane["rollout"]["phase"] == "paused")
        .await;
    assert_eq!(lane["rollout"]["paused_by"], "ada@example.org");
    house.run(&["resume"]).await.ended(0);
    house.until_lane("goes on", observing("10%")).await;

    house.run(&["promote", "checkout-2"]).await.ended(0);
    house.until_lane("the second step", observing("40%")).await;
    house
        .run(&["abort", "checkout-2", "--reason", "second thoughts"])
        .await
        .ended(0);
    let rollout = house.until_ended("checkout-2").await;
    assert_eq!(rollout["outcome"], "aborted", "{rollout:#}");
    house.until_only("1.0.0").await;
    house
        .run(&["explain", "checkout-2"])
        .await
        .ended(0)
        .says(&["second thoughts", "ada@example.org"]);
    // It is over: there is nothing left to steer.
    house.run(&["abort", "checkout-2"]).await.ended(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_returns_to_the_version_before_and_loses_no_request() {
    let house = House::serving(&Manifest::default()).await;
    house.ship(GOOD, &[]).await.ended(0);
    house.until_lane("the first step", observing("40%")).await;
    let load = Load::start(house.listen, "/checkout", 100);
    house
        .run(&["promote", "checkout-2", "--full"])
        .await
        .ended(0);
    assert_eq!(house.until_ended("checkout-2").await["outcome"], "shipped");
    house.until_only("1.1.0").await;
    house
        .run(&["rollback", "checkout", "--watch", "--timeout", "2m"])
        .await
        .ended(0);
    house.until_only("1.0.0").await;
    let record = load.stop().await;
    let ours: Vec<String> = record
        .not_the_services()
        .map(|shot| shot.describe())
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_that_wait_only_the_newest_starts() {
    let house = House::serving(&Manifest::default()).await;
    house.ship(GOOD, &[]).await.ended(0);
    house.until_lane("the first step", observing("40%")).await;
    house
        .ship(NEXT, &[])
        .await
        .ended(0)
        .says(&["waits for checkout-2"]);
    house
        .ship(AFTER, &[])
        .await
        .ended(0)
        .says(&["waits for checkout-2"]);
    let older = house.until_ended("checkout-3").await;
    assert_eq!(older["outcome"], "superseded");
    assert!(
        older["reason"].to_string().contains("checkout-4"),
        "{older:#}"
    );
    house
        .run(&["promote", "checkout-2", "--full"])
        .await
        .ended(0);
    let next = house
        .until_lane("the newest starts", |lane| {
            lane["rollout"]["id"] == "checkout-4"
        })
        .await;
    assert_eq!(next["stable"]["version"], "1.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_release_supersedes_where_the_manifest_says_so() {
    let house = House::serving(&Manifest {
        when_busy: "supersede",
        ..Manifest::default()
    })
    .await;
    house.ship(GOOD, &[]).await.ended(0);
    house.until_lane("the first step", observing("40%")).await;
    house.ship(NEXT, &[]).await.ended(0);
    assert_eq!(
        house.until_ended("checkout-2").await["outcome"],
        "superseded"
    );
    let lane = house
        .until_lane("the newer one", |lane| {
            lane["rollout"]["id"] == "checkout-3" && observing("40%")(lane)
        })
        .await;
    assert_eq!(lane["stable"]["version"], "1.0.0");
}
