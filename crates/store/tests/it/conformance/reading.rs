//! Lists for readers.

use airboss_store::{EventFilter, RolloutFilter, Store};

use crate::make::{claimed, commit, event, lane, rollout};

/// Rollouts `shop-1`, `cart-1`, `shop-2`, …, every third in staging; the first eight ended.
async fn fill(store: &dyn Store) {
    for number in 0..12_u64 {
        let service = ["shop", "cart"][number as usize % 2];
        let environment = if number % 3 == 0 {
            "staging"
        } else {
            "production"
        };
        let id = lane(&format!("{service}/{environment}"));
        let row = claimed(store, &id, "one").await;
        let mut next = commit(&row);
        let name = format!("{service}-{}", number / 2 + 1);
        next.rollouts = vec![rollout(&name, &id, (number < 8).then_some("shipped"))];
        next.events = vec![event(Some(&name), "started"), event(None, "noted")];
        store.commit(&next).await.unwrap();
        store.release_claims("one").await.unwrap();
    }
}

async fn ids(store: &dyn Store, filter: RolloutFilter) -> Vec<String> {
    let rows = store.rollouts(&filter).await.unwrap();
    rows.into_iter().map(|row| row.id.to_string()).collect()
}

pub async fn rollouts_are_paged_newest_first(store: &dyn Store) {
    fill(store).await;
    let mut filter = RolloutFilter {
        limit: 5,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = ids(store, filter.clone()).await;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.parse().unwrap());
        all.extend(page);
    }
    assert_eq!(all.len(), 12);
    assert_eq!(all[..3], ["cart-6", "shop-6", "cart-5"]);
    assert_eq!(all[11], "shop-1");
}

pub async fn rollouts_are_found_by_service_environment_and_end(store: &dyn Store) {
    fill(store).await;
    for service in [None, Some("shop"), Some("cart")] {
        for environment in [None, Some("staging"), Some("production")] {
            for ended in [None, Some(true), Some(false)] {
                let expected: Vec<String> = (0..12_u64)
                    .rev()
                    .filter(|n| service.is_none_or(|s| s == ["shop", "cart"][*n as usize % 2]))
                    .filter(|n| environment.is_none_or(|e| (e == "staging") == (n % 3 == 0)))
                    .filter(|n| ended.is_none_or(|e| e == (*n < 8)))
                    .map(|n| format!("{}-{}", ["shop", "cart"][n as usize % 2], n / 2 + 1))
                    .collect();
                let filter = RolloutFilter {
                    service: service.map(|s| s.parse().unwrap()),
                    environment: environment.map(|e| e.parse().unwrap()),
                    ended,
                    ..Default::default()
                };
                assert_eq!(ids(store, filter.clone()).await, expected, "{filter:?}");
            }
        }
    }
}

pub async fn a_rollout_keeps_its_place_when_it_changes(store: &dyn Store) {
    fill(store).await;
    let id = lane("shop/staging");
    let row = claimed(store, &id, "one").await;
    let mut next = commit(&row);
    let mut changed = rollout("shop-1", &id, Some("rolled_back"));
    changed.reason = "errors 4 %".to_owned();
    next.rollouts = vec![changed.clone()];
    store.commit(&next).await.unwrap();
    assert_eq!(store.rollout(&changed.id).await.unwrap(), Some(changed));
    let all = ids(store, RolloutFilter::default()).await;
    assert_eq!(all.last().map(String::as_str), Some("shop-1"));
    assert_eq!(all.len(), 12);
}

pub async fn events_are_read_behind_a_number(store: &dyn Store) {
    fill(store).await;
    let filter = EventFilter {
        after: 20,
        limit: 3,
        ..Default::default()
    };
    let events = store.events(&filter).await.unwrap();
    assert_eq!(
        events.iter().map(|e| e.number).collect::<Vec<_>>(),
        [21, 22, 23]
    );
    let filter = EventFilter {
        after: 24,
        ..Default::default()
    };
    assert!(store.events(&filter).await.unwrap().is_empty());
    assert_eq!(store.last_event().await.unwrap(), 24);
}

pub async fn events_are_found_by_lane_and_rollout(store: &dyn Store) {
    fill(store).await;
    let of_lane = EventFilter {
        lane: Some(lane("shop/staging")),
        ..Default::default()
    };
    let events = store.events(&of_lane).await.unwrap();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|e| e.lane.as_str() == "shop/staging"));
    let of_rollout = EventFilter {
        rollout: Some("cart-3".parse().unwrap()),
        ..Default::default()
    };
    let events = store.events(&of_rollout).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].message, "started");
}

pub async fn limits_are_held(store: &dyn Store) {
    let id = lane("a/production");
    let mut row = claimed(store, &id, "one").await;
    for part in 0..3 {
        let mut next = commit(&row);
        next.events = vec![event(None, "x"); 2_000];
        next.rollouts = (0..200)
            .map(|n| rollout(&format!("a-{}", part * 200 + n), &id, None))
            .collect();
        row.seq = store.commit(&next).await.unwrap().seq;
    }
    let events = async |limit| {
        let filter = EventFilter {
            limit,
            ..Default::default()
        };
        store.events(&filter).await.unwrap().len()
    };
    assert_eq!((events(0).await, events(u32::MAX).await), (500, 5_000));
    let rollouts = async |limit| {
        let filter = RolloutFilter {
            limit,
            ..Default::default()
        };
        store.rollouts(&filter).await.unwrap().len()
    };
    assert_eq!((rollouts(0).await, rollouts(u32::MAX).await), (50, 500));
}

pub async fn rollouts_are_found_by_release_and_person(store: &dyn Store) {
    fill(store).await;
    let newest = store.rollouts(&RolloutFilter::default()).await.unwrap();
    let of_release = RolloutFilter {
        release: Some(newest[0].release.clone()),
        ..Default::default()
    };
    let found = store.rollouts(&of_release).await.unwrap();
    let expected = newest.iter().filter(|it| it.release == newest[0].release);
    assert!(found.iter().eq(expected));
    let by = |name: &str| RolloutFilter {
        by: Some(name.to_owned()),
        ..Default::default()
    };
    assert_eq!(ids(store, by(&newest[0].created_by)).await.len(), 12);
    assert_eq!(ids(store, by("nobody")).await.len(), 0);
}

pub async fn events_are_found_by_what_they_name(store: &dyn Store) {
    let row = claimed(store, &lane("shop/production"), "one").await;
    let mut next = commit(&row);
    next.events = ["ann", "ann-marie", "it's \"ann\" %_"]
        .map(|name| {
            let mut event = event(Some("shop-1"), name);
            event.body = serde_json::json!({ "by": name });
            event
        })
        .to_vec();
    store.commit(&next).await.unwrap();
    let numbers = async |text: &str, limit| {
        let found = store.events_naming(text, limit).await.unwrap();
        found.iter().map(|it| it.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers("\"ann\"", 0).await, [1]);
    assert_eq!(numbers("ann", 0).await, [3, 2, 1]);
    assert_eq!(numbers("ann", 2).await, [3, 2]);
    assert_eq!(numbers("it's \\\"ann\\\" %_", 0).await, [3]);
    assert_eq!(numbers("%", 0).await, [3]);
    assert_eq!(numbers("bob", 0).await, [0; 0]);
}
