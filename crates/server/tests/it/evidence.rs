//! Releases and the evidence about their artifacts, over the API.

use std::time::Duration;

use airboss_attest::{SigningKey, Statement, Trust, TrustedKey};
use airboss_model::time::after;
use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Agent, Server, authorized, manifest_with};

const JUNIT: &str = r#"<testsuite name="unit" tests="2" failures="0"><testcase name="a"/><testcase name="b"/></testsuite>"#;
const RED: &str = r#"<testsuite name="unit" tests="2" failures="1"><testcase name="a"><failure message="no"/></testcase><testcase name="b"/></testsuite>"#;

async fn attest(server: &Server, digest: &str, query: &str, body: &str) -> (StatusCode, Value) {
    let path = format!("/api/v1/artifacts/{digest}/attestations?source=file&by=ci&{query}");
    let request = authorized("POST", &path).body(Body::from(body.to_owned()));
    server.send(request.unwrap()).await
}

async fn register(server: &Server, version: &str, digest: &str) -> (StatusCode, Value) {
    let build = json!({ "commit": "ffac537e6cbbf934b08745a378932722df287a53", "run": "https://ci.example/7" });
    let body = json!({ "service": "shop", "version": version, "digest": digest, "build": build, "by": "ci" });
    server.post("/api/v1/releases", body).await
}

fn requiring(items: &str, version: &str, digest: &str) -> Value {
    let manifest = manifest_with(&format!("{{ require: {items}, all_at_once: }}"));
    json!({ "manifest": manifest, "version": version, "digest": digest, "by": "ann" })
}

fn ci_key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

fn signed(digest: &str) -> String {
    let predicate = json!({ "any": "thing" });
    let statement = Statement::about(
        "shop",
        &digest.parse().unwrap(),
        "https://example/v1",
        predicate,
    );
    ci_key().sign(&statement).to_json()
}

fn trusting(revoked: bool) -> Trust {
    Trust {
        keys: vec![TrustedKey {
            name: "ci".to_owned(),
            key: ci_key().public_key(),
            own: false,
            from: None,
            until: None,
            revoked: revoked.then(|| airboss_attest::Revocation {
                at: "2026-01-01T00:00:00Z".parse().unwrap(),
                reason: "the laptop was lost".to_owned(),
            }),
        }],
        ..Trust::default()
    }
}

#[tokio::test]
async fn a_release_tells_field_by_field_what_is_known_and_what_is_missing() {
    let server = Server::start().await;
    let digest = server.upload("content").await;
    let (status, body) = register(&server, "1.4.0", &digest).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(body["missing"], json!(["repository", "builder", "tests"]));
    let (status, body) = attest(&server, &digest, "kind=tests&name=shop@1.4.0", JUNIT).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(body["attestations"][0]["summary"], "2 passed, 0 failed");
    let (_, body) = server.get("/api/v1/releases/shop@1.4.0").await;
    assert_eq!(body["missing"], json!(["repository", "builder"]));
    // The commit of a version stands.
    let other = json!({ "service": "shop", "version": "1.4.0", "build": { "commit": "0000000" }, "by": "eve" });
    let (_, body) = server.post("/api/v1/releases", other).await;
    assert!(
        body["warnings"][0].as_str().unwrap().contains("stays so"),
        "{body}"
    );
    let (_, list) = server.get("/api/v1/releases?service=shop").await;
    assert_eq!(
        (&list["complete"], &list["releases"][0]["id"]),
        (&json!(0), &json!("shop@1.4.0"))
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_and_nothing_of_it_is_kept() {
    let server = Server::start().await;
    let digest = server.upload("content").await;
    let other = server.upload("other").await;
    for (query, body, why) in [
        ("", "hello", "file"),
        ("kind=sbom", JUNIT, "was handed in as sbom"),
        ("", &signed(&other), "is about"),
        ("", "{\"payloadType\": 1", "file"),
        ("", "", "empty"),
    ] {
        let (status, answer) = attest(&server, &digest, query, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
    }
    let unknown = format!("sha256:{}", "0".repeat(64));
    let (status, _) = attest(&server, &unknown, "", JUNIT).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, list) = server
        .get(&format!("/api/v1/artifacts/{digest}/attestations"))
        .await;
    assert_eq!(list["attestations"], json!([]));
}

#[tokio::test]
async fn a_document_comes_back_as_it_was_and_a_report_in_an_envelope_of_airbosss() {
    let server = Server::start().await;
    let digest = server.upload("content").await;
    let (_, added) = attest(&server, &digest, "name=shop@1.4.0", JUNIT).await;
    let id = added["attestations"][0]["id"].as_str().unwrap();
    let (_, again) = attest(&server, &digest, "name=shop@1.4.0", JUNIT).await;
    assert_eq!(again["attestations"][0]["new"], json!(false));
    let path = format!("/api/v1/artifacts/{digest}/attestations/{id}?envelope=true");
    let (status, envelope) = server.get(&path).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
}

#[tokio::test]
async fn a_rollout_waits_for_its_evidence_and_starts_by_itself_once_it_is_there() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    server.keys.believe(trusting(false));
    let digest = server.upload("content").await;
    let (status, body) = server
        .post(
            "/api/v1/rollouts",
            requiring("[signed, tests]", "1.0.0", &digest),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let warnings = body["warnings"].to_string();
    assert!(
        warnings.contains("airboss artifact add --service shop --version 1.0.0"),
        "{warnings}"
    );
    let lane = server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["queue"][0]["blocked"] == true
        })
        .await;
    assert_eq!(lane["queue"][0]["evidence"][1]["state"], "missing");
    let (_, rollout) = server.get("/api/v1/rollouts/shop-1").await;
    assert_eq!(rollout["phase"], "blocked");
    // Red tests block as well, and say so.
    attest(&server, &digest, "kind=tests", RED).await;
    server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["queue"][0]["evidence"][1]["state"] == "failed"
        })
        .await;
    attest(&server, &digest, "kind=tests", JUNIT).await;
    attest(&server, &digest, "", &signed(&digest)).await;
    server
        .wait("/api/v1/rollouts/shop-1", |rollout| {
            rollout["outcome"] == "shipped"
        })
        .await;
    // What was concluded is signed, and attached to the digest.
    let list = server
        .wait(
            &format!("/api/v1/artifacts/{digest}/attestations"),
            |list| {
                list["attestations"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|it| it["kind"] == "summary"))
            },
        )
        .await;
    let all = list["attestations"].as_array().unwrap();
    let summary = all.iter().find(|it| it["kind"] == "summary").unwrap();
    assert_eq!(summary["verdict"], "verified");
    assert_eq!(
        summary["signers"],
        json!([]),
        "Airboss is no witness of others"
    );
}

#[tokio::test]
async fn a_revoked_key_blocks_what_it_signed_and_a_rollback_goes_all_the_same() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |_| 0);
    server.keys.believe(trusting(false));
    for version in ["1.0.0", "2.0.0"] {
        let digest = server.upload(version).await;
        attest(&server, &digest, "", &signed(&digest)).await;
        let (_, body) = server
            .post("/api/v1/rollouts", requiring("[signed]", version, &digest))
            .await;
        let rollout = format!("/api/v1/rollouts/{}", body["rollout"].as_str().unwrap());
        server
            .wait(&rollout, |rollout| rollout["outcome"] == "shipped")
            .await;
    }
    server.keys.believe(trusting(true));
    let digest = server.upload("3.0.0").await;
    attest(&server, &digest, "", &signed(&digest)).await;
    server
        .post("/api/v1/rollouts", requiring("[signed]", "3.0.0", &digest))
        .await;
    let lane = server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["queue"][0]["evidence"][0]["state"] == "badly_signed"
        })
        .await;
    let reason = lane["queue"][0]["evidence"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("revoked"), "{reason}");
    let (status, body) = server
        .post("/api/v1/services/shop/rollback", json!({ "by": "ann" }))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let rollout = format!("/api/v1/rollouts/{}", body["rollout"].as_str().unwrap());
    server
        .wait(&rollout, |rollout| rollout["outcome"] == "shipped")
        .await;
    // Once the key is believed again, nothing more has to be done for what waits.
    server.keys.believe(trusting(false));
}

#[tokio::test]
async fn a_statement_about_the_image_counts_for_the_artifact_that_was_made_of_it() {
    let server = Server::start().await;
    server.keys.believe(trusting(false));
    let digest = server.upload("content").await;
    let (index, manifest) = (
        format!("sha256:{}", "ab".repeat(32)),
        format!("sha256:{}", "cd".repeat(32)),
    );
    for (name, number) in [(&index, 0), (&manifest, 1)] {
        let (status, body) = attest(&server, &digest, "", &signed(name)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{number} {body}");
    }
    let origin = json!({ "repository": "registry.example/shop", "tag": "1.4.0", "resolved": index,
        "manifest": manifest, "platform": "linux/amd64" });
    server
        .put(&format!("/api/v1/artifacts/{digest}/origins"), origin)
        .await;
    for name in [&index, &manifest, &digest] {
        let (status, body) = attest(&server, &digest, "", &signed(name)).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let it = &body["attestations"][0];
        assert_eq!(
            (&it["verdict"], &it["signers"]),
            (&json!("verified"), &json!(["ci"]))
        );
        let of_image = it["reason"].as_str().unwrap().contains("the image sha256:");
        assert_eq!(of_image, name != &digest, "{it}");
    }
    let other = format!("sha256:{}", "ef".repeat(32));
    let (status, body) = attest(&server, &digest, "", &signed(&other)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    // Checked again after trust changed, each is still judged by the name that it is about.
    server.keys.believe(trusting(true));
    let now = server.runtime.clock().now();
    let changed = server.runtime.evidence().check_again(now).await.unwrap();
    assert_eq!(changed, [digest.parse().unwrap()]);
    let (_, list) = server
        .get(&format!("/api/v1/artifacts/{digest}/attestations"))
        .await;
    for it in list["attestations"].as_array().unwrap() {
        assert!(
            it["reason"].as_str().unwrap().contains("was revoked"),
            "{it}"
        );
    }
}

#[tokio::test]
async fn completeness_counts_every_version_of_a_period_also_of_services_without_a_manifest() {
    let server = Server::start().await;
    let digest = server.upload("content").await;
    for (service, version) in [("shop", "1.0.0"), ("cart", "1.0.0"), ("shop", "1.1.0")] {
        let build = match version {
            "1.0.0" => json!({}),
            _ => json!({ "commit": "ffac537", "run": "r", "repository": "s", "builder": "b" }),
        };
        let body = json!({ "service": service, "version": version, "digest": digest, "build": build, "by": "ci" });
        server.post("/api/v1/releases", body).await;
    }
    let ids = |list: &Value| {
        let all = list["releases"].as_array().unwrap().iter();
        all.map(|it| it["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    attest(&server, &digest, "kind=tests", JUNIT).await;
    let (_, list) = server.get("/api/v1/releases").await;
    assert_eq!(ids(&list), ["shop@1.1.0", "cart@1.0.0", "shop@1.0.0"]);
    assert_eq!(
        (&list["complete"], &list["more"]),
        (&json!(1), &json!(false))
    );
    // One field less, and it is named.
    assert_eq!(
        list["releases"][1]["missing"],
        json!(["commit", "repository", "run", "builder"])
    );
    let (_, list) = server.get("/api/v1/releases?limit=2").await;
    assert_eq!((ids(&list).len(), &list["more"]), (2, &json!(true)));
    let (_, list) = server.get("/api/v1/releases?service=shop&limit=2").await;
    assert_eq!((ids(&list).len(), &list["more"]), (2, &json!(false)));
    let (_, list) = server
        .get("/api/v1/releases?since=2999-01-01T00:00:00Z")
        .await;
    assert_eq!((ids(&list).len(), &list["complete"]), (0, &json!(0)));
}

#[tokio::test]
async fn a_version_is_weighed_against_a_manifest_that_the_server_has_never_seen() {
    let server = Server::start().await;
    let digest = server.upload("content").await;
    register(&server, "1.4.0", &digest).await;
    attest(&server, &digest, "kind=tests", JUNIT).await;
    let (_, release) = server.get("/api/v1/releases/shop@1.4.0").await;
    assert_eq!(release["required"], json!([]));
    let asked = "/api/v1/releases/shop@1.4.0?require=%5B%22tests%22,%7B%22scan%22:%7B%7D%7D%5D";
    let (_, release) = server.get(asked).await;
    assert_eq!(release["required"][0]["state"], "passed");
    assert_eq!(release["required"][1]["state"], "missing");
    let wrong = "/api/v1/releases/shop@1.4.0?require=%5B%22luck%22%5D";
    let (status, body) = server.get(wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
}

#[tokio::test]
async fn what_is_dated_ahead_counts_from_then_on_without_another_word() {
    let server = Server::start().await;
    let digest = server.upload("content").await;
    let ahead = after(
        server.runtime.clock().now(),
        Duration::from_secs(5 * 60 + 3),
    );
    let report = format!(
        r#"<testsuite name="unit" tests="1" timestamp="{ahead}"><testcase name="a"/></testsuite>"#
    );
    let (_, body) = attest(&server, &digest, "kind=tests", &report).await;
    let it = &body["attestations"][0];
    assert_eq!(it["verdict"], "refused", "{it}");
    assert!(
        it["reason"]
            .as_str()
            .unwrap()
            .contains("one of the clocks is wrong")
    );
    let (status, body) = server
        .post("/api/v1/rollouts", requiring("[tests]", "1.4.0", &digest))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let _agent = Agent::start(&server.runtime, |_| 0);
    server
        .wait("/api/v1/lanes/shop/production", |lane| {
            lane["stable"]["version"] == "1.4.0"
        })
        .await;
}

#[tokio::test]
async fn of_a_file_with_several_documents_all_are_kept_once_or_none() {
    let server = Server::start().await;
    server.keys.believe(trusting(false));
    let digest = server.upload("content").await;
    let other = server.upload("other").await;
    let path = format!("/api/v1/artifacts/{digest}/attestations");
    let (good, alien) = (signed(&digest), signed(&other));
    let (status, body) = attest(&server, &digest, "", &format!("{good}\n{alien}\n")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(body["message"].as_str().unwrap().contains(&other), "{body}");
    let (status, _) = attest(&server, &digest, "", &format!("{good}\n{{\"half\":")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(server.get(&path).await.1["attestations"], json!([]));
    // The same statement twice is one, in one file and in two.
    for _ in 0..2 {
        let (status, _) = attest(&server, &digest, "", &format!("{good}\n{good}\n")).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let (_, list) = server.get(&path).await;
    assert_eq!(list["attestations"].as_array().unwrap().len(), 1);
    // One bad signature beside a good one: kept as what came, and it counts for nothing.
    let mut torn: Value = serde_json::from_str(&good).unwrap();
    let mut second = torn["signatures"][0].clone();
    let sig = second["sig"].as_str().unwrap().to_owned();
    second["sig"] = json!(format!("AAAA{}", &sig[4..]));
    torn["signatures"].as_array_mut().unwrap().push(second);
    let (_, body) = attest(&server, &digest, "", &torn.to_string()).await;
    let it = &body["attestations"][0];
    assert_eq!(
        (&it["verdict"], &it["signers"]),
        (&json!("refused"), &json!([]))
    );
    assert!(
        it["reason"]
            .as_str()
            .unwrap()
            .contains("it was changed after signing"),
        "{it}"
    );
}
