//! The OpenAPI document.

use axum::http::StatusCode;

use crate::harness::{Server, authorized};

#[test]
fn a_change_of_the_api_shows_in_the_snapshot() {
    insta::assert_json_snapshot!("openapi", airboss_server::openapi());
}

#[tokio::test]
async fn the_document_is_served_and_is_openapi_3_1() {
    let server = Server::start().await;
    let (status, document) = server.get("/api/v1/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path} says what it does");
        }
    }
}

#[tokio::test]
async fn nothing_but_health_is_told_without_the_token() {
    let server = Server::start().await;
    for path in [
        "/api/v1/lanes",
        "/api/v1/openapi.json",
        "/agent/v1/desired",
        "/api/v1/nowhere",
    ] {
        let request = axum::http::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap();
        assert_eq!(
            server.send(request).await.0,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
        let wrong = axum::http::Request::get(path)
            .header("authorization", "Bearer the-tokem")
            .body(axum::body::Body::empty())
            .unwrap();
        assert_eq!(
            server.send(wrong).await.0,
            StatusCode::UNAUTHORIZED,
            "{path}"
        );
    }
    let health = axum::http::Request::get("/healthz")
        .body(axum::body::Body::empty())
        .unwrap();
    assert_eq!(server.send(health).await.0, StatusCode::OK);
}

#[tokio::test]
async fn no_operation_is_answered_without_a_token() {
    let server = Server::start().await;
    let document: serde_json::Value =
        serde_json::from_str(&airboss_server::openapi().to_json().unwrap()).unwrap();
    let mut refused = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            let request = axum::http::Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path)
                .body(axum::body::Body::empty())
                .unwrap();
            let (status, _) = server.send(request).await;
            // Whoever asks that often without one is told to slow down, which is no answer either.
            let slowed = status == StatusCode::TOO_MANY_REQUESTS;
            assert!(
                slowed || status == StatusCode::UNAUTHORIZED,
                "{method} {path}: {status}"
            );
            refused += usize::from(!slowed);
        }
    }
    assert!(refused > 20, "{refused}");
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let server = Server::start().await;
    for path in [
        "/api/v1/rollouts/shop-9",
        "/api/v1/lanes/shop/production",
        "/api/v1/nowhere",
        "/agent/v1/blobs/sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let (status, body) = server.get(path).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::NOT_FOUND, Some("not_found")),
            "{path}"
        );
    }
    let request = authorized("GET", "/api/v1/rollouts?limit=many")
        .body(axum::body::Body::empty())
        .unwrap();
    assert!(server.send(request).await.0.is_client_error());
}
