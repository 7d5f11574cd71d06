//! What requests were for, as it is counted.

use std::collections::BTreeMap;

use airboss_model::target::Measure;
use airboss_model::traffic::{COHORTS_MAX, Counts, ROUTES_MAX};
use airboss_proxy::{RoutingTable, Splitter};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use crate::support::*;

/// A shop that knows some paths.
async fn shop() -> Service {
    Service::with(|request: Request<hyper::body::Incoming>| async move {
        let path = request.uri().path().to_owned();
        let status = match path.split('/').nth(1) {
            Some("" | "cart" | "pay" | "products") => 200,
            Some("broken") => 503,
            Some(word) if word.starts_with("page") => 200,
            _ => 404,
        };
        Response::builder()
            .status(status)
            .body(Full::new(Bytes::from_static(b"ok")))
            .unwrap()
    })
    .await
}

fn measuring(table: RoutingTable, routes: &[&str], cohort: Option<&str>) -> RoutingTable {
    RoutingTable {
        measure: Measure {
            routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
            cohort: cohort.map(str::to_owned),
            metrics: Vec::new(),
        },
        ..table
    }
}

/// Everything counted until there are so many requests.
async fn counted(splitter: &Splitter, requests: u64) -> Counts {
    let mut sum = Counts::default();
    for _ in 0..500 {
        for one in splitter.take_counts().instances {
            sum.add(&one.counts);
        }
        if sum.requests >= requests {
            return sum;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{requests} requests were never counted: {sum:?}");
}

fn requests(counts: &Counts) -> BTreeMap<&str, u64> {
    let routes = counts.routes.iter();
    routes
        .map(|(name, it)| (name.as_str(), it.requests()))
        .collect()
}

#[tokio::test]
async fn requests_are_counted_by_route_with_ids_collapsed() {
    let (shop, splitter) = (shop().await, splitter());
    splitter.apply(table("0%", &[shop.address], &[])).unwrap();
    let mut client = Client::to(&splitter).await;
    for id in 0..5 {
        client.get(&format!("/cart/{id}?color=red")).await;
        client.get(&format!("/wp-login-{id}.php")).await;
    }
    client.send(Request::post("/pay"), "").await;
    client.get("/broken").await;
    let counts = counted(&splitter, 12).await;
    let expected = [
        ("GET /broken", 1),
        ("GET /cart/{id}", 5),
        ("POST /pay", 1),
        ("other", 5),
    ];
    assert_eq!(requests(&counts), expected.into());
    let broken = &counts.routes["GET /broken"];
    assert_eq!(broken.by_status, [(503, 1)].into());
    assert_eq!(broken.drawn, 1);
    assert!(broken.latency.is_empty(), "only named routes keep it");
    assert_eq!(
        counts.routes.values().map(|it| it.requests()).sum::<u64>(),
        counts.requests
    );
}

#[tokio::test]
async fn named_routes_gather_what_no_guess_would_and_keep_their_latency() {
    let (shop, splitter) = (shop().await, splitter());
    let names = ["/products/{slug}", "POST /pay", "/products/sale"];
    splitter
        .apply(measuring(table("0%", &[shop.address], &[]), &names, None))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    for path in [
        "/products/red-shoes",
        "/products/hat",
        "/products/sale",
        "/pay",
    ] {
        client.get(path).await;
    }
    client.send(Request::post("/pay"), "").await;
    let counts = counted(&splitter, 5).await;
    let expected = [
        ("/products/{slug}", 2),
        ("/products/sale", 1),
        ("GET /pay", 1),
        ("POST /pay", 1),
    ];
    assert_eq!(requests(&counts), expected.into());
    assert_eq!(
        counts.routes["/products/{slug}"]
            .latency
            .values()
            .sum::<u64>(),
        2
    );
}

#[tokio::test]
async fn routes_and_cohorts_are_bounded_and_nothing_is_lost_beyond() {
    let (shop, splitter) = (shop().await, splitter());
    splitter
        .apply(measuring(
            table("0%", &[shop.address], &[]),
            &[],
            Some("x-plan"),
        ))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    let letters = |mut n: usize| {
        let mut word = String::new();
        loop {
            word.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
            if n == 0 {
                return word;
            }
        }
    };
    for n in 0..400 {
        let request =
            Request::get(format!("/page-{}", letters(n))).header("x-plan", letters(n % 40));
        client.send(request, "").await;
    }
    client.get("/").await;
    let counts = counted(&splitter, 401).await;
    assert!(
        counts.routes.len() <= ROUTES_MAX + 1,
        "{}",
        counts.routes.len()
    );
    assert!(
        counts.cohorts.len() <= COHORTS_MAX + 1,
        "{:?}",
        counts.cohorts
    );
    assert!(counts.routes["other"].requests() > 200);
    assert_eq!(counts.cohorts.values().sum::<u64>(), 401);
    assert_eq!(counts.cohorts["a"], 10);
    assert_eq!(
        counts.routes.values().map(|it| it.requests()).sum::<u64>(),
        401
    );
}

#[tokio::test]
async fn forced_requests_say_nothing_about_the_mix() {
    let (stable, canary, splitter) = (shop().await, shop().await, splitter());
    let table = RoutingTable {
        force_header: Some("x-arm".to_owned()),
        ..table("0%", &[stable.address], &[canary.address])
    };
    splitter.apply(table).unwrap();
    let mut client = Client::to(&splitter).await;
    client.get_with("x-arm", "canary").await;
    client.get("/").await;
    let mut counts = [0, 0];
    for _ in 0..500 {
        for one in splitter.take_counts().instances {
            let drawn: u64 = one.counts.routes.values().map(|it| it.drawn).sum();
            counts[usize::from(one.arm.as_str() == "shop-2")] += drawn;
            assert!(one.arm.as_str() != "shop-2" || one.counts.requests == 1);
        }
        if counts[0] == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(counts, [1, 0]);
}
