//! What is known of artifacts, and what people are told of it.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Agent, Server, archive, ship};

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn origin(tag: Option<&str>, resolved: &str) -> Value {
    let mut origin = json!({
        "repository": "registry.test/shop", "resolved": digest(resolved), "manifest": digest("ee"), "platform": "linux/amd64",
    });
    if let Some(tag) = tag {
        origin["tag"] = tag.into();
    }
    origin
}

async fn add_origin(server: &Server, artifact: &str, origin: Value) -> Value {
    let path = format!("/api/v1/artifacts/{artifact}/origins");
    let (status, body) = server.put(&path, origin).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

#[tokio::test]
async fn the_same_content_under_two_versions_is_said_to_be_so() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    let (_, first) = server.ship("1.0.0", "one").await;
    assert_eq!(first["warnings"], Value::Null, "{first}");
    server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["stable"].is_object() && lane["rollout"].is_null()
        })
        .await;
    // Where it serves already there is nothing to do, and that is said.
    let (status, second) = server.ship("1.1.0", "one").await;
    assert_eq!(status, StatusCode::CREATED);
    let message = second["message"].as_str().unwrap();
    assert!(
        message.contains("shop@1.1.0 has the content of shop@1.0.0"),
        "{message}"
    );
    let mut elsewhere = ship("1.1.0", &server.upload("one").await);
    elsewhere["environment"] = "staging".into();
    let (status, second) = server.post("/api/v1/rollouts", elsewhere).await;
    assert_eq!(status, StatusCode::CREATED, "{second}");
    let warnings = second["warnings"].to_string();
    assert!(
        warnings.contains("shop@1.1.0 has the same content as shop@1.0.0: sha256:"),
        "{warnings}"
    );
    let (_, list) = server.get("/api/v1/artifacts").await;
    assert_eq!(list["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(
        list["artifacts"][0]["releases"],
        json!(["shop@1.0.0", "shop@1.1.0"])
    );
}

#[tokio::test]
async fn an_origin_is_kept_with_tag_and_digests_and_found_by_the_manifest() {
    let server = Server::start().await;
    let artifact = server.upload("one").await;
    server.upload("two").await;
    for _ in 0..2 {
        let known = add_origin(&server, &artifact, origin(Some("1.4.0"), "aa")).await;
        assert_eq!(known["origins"][0]["reference"], "registry.test/shop:1.4.0");
        assert_eq!(known["origins"][0]["resolved"], digest("aa"));
        assert_eq!(known["origins"][0]["moved_to"], Value::Null);
        assert_eq!(known["origins"].as_array().unwrap().len(), 1);
    }
    let (_, found) = server
        .get(&format!("/api/v1/artifacts?manifest={}", digest("ee")))
        .await;
    assert_eq!(found["artifacts"].as_array().unwrap().len(), 1);
    assert_eq!(found["artifacts"][0]["digest"], *artifact);

    let unknown = format!("/api/v1/artifacts/{}/origins", digest("00"));
    assert_eq!(
        server.put(&unknown, origin(None, "aa")).await.0,
        StatusCode::NOT_FOUND
    );
    let path = format!("/api/v1/artifacts/{artifact}/origins");
    let mut wrong = origin(None, "aa");
    wrong["repository"] = "a\u{1b}[31m".into();
    assert_eq!(
        server.put(&path, wrong).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
}

#[tokio::test]
async fn a_moved_tag_is_told_at_the_next_ship_and_where_a_version_would_change() {
    let server = Server::start().await;
    let old = server.upload("old").await;
    add_origin(&server, &old, origin(Some("latest"), "aa")).await;
    let (_, shipped) = server.post("/api/v1/rollouts", ship("1.0.0", &old)).await;
    assert_eq!(shipped["warnings"], Value::Null, "{shipped}");

    let new = server.upload("new").await;
    add_origin(&server, &new, origin(Some("latest"), "bb")).await;
    let told = format!(
        "the tag registry.test/shop:latest was moved: it pointed to {} when shop@1.0.0 was made, and points to {} now",
        digest("aa"),
        digest("bb")
    );
    let (status, refused) = server.post("/api/v1/rollouts", ship("1.0.0", &new)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(refused["details"], json!([told]));
    let (_, shipped) = server.post("/api/v1/rollouts", ship("1.1.0", &new)).await;
    assert_eq!(shipped["warnings"], json!([told]));
}

#[tokio::test]
async fn a_service_shows_that_the_tag_behind_it_was_moved_once_somebody_looked() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    let artifact = server.upload("one").await;
    add_origin(&server, &artifact, origin(Some("1.0.0"), "aa")).await;
    server
        .post("/api/v1/rollouts", ship("1.0.0", &artifact))
        .await;
    let lane = server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["stable"].is_object()
        })
        .await;
    assert_eq!(lane["moved_tags"], json!([]));
    let look =
        json!({ "repository": "registry.test/shop", "tag": "1.0.0", "digest": digest("bb") });
    assert_eq!(
        server.post("/api/v1/tags", look).await.0,
        StatusCode::NO_CONTENT
    );
    let (_, lanes) = server.get("/api/v1/lanes").await;
    let told = lanes["lanes"][0]["moved_tags"][0].as_str().unwrap();
    assert!(
        told.contains("registry.test/shop:1.0.0 was moved since shop@1.0.0"),
        "{told}"
    );
    assert!(
        told.contains(&digest("aa")) && told.contains(&digest("bb")),
        "{told}"
    );
    let (_, known) = server.get(&format!("/api/v1/artifacts/{artifact}")).await;
    assert_eq!(known["origins"][0]["moved_to"], digest("bb"));
}

/// What an agent would refuse is refused when it comes, whoever sends it, and nothing of it stays.
#[tokio::test]
async fn a_hostile_archive_is_refused_with_its_reason_and_nothing_of_it_is_kept() {
    let server = Server::start().await;
    let entry = |kind: tar::EntryType, name: &str, to: &str| {
        let mut header = tar::Header::new_gnu();
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(0);
        if !to.is_empty() {
            header.set_link_name(to).unwrap();
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    };
    let whole = archive(&[7; 5_000]);
    let compressed = xtask::registry::gzip(&whole).unwrap();
    use tar::EntryType::{Char, Link, Regular, Symlink};
    for (bytes, why) in [
        (entry(Regular, "../out", ""), "leaves the folder"),
        (entry(Regular, "/etc/passwd", ""), "leaves the folder"),
        (
            entry(Symlink, "a", "../../etc"),
            "is a link that leaves the folder",
        ),
        (entry(Link, "a", "b"), "hard link"),
        (entry(Char, "null", ""), "devices"),
        (whole[..3_000].to_vec(), "cut off"),
        (compressed, "tar"),
        (b"#!/bin/sh\necho no archive at all\n".repeat(40), "tar"),
    ] {
        let (status, body) = server.hand_in(bytes).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{why}: {body}");
        let message = body["message"].as_str().unwrap();
        assert!(
            message.contains(why) && message.contains("Nothing was kept"),
            "{why}: {message}"
        );
    }
    assert_eq!(kept(&server), ["incoming"]);
    let folder = server.folder.path().join("artifacts/incoming");
    assert_eq!(crate::harness::files_in(&folder), 0);
    let (_, list) = server.get("/api/v1/artifacts").await;
    assert_eq!(list["artifacts"], json!([]));
    server.upload("a good one").await;
}

/// What lies where artifacts are kept.
fn kept(server: &Server) -> Vec<std::ffi::OsString> {
    let folder = std::fs::read_dir(server.folder.path().join("artifacts"));
    let mut kept: Vec<_> = folder.unwrap().map(|it| it.unwrap().file_name()).collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    use axum::body::Body;
    let server = Server::start().await;
    let parts = futures_util::stream::iter([
        Ok("some bytes"),
        Err(std::io::Error::other("the connection was cut")),
    ]);
    let request = crate::harness::authorized("POST", "/api/v1/artifacts")
        .body(Body::from_stream(parts))
        .unwrap();
    let (status, body) = server.send(request).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("broke off after 10 bytes"), "{message}");
    let folder = server.folder.path().join("artifacts");
    assert_eq!(kept(&server), ["incoming"]);
    assert_eq!(crate::harness::files_in(&folder.join("incoming")), 0);
}
