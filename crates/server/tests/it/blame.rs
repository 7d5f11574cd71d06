//! What is not the release's fault is not blamed on it, and what the verdict does not see is named.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use airboss_model::traffic::RouteCounts;
use serde_json::{Value, json};

use crate::harness::{Agent, Server, manifest_with, requests};

const ROLLOUT: &str = "canary: { steps: [10%, 100%], hold_old: 1s }";

async fn ship(server: &Server, version: &str, manifest: &str) -> Value {
    let digest = server.upload(version).await;
    let body = json!({ "manifest": manifest, "version": version, "digest": digest, "by": "ann" });
    let (_, accepted) = server.post("/api/v1/rollouts", body).await;
    accepted
}

async fn shipped(server: &Server, rollout: &str) -> Value {
    let path = format!("/api/v1/rollouts/{rollout}");
    server.wait(&path, |it| it["outcome"] == "shipped").await
}

async fn verdict(server: &Server, wanted: &str) -> Value {
    let path = "/api/v1/lanes/shop/production";
    server
        .wait(path, |it| it["rollout"]["verdict"]["verdict"] == wanted)
        .await
}

#[tokio::test]
async fn trouble_that_both_versions_have_is_not_blamed_on_the_release() {
    let server = Server::start().await;
    let outage = Arc::new(AtomicU64::new(1));
    let failing = Arc::clone(&outage);
    let _agent = Agent::start(&server.runtime, move |_| failing.load(Ordering::SeqCst));
    ship(&server, "1.0.0", &manifest_with(ROLLOUT)).await;
    shipped(&server, "shop-1").await;
    // A level to compare with.
    server
        .wait("/api/v1/lanes/shop/production/slos", |it| {
            it["history_seconds"].as_u64() >= Some(5)
        })
        .await;
    outage.store(300, Ordering::SeqCst);
    ship(&server, "1.1.0", &manifest_with(ROLLOUT)).await;
    let lane = verdict(&server, "external").await;
    let reason = lane["rollout"]["verdict"]["reason"].as_str().unwrap();
    assert!(reason.contains("availability"), "{reason}");
    assert_eq!(lane["rollout"]["phase"], "observing");
    outage.store(1, Ordering::SeqCst);
    server
        .wait("/api/v1/lanes/shop/production", |it| {
            it["rollout"]["verdict"]["verdict"] == "undecided"
        })
        .await;
    let (_, events) = server.get("/api/v1/rollouts/shop-2/events").await;
    let kinds = events["events"].as_array().unwrap().iter();
    let mut kinds = kinds.map(|event| event["kind"].as_str().unwrap());
    assert!(!kinds.any(|kind| kind == "rollback_started"), "{events}");
}

#[tokio::test]
async fn a_split_that_is_wrong_is_called_so_and_not_a_regression() {
    let server = Server::start().await;
    let wrong = Arc::new(AtomicU64::new(1));
    let share = Arc::clone(&wrong);
    let _agent = Agent::scripted(&server.runtime, move |desired| {
        let mut increments = requests(desired, &|_| 0);
        let canary = desired.traffic.canary.as_ref();
        for one in &mut increments {
            if Some(&one.arm) == canary && share.load(Ordering::SeqCst) == 1 {
                // Four times what the weight says.
                let counts = one.counts.clone();
                (0..3).for_each(|_| one.counts.add(&counts));
            }
        }
        increments
    });
    let slowly = manifest_with("canary: { steps: [10%, 100%], bake: 30s, hold_old: 1s }");
    ship(&server, "1.0.0", &slowly).await;
    shipped(&server, "shop-1").await;
    ship(&server, "1.1.0", &slowly).await;
    let lane = verdict(&server, "misrouted").await;
    let reason = lane["rollout"]["verdict"]["reason"].as_str().unwrap();
    assert!(reason.contains("instead of 10 %"), "{reason}");
    assert_eq!(lane["rollout"]["phase"], "observing");
    assert_eq!(lane["traffic"]["confirmed"], true);
}

#[tokio::test]
async fn a_canary_that_gets_other_requests_than_stable_holds_and_says_why() {
    let server = Server::start().await;
    let unlike = Arc::new(AtomicU64::new(1));
    let mix = Arc::clone(&unlike);
    let _agent = Agent::scripted(&server.runtime, move |desired| {
        let mut increments = requests(desired, &|_| 0);
        let canary = desired.traffic.canary.as_ref();
        for one in &mut increments {
            let all = one.counts.requests;
            let starved = Some(&one.arm) == canary && mix.load(Ordering::SeqCst) == 1;
            let pay = if starved { 0 } else { all * 4 / 10 };
            for (route, drawn) in [("POST /pay", pay), ("GET /", all - pay)] {
                let counts = RouteCounts {
                    drawn,
                    by_status: [(200, drawn)].into(),
                    ..RouteCounts::default()
                };
                if drawn > 0 {
                    one.counts.routes.insert(route.to_owned(), counts);
                }
            }
        }
        increments
    });
    // An SLO for one route leaves the other one bare.
    let bare = manifest_with(ROLLOUT).replace(
        "bad: \"status >= 500\"",
        "bad: \"status >= 500\", routes: [GET /]",
    );
    assert!(bare.contains("routes"));
    ship(&server, "1.0.0", &bare).await;
    shipped(&server, "shop-1").await;
    let told = server
        .wait("/api/v1/lanes/shop/production/slos", |it| {
            it["routes"]["POST /pay"].as_u64() >= Some(400)
        })
        .await;
    let spot = "`POST /pay` gets 40 % of the requests and no SLI covers it";
    assert_eq!(told["blind_spots"][0], spot);
    let accepted = ship(&server, "1.1.0", &bare).await;
    let warnings = accepted["warnings"].as_array().unwrap();
    assert!(
        warnings.contains(&json!(spot)),
        "named before it starts: {accepted}"
    );
    let lane = verdict(&server, "unrepresentative").await;
    let said = &lane["rollout"]["verdict"];
    assert_eq!(said["mix"]["verdict"], "unlike");
    assert_eq!(said["mix"]["unseen"], json!(["POST /pay"]));
    assert_eq!(lane["blind_spots"][0], spot, "named while it runs");
    let (_, explanation) = server.get("/api/v1/rollouts/shop-2/explain").await;
    assert_eq!(explanation["blind_spots"][0], spot);
    // The same words in the record, in the view and in the explanation's numbers.
    let (_, events) = server.get("/api/v1/rollouts/shop-2/events").await;
    let recorded = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .rfind(|event| event["body"]["assessment"]["verdict"] == "unrepresentative")
        .unwrap();
    let reason = recorded["body"]["assessment"]["reason"].as_str().unwrap();
    assert!(recorded["message"].as_str().unwrap().contains(reason));
    assert!(
        reason.contains("GET / is 100 % of them against 60 %"),
        "{reason}"
    );
    unlike.store(0, Ordering::SeqCst);
    server
        .post(
            "/api/v1/rollouts/shop-2/abort",
            json!({ "by": "ann", "reason": "" }),
        )
        .await;
}

#[tokio::test]
async fn the_numbers_are_the_same_text_wherever_they_are_read() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |arm| if arm == "shop-2" { 120 } else { 1 });
    ship(&server, "1.0.0", &manifest_with(ROLLOUT)).await;
    shipped(&server, "shop-1").await;
    ship(&server, "1.1.0", &manifest_with(ROLLOUT)).await;
    let rollout = server
        .wait("/api/v1/rollouts/shop-2", |it| {
            it["outcome"] == "rolled_back"
        })
        .await;
    let (_, events) = server.get("/api/v1/rollouts/shop-2/events").await;
    let events = events["events"].as_array().unwrap();
    let of_kind = |kind: &str| events.iter().rfind(|event| event["kind"] == kind).unwrap();
    let judged = &of_kind("verdict_changed")["body"]["assessment"];
    let reason = judged["reason"].as_str().unwrap();
    for number in ["% against", " requests", "odds ", "limit 100 : 1"] {
        assert!(reason.contains(number), "{number} is missing: {reason}");
    }
    let (_, explanation) = server.get("/api/v1/rollouts/shop-2/explain").await;
    let decided = explanation["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|decision| decision["verdict"]["verdict"] == "fail")
        .unwrap();
    assert_eq!(decided["verdict"]["reason"], reason, "explanation");
    for (place, text) in [
        ("rollout", &rollout["reason"]),
        ("decision", &decided["what"]),
        ("event", &of_kind("rollback_started")["message"]),
        ("summary", &explanation["summary"]),
    ] {
        let text = text.as_str().unwrap();
        assert!(text.contains(reason), "{place}: {text}\n{reason}");
    }
    // The ledger's record holds the event as it is.
    let (_, log) = server.get("/api/v1/log/records?limit=1000").await;
    assert!(
        log.to_string()
            .contains(&json!(reason).to_string().replace('\\', "\\\\"))
            || log.to_string().contains(reason)
    );
}
