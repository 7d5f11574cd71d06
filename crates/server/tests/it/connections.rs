//! Connections as strangers make them: encrypted, and slow on purpose.

use std::sync::Arc;
use std::time::Duration;

use airboss_server::{listen, tls};
use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

/// Answers slowly, and says when it has begun to.
fn router(begun: Arc<Notify>) -> Router {
    Router::new().route(
        "/slow",
        get(move || async move {
            begun.notify_one();
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        }),
    )
}

#[tokio::test]
async fn an_encrypted_connection_is_served_and_a_plain_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = tls(&certificate, &key).unwrap();
    let app = router(Arc::default());
    tokio::spawn(listen(listener, Some(config), app, std::future::pending()));

    let pem = std::fs::read(&certificate).unwrap();
    let trusted = reqwest::Certificate::from_pem_bundle(&pem).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(trusted)
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/slow", address.port());
    let answer = client.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, "done");

    let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("https://localhost:{}/slow", address.port());
    assert!(
        stranger.get(url).send().await.is_err(),
        "nobody vouches for the certificate"
    );
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // The server may reset or close; either way there is no answer in the clear.
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("done"));
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let refused = tls(&certificate, &key).unwrap_err().to_string();
    assert!(refused.contains("c.pem"), "{refused}");
    std::fs::write(&certificate, "nothing of the kind").unwrap();
    let refused = tls(&certificate, &key).unwrap_err().to_string();
    assert!(refused.contains("no certificate"), "{refused}");
    let one = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    std::fs::write(&certificate, one.cert.pem()).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let refused = tls(&certificate, &key).unwrap_err().to_string();
    assert!(refused.contains("cannot be used together"), "{refused}");
}

#[tokio::test]
async fn requests_under_way_are_answered_before_the_server_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopping = async {
        stopped.await.unwrap();
    };
    let began = Arc::new(Notify::new());
    let server = tokio::spawn(listen(listener, None, router(Arc::clone(&began)), stopping));
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    began.notified().await;
    stop.send(()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
