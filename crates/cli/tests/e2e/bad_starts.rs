//! Versions that never come to serve.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::Value;
use xtask::versions::{FIRST, GOOD, Version};

use crate::harness::{House, Manifest, Said, http, processes};

const CRASHES: Version = Version {
    number: "1.4.0",
    faults: "CHECKOUT_CRASH_AFTER=0s\n",
};
const DEAF: Version = Version {
    number: "1.5.0",
    faults: "CHECKOUT_READY_AFTER=never\n",
};

/// The rollout failed and said why; users are where they were.
async fn failed_beside_stable(house: &House, said: Said, why: &[&str]) {
    said.ended(6).says(&["failed"]).says(why);
    let lane = house.lane().await;
    assert_eq!(lane["stable"]["version"], "1.0.0");
    assert_eq!(lane["rollout"], Value::Null);
    assert_eq!(http::version(house.listen).await.as_deref(), Some("1.0.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_crashes_at_start_fails_with_its_last_words_and_stable_stays() {
    let house = House::serving(&Manifest::default()).await;
    let pid = house.lane().await["arms"][0]["instances"][0]["pid"].clone();
    let said = house.ship(CRASHES, &["--watch"]).await;
    failed_beside_stable(&house, said, &["cannot open the price list"]).await;
    let after = house.lane().await["arms"][0]["instances"][0]["pid"].clone();
    assert_eq!(pid, after, "stable was restarted");
    house
        .run(&["logs", "checkout-2"])
        .await
        .ended(0)
        .says(&["cannot open the price list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_never_ready_fails_and_stable_stays() {
    let house = House::serving(&Manifest::default()).await;
    house.write_manifest(&Manifest {
        ready_within: "2s",
        ..Manifest::default()
    });
    let said = house.ship(DEAF, &["--watch"]).await;
    failed_beside_stable(&house, said, &["not ready within 2s", "503"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_run_is_named_with_its_reason() {
    let house = House::serving(&Manifest::default()).await;
    let artifact = house.pack(GOOD);
    fs::set_permissions(artifact.join("checkout"), PermissionsExt::from_mode(0o644)).unwrap();
    let said = house.ship_folder(&artifact, "1.1.0", &["--watch"]).await;
    failed_beside_stable(&house, said, &["not executable", "chmod +x"]).await;

    house.write_manifest(&Manifest {
        command: r#"["{artifact}/chekout", "--port", "{port}"]"#,
        ..Manifest::default()
    });
    let said = house.ship_folder(&artifact, "1.1.1", &["--watch"]).await;
    failed_beside_stable(&house, said, &["no such file", "chekout"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_told_with_its_holder_and_the_rollout_goes_on_when_it_is_free() {
    let house = House::up(&Manifest::default()).await;
    let holder = TcpListener::bind(house.listen).unwrap();
    house.ship(FIRST, &[]).await.ended(0);
    let port = house.listen.port().to_string();
    let lane = house
        .until_lane("the taken port is told", |lane| {
            lane["problems"].to_string().contains(&port)
        })
        .await;
    let problems = lane["problems"].to_string();
    assert!(problems.contains("is held by"), "{problems}");
    assert!(
        problems.contains(&std::process::id().to_string()),
        "{problems}"
    );
    drop(holder);
    assert_eq!(house.until_ended("checkout-1").await["outcome"], "shipped");
    assert_eq!(http::version(house.listen).await.as_deref(), Some("1.0.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_changed_on_disk_is_not_started_and_both_digests_are_named() {
    let house = House::serving(&Manifest::default()).await;
    let digest = house.lane().await["stable"]["digest"]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:")
        .to_owned();
    let file = house
        .data()
        .join("agent/artifacts")
        .join(digest)
        .join("VERSION");
    // Whoever changes it first makes it writable, as whoever owns the disk can.
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&file, "9.9.9\n").unwrap();
    let pid = house.lane().await["arms"][0]["instances"][0]["pid"].as_u64();
    processes::signal(
        pid.and_then(|pid| pid.try_into().ok()).unwrap(),
        Signal::KILL,
    );
    let told = |lane: &Value| {
        let text = lane["arms"].to_string();
        text.contains("was changed on disk") && text.matches("sha256:").count() >= 2
    };
    let lane = house
        .until_lane("the change is told, with both digests", told)
        .await;
    assert_eq!(lane["arms"][0]["ready"], 0, "{lane:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_stands_for_one_content() {
    let house = House::serving(&Manifest::default()).await;
    let artifact = house.pack(FIRST);
    fs::write(artifact.join("VERSION"), "1.0.0, rebuilt\n").unwrap();
    let said = house.ship_folder(&artifact, "1.0.0", &[]).await.ended(4);
    assert!(said.err.matches("sha256:").count() >= 2, "{said:?}");
}
