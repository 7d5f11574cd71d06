//! What is too large or takes too long is refused, and nobody else notices.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;

use crate::harness::{Server, authorized};

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let server = Server::start().await;
    for (path, most) in [
        ("/api/v1/rollouts", 2 << 20),
        ("/agent/v1/report", 32 << 20),
    ] {
        let request = authorized("POST", path)
            .header("content-type", "application/json")
            .body(Body::from(vec![b' '; most + 1]))
            .unwrap();
        let (status, _) = server.send(request).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
    assert_eq!(server.get("/api/v1/lanes").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let server = Server::start().await;
    // From here on the clock jumps to whatever is waited for.
    tokio::time::pause();
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = authorized("POST", "/api/v1/rollouts")
        .header("content-type", "application/json")
        .body(Body::from_stream(never))
        .unwrap();
    let (status, body) = server.send(request).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(body["code"], json!("unavailable"));
}
