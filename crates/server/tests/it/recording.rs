//! Live traffic as a recording, and what was learnt from it.

use airboss_judge::burn::ErrorBudget;
use airboss_judge::recording::{History, VerdictLine, judge_lines};
use airboss_judge::{Config, Rate};
use airboss_model::manifest::{self, Resource};
use airboss_runtime::Clock;
use airboss_store::{NoteRow, SqliteOptions, SqliteStore, Store as _};
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::harness::{Agent, Server, authorized, manifest, manifest_with, ship};

/// Records until told to stop; the lines.
async fn record(server: &Server) -> (mpsc::Sender<()>, tokio::task::JoinHandle<String>) {
    let request = authorized("GET", "/api/v1/lanes/shop/production/record");
    let response = server
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let (stop, mut stopped) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        let mut body = response.into_body();
        let mut text = String::new();
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let frame = frame.expect("a recording does not end by itself").unwrap();
                    text += str::from_utf8(frame.data_ref().unwrap()).unwrap();
                }
                _ = stopped.recv() => return text,
            }
        }
    });
    (stop, task)
}

/// What is kept of rollouts, and what judging it again says of one.
async fn past(server: &Server, rollout: &str) -> Vec<VerdictLine> {
    let request = authorized("GET", "/api/v1/lanes/shop/production/past");
    let request = request.body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let lines = judge_lines(text.lines(), None, None).unwrap().into_iter();
    lines
        .filter(|line| line.rollout.as_deref() == Some(rollout) && !line.is_final)
        .collect()
}

fn config() -> Config {
    let documents = manifest::parse("airboss.yaml", &manifest()).unwrap();
    let Resource::Service(service) = &documents[0].resource;
    airboss_telemetry::Gauge::whole(service).config().clone()
}

fn judged(recording: &str) -> Vec<VerdictLine> {
    judge_lines(recording.lines(), Some(config()), None).unwrap()
}

#[tokio::test]
async fn a_recording_is_judged_to_the_words_of_the_live_judge() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |arm| if arm == "shop-2" { 80 } else { 1 });
    server.ship("1.0.0", "one").await;
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    let (stop, recording) = record(&server).await;
    server.ship("1.1.0", "two").await;
    server
        .wait("/api/v1/rollouts/shop-2", |it| {
            it["outcome"] == "rolled_back"
        })
        .await;
    stop.send(()).await.unwrap();
    let recording = recording.await.unwrap();
    let lines = judged(&recording);
    let (_, events) = server.get("/api/v1/rollouts/shop-2/events").await;
    let live = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "verdict_changed")
        .map(|event| &event["body"]["assessment"])
        .find(|assessment| assessment["verdict"] == "fail")
        .unwrap();
    let replayed = lines
        .iter()
        .find(|line| line.verdict == airboss_judge::Verdict::Fail)
        .unwrap_or_else(|| panic!("the recording fails too: {lines:#?}\n{recording}"));
    assert_eq!(live["reason"], replayed.reason.as_str(), "{recording}");
    let kept = past(&server, "shop-2").await;
    let failed = kept
        .iter()
        .find(|line| line.verdict == airboss_judge::Verdict::Fail);
    assert_eq!(live["reason"], failed.unwrap().reason.as_str());
    let (_, report) = server.get("/api/v1/lanes/shop/production/report").await;
    assert_eq!(
        (&report["judged"], &report["taken_back"]),
        (&json!(1), &json!(1)),
        "{report}"
    );
    let (_, explanation) = server.get("/api/v1/rollouts/shop-2/explain").await;
    let computation = explanation["computation"].as_str().unwrap();
    assert!(computation.contains("fails at 100"), "{computation}");
    assert!(computation.contains("availability"), "{computation}");
    assert!(
        History::read(recording.lines()).is_ok(),
        "it serves as a history, too"
    );
}

#[tokio::test]
async fn a_rollout_of_several_steps_is_judged_again_to_every_word() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |arm| u64::from(arm == "shop-1"));
    let several = manifest_with("canary: { steps: [10%, 20%, 50%, 100%], hold_old: 1s }");
    let ship = async |version: &str, content: &str| {
        let digest = server.upload(content).await;
        let body =
            json!({ "manifest": several, "version": version, "digest": digest, "by": "ann" });
        server.post("/api/v1/rollouts", body).await
    };
    ship("1.0.0", "one").await;
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    let (stop, recording) = record(&server).await;
    ship("1.1.0", "two").await;
    server
        .wait("/api/v1/rollouts/shop-2", |it| it["outcome"] == "shipped")
        .await;
    stop.send(()).await.unwrap();
    let recording = recording.await.unwrap();
    // No manifest beside it: the recording says what it was judged by.
    let lines = judge_lines(recording.lines(), None, None).unwrap();
    let mut replayed = lines
        .iter()
        .map(|line| (line.verdict.as_str(), line.reason.as_str()));
    let (_, events) = server.get("/api/v1/rollouts/shop-2/events").await;
    let live: Vec<_> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["kind"] == "verdict_changed")
        .map(|event| &event["body"]["assessment"])
        .map(|said| {
            (
                said["verdict"].as_str().unwrap(),
                said["reason"].as_str().unwrap(),
            )
        })
        .collect();
    let passes = live
        .iter()
        .filter(|(verdict, _)| *verdict == "pass")
        .count();
    assert_eq!(passes, 4, "each step has its proof: {live:#?}");
    for said in &live {
        assert!(
            replayed.any(|line| line == *said),
            "{said:?} is missing or out of place: {lines:#?}"
        );
    }
    let last = lines.last().unwrap();
    assert_eq!(last.rollout.as_deref(), Some("shop-2"));
    // What the server keeps of it says the same.
    let kept = past(&server, "shop-2").await;
    let mut again = kept
        .iter()
        .map(|line| (line.verdict.as_str(), line.reason.as_str()));
    for said in &live {
        assert!(
            again.any(|line| line == *said),
            "{said:?} is not kept: {kept:#?}"
        );
    }
    let (_, report) = server.get("/api/v1/lanes/shop/production/report").await;
    assert_eq!(
        (&report["by_evidence"], &report["pass_rate"]),
        (&json!(1), &json!(1.0)),
        "{report}"
    );
    assert_eq!(report["changes"][0]["change"], "unknown", "{report}");
}

#[tokio::test]
async fn before_anything_serves_there_is_nothing_to_record() {
    let server = Server::start().await;
    let (status, body) = server.get("/api/v1/lanes/shop/production/record").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
}

#[tokio::test]
async fn budgets_are_spent_and_objectives_are_measured_by_users_traffic() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 50);
    server.ship("1.0.0", "one").await;
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    let lane = server
        .wait("/api/v1/lanes/shop/production", |it| {
            it["budgets"][0]["burn_rates"][0]["rate"].as_f64().is_some()
        })
        .await;
    let budget = &lane["budgets"][0];
    assert_eq!(
        (&budget["slo"], &budget["objective"]),
        (&"availability".into(), &0.99.into())
    );
    // 5 % bad where 1 % is allowed.
    let rate = budget["burn_rates"][0]["rate"].as_f64().unwrap();
    assert!((4.9..5.1).contains(&rate), "{budget}");
    assert!(budget["left"].as_f64().unwrap() < 1.0, "{budget}");
    let slos = server
        .wait("/api/v1/lanes/shop/production/slos", |it| {
            it["slos"][0]["fit"] == "not_reachable"
        })
        .await;
    assert_eq!(slos["slos"][0]["proposed"], 0.9, "{slos}");
    let (_, accepted) = server.ship("1.1.0", "two").await;
    assert!(
        !accepted.to_string().contains("is spent"),
        "a young budget is not: {accepted}"
    );
    assert!(
        slos["requests_per_second"].as_f64().unwrap() > 0.0,
        "{slos}"
    );
}

/// A month in which twice as much was bad as was promised, as an earlier server kept it.
async fn overspent(folder: &std::path::Path) {
    let mut budget = ErrorBudget::new(0.99).unwrap();
    let now = Clock::system().now();
    let second = u64::try_from(now.as_second()).unwrap();
    for hour in (0..720).rev() {
        let rate = Rate {
            bad: 2_000_000,
            requests: 100_000_000,
        };
        budget.observe(second - hour * 3_600, rate);
    }
    let store = SqliteStore::open(folder.join("airboss.db"), SqliteOptions::default());
    let store = store.await.unwrap();
    let note = NoteRow {
        lane: "shop/production".parse().unwrap(),
        topic: "budgets".to_owned(),
        body: json!([{ "slo": "availability", "objective": 0.99, "budget": budget }]),
        at: now,
    };
    store.put_note(&note).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_spent_budget_refuses_releases_but_neither_fixes_nor_returns() {
    let folder = tempfile::tempdir().unwrap();
    overspent(folder.path()).await;
    let server = Server::on(folder).await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    let manifest =
        manifest_with("canary: { steps: [10%, 100%], hold_old: 1s }\n    when_spent: refuse");
    let request = |version: &str, digest: &str, fix: bool| {
        let mut request = ship(version, digest);
        request["manifest"] = manifest.clone().into();
        request["fix"] = fix.into();
        request
    };
    let first = server.upload("one").await;
    let (status, _) = server
        .post("/api/v1/rollouts", request("1.0.0", &first, false))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    server
        .wait("/api/v1/lanes/shop/production", |it| {
            it["budgets"][0]["left"]
                .as_f64()
                .is_some_and(|left| left < 0.0)
        })
        .await;
    let second = server.upload("two").await;
    let (status, body) = server
        .post("/api/v1/rollouts", request("1.1.0", &second, false))
        .await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::CONFLICT, &"budget_spent".into())
    );
    assert!(
        body["details"][0]
            .as_str()
            .unwrap()
            .contains("`availability`"),
        "{body}"
    );
    let (status, body) = server
        .post("/api/v1/rollouts", request("1.1.0", &second, true))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let abort = json!({ "by": "ann" });
    let rollout = body["rollout"].as_str().unwrap();
    let (status, body) = server
        .post(&format!("/api/v1/rollouts/{rollout}/abort"), abort)
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
}
