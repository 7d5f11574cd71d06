//! Agents with keys of their own: the real agent, over a real connection.

use std::sync::Arc;
use std::time::Duration;

use airboss_targets::process::identity::{Identity, JoinToken, public_of};
use airboss_targets::process::{AgentConfig, ClientError, StopMode, join, run};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::harness::{Agent, Server, authorized, ship};

/// A server that agents reach; its address.
async fn listening() -> (Server, String) {
    let server = Server::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = server.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (server, address)
}

async fn invite(server: &Server, name: &str, carries: &str) -> (String, JoinToken) {
    let body = json!({ "name": name, "carries": [carries], "expires_in": "1h", "by": "ada" });
    let (status, made) = server.post("/api/v1/agents", body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let token = JoinToken::parse(made["join_token"].as_str().unwrap());
    (
        made["agent"]["id"].as_str().unwrap().to_owned(),
        token.unwrap(),
    )
}

/// An agent at work in a folder of its own, until it is dropped.
struct Running {
    _stop: watch::Sender<Option<StopMode>>,
    task: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

impl Running {
    fn start(server: &Server, identity: Identity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = server.runtime.clock().clone();
        let controllers = identity.controllers.clone();
        let now = Arc::new(move || clock.now());
        let mut config = AgentConfig::new(folder.path(), controllers, "", now);
        config.identity = Some(identity);
        let (stop, told) = watch::channel(None);
        let task = tokio::spawn(async move { run(config, told).await.unwrap() });
        Self {
            _stop: stop,
            task,
            _folder: folder,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn agent<'a>(list: &'a Value, name: &str) -> &'a Value {
    let agents = list["agents"].as_array().unwrap();
    let found = agents.iter().find(|agent| agent["name"] == name);
    found.unwrap_or(&Value::Null)
}

#[tokio::test]
async fn an_agent_joins_once_reports_with_its_key_and_is_revoked() {
    let (server, address) = listening().await;
    let (id, token) = invite(&server, "web-1", "*/staging").await;
    let list = server.get("/api/v1/agents").await.1;
    assert_eq!(agent(&list, "web-1")["state"], "invited", "{list:#}");

    let controllers = vec![address.clone()];
    let identity = join(&token, &[4; 32], controllers.clone(), None)
        .await
        .unwrap();
    assert_eq!((&*identity.agent, &*identity.name), (&*id, "web-1"));
    // An answer may be lost: the same key joins again. Another key does not.
    join(&token, &[4; 32], controllers.clone(), None)
        .await
        .unwrap();
    let stolen = join(&token, &[5; 32], controllers, None).await.unwrap_err();
    assert!(stolen.to_string().contains("used already"), "{stolen}");

    let _running = Running::start(&server, identity);
    let list = server
        .wait("/api/v1/agents", |list| {
            agent(list, "web-1")["state"] == "reports"
        })
        .await;
    let shown = agent(&list, "web-1");
    assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"), "{list:#}");
    assert_eq!(shown["carries"], json!(["*/staging"]));

    // Whoever shows the installation's token has none of the keys that others have.
    let as_other = authorized("GET", &format!("/agent/v1/desired?agent={id}"));
    let request = as_other.body(axum::body::Body::empty()).unwrap();
    assert_eq!(server.send(request).await.0, StatusCode::FORBIDDEN);

    let (status, revoked) = server
        .post("/api/v1/agents/web-1/revoke", json!({ "by": "bob" }))
        .await;
    assert_eq!(status, StatusCode::OK, "{revoked}");
    assert_eq!(revoked["revoked_by"], "bob");
    // Its requests under way are the last that are heard.
    tokio::time::timeout(Duration::from_secs(30), async {
        while !server.runtime.hub().agents().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let again = join(&token, &[4; 32], vec![address], None)
        .await
        .unwrap_err();
    assert!(again.to_string().contains("revoked"), "{again}");
}

#[tokio::test]
async fn a_server_of_another_installation_is_not_believed() {
    let (server, address) = listening().await;
    let (_, token) = invite(&server, "web-1", "*").await;
    let text = token.to_text();
    let other = format!(
        "{}{}",
        &text[..text.len() - 64],
        airboss_targets::process::identity::hex(&public_of(&[9; 32]))
    );
    let token = JoinToken::parse(&other).unwrap();
    let refused = join(&token, &[4; 32], vec![address], None).await;
    assert!(
        matches!(refused, Err(ClientError::Stranger { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_runs_on_the_installations_own_agent_is_not_taken_from_it_unsaid() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    let digest = server.upload("one").await;
    let (status, shipped) = server.post("/api/v1/rollouts", ship("1", &digest)).await;
    assert!(status.is_success(), "{shipped}");
    server
        .wait("/api/v1/lanes", |list| {
            !list["lanes"][0]["stable"].is_null()
        })
        .await;
    let mut body = json!({ "name": "web-1", "carries": ["*"], "expires_in": "1h", "by": "ada" });
    let (status, refused) = server.post("/api/v1/agents", body.clone()).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let why = refused["message"].as_str().unwrap();
    assert!(
        why.contains("shop/production") && why.contains("--take-over"),
        "{why}"
    );
    body["take_over"] = json!(true);
    let (status, made) = server.post("/api/v1/agents", body.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(made["agent"]["lanes"], json!(["shop/production"]));
    // It has not come yet, and nobody else may carry the lane meanwhile.
    let lane = server.get("/api/v1/lanes").await.1["lanes"][0].clone();
    assert_eq!(lane["agent"]["name"], "web-1");
    assert!(lane["agent"]["id"].is_null(), "{lane:#}");
    let effect = lane["agent"]["effect"].as_str().unwrap();
    assert!(effect.contains("shop@1"), "{effect}");
    // Who never came may be invited anew; the former token is of no use then.
    let (_, anew) = server.post("/api/v1/agents", body).await;
    assert_ne!(anew["agent"]["id"], made["agent"]["id"]);
}

#[tokio::test]
async fn an_invitation_that_makes_no_sense_is_refused_with_its_reason() {
    let server = Server::start().await;
    let table = [
        (json!({ "name": "Web 1" }), "small letters"),
        (json!({ "carries": [] }), "carries"),
        (json!({ "carries": ["production"] }), "SERVICE/ENVIRONMENT"),
        (json!({ "expires_in": "90d" }), "at most"),
        (json!({ "expires_in": "soon" }), "expires_in"),
    ];
    for (wrong, why) in table {
        let mut body =
            json!({ "name": "web-1", "carries": ["*"], "expires_in": "1h", "by": "ada" });
        for (field, value) in wrong.as_object().unwrap() {
            body[field] = value.clone();
        }
        let (status, refused) = server.post("/api/v1/agents", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(why), "{why}: {message}");
    }
    let nobody = server
        .post("/api/v1/agents/nobody/revoke", json!({ "by": "ada" }))
        .await;
    assert_eq!(nobody.0, StatusCode::NOT_FOUND);
}
