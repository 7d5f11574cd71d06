//! From anything to the release, and back.

use axum::http::StatusCode;
use serde_json::json;

use crate::harness::{Server, authorized};

#[tokio::test]
async fn whatever_belongs_to_a_release_leads_to_it() {
    let server = Server::start().await;
    let digest = server.upload("one").await;
    let (_, accepted) = server.ship("1.0.0", "one").await;
    server.ship("2.0.0", "two").await;
    let rollout = accepted["rollout"].as_str().unwrap();
    let (_, shown) = server.get(&format!("/api/v1/rollouts/{rollout}")).await;
    let service = shown["service"].as_str().unwrap();
    let release = format!("{service}@1.0.0");
    let hex = digest.strip_prefix("sha256:").unwrap();
    for about in [&release, rollout, "1.0.0", &digest, hex, &hex[..7]] {
        let (status, trace) = server.get(&format!("/api/v1/trace?about={about}")).await;
        assert_eq!(status, StatusCode::OK, "{about}: {trace}");
        let releases = trace["releases"].as_array().unwrap();
        assert_eq!(releases.len(), 1, "{about}: {trace}");
        assert_eq!(releases[0]["release"], release.as_str(), "{about}");
        assert_eq!(releases[0]["digest"], digest.as_str());
        assert_eq!(releases[0]["rollouts"][0]["id"], rollout);
        assert_eq!(releases[0]["people"][0]["who"], shown["by"]);
    }
    let by = shown["by"].as_str().unwrap();
    for about in [by, "production"] {
        let (_, trace) = server.get(&format!("/api/v1/trace?about={about}")).await;
        let names: Vec<_> = trace["releases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["release"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, [format!("{service}@2.0.0"), release.clone()]);
        assert_eq!(trace["more"], false);
    }
    let (_, trace) = server
        .get(&format!("/api/v1/trace?about={by}&limit=1"))
        .await;
    assert_eq!(trace["releases"].as_array().unwrap().len(), 1);
    assert_eq!(trace["more"], true);
}

#[tokio::test]
async fn what_nothing_is_recorded_of_is_said_to_be_not_there() {
    let server = Server::start().await;
    server.ship("1.0.0", "one").await;
    for about in ["9.9.9", "nobody", "deadbeef", "shop%409.9.9", "%22"] {
        let (status, body) = server.get(&format!("/api/v1/trace?about={about}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{about}: {body}");
    }
    let (status, _) = server.get("/api/v1/trace?about=").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn commit_run_actor_report_and_image_lead_to_the_release_and_it_to_them() {
    let server = Server::start().await;
    let digest = server.upload("one").await;
    let commit = "ffac537e6cbbf934b08745a378932722df287a53";
    let run = "https://ci.example/acme/shop/runs/30433642";
    let build = json!({ "commit": commit, "run": format!("{run}/attempts/2"), "actor": "hubot" });
    let body = json!({ "service": "shop", "version": "1.0.0", "digest": digest, "build": build, "by": "ci" });
    server.post("/api/v1/releases", body).await;
    let other = server.upload("two").await;
    let build = json!({ "commit": "0000000000", "run": "https://ci.example/acme/shop/runs/7", "actor": "ann" });
    let body = json!({ "service": "shop", "version": "2.0.0", "digest": other, "build": build, "by": "ci" });
    server.post("/api/v1/releases", body).await;

    let junit = r#"<testsuite name="unit of the shop" tests="1"><testcase name="a"/></testsuite>"#;
    let path = format!("/api/v1/artifacts/{digest}/attestations?source=report.xml&by=ci");
    let request = authorized("POST", &path).body(junit.into()).unwrap();
    let (_, added) = server.send(request).await;
    let report = added["attestations"][0]["id"].as_str().unwrap();
    let image = format!("sha256:{}", "ab".repeat(32));
    let origin = json!({ "repository": "registry.example/shop", "tag": "1.0.0", "resolved": image,
        "manifest": format!("sha256:{}", "cd".repeat(32)), "platform": null });
    server
        .put(&format!("/api/v1/artifacts/{digest}/origins"), origin)
        .await;

    for about in [
        commit,
        &commit[..7],
        &commit[..7].to_uppercase(),
        run,
        "30433642",
        "hubot",
        report,
        &image,
        &"cd".repeat(4),
        "unit%20of%20the%20shop",
    ] {
        let (status, trace) = server.get(&format!("/api/v1/trace?about={about}")).await;
        assert_eq!(status, StatusCode::OK, "{about}: {trace}");
        let releases = trace["releases"].as_array().unwrap();
        assert_eq!(releases.len(), 1, "{about}: {trace}");
        let release = &releases[0];
        assert_eq!(release["release"], "shop@1.0.0", "{about}");
        assert_eq!(release["build"]["commit"], commit);
        assert_eq!(release["build"]["actor"], "hubot");
        assert_eq!(release["tests"][0]["id"], report);
        assert_eq!(release["tests"][0]["summary"], "1 passed, 0 failed");
    }
    // A part of a number or of an address is not enough.
    for about in [
        "3043364",
        "https://ci.example/acme/shop/runs/3043364",
        "hub",
    ] {
        let (status, trace) = server.get(&format!("/api/v1/trace?about={about}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{about}: {trace}");
    }
    let (_, trace) = server.get("/api/v1/trace?about=2.0.0").await;
    let missing = &trace["releases"][0]["missing"];
    assert_eq!(missing[0], "test results: nobody handed any in");
}
