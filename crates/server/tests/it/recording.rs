//! Live traffic as a recording, and what was learnt from it.

use airboss_judge::Config;
use airboss_judge::recording::{History, VerdictLine, judge_lines};
use airboss_model::manifest::{self, Resource};
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::harness::{Agent, Server, authorized, manifest};

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
