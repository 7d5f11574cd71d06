//! What a release goes through.

use serde_json::Value;
use xtask::load::{Load, Record};
use xtask::versions::{ERRORS, FIRST, GOOD, SLOW};

use crate::harness::manifest::ERRORS_AND_LATENCY;
use crate::harness::{House, Manifest, http};

/// Requests a second: a few seconds' worth is proof.
const RATE: u32 = 250;

#[track_caller]
fn nobody_met_a_fault_of_ours(record: &Record) {
    let ours: Vec<String> = record
        .not_the_services()
        .map(|shot| shot.describe())
        .collect();
    assert!(
        ours.is_empty(),
        "{} of {}: {:#?}",
        ours.len(),
        record.shots.len(),
        &ours[..ours.len().min(5)]
    );
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_deployment_says_that_there_is_no_baseline() {
    let house = House::up(&Manifest::default()).await;
    house
        .ship(FIRST, &["--watch"])
        .await
        .ended(0)
        .says(&["no baseline", "shipped"]);
    assert_eq!(http::version(house.listen).await.as_deref(), Some("1.0.0"));
    let lane = house.lane().await;
    assert_eq!(lane["stable"]["version"], "1.0.0");
    assert_eq!(lane["rollout"], Value::Null);
    house
        .run(&["explain", "checkout-1"])
        .await
        .ended(0)
        .says(&["no baseline"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_version_walks_its_steps_to_everyone_and_nobody_notices() {
    let house = House::serving(&Manifest::default()).await;
    let load = Load::start(house.listen, "/checkout", RATE);
    house
        .ship(GOOD, &["--watch"])
        .await
        .ended(0)
        .says(&["shipped"]);
    house.until_only("1.1.0").await;
    let record = load.stop().await;
    nobody_met_a_fault_of_ours(&record);
    assert!(record.of("1.0.0").count() > 0 && record.of("1.1.0").count() > 0);

    let events = house.events("checkout-2").await;
    let confirmed: Vec<&str> = events
        .iter()
        .filter(|event| event["kind"] == "step_confirmed")
        .filter_map(|event| event["body"]["weight"].as_str())
        .collect();
    assert_eq!(confirmed, ["40%", "100%"], "{events:#?}");
    let passed: Vec<&Value> = events
        .iter()
        .filter(|event| event["kind"] == "step_passed")
        .collect();
    assert_eq!(passed[0]["body"]["by"]["by"], "evidence", "{passed:#?}");
    assert_eq!(house.lane().await["stable"]["version"], "1.1.0");
}

async fn is_taken_back(manifest: &Manifest, version: xtask::versions::Version) {
    let house = House::serving(manifest).await;
    let load = Load::start(house.listen, "/checkout", RATE);
    house
        .ship(version, &["--watch"])
        .await
        .ended(3)
        .says(&["rolled back"]);
    house.until_only("1.0.0").await;
    let record = load.stop().await;
    nobody_met_a_fault_of_ours(&record);

    let events = house.events("checkout-2").await;
    let kinds = kinds(&events);
    assert!(kinds.contains(&"returned_to_stable"), "{kinds:?}");
    assert!(!kinds.contains(&"promoted"), "{kinds:?}");
    let rollout = house.rollout("checkout-2").await;
    assert_eq!(rollout["outcome"], "rolled_back");
    assert_eq!(house.lane().await["stable"]["version"], "1.0.0");
    house
        .run(&["explain", "checkout-2", "--full"])
        .await
        .ended(0)
        .says(&["evidence"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_three_percent_errors_is_taken_back() {
    is_taken_back(&Manifest::default(), ERRORS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_version_is_taken_back() {
    let manifest = Manifest {
        slos: ERRORS_AND_LATENCY,
        ..Manifest::default()
    };
    is_taken_back(&manifest, SLOW).await;
}
