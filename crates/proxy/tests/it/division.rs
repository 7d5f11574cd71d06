//! Who goes where.

use airboss_model::manifest::Sticky;
use airboss_proxy::{InvalidTable, RoutingTable};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::support::*;

#[tokio::test]
async fn the_canary_gets_its_share() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    splitter
        .apply(table("20%", &[stable.address], &[canary.address]))
        .unwrap();
    let mut client = Client::to(&splitter).await;
    let total = 3_000_u64;
    for _ in 0..total {
        assert_eq!(client.get("/").await.status, StatusCode::OK);
    }
    let sums = Sums::until(&splitter, |sums| {
        sums.requests("shop-1") + sums.requests("shop-2") == total
    })
    .await;
    let got = sums.requests("shop-2");
    // 600 expected; five standard deviations are 110.
    assert!((490..=710).contains(&got), "{got}");
    assert_eq!(got, canary.requests());
    assert_eq!(sums.requests("shop-1"), stable.requests());
}

#[tokio::test]
async fn a_new_table_is_obeyed_by_the_next_request_of_an_old_connection() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    let mut client = Client::to(&splitter).await;
    assert_eq!(client.get("/").await.status, 503);
    for round in 0..50 {
        let (weight, name) = if round % 2 == 0 {
            ("100%", "canary")
        } else {
            ("0%", "stable")
        };
        let table = RoutingTable {
            generation: round,
            ..table(weight, &[stable.address], &[canary.address])
        };
        splitter.apply(table).unwrap();
        assert_eq!(splitter.table().generation, round);
        assert_eq!(client.get("/").await.body, name);
    }
}

#[tokio::test]
async fn a_growing_weight_moves_users_only_from_stable_to_canary() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    let mut client = Client::to(&splitter).await;
    for by_cookie in [true, false] {
        let mut on_canary = [false; 150];
        for weight in ["1%", "10%", "35%", "80%", "100%"] {
            let mut table = table(weight, &[stable.address], &[canary.address]);
            table.sticky = Some(if by_cookie {
                Sticky::Cookie("uid".into())
            } else {
                Sticky::Header("x-user".into())
            });
            splitter.apply(table).unwrap();
            for (user, was_on_canary) in on_canary.iter_mut().enumerate() {
                let (header, value) = if by_cookie {
                    ("cookie", format!("a=b; uid=user-{user}; c=d"))
                } else {
                    ("x-user", format!("user-{user}"))
                };
                let answer = client.get_with(header, &value).await;
                assert!(!answer.headers.contains_key("set-cookie"));
                let is_on_canary = answer.body == "canary";
                assert!(is_on_canary || !*was_on_canary, "user {user} went back");
                *was_on_canary = is_on_canary;
            }
        }
        assert!(on_canary.iter().all(|on_canary| *on_canary));
    }
}

#[tokio::test]
async fn a_user_without_a_cookie_gets_one_and_keeps_the_version() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    let mut table = table("50%", &[stable.address], &[canary.address]);
    table.sticky = Some(Sticky::Cookie("uid".into()));
    splitter.apply(table.clone()).unwrap();
    let mut client = Client::to(&splitter).await;
    let mut identities = std::collections::HashSet::new();
    for _ in 0..40 {
        let first = client.get("/").await;
        let line = first.headers["set-cookie"].to_str().unwrap().to_owned();
        let (pair, rest) = line.split_once(';').unwrap();
        assert_eq!(rest, " Path=/; HttpOnly; SameSite=Lax");
        assert!(identities.insert(pair.to_owned()));
        let again = client.get_with("cookie", pair).await;
        assert_eq!(again.body, first.body);
        assert!(!again.headers.contains_key("set-cookie"));
    }
    // Where nothing is divided, nobody is given a cookie.
    table.canary_weight = share("0%");
    splitter.apply(table).unwrap();
    assert!(!client.get("/").await.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_service_that_sets_the_cookie_itself_has_the_last_word() {
    let service = Service::with(|_| async {
        let answer = Response::builder().header("set-cookie", "uid=its-own");
        answer.body(Full::<Bytes>::default()).unwrap()
    })
    .await;
    let splitter = splitter();
    let mut table = table("50%", &[service.address], &[service.address]);
    table.sticky = Some(Sticky::Cookie("uid".into()));
    splitter.apply(table).unwrap();
    let answer = Client::to(&splitter).await.get("/").await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["uid=its-own"]);
}

#[tokio::test]
async fn the_force_header_outranks_weight_and_cookie_and_is_told_apart() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    let mut table = table("0%", &[stable.address], &[canary.address]);
    table.force_header = Some("x-arm".into());
    splitter.apply(table.clone()).unwrap();
    let mut client = Client::to(&splitter).await;
    assert_eq!(client.get_with("x-arm", "canary").await.body, "canary");
    assert_eq!(client.get_with("x-arm", "purple").await.body, "stable");
    table.canary_weight = share("100%");
    splitter.apply(table.clone()).unwrap();
    assert_eq!(client.get_with("x-arm", "Stable").await.body, "stable");
    assert_eq!(client.get("/").await.body, "canary");
    let sums = Sums::until(&splitter, |sums| {
        sums.requests("shop-1") + sums.requests("shop-2") == 4
    })
    .await;
    assert_eq!(sums.by_arm["shop-1"].forced, 1);
    assert_eq!(sums.by_arm["shop-2"].forced, 1);

    // An arm that is asked for and cannot serve is not silently replaced by the other.
    table.arms[1].instances[0].ready = false;
    splitter.apply(table.clone()).unwrap();
    assert_eq!(client.get_with("x-arm", "canary").await.status, 503);
    // Without a canary the header means nothing: nobody's bookmark breaks the service.
    table.canary = None;
    splitter.apply(table).unwrap();
    assert_eq!(client.get_with("x-arm", "canary").await.body, "stable");
}

#[tokio::test]
async fn the_share_of_an_arm_without_instances_goes_to_the_other_and_is_told() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    let mut client = Client::to(&splitter).await;
    let mut table = table("100%", &[stable.address], &[canary.address]);
    table.arms[1].instances[0].ready = false;
    splitter.apply(table.clone()).unwrap();
    assert_eq!(client.get("/").await.body, "stable");
    let sums = Sums::until(&splitter, |sums| sums.requests("shop-1") == 1).await;
    assert_eq!(sums.by_arm["shop-1"].diverted, 1);

    table.canary_weight = share("0.01%");
    table.arms[1].instances[0].ready = true;
    table.arms[0].instances[0].ready = false;
    splitter.apply(table).unwrap();
    assert_eq!(client.get("/").await.body, "canary");
}

#[tokio::test]
async fn a_canary_at_zero_gets_nobody_even_where_stable_is_down() {
    let (stable, canary) = (
        Service::named("stable").await,
        Service::named("canary").await,
    );
    let splitter = splitter();
    let mut table = table("0%", &[stable.address], &[canary.address]);
    table.arms[0].instances[0].ready = false;
    splitter.apply(table).unwrap();
    let answer = Client::to(&splitter).await.get("/").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(
        answer
            .body
            .starts_with("No instance of the service is ready.")
    );
    assert_eq!(canary.requests(), 0);
    assert_eq!(
        Sums::until(&splitter, |sums| sums.unrouted > 0)
            .await
            .unrouted,
        1
    );
}

#[tokio::test]
async fn a_table_that_contradicts_itself_leaves_the_old_one_in_force() {
    let stable = Service::named("stable").await;
    let splitter = splitter();
    let good = table("0%", &[stable.address], &[]);
    splitter.apply(good.clone()).unwrap();
    let twice = RoutingTable {
        arms: vec![good.arms[0].clone(), good.arms[0].clone()],
        ..good.clone()
    };
    let same = RoutingTable {
        canary: good.stable.clone(),
        ..good.clone()
    };
    let unnamed = RoutingTable {
        force_header: Some("no spaces please".into()),
        ..good.clone()
    };
    assert!(matches!(
        splitter.apply(twice),
        Err(InvalidTable::DuplicateArm(_))
    ));
    assert!(matches!(
        splitter.apply(same),
        Err(InvalidTable::SameArm(_))
    ));
    let error = splitter.apply(unnamed).unwrap_err();
    assert!(error.to_string().contains("`no spaces please`"), "{error}");
    assert_eq!(*splitter.table(), good);
    assert_eq!(Client::to(&splitter).await.get("/").await.body, "stable");
}
