//! What is removed, and what never is.

use std::collections::BTreeMap;

use airboss_engine::{Lane, evolve};
use airboss_ledger::Record;
use airboss_model::manifest::Retention;
use airboss_model::time::after;
use airboss_model::{Digest, ReleaseId, Span, Timestamp};
use airboss_server::retention::log::{self, LEAST};
use airboss_server::retention::{FRESH_FOR, Known, UNUSED_FOR, plan};
use airboss_store::{ArtifactRow, KeptArtifact, RecordFilter, ReleaseRow};
use axum::http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Agent, Server, ship};

const NOW: i64 = 1_790_000_000;

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds).unwrap()
}

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

/// Artifacts by their age, each with the releases of it by theirs; what is in use.
fn known(artifacts: &[(i64, Vec<i64>)], used: &[usize], policy: Retention) -> Known {
    let mut known = Known::default();
    let mut all: Vec<(i64, ReleaseRow)> = Vec::new();
    for (place, (age, releases)) in artifacts.iter().enumerate() {
        let digest = digest(u8::try_from(place).unwrap());
        let ids: Vec<ReleaseId> = (0..releases.len())
            .map(|number| format!("shop@{place}.{number}.0").parse().unwrap())
            .collect();
        for (id, age) in ids.iter().zip(releases) {
            known.made_at.insert(id.clone(), ago(*age));
            let row = ReleaseRow {
                id: id.clone(),
                digest,
                manifest_hash: digest,
                created_by: "ann".to_owned(),
                at: ago(*age),
            };
            all.push((*age, row));
        }
        known.artifacts.push(KeptArtifact {
            artifact: ArtifactRow {
                digest,
                size: 1,
                source: String::new(),
                at: ago(*age),
            },
            kept_at: ago(*age),
            removed: None,
            origins: Vec::new(),
            releases: ids,
        });
        if used.contains(&place) {
            known
                .in_use
                .insert(digest, "serves shop/production".to_owned());
        }
    }
    all.sort_by_key(|(age, _)| *age);
    let shop = "shop".parse().unwrap();
    known.policies = BTreeMap::from([(shop, policy)]);
    let newest = all.into_iter().map(|(_, row)| row).collect();
    known.newest = BTreeMap::from([("shop".parse().unwrap(), newest)]);
    known
}

proptest! {
    #[test]
    fn what_is_needed_stays_and_what_goes_breaks_no_rule(
        artifacts in prop::collection::vec((0..100_i64, prop::collection::vec(0..100_i64, 0..3)), 0..12),
        used in prop::collection::vec(0..12_usize, 0..4),
        keep_last in 0..6_u32,
        keep_for in 0..60_u64,
    ) {
        const DAY: i64 = 86_400;
        let artifacts: Vec<(i64, Vec<i64>)> = artifacts
            .into_iter()
            .map(|(age, releases)| (age * DAY, releases.into_iter().map(|age| age * DAY).collect()))
            .collect();
        let policy = Retention { keep_last, keep_for: Span::secs(keep_for * 86_400) };
        let known = known(&artifacts, &used, policy);
        let newest: Vec<ReleaseId> = known.newest.values().flatten().take(keep_last as usize).map(|row| row.id.clone()).collect();
        let fates = plan(&known, ago(0));
        prop_assert_eq!(fates.len(), known.artifacts.len());
        for (fate, (age, releases)) in fates.iter().zip(&artifacts) {
            let needed = known.in_use.contains_key(&fate.digest)
                || fate.releases.iter().any(|id| newest.contains(id))
                || releases.iter().any(|age| *age < i64::try_from(keep_for).unwrap() * DAY)
                || *age < i64::try_from(FRESH_FOR.0.as_secs()).unwrap()
                || releases.is_empty() && *age < i64::try_from(UNUSED_FOR.0.as_secs()).unwrap();
            prop_assert_eq!(fate.stays, needed, "{}", fate.why);
            prop_assert!(!fate.why.is_empty());
        }
    }
}

/// Registers an artifact as it would have been long ago, with its content.
async fn long_ago(server: &Server, content: &str) -> Digest {
    let digest: Digest = server.upload(content).await.parse().unwrap();
    let store = server.runtime.store();
    let row = ArtifactRow {
        digest,
        size: content.len() as u64,
        source: "ci".to_owned(),
        at: "2020-01-01T00:00:00Z".parse().unwrap(),
    };
    store.put_artifact(&row).await.unwrap();
    digest
}

fn names(report: &Value, list: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    report[list]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (text(&it["digest"]), text(&it["why"])))
        .collect()
}

#[tokio::test]
async fn nothing_goes_in_a_dry_run_and_then_only_what_was_said() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    let serving = long_ago(&server, "serving").await;
    let unused = long_ago(&server, "unused").await;
    let fresh = server.upload("fresh").await;
    let mut request = ship("1.0.0", &serving.to_string());
    let manifest = request["manifest"].as_str().unwrap().to_owned();
    request["manifest"] = json!(format!(
        "{manifest}  retention: {{ keep_last: 0, keep_for: 0s }}\n"
    ));
    let (status, body) = server.post("/api/v1/rollouts", request).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["stable"].is_object()
        })
        .await;

    let (status, dry) = server
        .post("/api/v1/retention", json!({ "dry_run": true }))
        .await;
    assert_eq!(status, StatusCode::OK, "{dry}");
    let goes = names(&dry, "goes");
    assert_eq!(goes.len(), 1, "{dry}");
    assert_eq!(goes[0].0, unused.to_string());
    assert!(goes[0].1.contains("no release was made of it"), "{dry}");
    let stays: BTreeMap<String, String> = names(&dry, "stays").into_iter().collect();
    assert_eq!(stays[&serving.to_string()], "serves shop/production");
    assert!(stays[&fresh].contains("less than 1h ago"), "{dry}");
    let file = |digest: &Digest| server.folder.path().join("artifacts").join(digest.hex());
    assert!(file(&unused).exists());

    let (_, done) = server.post("/api/v1/retention", json!({})).await;
    assert_eq!(names(&done, "goes"), goes);
    assert!(!file(&unused).exists() && file(&serving).exists());
    let (_, known) = server.get(&format!("/api/v1/artifacts/{unused}")).await;
    assert!(
        known["removed"]["why"]
            .as_str()
            .unwrap()
            .contains("no release"),
        "{known}"
    );
    // It cannot be shipped, and can be uploaded again.
    let (status, _) = server
        .post("/api/v1/rollouts", ship("2.0.0", &unused.to_string()))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    server.upload("unused").await;
    let (_, known) = server.get(&format!("/api/v1/artifacts/{unused}")).await;
    assert_eq!(known["removed"], Value::Null);
}

#[tokio::test]
async fn what_can_be_returned_to_stays_and_is_served_again_after_retention() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    let strict = |version: &str, digest: &Digest| {
        let mut request = ship(version, &digest.to_string());
        let manifest = request["manifest"].as_str().unwrap().replace(
            "canary: { steps: [10%, 100%], hold_old: 1s }",
            "all_at_once: {}",
        );
        request["manifest"] = json!(format!(
            "{manifest}  retention: {{ keep_last: 0, keep_for: 0s }}\n"
        ));
        request
    };
    let mut digests = Vec::new();
    for version in ["1.0.0", "1.1.0"] {
        let digest = long_ago(&server, version).await;
        let (status, body) = server
            .post("/api/v1/rollouts", strict(version, &digest))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        server
            .wait("/api/v1/lanes/shop/production", |lane| {
                lane["stable"]["version"] == version && lane["rollout"].is_null()
            })
            .await;
        digests.push(digest);
    }
    let (_, report) = server.post("/api/v1/retention", json!({})).await;
    assert_eq!(report["goes"], json!([]), "{report}");
    let stays: BTreeMap<String, String> = names(&report, "stays").into_iter().collect();
    assert_eq!(
        stays[&digests[0].to_string()],
        "can be returned to in shop/production"
    );
    let rollback = json!({ "by": "ann" });
    let (status, body) = server
        .post("/api/v1/services/shop/rollback", rollback)
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["stable"]["version"] == "1.0.0"
        })
        .await;
}

/// Ships versions one after the other, each to its end.
async fn shipped(server: &Server, versions: &[&str]) {
    for version in versions {
        let digest = server.upload(version).await;
        let mut request = ship(version, &digest);
        let manifest = request["manifest"].as_str().unwrap().replace(
            "canary: { steps: [10%, 100%], hold_old: 1s }",
            "all_at_once: {}",
        );
        request["manifest"] = json!(manifest);
        let (status, body) = server.post("/api/v1/rollouts", request).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        server
            .wait("/api/v1/lanes/shop/production", |lane| {
                lane["stable"]["version"] == *version && lane["rollout"].is_null()
            })
            .await;
    }
}

#[tokio::test]
async fn the_log_is_kept_for_ever_unless_somebody_says_otherwise() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    shipped(&server, &["1.0.0", "1.1.0"]).await;
    let store = server.runtime.store();
    let later = after(server.runtime.clock().now(), LEAST.0 * 1_000);
    let report = log::run(&**store, None, later, Some("ann")).await.unwrap();
    assert_eq!(
        (report.keep.as_str(), report.lanes[0].goes),
        ("for ever", 0)
    );
    let (status, asked) = server.get("/api/v1/log/retention").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(asked["lanes"][0]["lane"], "shop/production");
    assert!(asked["lanes"][0]["bytes"].as_u64() > Some(1_000), "{asked}");
    assert!(asked["lanes"][0]["oldest"].is_string(), "{asked}");
}

#[tokio::test]
async fn old_words_go_but_for_what_serves_and_every_seal_stays() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    shipped(&server, &["1.0.0"]).await;
    let store = server.runtime.store();
    let later = || after(server.runtime.clock().now(), LEAST.0 * 2);
    // It serves, so all of it stays, however old it is.
    let report = log::run(&**store, Some(LEAST), later(), Some("ann"))
        .await
        .unwrap();
    assert_eq!(report.lanes[0].goes, 0);
    shipped(&server, &["1.1.0"]).await;
    let planned = log::run(&**store, Some(LEAST), later(), None)
        .await
        .unwrap();
    let goes = planned.lanes[0].goes;
    assert!(goes > 5, "{planned:?}");
    // What is young stays.
    let young = server.runtime.clock().now();
    let none = log::run(&**store, Some(LEAST), young, Some("ann"))
        .await
        .unwrap();
    assert_eq!(none.lanes[0].goes, 0);
    let done = log::run(&**store, Some(LEAST), later(), Some("ann"))
        .await
        .unwrap();
    assert_eq!(done.lanes[0].goes, goes);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    let again = log::run(&**store, Some(LEAST), later(), Some("ann"))
        .await
        .unwrap();
    assert_eq!((again.lanes[0].goes, again.lanes[0].removed), (0, goes));
    // The next versions go on from there, and then more of it goes.
    shipped(&server, &["1.2.0", "1.3.0"]).await;
    let more = log::run(&**store, Some(LEAST), later(), Some("ann"))
        .await
        .unwrap();
    assert!(more.lanes[0].goes > 5, "{more:?}");
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    // What is left follows from the state that the removed events led to.
    let records = store.log_records(&RecordFilter::default()).await.unwrap();
    let told = records.iter().rfind(|it| it.kind == "history_removed");
    let body: Value = serde_json::from_str(&told.unwrap().body).unwrap();
    let mut lane: Lane = serde_json::from_value(body["state"].clone()).unwrap();
    let left = records
        .iter()
        .filter(|it| it.lane == "shop/production" && it.removed.is_none());
    for record in left {
        lane = evolve(lane, &serde_json::from_str(&record.body).unwrap());
    }
    let row = store.lane(&"shop/production".parse().unwrap()).await;
    let kept = serde_json::from_value::<Lane>(row.unwrap().unwrap().state.unwrap()).unwrap();
    assert_eq!(kept, lane);
}

#[tokio::test]
async fn how_long_words_are_kept_is_sealed_with_who_set_it_and_when() {
    let server = Server::start().await;
    let store = server.runtime.store();
    let now = server.runtime.clock().now();
    let set = async |keep, by| log::record(&**store, "local", keep, by, now).await.unwrap();
    // Nobody said anything, so nothing is told.
    assert!(!set(None, "ann").await);
    assert!(set(Some(LEAST), "ann").await);
    assert!(
        !set(Some(LEAST), "bob").await,
        "a restart sets nothing anew"
    );
    assert!(set(None, "bob").await);
    let records = store.log_records(&RecordFilter::default()).await.unwrap();
    let told = |it: &Record| format!("{}: {} {}", it.lane, it.message, it.input);
    let told: Vec<String> = records
        .iter()
        .filter(|it| it.kind == log::SETTING)
        .map(told)
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    airboss/installation: the server local was started to keep the words of the log for 7d; before: for ever {"by":"ann"}
    airboss/installation: the server local was started to keep the words of the log for ever; before: for 7d {"by":"bob"}
    "#);
    let (_, asked) = server.get("/api/v1/log/retention").await;
    let setting = &asked["settings"][0];
    assert_eq!(
        (&setting["controller"], &setting["keep"], &setting["by"]),
        (&json!("local"), &json!("for ever"), &json!("bob"))
    );
}

#[tokio::test]
async fn nothing_is_removed_of_a_log_that_is_kept_for_ever() {
    let server = Server::start().await;
    let by = json!({ "by": "ann" });
    let (status, body) = server.post("/api/v1/log/retention", by).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &json!("kept"))
    );
    let nobody = json!({ "by": " " });
    let (status, _) = server.post("/api/v1/log/retention", nobody).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}
