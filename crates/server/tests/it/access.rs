//! Tokens: who gets in, and how far.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Server, ship};

async fn as_holder(
    server: &Server,
    secret: &str,
    method: &str,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {secret}"))
        .header("content-type", "application/json")
        .body(match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        })
        .unwrap();
    server.send(request).await
}

async fn make(server: &Server, name: &str, scope: &str, expires_in: &str) -> (String, String) {
    let body = json!({ "name": name, "scopes": [scope], "expires_in": expires_in, "by": "root" });
    let (status, made) = server.post("/api/v1/tokens", body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["token"]["id"]), text(&made["secret"]))
}

#[tokio::test]
async fn a_token_opens_what_its_scope_says_and_nothing_else() {
    let server = Server::start().await;
    let token = json!({ "name": "x", "scopes": ["read"], "expires_in": "1h", "by": "x" });
    let pause = json!({ "by": "x" });
    // What each scope gets of: reading, shipping, administration, the agents' half.
    let (ok, no, gone) = (StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND);
    let table = [
        ("read", [ok, no, no, no]),
        ("ship", [ok, gone, no, no]),
        ("approve", [ok, no, no, no]),
        ("admin", [ok, gone, StatusCode::CREATED, no]),
        ("agent", [no, no, no, ok]),
    ];
    for (scope, expected) in table {
        let (_, secret) = make(&server, scope, scope, "1h").await;
        let seen = [
            as_holder(&server, &secret, "GET", "/api/v1/lanes", Value::Null).await,
            as_holder(
                &server,
                &secret,
                "POST",
                "/api/v1/rollouts/shop-1/pause",
                pause.clone(),
            )
            .await,
            as_holder(&server, &secret, "POST", "/api/v1/tokens", token.clone()).await,
            as_holder(&server, &secret, "GET", "/agent/v1/desired", Value::Null).await,
        ];
        assert_eq!(seen.map(|(status, _)| status), expected, "{scope}");
    }
}

#[tokio::test]
async fn a_revoked_or_expired_token_opens_nothing_and_says_why() {
    let server = Server::start().await;
    let (id, secret) = make(&server, "ci", "read", "never").await;
    let lanes = |secret: String| {
        let server = &server;
        async move { as_holder(server, &secret, "GET", "/api/v1/lanes", Value::Null).await }
    };
    assert_eq!(lanes(secret.clone()).await.0, StatusCode::OK);
    let (status, revoked) = server
        .post(&format!("/api/v1/tokens/{id}/revoke"), Value::Null)
        .await;
    assert_eq!(
        (status, revoked["state"].as_str()),
        (StatusCode::OK, Some("revoked"))
    );
    let (status, body) = lanes(secret).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        body["message"].as_str().unwrap().contains("was revoked"),
        "{body}"
    );

    let (_, short) = make(&server, "ci", "read", "1ms").await;
    let expired = server.wait("/api/v1/tokens", |list| {
        list["tokens"][0]["state"] == "expired"
    });
    expired.await;
    let (status, body) = lanes(short).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        body["message"].as_str().unwrap().contains("expired"),
        "{body}"
    );
    let (_, longer) = lanes(format!("airboss_{}", "0".repeat(64))).await;
    assert_eq!(longer["code"], "unauthorized");
}

#[tokio::test]
async fn a_tokens_text_is_in_no_list_and_nowhere_in_the_store() {
    let server = Server::start().await;
    let (_, secret) = make(&server, "ci", "ship", "1h").await;
    let (_, list) = server.get("/api/v1/tokens").await;
    assert!(list.to_string().contains("\"ci\""));
    assert!(!list.to_string().contains(&secret));
    for entry in std::fs::read_dir(server.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn the_record_names_the_token_that_somebody_acted_with() {
    let server = Server::start().await;
    let (_, secret) = make(&server, "ci", "ship", "1h").await;
    let digest = server.upload("one").await;
    let (status, body) = as_holder(
        &server,
        &secret,
        "POST",
        "/api/v1/rollouts",
        ship("1.0.0", &digest),
    )
    .await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let (_, rollout) = server.get("/api/v1/rollouts/shop-1").await;
    assert_eq!(rollout["by"], "ann with token ci");
}

#[tokio::test]
async fn a_token_that_would_allow_nothing_or_name_nobody_is_refused() {
    let server = Server::start().await;
    let good = json!({ "name": "ci", "scopes": ["read"], "expires_in": "1h", "by": "ann" });
    let spoil = [
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("scopes", json!([])),
        ("scopes", json!(["root"])),
        ("expires_in", json!("soon")),
        ("expires_in", json!("0s")),
    ];
    for (field, value) in spoil {
        let mut body = good.clone();
        body[field] = value;
        let (status, problem) = server.post("/api/v1/tokens", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        assert!(!problem["message"].as_str().unwrap().is_empty());
    }
    let (_, list) = server.get("/api/v1/tokens").await;
    assert_eq!(list["tokens"], json!([]));
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down_and_holders_do_not_notice() {
    let server = Server::start().await;
    let mut slowed = 0;
    for _ in 0..400 {
        let (status, _) = as_holder(&server, "guess", "GET", "/api/v1/lanes", Value::Null).await;
        assert!(status.is_client_error());
        slowed += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(slowed > 0);
    assert_eq!(server.get("/api/v1/lanes").await.0, StatusCode::OK);
}
