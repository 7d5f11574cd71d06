//! What people ask for, and what they are told.

use axum::http::StatusCode;
use serde_json::json;

use crate::harness::{Agent, Server, manifest, manifest_with, ship};

#[tokio::test]
async fn a_manifest_with_mistakes_is_refused_with_their_places() {
    let server = Server::start().await;
    let digest = server.upload("one").await;
    let mut request = ship("1.0.0", &digest);
    request["manifest"] = json!(manifest().replace("listen", "lisen"));
    let (status, body) = server.post("/api/v1/rollouts", request).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let details = body["details"].to_string();
    assert!(
        details.contains("airboss.yaml:8:7") && details.contains("listen"),
        "{details}"
    );
}

#[tokio::test]
async fn a_version_stays_with_its_content_and_both_digests_are_named() {
    let server = Server::start().await;
    assert_eq!(server.ship("1.0.0", "one").await.0, StatusCode::CREATED);
    let (status, body) = server.ship("1.0.0", "two").await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::CONFLICT, Some("version_pinned"))
    );
    assert_eq!(
        body["message"].as_str().unwrap().matches("sha256:").count(),
        2
    );
}

#[tokio::test]
async fn what_was_not_uploaded_is_not_shipped() {
    let server = Server::start().await;
    let unknown = format!("sha256:{}", "0".repeat(64));
    let (status, body) = server
        .post("/api/v1/rollouts", ship("1.0.0", &unknown))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
}

#[tokio::test]
async fn the_same_request_again_is_carried_out_once_and_answered_alike() {
    let server = Server::start().await;
    let digest = server.upload("one").await;
    let first = server
        .post_keyed("/api/v1/rollouts", ship("1.0.0", &digest), Some("k1"))
        .await;
    let again = server
        .post_keyed("/api/v1/rollouts", ship("1.0.0", &digest), Some("k1"))
        .await;
    assert_eq!(first.0, StatusCode::CREATED);
    assert_eq!(first, again);
    let (_, list) = server.get("/api/v1/rollouts").await;
    assert_eq!(list["rollouts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_good_version_walks_its_steps_and_a_bad_one_is_taken_back() {
    let server = Server::start().await;
    // The third version fails one request in twenty.
    let _agent = Agent::start(&server.runtime, |arm| if arm == "shop-3" { 50 } else { 1 });
    server.ship("1.0.0", "one").await;
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    server.ship("1.1.0", "two").await;
    server
        .wait("/api/v1/rollouts/shop-2", |it| it["outcome"] == "shipped")
        .await;
    server.ship("1.2.0", "three").await;
    let bad = server
        .wait("/api/v1/rollouts/shop-3", |it| {
            it["outcome"] == "rolled_back"
        })
        .await;
    assert!(
        bad["reason"].as_str().unwrap().contains("availability"),
        "{bad}"
    );
    let (_, lane) = server.get("/api/v1/lanes/shop/production").await;
    assert_eq!(lane["stable"]["version"], "1.1.0");
    assert_eq!(lane["traffic"]["set"], "0%");
    let (_, why) = server.get("/api/v1/rollouts/shop-3/explain").await;
    let decision = why["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["by"] == "evidence" && it["verdict"]["verdict"] == "fail");
    assert!(decision.unwrap()["verdict"]["odds"].as_f64().unwrap() >= 100.0);
}

#[tokio::test]
async fn a_rollout_can_be_held_hurried_ended_and_taken_back() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    server.ship("1.0.0", "one").await;
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    let digest = server.upload("two").await;
    let mut slow = ship("1.1.0", &digest);
    slow["manifest"] = json!(manifest_with(
        "canary: { steps: [10%, 50%, 100%], bake: 1h, at_most: 2h, hold_old: 30s }"
    ));
    server.post("/api/v1/rollouts", slow).await;
    server
        .wait("/api/v1/rollouts/shop-2", |it| it["phase"] == "observing")
        .await;
    let by = json!({ "by": "ann", "reason": "trying" });
    for (verb, phase) in [
        ("pause", "paused"),
        ("resume", "observing"),
        ("promote", "observing"),
    ] {
        let (status, body) = server
            .post(&format!("/api/v1/rollouts/shop-2/{verb}"), by.clone())
            .await;
        assert_eq!(status, StatusCode::OK, "{verb}: {body}");
        server
            .wait("/api/v1/rollouts/shop-2", |it| it["phase"] == phase)
            .await;
    }
    server
        .wait("/api/v1/lanes/shop/production", |it| {
            it["traffic"]["observed"] == "50%"
        })
        .await;
    let (status, _) = server
        .post("/api/v1/rollouts/shop-2/abort", by.clone())
        .await;
    assert_eq!(status, StatusCode::OK);
    server
        .wait("/api/v1/rollouts/shop-2", |it| it["outcome"] == "aborted")
        .await;
    let (status, body) = server
        .post("/api/v1/rollouts/shop-2/abort", by.clone())
        .await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::CONFLICT, Some("not_in_progress"))
    );
    let (status, body) = server.post("/api/v1/services/shop/rollback", by).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::CONFLICT, Some("nothing_to_return_to"))
    );
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was_with_the_times_it_had() {
    let server = Server::start().await;
    let agent = Agent::start(&server.runtime, |_| 0);
    server.ship("1.0.0", "one").await;
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    let digest = server.upload("two").await;
    let mut slow = ship("1.1.0", &digest);
    slow["manifest"] = json!(manifest_with(
        "canary: { steps: [10%, 100%], bake: 1h, at_most: 2h }"
    ));
    server.post("/api/v1/rollouts", slow).await;
    let lane = "/api/v1/lanes/shop/production";
    let before = server
        .wait(lane, |it| {
            it["rollout"]["phase"] == "observing"
                && it["rollout"]["verdict"]["ticks"].as_u64() > Some(2)
        })
        .await;
    drop(agent);
    server.runtime.stop().await.unwrap();
    server.runtime.store().close().await;
    let Server {
        folder,
        router,
        runtime,
        keys: _,
    } = server;
    drop((router, runtime));

    let server = Server::on(folder).await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    let ticks = before["rollout"]["verdict"]["ticks"].as_u64();
    let after = server
        .wait(lane, |it| {
            it["rollout"]["verdict"]["ticks"].as_u64() > ticks
        })
        .await;
    for field in ["id", "started_at", "phase_since", "phase"] {
        assert_eq!(before["rollout"][field], after["rollout"][field], "{field}");
    }
    assert_eq!(
        before["traffic"]["generation"],
        after["traffic"]["generation"]
    );
}
