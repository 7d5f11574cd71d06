//! Events that CI pushes: who may, what is noted, what is kept for later.

use std::path::Path;

use airboss_server::blobs::Blobs;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::Server;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const GITHUB: &str = include_str!("../webhooks/github-workflow-run.json");
const GITLAB: &str = include_str!("../webhooks/gitlab-pipeline.json");
const COMMIT: &str = "ffac537e6cbbf934b08745a378932722df287a53";
const RUN: &str = "https://github.com/acme/shop/actions/runs/30433642";

/// A server that takes events of everybody, with the secret in a file.
async fn hearing() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let blobs = Blobs::open(folder.path().join("artifacts"), "test").unwrap();
    let sender = |it: &str| format!("{it}=file:{}", path.display()).parse().unwrap();
    let senders = ["github", "gitlab", "standard"].map(sender).to_vec();
    Server::hearing(folder, blobs, senders).await
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

async fn push(
    server: &Server,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, Value) {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect();
    let mut request = Request::post(path)
        .body(Body::from(body.to_owned()))
        .unwrap();
    *request.headers_mut() = headers;
    server.send(request).await
}

async fn github(server: &Server, id: &str, query: &str, body: &str) -> (StatusCode, Value) {
    let signature = format!("sha256={}", hex(&mac(SECRET.as_bytes(), body.as_bytes())));
    let headers = [
        ("x-github-event", "workflow_run"),
        ("x-github-delivery", id),
        ("x-hub-signature-256", &signature),
    ];
    push(server, &format!("/webhooks/github{query}"), &headers, body).await
}

async fn own(server: &Server, id: &str, body: &Value) -> (StatusCode, Value) {
    let body = body.to_string();
    let now = server.runtime.clock().now().as_second();
    let signed = format!("{id}.{now}.{body}");
    let signature = STANDARD.encode(mac(SECRET.as_bytes(), signed.as_bytes()));
    let signature = format!("v1,{signature}");
    let now = now.to_string();
    let headers = [
        ("webhook-id", id),
        ("webhook-timestamp", &now),
        ("webhook-signature", &signature),
    ];
    push(server, "/webhooks/standard", &headers, &body).await
}

fn finished(data: Value) -> Value {
    json!({ "type": "airboss.build.finished", "timestamp": "2026-03-02T12:00:00Z", "data": data })
}

async fn register(server: &Server, version: &str, digest: &str, build: Value) -> Value {
    let body = json!({ "service": "shop", "version": version, "digest": digest, "build": build, "by": "ci" });
    let (status, body) = server.post("/api/v1/releases", body).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    body
}

async fn fields(server: &Server, release: &str) -> Value {
    let (_, release) = server.get(&format!("/api/v1/releases/{release}")).await;
    let fields = release["fields"].as_array().unwrap();
    fields
        .iter()
        .map(|it| (it["name"].as_str().unwrap().to_owned(), it["value"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[tokio::test]
async fn a_finished_run_completes_what_is_known_of_the_versions_of_its_commit() {
    let server = hearing().await;
    let digest = server.upload("content").await;
    register(&server, "1.4.0", &digest, json!({ "commit": COMMIT })).await;
    let (status, body) = github(&server, "d1", "?workflow=release.yml", GITHUB).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let outcome = "noted for shop@1.4.0: run, actor, repository, builder";
    assert_eq!(body, json!({ "outcome": outcome, "repeated": false }));
    let known = fields(&server, "shop@1.4.0").await;
    assert_eq!(known["run"], RUN);
    assert_eq!(known["actor"], "hubot");
    assert_eq!(known["repository"], "https://github.com/acme/shop");
    // The same again, and another event that says the same.
    let (_, body) = github(&server, "d1", "?workflow=release.yml", GITHUB).await;
    assert_eq!(body, json!({ "outcome": outcome, "repeated": true }));
    let (_, body) = github(&server, "d2", "?workflow=release.yml", GITHUB).await;
    assert_eq!(body["outcome"], "nothing new for shop@1.4.0");
    let (_, list) = server.get("/api/v1/deliveries").await;
    assert_eq!(list["senders"], json!(["github", "gitlab", "standard"]));
    assert_eq!(list["deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(list["deliveries"][1]["outcome"], outcome);
    assert_eq!(list["deliveries"][1]["id"], "d1");
    assert!(!list.to_string().contains(SECRET));
}

#[tokio::test]
async fn an_event_that_comes_before_the_version_is_noted_when_it_is_registered() {
    let server = hearing().await;
    let (_, body) = github(&server, "d1", "?workflow=Release", GITHUB).await;
    assert!(
        body["outcome"]
            .as_str()
            .unwrap()
            .starts_with("kept: no version of ffac537e"),
        "{body}"
    );
    let digest = server.upload("content").await;
    let release = register(
        &server,
        "1.4.0",
        &digest,
        json!({ "commit": COMMIT, "actor": "ann" }),
    )
    .await;
    let known = fields(&server, "shop@1.4.0").await;
    assert_eq!(
        (&known["run"], &known["actor"]),
        (&json!(RUN), &json!("ann"))
    );
    assert_eq!(release["missing"], json!(["tests"]));
}

#[tokio::test]
async fn a_run_of_another_workflow_is_never_taken_for_the_build() {
    let server = hearing().await;
    let digest = server.upload("content").await;
    register(&server, "1.4.0", &digest, json!({ "commit": COMMIT })).await;
    // Nobody says which workflow builds: only what holds for the commit is noted.
    let (_, body) = github(&server, "d1", "", GITHUB).await;
    assert_eq!(body["outcome"], "noted for shop@1.4.0: repository");
    let (_, body) = github(&server, "d2", "?workflow=build.yml", GITHUB).await;
    assert_eq!(
        body["outcome"],
        "ignored: a run of .github/workflows/release.yml, and build.yml is what builds"
    );
    assert_eq!(fields(&server, "shop@1.4.0").await["run"], Value::Null);
    // A run that the version names, in whichever attempt, is its run; what it told before is noted.
    register(
        &server,
        "1.4.0",
        &digest,
        json!({ "run": format!("{RUN}/attempts/2") }),
    )
    .await;
    let (_, body) = github(&server, "d3", "", GITHUB).await;
    assert_eq!(body["outcome"], "nothing new for shop@1.4.0");
    assert_eq!(fields(&server, "shop@1.4.0").await["actor"], "hubot");
}

#[tokio::test]
async fn what_tells_of_no_finished_build_is_kept_and_answered_kindly() {
    let server = hearing().await;
    let failed = GITHUB.replace("\"success\"", "\"failure\"");
    let (status, body) = github(&server, "d1", "", &failed).await;
    assert_eq!(
        (status, &body["outcome"]),
        (StatusCode::OK, &json!("ignored: the run came to failure"))
    );
    let running = GITHUB.replace(
        "\"completed\",\n  \"workflow_run\"",
        "\"requested\",\n  \"workflow_run\"",
    );
    let (_, body) = github(&server, "d2", "", &running).await;
    assert_eq!(body["outcome"], "ignored: the run is requested, not over");
    let (_, body) = own(&server, "m1", &json!({ "type": "order.paid", "data": {} })).await;
    assert_eq!(
        body["outcome"],
        "ignored: only `airboss.build.finished` is understood"
    );
    let (_, list) = server.get("/api/v1/deliveries?limit=1").await;
    assert_eq!(list["deliveries"][0]["event"], "order.paid");
}

#[tokio::test]
async fn gitlabs_pipelines_are_noted_with_token_and_with_signature() {
    let server = hearing().await;
    let digest = server.upload("content").await;
    let commit = "BCBB5EC396A2C0F828686F14FAC9B80B780504F2";
    register(&server, "1.4.0", &digest, json!({ "commit": commit })).await;
    let event = ("x-gitlab-event", "Pipeline Hook");
    let headers = [
        event,
        ("x-gitlab-token", SECRET),
        ("idempotency-key", "f5e5f430"),
    ];
    let (status, body) = push(&server, "/webhooks/gitlab", &headers, GITLAB).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body["outcome"],
        "noted for shop@1.4.0: ref, run, actor, repository, builder"
    );
    let known = fields(&server, "shop@1.4.0").await;
    assert_eq!(known["ref"], "refs/tags/v1.4.0");
    assert_eq!(known["builder"], "gitlab-ci/gitlab.example.com");
    // Signed, the retry has the id that the first one had.
    let now = server.runtime.clock().now().as_second().to_string();
    let text = format!("f5e5f430.{now}.{GITLAB}");
    let signature = format!(
        "v1,{}",
        STANDARD.encode(mac(SECRET.as_bytes(), text.as_bytes()))
    );
    let headers = [
        event,
        ("webhook-id", "f5e5f430"),
        ("webhook-timestamp", &now),
        ("webhook-signature", &signature),
    ];
    let (_, body) = push(&server, "/webhooks/gitlab", &headers, GITLAB).await;
    assert_eq!(body["repeated"], true, "{body}");
}

#[tokio::test]
async fn an_event_of_our_own_registers_a_version_with_content_that_is_here() {
    let server = hearing().await;
    let digest = server.upload("content").await;
    let data = json!({ "service": "shop", "version": "1.4.0", "digest": digest, "commit": COMMIT,
        "run": "https://jenkins.example/job/shop/562/", "actor": "ann", "builder": "jenkins" });
    let (status, body) = own(&server, "m1", &finished(data.clone())).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body["outcome"],
        "noted for shop@1.4.0: commit, run, actor, builder"
    );
    let (_, release) = server.get("/api/v1/releases/shop@1.4.0").await;
    assert_eq!(
        (&release["digest"], &release["by"]),
        (&json!(digest), &json!("webhook standard"))
    );
    // Another content under the version is refused with both, and may be sent again.
    let other = server.upload("other").await;
    let mut moved = data.clone();
    moved["digest"] = json!(other);
    let (status, body) = own(&server, "m2", &finished(moved)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let told = body["message"].as_str().unwrap();
    assert!(told.contains(&digest) && told.contains(&other), "{told}");
    // What contradicts is told, and what was known stays.
    let mut another = data;
    another["commit"] = json!("0000000000");
    let (_, body) = own(&server, "m3", &finished(another)).await;
    assert!(
        body["outcome"].as_str().unwrap().contains("stays so"),
        "{body}"
    );
    assert_eq!(fields(&server, "shop@1.4.0").await["commit"], COMMIT);
    let (_, list) = server.get("/api/v1/deliveries").await;
    assert_eq!(
        list["deliveries"].as_array().unwrap().len(),
        2,
        "what is refused is not kept"
    );
}

#[tokio::test]
async fn an_event_about_an_image_finds_the_artifact_that_was_made_of_it() {
    let server = hearing().await;
    let image = format!("sha256:{}", "ab".repeat(32));
    let named = format!("registry.example/shop:1.4.0@{image}");
    let data = json!({ "service": "shop", "version": "1.4.0", "image": named, "commit": COMMIT });
    let (status, body) = own(&server, "m1", &finished(data.clone())).await;
    assert_eq!(status, StatusCode::OK);
    let told = body["outcome"].as_str().unwrap();
    assert!(
        told.ends_with("airboss artifact add oci://IMAGE --service shop --version 1.4.0"),
        "{told}"
    );
    let digest = server.upload("content").await;
    let origin = json!({ "repository": "registry.example/shop", "tag": "1.4.0", "resolved": image,
        "manifest": format!("sha256:{}", "cd".repeat(32)), "platform": "linux/amd64" });
    server
        .put(&format!("/api/v1/artifacts/{digest}/origins"), origin)
        .await;
    let mut newer = data.clone();
    newer["version"] = json!("1.4.1");
    let (_, body) = own(&server, "m2", &finished(newer)).await;
    assert_eq!(body["outcome"], "noted for shop@1.4.1: commit");
    // What was told of a version before it had content is not lost.
    register(&server, "1.4.0", &digest, json!({})).await;
    assert_eq!(fields(&server, "shop@1.4.0").await["commit"], COMMIT);
    let mut tag = data;
    tag["image"] = json!("registry.example/shop:1.4.0");
    let (status, body) = own(&server, "m3", &finished(tag)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("name it by digest"),
        "{body}"
    );
}

#[tokio::test]
async fn what_nobody_signed_is_refused_with_a_reason_and_changes_nothing() {
    let server = hearing().await;
    let signed = format!("sha256={}", hex(&mac(SECRET.as_bytes(), GITHUB.as_bytes())));
    let event = ("x-github-event", "workflow_run");
    let id = ("x-github-delivery", "d1");
    let no = StatusCode::UNAUTHORIZED;
    let wrong = ("x-hub-signature-256", "sha256=00");
    for (sender, headers, status, why) in [
        ("github", &[event, id][..], no, "x-hub-signature-256"),
        ("github", &[event, id, wrong], no, "the secrets differ"),
        (
            "github",
            &[event, ("x-hub-signature-256", &signed)],
            no,
            "x-github-delivery",
        ),
        ("gitlab", &[event, id], no, "x-gitlab-token"),
        ("standard", &[], no, "webhook-timestamp"),
        (
            "jenkins",
            &[],
            StatusCode::NOT_FOUND,
            "there are github, gitlab and standard",
        ),
    ] {
        let path = format!("/webhooks/{sender}");
        let (found, body) = push(&server, &path, headers, GITHUB).await;
        assert_eq!(found, status, "{path} {headers:?}");
        let told = body["message"].as_str().unwrap();
        assert!(told.contains(why) && !told.contains(SECRET), "{told}");
    }
    // A token opens nothing here, and an event opens nothing elsewhere.
    let with_token = [("authorization", "Bearer the-token")];
    let (status, _) = push(&server, "/webhooks/github", &with_token, GITHUB).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let form = format!("payload={GITHUB}");
    let (status, body) = github(&server, "d2", "", &form).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("application/json"),
        "{body}"
    );
    let (status, body) = github(&server, "d3", "", &" ".repeat(5 << 20)).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large"))
    );
    let (_, list) = server.get("/api/v1/deliveries").await;
    assert_eq!(list["deliveries"], json!([]));
    let plain = Server::start().await;
    let (status, _) = github(&plain, "d1", "", GITHUB).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_secret_is_replaced_by_replacing_its_file() {
    let server = hearing().await;
    let path = server.folder.path().join("secret");
    std::fs::write(&path, "another-secret-of-16-bytes").unwrap();
    let (status, _) = github(&server, "d1", "", GITHUB).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    std::fs::remove_file(&path).unwrap();
    let (status, body) = github(&server, "d1", "", GITHUB).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let shown = path.display().to_string();
    assert!(
        !body.to_string().contains(&shown),
        "where secrets are is not told to strangers: {body}"
    );
    std::fs::write(&path, SECRET).unwrap();
    let (status, _) = github(&server, "d1", "", GITHUB).await;
    assert_eq!(status, StatusCode::OK);
}

/// Runs a program of others that signs, where `scripts/oracles.sh` installed it.
fn signed_by_others(program: &str, script: &str, input: &Value) -> Option<Value> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        Into::into,
    );
    let oracles = target.join("oracles");
    let script = oracles.join(script);
    if !script.exists() {
        println!(
            "skipped: {} is not there; scripts/oracles.sh installs it",
            script.display()
        );
        return None;
    }
    let output = std::process::Command::new(program)
        .arg(script)
        .arg(input.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn what_others_libraries_sign_is_taken() {
    let server = hearing().await;
    let event = finished(json!({ "service": "shop", "version": "1.4.0" })).to_string();
    let now = server.runtime.clock().now().as_second();
    let input =
        json!({ "secret": SECRET, "id": "msg_1", "seconds": now, "body": event, "github": GITHUB });
    let Some(signed) = signed_by_others("node", "sign.mjs", &input) else {
        return;
    };
    let of = |name: &str| signed[name].as_str().unwrap().to_owned();
    let now = now.to_string();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &now),
        ("webhook-signature", &of("standard")),
    ];
    let (status, body) = push(&server, "/webhooks/standard", &headers, &event).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let headers = [
        ("x-github-event", "workflow_run"),
        ("x-github-delivery", "d1"),
        ("x-hub-signature-256", &of("github")),
    ];
    let (status, body) = push(&server, "/webhooks/github", &headers, GITHUB).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test]
async fn the_command_in_the_documentation_signs_an_event() {
    let page = include_str!("../../../../docs/ci.md");
    let command = page.lines().find(|line| line.starts_with("signature=$("));
    let server = hearing().await;
    let body = finished(json!({ "service": "shop", "version": "1.4.0" })).to_string();
    let now = server.runtime.clock().now().as_second().to_string();
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{}; printf %s \"$signature\"", command.unwrap()))
        .envs([("id", "checkout-1.4.0"), ("now", &now)])
        .envs([("body", body.as_str()), ("SECRET", SECRET)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("not found") {
        println!("skipped: openssl is not at hand");
        return;
    }
    let signature = format!("v1,{}", String::from_utf8(output.stdout).unwrap());
    let headers = [
        ("webhook-id", "checkout-1.4.0"),
        ("webhook-timestamp", &now),
        ("webhook-signature", &signature),
    ];
    let (status, body) = push(&server, "/webhooks/standard", &headers, &body).await;
    assert_eq!(status, StatusCode::OK, "{body} {said}");
}
