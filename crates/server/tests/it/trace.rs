//! From anything to the release, and back.

use axum::http::StatusCode;

use crate::harness::Server;

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
