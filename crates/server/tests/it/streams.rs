//! Following along.

use airboss_store::EventFilter;
use axum::body::Body;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::harness::{Agent, Server, authorized};

/// Reads server-sent events until one's data holds `until`; their ids.
async fn read(server: &Server, path: &str, last: Option<u64>, until: &str) -> Vec<u64> {
    let mut request = authorized("GET", path).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let response = server
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains(until) {
        let frame = body
            .frame()
            .await
            .expect("the stream does not end by itself")
            .unwrap();
        text += str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
        .collect()
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_without_a_gap_or_a_repetition() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    server.ship("1.0.0", "one").await;
    let first = read(&server, "/api/v1/events", None, "step_confirmed").await;
    let rest = read(
        &server,
        "/api/v1/events",
        first.last().copied(),
        "\"kind\":\"ended\"",
    )
    .await;
    let all: Vec<u64> = first.iter().chain(&rest).copied().collect();
    // What happened to the installation itself has its numbers too, and is not told here.
    let store = server.runtime.store();
    let events = store.events(&EventFilter::default()).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
    assert_eq!(all, numbers[..all.len()]);
}

#[tokio::test]
async fn the_live_view_shows_each_phase_until_the_end() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    server.ship("1.0.0", "one").await;
    server
        .wait("/api/v1/lanes", |it| it["lanes"][0]["service"] == "shop")
        .await;
    read(
        &server,
        "/api/v1/lanes/shop/production/live",
        None,
        "\"stable\":{",
    )
    .await;
}
