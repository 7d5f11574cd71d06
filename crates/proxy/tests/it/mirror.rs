//! Copies to the canary.

use std::sync::{Arc, Mutex};

use airboss_proxy::{Options, RoutingTable};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::support::*;

fn mirrored(table: RoutingTable) -> RoutingTable {
    RoutingTable {
        mirror: share("100%"),
        ..table
    }
}

type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

/// Answers 500 and keeps method, mark and body of what it saw.
async fn failing_canary(seen: &Seen) -> Service {
    let seen = seen.clone();
    Service::with(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push((
                head.method.to_string(),
                head.headers["x-airboss-mirrored"].to_str().unwrap().into(),
                String::from_utf8(body.to_vec()).unwrap(),
            ));
            let answer = Response::builder().status(500).header("x-from", "canary");
            answer.body(Full::from("canary")).unwrap()
        }
    })
    .await
}

#[tokio::test]
async fn a_client_never_sees_a_mirrored_answer() {
    let seen = Seen::default();
    let (stable, canary) = (Service::named("stable").await, failing_canary(&seen).await);
    let splitter = splitter();
    splitter
        .apply(mirrored(table("0%", &[stable.address], &[canary.address])))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    for _ in 0..20 {
        for answer in [client.get("/").await, client.post("an order").await] {
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, "stable"));
            assert!(!answer.headers.contains_key("x-from"));
        }
    }
    let sums = Sums::until(&splitter, |sums| {
        sums.by_arm
            .get("shop-2")
            .is_some_and(|sum| sum.mirrored.requests == 40)
    })
    .await;
    assert_eq!(sums.requests("shop-1"), 40);
    let canary = &sums.by_arm["shop-2"];
    assert!(canary.counts.is_empty(), "copies are no users' requests");
    assert_eq!(canary.mirrored.by_status[&500], 40);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen[0], ("GET".into(), "1".into(), String::new()));
    assert_eq!(seen[39], ("POST".into(), "1".into(), "an order".into()));
}

#[tokio::test]
async fn a_canary_that_hangs_or_is_gone_costs_the_user_nothing() {
    let stable = Service::named("stable").await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let hanging = Service::with(move |_| {
        let held = held.clone();
        async move {
            let _open = held.acquire().await.unwrap();
            Response::new(Full::<Bytes>::default())
        }
    })
    .await;
    let splitter = splitter_with(Options {
        mirror_concurrency: 3,
        ..Options::default()
    });
    splitter
        .apply(mirrored(table("0%", &[stable.address], &[hanging.address])))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.body, "stable");
    }
    // Three copies hang, the others were not made; nobody waited for any of them.
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 10).await;
    assert_eq!(sums.mirror_dropped, 7);
    assert_eq!(splitter.in_flight(&arm("shop-2")), 0);
    gate.add_permits(100);
    Sums::until(&splitter, |sums| {
        sums.by_arm
            .get("shop-2")
            .is_some_and(|sum| sum.mirrored.requests == 3)
    })
    .await;

    splitter
        .apply(mirrored(table("0%", &[stable.address], &[nobody().await])))
        .unwrap();
    assert_eq!(client.get("/").await.body, "stable");
    let sums = Sums::until(&splitter, |sums| sums.by_arm.contains_key("shop-2")).await;
    assert_eq!(sums.by_arm["shop-2"].mirrored.unanswered, 1);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_copied() {
    let seen = Seen::default();
    let (stable, canary) = (Service::named("stable").await, failing_canary(&seen).await);
    let splitter = splitter_with(Options {
        mirror_body_bytes: 4,
        ..Options::default()
    });
    splitter
        .apply(mirrored(table("0%", &[stable.address], &[canary.address])))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    assert_eq!(client.post("12345").await.body, "stable");
    assert_eq!(client.post("1234").await.body, "stable");
    let sums = Sums::until(&splitter, |sums| sums.by_arm.contains_key("shop-2")).await;
    assert_eq!(sums.mirror_dropped, 1);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_goes_to_the_canary_anyway_is_not_copied() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    splitter
        .apply(mirrored(table(
            "100%",
            &[stable.address],
            &[canary.address],
        )))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.body, "canary");
    }
    assert_eq!(canary.requests(), 5);
}
