//! The program against a server that answers by script.

use std::convert::Infallible;
use std::fs;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use airboss_server::api::artifacts::ArtifactView;
use airboss_server::api::requests::{EventQuery, ShipRequest};
use airboss_server::api::views::{
    Accepted, EventList, EventView, LaneList, LaneView, Problem, RolloutList, RolloutView,
    SystemView,
};
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::views;

/// What the server knows and what it was told.
#[derive(Default)]
struct Script {
    lanes: Vec<LaneView>,
    rollout: Option<RolloutView>,
    /// One connection's events each; the last connection ends the rollout with this outcome.
    connections: Vec<Vec<EventView>>,
    outcome: &'static str,
    resumed_behind: Vec<Option<String>>,
    uploaded: Option<(Bytes, HeaderMap)>,
    keys: Vec<String>,
    shipped: Option<ShipRequest>,
    /// Ships that are done and whose answer is garbled half-way.
    lost_answers: usize,
    refuse: Option<(StatusCode, &'static str)>,
}

type Shared = Arc<Mutex<Script>>;

struct Server {
    url: String,
    script: Shared,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(script: Script) -> Self {
        let script: Shared = Arc::new(Mutex::new(script));
        let router = Router::new()
            .route("/api/v1/system", get(system))
            .route("/api/v1/lanes", get(lanes))
            .route("/api/v1/artifacts", post(artifact))
            .route("/api/v1/rollouts", get(rollouts).post(ship))
            .route("/api/v1/rollouts/{id}", get(rollout))
            .route("/api/v1/rollouts/{id}/events", get(record))
            .route("/api/v1/rollouts/{id}/{action}", post(act))
            .route("/api/v1/events", get(events))
            .with_state(Arc::clone(&script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, script, task }
    }

    async fn airboss(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_airboss"))
            .args(args)
            .env("AIRBOSS_HOME", "/nonexistent/airboss")
            .env("AIRBOSS_SERVER", &self.url)
            .env("AIRBOSS_TOKEN", "secret")
            .env("AIRBOSS_USER", "ada@example.org")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    let problem = Problem {
        code: code.into(),
        message: message.into(),
        details: vec!["a detail".into()],
    };
    (status, Json(problem)).into_response()
}

async fn system(headers: HeaderMap) -> Response {
    if headers.get(header::AUTHORIZATION).unwrap() != "Bearer secret" {
        return problem(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the token is wrong",
        );
    }
    Json(SystemView {
        version: env!("CARGO_PKG_VERSION").into(),
        now: "2026-11-22T12:01:05Z".into(),
        data_dir: "/srv/airboss".into(),
        store: "SQLite".into(),
        store_findings: vec![],
        free_bytes: None,
        agents: vec![],
        services: 1,
        in_progress: 0,
        warnings: vec![],
    })
    .into_response()
}

async fn lanes(State(script): State<Shared>) -> Json<LaneList> {
    let lanes = script.lock().unwrap().lanes.clone();
    Json(LaneList { lanes })
}

async fn rollouts(State(script): State<Shared>) -> Json<RolloutList> {
    Json(RolloutList {
        rollouts: script.lock().unwrap().rollout.iter().cloned().collect(),
        next: None,
    })
}

async fn rollout(State(script): State<Shared>) -> Response {
    match &script.lock().unwrap().rollout {
        Some(rollout) => Json(rollout.clone()).into_response(),
        None => problem(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such rollout",
        ),
    }
}

/// The record of a rollout, two events a page.
async fn record(Query(query): Query<EventQuery>) -> Json<EventList> {
    let after = query.after.unwrap_or(0);
    let events = (after + 1..=3).take(2);
    Json(EventList {
        events: events
            .map(|number| views::event(number, "step_passed", "a step passed"))
            .collect(),
    })
}

async fn act(State(script): State<Shared>) -> Response {
    let refuse = script.lock().unwrap().refuse;
    match refuse {
        Some((status, code)) => problem(status, code, "it cannot be done now"),
        None => Json(accepted()).into_response(),
    }
}

fn accepted() -> Accepted {
    Accepted {
        rollout: "checkout-7".into(),
        message: "checkout-7 is accepted".into(),
        warnings: vec![],
    }
}

async fn artifact(State(script): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    use sha2::Digest as _;
    let digest: [u8; 32] = sha2::Sha256::digest(&body).into();
    let view = ArtifactView {
        digest: airboss_model::Digest::from_sha256(digest).to_string(),
        size: body.len() as u64,
        new: true,
    };
    script.lock().unwrap().uploaded = Some((body, headers));
    Json(view).into_response()
}

async fn ship(
    State(script): State<Shared>,
    headers: HeaderMap,
    Json(request): Json<ShipRequest>,
) -> Response {
    let mut script = script.lock().unwrap();
    let key = headers.get("Idempotency-Key").unwrap().to_str().unwrap();
    script.keys.push(key.to_owned());
    script.shipped = Some(request);
    if script.keys.len() <= script.lost_answers {
        let broken = futures_util::stream::iter([
            Ok(Bytes::from_static(b"{\"rollout\":")),
            Err(std::io::Error::other("cut")),
        ]);
        return Body::from_stream(broken).into_response();
    }
    (StatusCode::ACCEPTED, Json(accepted())).into_response()
}

async fn events(State(script): State<Shared>, headers: HeaderMap) -> Response {
    let mut script = script.lock().unwrap();
    let behind = headers
        .get("Last-Event-ID")
        .map(|value| value.to_str().unwrap().to_owned());
    script.resumed_behind.push(behind);
    let now = if script.connections.is_empty() {
        Vec::new()
    } else {
        script.connections.remove(0)
    };
    if script.connections.is_empty() {
        let outcome = script.outcome;
        script.rollout = Some(views::rollout("checkout-7", Some(outcome), "the reason"));
    }
    let text: String = now
        .iter()
        .map(|event| {
            let data = serde_json::to_string(event).unwrap();
            format!("id: {}\ndata: {data}\n\n", event.number)
        })
        .collect();
    let stream = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from(text))]);
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(stream),
    )
        .into_response()
}

fn running() -> Script {
    Script {
        lanes: vec![views::mid_step()],
        rollout: Some(views::rollout("checkout-7", None, "under way")),
        ..Script::default()
    }
}

#[tokio::test]
async fn a_cut_stream_goes_on_behind_the_last_event_and_the_exit_code_is_the_outcome() {
    let server = Server::start(Script {
        connections: vec![
            vec![
                views::event(1, "started", "started: canary 1% → 100%"),
                views::event(2, "step_confirmed", "weight 1% confirmed"),
            ],
            vec![
                views::event(2, "step_confirmed", "weight 1% confirmed"),
                views::event(3, "rollback_started", "rolling back: availability"),
                views::event(4, "ended", "rolled_back: availability"),
            ],
        ],
        outcome: "rolled_back",
        ..running()
    })
    .await;
    let output = server.airboss(&["watch", "checkout-7"]).await;
    insta::assert_snapshot!(text(&output.stdout));
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(3));
    let behind = server.script.lock().unwrap().resumed_behind.clone();
    assert_eq!(behind, [Some("0".to_owned()), Some("2".to_owned())]);
}

#[tokio::test]
async fn json_is_an_event_a_line_and_nothing_else() {
    let server = Server::start(Script {
        connections: vec![vec![
            views::event(1, "started", "started"),
            views::event(2, "ended", "shipped"),
        ]],
        outcome: "shipped",
        ..running()
    })
    .await;
    let output = server.airboss(&["watch", "-o", "json"]).await;
    let events: Vec<EventView> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_rollout_that_is_over_is_told_from_its_whole_record() {
    let server = Server::start(Script {
        rollout: Some(views::rollout("checkout-7", Some("failed"), "never ready")),
        ..running()
    })
    .await;
    let output = server.airboss(&["watch", "checkout-7"]).await;
    assert_eq!(output.status.code(), Some(6));
    let shown = text(&output.stdout);
    assert_eq!(shown.matches("a step passed").count(), 3);
    assert!(shown.contains("✗ checkout-7 failed after 4m12s"));
}

#[tokio::test]
async fn a_timeout_leaves_the_rollout_alone_and_has_its_own_code() {
    let server = Server::start(Script {
        // Never the last connection: it never ends.
        connections: vec![vec![]; 1000],
        ..running()
    })
    .await;
    let output = server.airboss(&["watch", "--timeout", "100ms"]).await;
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("airboss watch checkout-7"));
}

const MANIFEST: &str = r#"
apiVersion: airboss/v1
kind: Service
metadata: { name: checkout, owner: payments }
spec:
  target:
    process:
      command: ["{artifact}/checkout", "--port", "{port}"]
      listen: 127.0.0.1:8080
      health: { http: /healthz }
  slos:
    - { name: availability, objective: 99.9%, bad: "status >= 500" }
"#;

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("dist")).unwrap();
    fs::write(folder.path().join("dist/checkout"), "#!/bin/sh\n").unwrap();
    fs::write(folder.path().join("airboss.yaml"), MANIFEST).unwrap();
    folder
}

#[tokio::test]
async fn a_ship_whose_answer_is_lost_is_asked_again_under_the_same_key() {
    let server = Server::start(Script {
        lost_answers: 1,
        connections: vec![vec![views::event(1, "ended", "shipped")]],
        outcome: "shipped",
        ..running()
    })
    .await;
    let folder = project();
    let (dist, file) = (
        folder.path().join("dist"),
        folder.path().join("airboss.yaml"),
    );
    let output = server
        .airboss(&[
            "ship",
            dist.to_str().unwrap(),
            "--version=1.4.0",
            "-f",
            file.to_str().unwrap(),
            "--watch",
        ])
        .await;
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let script = server.script.lock().unwrap();
    assert_eq!(script.keys.len(), 2);
    assert_eq!(script.keys[0], script.keys[1]);
    let request = script.shipped.as_ref().unwrap();
    assert_eq!(request.manifest, MANIFEST);
    assert_eq!(request.service.as_deref(), Some("checkout"));
    assert_eq!(request.by, "ada@example.org");
    let (body, headers) = script.uploaded.as_ref().unwrap();
    assert_eq!(headers[header::CONTENT_LENGTH], body.len().to_string());
    assert!(!headers.contains_key(header::TRANSFER_ENCODING));
    let mut archive = text(body);
    archive.retain(|character| character != '\0');
    assert!(archive.contains("checkout") && archive.contains("#!/bin/sh"));
}

#[tokio::test]
async fn a_bad_manifest_is_refused_before_anything_is_sent() {
    let server = Server::start(running()).await;
    let folder = project();
    let file = folder.path().join("airboss.yaml");
    fs::write(&file, MANIFEST.replace("listen:", "lisen:")).unwrap();
    let dist = folder.path().join("dist");
    let output = server
        .airboss(&[
            "ship",
            dist.to_str().unwrap(),
            "--version=1",
            "-f",
            file.to_str().unwrap(),
        ])
        .await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("lisen"));
    assert!(server.script.lock().unwrap().uploaded.is_none());
}

#[tokio::test]
async fn a_refusal_is_told_with_its_details_and_has_its_own_code() {
    for (status, code, exit) in [
        (StatusCode::CONFLICT, "wrong_phase", 4),
        (StatusCode::UNPROCESSABLE_ENTITY, "invalid", 2),
        (StatusCode::NOT_FOUND, "not_found", 2),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable", 1),
    ] {
        let server = Server::start(Script {
            refuse: Some((status, code)),
            ..running()
        })
        .await;
        let output = server.airboss(&["pause", "checkout"]).await;
        assert_eq!(output.status.code(), Some(exit), "{code}");
        assert_eq!(
            text(&output.stderr),
            "airboss: it cannot be done now\n  a detail\n"
        );
    }
}

#[tokio::test]
async fn of_several_rollouts_one_must_be_named() {
    let mut other = views::mid_step();
    other.service = "search".into();
    other.rollout.as_mut().unwrap().id = "search-3".into();
    let server = Server::start(Script {
        lanes: vec![views::mid_step(), other],
        ..running()
    })
    .await;
    let output = server.airboss(&["abort"]).await;
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(text(&output.stderr));
}

#[tokio::test]
async fn nothing_in_progress_is_told() {
    let server = Server::start(Script {
        lanes: vec![views::stable_only()],
        ..running()
    })
    .await;
    let output = server.airboss(&["promote"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "airboss: no rollout is in progress, so there is nothing to promote\n"
    );
}

#[tokio::test]
async fn status_in_a_pipe_has_neither_colours_nor_broken_lines() {
    let server = Server::start(running()).await;
    let output = server.airboss(&["status"]).await;
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    assert!(!shown.contains('\x1b'));
    assert!(shown.contains("observed 10%  measured 10.1%  ✓ confirmed"));
    let json = server.airboss(&["status", "--output", "json"]).await;
    let list: LaneList = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(list.lanes, [views::mid_step()]);
    let colour = server.airboss(&["status", "--color", "always"]).await;
    assert!(text(&colour.stdout).contains('\x1b'));
}

#[tokio::test]
async fn an_unknown_service_is_told_with_those_that_are_there() {
    let server = Server::start(running()).await;
    let output = server.airboss(&["status", "chekout"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "airboss: there is no service `chekout`\n  there are: checkout\n"
    );
}
