//! HTTP as clients speak it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use airboss_proxy::Options;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::*;

/// Tells what it was asked, then repeats the body.
async fn echo() -> Service {
    Service::with(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let header = |name: &str| {
            head.headers
                .get(name)
                .map_or("-", |value| value.to_str().unwrap())
        };
        let text = format!(
            "{} {} {:?} host={} for={} proto={} len={}\n{}",
            head.method,
            head.uri,
            head.version,
            header("host"),
            header("x-forwarded-for"),
            header("x-forwarded-proto"),
            header("content-length"),
            String::from_utf8_lossy(&body),
        );
        Response::new(Full::from(text))
    })
    .await
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_translated() {
    let service = echo().await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut streams = JoinSet::new();
    for n in 0..100 {
        let mut sender = sender.clone();
        streams.spawn(async move {
            let request = Request::post(format!("http://shop.example/{n}?q"))
                .body(Full::<Bytes>::from(format!("body {n}")))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.version(), Version::HTTP_2);
            (n, read(answer).await)
        });
    }
    while let Some(done) = streams.join_next().await {
        let (n, answer) = done.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        let len = format!("body {n}").len();
        let want = format!(
            "POST /{n}?q HTTP/1.1 host=shop.example for=127.0.0.1 proto=http len={len}\nbody {n}"
        );
        assert_eq!(answer.body, want);
    }
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 100).await;
    assert_eq!(sums.by_arm["shop-1"].counts.by_status[&200], 100);
}

#[tokio::test]
async fn chunks_old_versions_and_heads_alone_are_understood() {
    let service = echo().await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let chunked = "POST /c HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                   transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = raw_exchange(&splitter, chunked.as_bytes()).await;
    assert!(answer.ends_with("len=-\nabcde"), "{answer}");

    let answer = raw_exchange(&splitter, b"GET /old HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(answer.contains("GET /old HTTP/1.1 host= "), "{answer}");

    let head = b"HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = raw_exchange(&splitter, head).await;
    assert!(
        answer.contains("content-length: ") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );

    let two =
        "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = raw_exchange(&splitter, two.as_bytes()).await;
    let (one, two) = (
        answer.find("GET /1").unwrap(),
        answer.find("GET /2").unwrap(),
    );
    assert!(one < two);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_continue() {
    let service = echo().await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(
        read_until(&mut stream, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"body").await.unwrap();
    assert!(read_to_end(&mut stream).await.ends_with("len=4\nbody"));
}

#[tokio::test]
async fn no_request_can_be_smuggled_in_anothers_body() {
    let service = echo().await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let inner = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let both = [
        // Read by length there is a second request; read by chunks, as the standard says, none.
        ["content-length: 4", "transfer-encoding: chunked"],
        ["transfer-encoding: chunked", "content-length: 4"],
    ];
    for [first, second] in both {
        let request = format!(
            "POST /outer HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{first}\r\n{second}\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
            inner.len()
        );
        let answer = raw_exchange(&splitter, request.as_bytes()).await;
        assert!(answer.contains("POST /outer"), "{answer}");
        // The instance got one framing only, and one request.
        assert!(answer.contains("len=-"), "{answer}");
    }
    assert_eq!(service.requests(), 2);
}

/// Agrees to `chat`, then repeats every byte.
async fn chat() -> Service {
    Service::raw(|mut stream: TcpStream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("upgrade: chat") && head.contains("connection: upgrade"));
        let agreed =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\nwelcome;";
        stream.write_all(agreed).await.unwrap();
        let mut buffer = [0; 1_024];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n) => stream.write_all(&buffer[..n]).await.unwrap(),
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_upgraded_connection_is_a_tunnel_that_the_drain_waits_for() {
    let service = chat().await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    // Some bytes of the new protocol come with the request, some later.
    let head =
        "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: chat\r\n\r\nearly;";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "welcome;early;").await;
    assert!(
        answer.starts_with("HTTP/1.1 101 Switching Protocols"),
        "{answer}"
    );
    assert!(answer.contains("upgrade: chat"), "{answer}");
    for _ in 0..100 {
        stream.write_all(b"ping;").await.unwrap();
        assert_eq!(read_until(&mut stream, ";").await, "ping;");
    }
    splitter.apply(table("0%", &[], &[])).unwrap();
    assert_eq!(splitter.in_flight(&arm("shop-1")), 1);
    stream.write_all(b"still here;").await.unwrap();
    assert_eq!(read_until(&mut stream, ";").await, "still here;");
    drop(stream);
    tokio::time::timeout(
        PATIENCE,
        splitter.instance_drained(&arm("shop-1"), "shop-1.0"),
    )
    .await
    .unwrap();
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 1).await;
    assert_eq!(sums.by_arm["shop-1"].counts.by_status[&101], 1);
}

#[tokio::test]
async fn a_slow_reader_holds_the_instance_back_not_the_memory() {
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let service = Service::raw(move |mut stream: TcpStream| {
        let counter = counter.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let block = vec![b'x'; 64 * 1_024];
            while stream.write_all(&block).await.is_ok() {
                counter.fetch_add(block.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let splitter = splitter_with(Options {
        workers: 1,
        ..Options::default()
    });
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    // Others are served meanwhile, and the flow stops by itself: at the sockets' buffers.
    let mut before = u64::MAX;
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(100));
    tokio::time::timeout(PATIENCE, async {
        loop {
            looks.tick().await;
            let now = written.load(Ordering::SeqCst);
            if now > 0 && now == before {
                break;
            }
            before = now;
        }
    })
    .await
    .expect("the instance is held back");
    assert!(before < 64 << 20, "{before} bytes went nowhere");
}

#[tokio::test]
async fn events_reach_the_client_as_they_happen_and_count_at_once() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let service = Service::raw(move |mut stream: TcpStream| {
        let receiver = receiver.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while let Some(event) = receiver.lock().await.recv().await {
                stream.write_all(event.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    for event in ["data: one\n\n", "data: two\n\n"] {
        sender.send(event).await.unwrap();
        read_until(&mut stream, event).await;
    }
    Sums::until(&splitter, |sums| sums.requests("shop-1") == 1).await;
    drop(stream);
    tokio::time::timeout(PATIENCE, splitter.drained(&arm("shop-1")))
        .await
        .unwrap();
    let mut sums = Sums::default();
    sums.take(&splitter);
    assert!(sums.by_arm.is_empty(), "counted once, and not as given up");
}

#[tokio::test]
async fn connect_is_not_served() {
    let splitter = splitter();
    let answer = raw_exchange(&splitter, b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn trailers_reach_a_client_that_can_take_them() {
    let service = Service::raw(|mut stream: TcpStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                      4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://shop.example/")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "42");
    assert_eq!(body.to_bytes(), "body");
}
