//! Metrics of the instances themselves take a release back before it reaches everybody.

use xtask::load::Load;
use xtask::versions;

use crate::harness::{House, Manifest};

const SCALING: &str = "[{ name: scale-errors, events: checkout_scale_errors_total }, \
    { name: cost, gauge: checkout_cost_dollars_per_hour, advisory: true }]";

#[tokio::test(flavor = "multi_thread")]
async fn a_mis_tuned_autoscaler_is_found_by_its_errors_before_everybody_has_it() {
    let house = House::serving(&Manifest {
        guardrails: SCALING,
        steps: "[30%, 60%, 100%]",
        ..Manifest::default()
    })
    .await;
    let load = Load::start(house.listen, "/checkout", 200);
    // A sound version passes with the guardrails read and nothing held against it.
    house.ship(versions::GOOD, &["--watch"]).await.ended(0);
    let said = house.ship(versions::SCALING, &["--watch"]).await.ended(3);
    said.says(&["rolled back"]);
    load.stop().await;
    let rollout = house.rollout("checkout-3").await;
    assert_eq!(rollout["outcome"], "rolled_back", "{rollout}");
    let reason = rollout["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("scale-errors: "), "{reason}");
    let shifted = |event: &serde_json::Value| {
        event["kind"] == "step_shifting" && event["message"].to_string().contains("100%")
    };
    let events = house.events("checkout-3").await;
    assert!(!events.iter().any(shifted), "{events:#?}");
    let explain = house
        .run(&["explain", "checkout-3", "--full"])
        .await
        .ended(0);
    // The advisory one has spoken too, with its levels, and decided nothing.
    explain.says(&["scale-errors", "cost", "advisory"]);
    house.until_only(versions::GOOD.number).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_that_no_instance_publishes_is_named_and_no_step_passes() {
    let house = House::serving(&Manifest {
        guardrails: "[{ name: queue, gauge: queue_depth }]",
        ..Manifest::default()
    })
    .await;
    let load = Load::start(house.listen, "/checkout", 200);
    house.ship(versions::GOOD, &[]).await.ended(0);
    let lane = house
        .until_lane("the missing metric is named", |lane| {
            let verdict = &lane["rollout"]["verdict"];
            let reason = verdict["reason"].as_str().unwrap_or_default();
            let problems = lane["problems"].to_string();
            verdict["verdict"] == "not_enough_data"
                && reason.starts_with("queue: no data of either version")
                && problems.contains("no number for queue_depth")
        })
        .await;
    load.stop().await;
    assert_eq!(lane["rollout"]["phase"], "observing", "{lane}");
    house.run(&["abort", "checkout-2"]).await.ended(0);
    house.until_ended("checkout-2").await;
}
