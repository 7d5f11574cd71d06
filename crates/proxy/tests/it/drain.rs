//! Changes under traffic cost nobody an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::support::*;

/// Holds each request until a permit is added.
struct Held {
    service: Service,
    arrived: Arc<Notify>,
    gate: Arc<Semaphore>,
}

async fn held() -> Held {
    let (arrived, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (tell, wait) = (arrived.clone(), gate.clone());
    let service = Service::with(move |_| {
        let (tell, wait) = (tell.clone(), wait.clone());
        async move {
            tell.notify_one();
            wait.acquire().await.unwrap().forget();
            Response::new(Full::<Bytes>::from("finished"))
        }
    })
    .await;
    Held {
        service,
        arrived,
        gate,
    }
}

#[tokio::test]
async fn an_instance_taken_out_finishes_what_it_has_and_is_drained_then() {
    let held = held().await;
    let other = Service::named("other").await;
    let splitter = Arc::new(splitter());
    splitter
        .apply(table("0%", &[held.service.address], &[]))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    let request = tokio::spawn(async move { client.get("/").await });
    held.arrived.notified().await;

    let mut next = table("0%", &[], &[]);
    next.stable = Some(arm("shop-3"));
    next.arms = vec![arm_of("shop-3", &[other.address])];
    splitter.apply(next).unwrap();
    assert_eq!(Client::to(&splitter).await.get("/").await.body, "other");
    assert_eq!(splitter.in_flight(&arm("shop-1")), 1);
    assert_eq!(splitter.instance_in_flight(&arm("shop-1"), "shop-1.0"), 1);
    let waiting = splitter.clone();
    let drained = tokio::spawn(async move { waiting.drained(&arm("shop-1")).await });
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());

    held.gate.add_permits(1);
    assert_eq!(request.await.unwrap().body, "finished");
    tokio::time::timeout(PATIENCE, drained)
        .await
        .unwrap()
        .unwrap();
    // Its counts outlive its place in the table.
    Sums::until(&splitter, |sums| sums.requests("shop-1") == 1).await;
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish_and_closes_idle_connections() {
    let held = held().await;
    let splitter = Arc::new(splitter());
    splitter
        .apply(table("0%", &[held.service.address], &[]))
        .unwrap();
    let mut idle = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let mut busy = TcpStream::connect(splitter.local_addr()).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    held.arrived.notified().await;
    let ending = splitter.clone();
    let shutdown = tokio::spawn(async move { ending.shutdown(PATIENCE).await });
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(!shutdown.is_finished());
    held.gate.add_permits(1);
    let answer = read_to_end(&mut busy).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("finished"),
        "{answer}"
    );
    tokio::time::timeout(PATIENCE, shutdown)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_shutdown_closes_what_outlasts_its_grace() {
    let held = held().await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[held.service.address], &[]))
        .unwrap();
    let mut busy = TcpStream::connect(splitter.local_addr()).await.unwrap();
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    held.arrived.notified().await;
    splitter.shutdown(Duration::from_millis(20)).await;
    assert_eq!(read_to_end(&mut busy).await, "");
}

#[tokio::test]
async fn a_successor_takes_over_the_socket() {
    let service = Service::named("stable").await;
    let first = splitter();
    let address = first.local_addr();
    let socket = first.listener().try_clone().unwrap();
    first.shutdown(PATIENCE).await;
    drop(first);
    // Connects at once: the socket has never stopped to listen.
    let mut early = TcpStream::connect(address).await.unwrap();
    early
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let second =
        airboss_proxy::Splitter::from_listener(socket, airboss_proxy::Options::default()).unwrap();
    assert_eq!(second.local_addr(), address);
    second.apply(table("0%", &[service.address], &[])).unwrap();
    let mut first_byte = [0];
    early.read_exact(&mut first_byte).await.unwrap();
    assert_eq!(Client::to(&second).await.get("/").await.body, "stable");
}

/// Clients ask without a pause while weights change and whole arms are replaced, drained and
/// stopped, as promotions and rollbacks do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_arms_come_and_go() {
    let splitter = Arc::new(splitter());
    let mut stable = (arm("shop-1"), Service::named("ok").await);
    let first = table("0%", &[stable.1.address], &[]);
    splitter.apply(first).unwrap();

    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = JoinSet::new();
    for n in 0..6 {
        let (splitter, stop, asked) = (splitter.clone(), stop.clone(), asked.clone());
        clients.spawn(async move {
            let mut client = Client::to(&splitter).await;
            while !stop.load(Ordering::SeqCst) {
                // Orders too: what must not be repeated must not need to be.
                let answer = if n % 2 == 0 {
                    client.get("/").await
                } else {
                    client.post("an order").await
                };
                assert_eq!((answer.status.as_u16(), &*answer.body), (200, "ok"));
                asked.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let mut generation = 0;
    for number in 2..32 {
        let new = (arm(&format!("shop-{number}")), Service::named("ok").await);
        for weight in ["1%", "10%", "50%", "100%"] {
            generation += 1;
            let mut table = table(weight, &[], &[]);
            table.generation = generation;
            table.stable = Some(stable.0.clone());
            table.canary = Some(new.0.clone());
            table.arms = vec![
                arm_of(stable.0.as_str(), &[stable.1.address]),
                arm_of(new.0.as_str(), &[new.1.address]),
            ];
            splitter.apply(table).unwrap();
            let before = asked.load(Ordering::SeqCst);
            until(|| asked.load(Ordering::SeqCst) > before + 10 || clients.is_empty()).await;
        }
        // Every other rollout is taken back, the rest is promoted.
        let (stays, goes) = if number % 2 == 0 {
            (new, stable)
        } else {
            (stable, new)
        };
        let mut table = table("0%", &[], &[]);
        table.stable = Some(stays.0.clone());
        table.arms = vec![arm_of(stays.0.as_str(), &[stays.1.address])];
        splitter.apply(table).unwrap();
        tokio::time::timeout(PATIENCE, splitter.drained(&goes.0))
            .await
            .unwrap();
        drop(goes);
        stable = stays;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let total = asked.load(Ordering::SeqCst);
    let sums = Sums::until(&splitter, |sums| {
        sums.by_arm
            .values()
            .map(|sum| sum.counts.requests)
            .sum::<u64>()
            == total
    })
    .await;
    for (name, sum) in &sums.by_arm {
        assert_eq!(sum.counts.unanswered + sum.counts.given_up, 0, "{name}");
    }
}
