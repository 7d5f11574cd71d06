//! Instances that refuse, break, hang; clients that leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use airboss_proxy::{BindError, Options, RoutingTable, Splitter};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

use crate::support::*;

#[tokio::test]
async fn a_refused_request_is_carried_out_by_another_instance_of_the_same_arm() {
    let service = Service::named("stable").await;
    let canary = Service::named("canary").await;
    let splitter = splitter();
    let stable = [nobody().await, service.address, nobody().await];
    splitter
        .apply(table("0%", &stable[..2], &[canary.address]))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    for _ in 0..30 {
        assert_eq!(client.get("/").await.body, "stable");
        assert_eq!(client.post("an order, sent once").await.body, "stable");
    }
    assert_eq!(service.requests(), 60);
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 60).await;
    assert!(sums.by_arm["shop-1"].retried > 0);
    assert_eq!(sums.by_arm["shop-1"].counts.unanswered, 0);

    // The other arm is no way out: its release would be blamed or its users exposed.
    splitter
        .apply(table("0%", &stable[2..], &[canary.address]))
        .unwrap();
    let answer = client.get("/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(
        answer
            .body
            .starts_with("The service did not accept the request.")
    );
    assert_eq!(canary.requests(), 0);
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 1).await;
    assert_eq!(sums.by_arm["shop-1"].counts.unanswered, 1);
    assert_eq!(sums.by_arm["shop-1"].counts.by_status[&502], 1);
}

/// Answers one request of each connection; ends the connection on the second.
async fn forgetful(seen: Arc<AtomicU64>) -> Service {
    Service::raw(move |mut stream: TcpStream| {
        let seen = seen.clone();
        async move {
            for answers in [true, false] {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                if head.starts_with("POST") {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                if answers {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    stream.write_all(answer).await.unwrap();
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_kept_connection_that_the_instance_closes_costs_no_answer() {
    let service = forgetful(Arc::default()).await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.body, "ok");
    }
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 20).await;
    assert!(sums.by_arm["shop-1"].retried > 0);
    assert_eq!(sums.by_arm["shop-1"].counts.by_status[&200], 20);
}

#[tokio::test]
async fn an_order_that_may_have_arrived_is_never_sent_twice() {
    let seen = Arc::new(AtomicU64::new(0));
    let service = forgetful(seen.clone()).await;
    // One worker, one pool: the second request finds the first one's connection.
    let splitter = splitter_with(Options {
        workers: 1,
        ..Options::default()
    });
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    assert_eq!(client.get("/").await.body, "ok");
    let answer = client.post("an order").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_instance_that_takes_too_long_is_answered_for() {
    let never = Arc::new(Semaphore::new(0));
    let service = Service::with(move |_| {
        let never = never.clone();
        async move {
            let _ = never.acquire().await;
            Response::new(Full::<Bytes>::default())
        }
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(RoutingTable {
            response_timeout: Duration::from_millis(50),
            ..table("0%", &[service.address], &[])
        })
        .unwrap();
    let with_body = Client::to(&splitter).await.post("body").await;
    for answer in [Client::to(&splitter).await.get("/").await, with_body] {
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(answer.body, "The service did not answer in time.\n");
    }
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 2).await;
    let counts = &sums.by_arm["shop-1"].counts;
    assert_eq!((counts.unanswered, counts.by_status[&504]), (2, 2));
}

#[tokio::test]
async fn an_upload_that_an_instance_left_unread_holds_up_nobody_else() {
    let service = Service::raw(|mut stream: TcpStream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        let answer = if head.starts_with("POST") {
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Stays open and reads nothing.
        std::future::pending().await
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
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let upload = async {
        let block = vec![b'x'; 64 * 1_024];
        while writing.write_all(&block).await.is_ok() {}
    };
    let answer = async {
        let mut start = [0; 12];
        reading.read_exact(&mut start).await.unwrap();
        start
    };
    tokio::select! {
        () = upload => panic!("nobody reads that much"),
        start = answer => assert_eq!(&start, b"HTTP/1.1 413"),
    }
    assert_eq!(Client::to(&splitter).await.get("/").await.body, "ok");
}

#[tokio::test]
async fn an_upload_that_moves_may_take_longer_than_the_response_timeout() {
    let service = Service::with(|request: Request<hyper::body::Incoming>| async {
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        let length = body.unwrap().to_bytes().len();
        Response::new(Full::from(length.to_string()))
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(RoutingTable {
            response_timeout: Duration::from_millis(1_500),
            ..table("0%", &[service.address], &[])
        })
        .unwrap();
    let mut stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 12\r\n\r\n";
    stream.write_all(head).await.unwrap();
    // The pace is the point: 1.8 s in all, a part every 150 ms.
    let mut pace = tokio::time::interval(Duration::from_millis(150));
    for _ in 0..12 {
        pace.tick().await;
        stream.write_all(b"x").await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\n12"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_that_stops_in_its_body_is_not_held_against_the_instance() {
    let service = Service::with(|request: Request<hyper::body::Incoming>| async {
        let _ = http_body_util::BodyExt::collect(request.into_body()).await;
        Response::new(Full::<Bytes>::default())
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(RoutingTable {
            response_timeout: Duration::from_millis(50),
            ..table("0%", &[service.address], &[])
        })
        .unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 12\r\n\r\nhalf";
    let answer = raw_exchange(&splitter, head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let sums = Sums::until(&splitter, |sums| sums.by_arm.contains_key("shop-1")).await;
    let counts = &sums.by_arm["shop-1"].counts;
    assert_eq!((counts.given_up, counts.requests), (1, 0));
}

#[tokio::test]
async fn an_answer_broken_off_half_way_counts_as_unanswered() {
    let service = Service::raw(|mut stream: TcpStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
        stream.write_all(half).await.unwrap();
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let answer = raw_exchange(&splitter, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.ends_with("half"), "{answer}");
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 1).await;
    let counts = &sums.by_arm["shop-1"].counts;
    assert_eq!((counts.unanswered, counts.by_status[&502]), (1, 1));
}

#[tokio::test]
async fn what_is_no_response_is_answered_502() {
    let service = Service::raw(|mut stream: TcpStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let answer = Client::to(&splitter).await.get("/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.body.contains("without a valid answer"));
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_such_and_frees_the_instance() {
    let (arrived, never) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (tell, held) = (arrived.clone(), never.clone());
    let service = Service::with(move |_| {
        let (tell, held) = (tell.clone(), held.clone());
        async move {
            tell.notify_one();
            let _ = held.acquire().await;
            Response::new(Full::<Bytes>::default())
        }
    })
    .await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    arrived.notified().await;
    assert_eq!(splitter.in_flight(&arm("shop-1")), 1);
    drop(stream);
    let sums = Sums::until(&splitter, |sums| sums.by_arm.contains_key("shop-1")).await;
    let counts = &sums.by_arm["shop-1"].counts;
    assert_eq!((counts.given_up, counts.requests), (1, 0));
    tokio::time::timeout(PATIENCE, splitter.drained(&arm("shop-1")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named_with_what_to_do() {
    let first = splitter();
    let listen = first.local_addr().to_string();
    let error = Splitter::bind(&listen, Options::default()).unwrap_err();
    assert!(matches!(error, BindError::Listen { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&listen) && text.contains("another program has the port"),
        "{text}"
    );
}
