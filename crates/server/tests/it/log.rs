//! The ledger as clients meet it.

use airboss_ledger::{
    Checkpoint, Hash, Record, Walk, decode_entries, verify_consistency, verify_inclusion,
};
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::harness::{Server, authorized, log_key};

async fn bytes(server: &Server, path: &str) -> (StatusCode, Vec<u8>) {
    let request = authorized("GET", path).body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, body.to_vec())
}

async fn checkpoint(server: &Server) -> Checkpoint {
    let (status, note) = bytes(server, "/api/v1/log/checkpoint").await;
    assert_eq!(status, StatusCode::OK);
    let note = String::from_utf8(note).unwrap();
    Checkpoint::open(&note, &[log_key().verifying_key()]).unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    serde_json::from_value(value.clone()).unwrap()
}

/// A server where a version was asked for, with the checkpoint of the events that this brought.
async fn asked() -> (Server, Checkpoint) {
    let server = Server::start().await;
    server.ship("1.0.0", "one").await;
    let checkpoint = checkpoint(&server).await;
    assert!(checkpoint.size > 0);
    (server, checkpoint)
}

#[tokio::test]
async fn records_tiles_and_proofs_all_lead_to_the_signed_checkpoint() {
    let (server, checkpoint) = asked().await;
    let size = checkpoint.size;
    let (_, list) = server
        .get(&format!("/api/v1/log/records?limit={size}"))
        .await;
    let records: Vec<Record> = serde_json::from_value(list["records"].clone()).unwrap();
    let mut walk = Walk::default();
    let leaves: Vec<Hash> = records.iter().map(|it| walk.step(it).unwrap()).collect();
    assert_eq!(
        (walk.frontier().size(), walk.frontier().root()),
        (size, checkpoint.root)
    );

    let (status, tile) = bytes(&server, &format!("/api/v1/log/tile/0/000.p/{size}")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(Hash::many(&tile).unwrap(), leaves);
    let (_, entries) = bytes(&server, &format!("/api/v1/log/tile/entries/000.p/{size}")).await;
    let entries = decode_entries(&entries).unwrap();
    let of_entries: Vec<Hash> = entries.into_iter().map(Hash::leaf).collect();
    assert_eq!(of_entries, leaves);

    for (number, leaf) in (1..).zip(&leaves) {
        let path = format!("/api/v1/log/inclusion?number={number}&size={size}");
        let (_, proved) = server.get(&path).await;
        assert_eq!(proved["leaf"], leaf.to_string());
        let proof = hashes(&proved["proof"]);
        let checked = verify_inclusion(&proof, number - 1, *leaf, size, checkpoint.root);
        assert_eq!(checked, Ok(()));
    }
    let (_, proved) = server
        .get(&format!("/api/v1/log/consistency?from=1&to={size}"))
        .await;
    let proof = hashes(&proved["proof"]);
    let checked = verify_consistency(&proof, 1, leaves[0], size, checkpoint.root);
    assert_eq!(checked, Ok(()));
}

#[tokio::test]
async fn the_key_is_told_and_is_the_one_that_signs() {
    let server = Server::start().await;
    let (_, key) = bytes(&server, "/api/v1/log/key").await;
    let key = String::from_utf8(key).unwrap();
    assert_eq!(key.trim().parse(), Ok(log_key().verifying_key()));
    let empty = checkpoint(&server).await;
    assert_eq!((empty.size, empty.root), (0, Hash::empty()));
}

#[tokio::test]
async fn what_the_log_does_not_have_is_said_to_be_not_there() {
    let server = Server::start().await;
    for path in [
        "/api/v1/log/tile/0/000",
        "/api/v1/log/tile/0/000.p/9",
        "/api/v1/log/tile/9/000",
        "/api/v1/log/tile/0/0",
        "/api/v1/log/tile/entries/x001/000",
        "/api/v1/log/inclusion?number=0",
        "/api/v1/log/inclusion?number=1",
        "/api/v1/log/inclusion?number=1&size=5",
        "/api/v1/log/consistency?from=5",
    ] {
        let (status, body) = server.get(path).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (StatusCode::NOT_FOUND, Some("not_found")),
            "{path}"
        );
    }
}
