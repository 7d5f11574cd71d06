//! The ledger: every event is sealed in the transaction that brings it.

use airboss_ledger::{
    Record, Tile, Tiles, Walk, consistency_tiles, inclusion_tiles, prove_consistency,
    prove_inclusion, verify_consistency, verify_inclusion,
};
use airboss_store::{RecordFilter, Store};
use serde_json::json;

use crate::make::{claimed, commit, event, lane, rollout};

/// Commits of two lanes by turns, each with up to three events.
async fn fill(store: &dyn Store, commits: usize) {
    let mut rows = [
        claimed(store, &lane("a/production"), "one").await,
        claimed(store, &lane("b/production"), "one").await,
    ];
    for number in 0..commits {
        let row = &mut rows[number % 2];
        let mut next = commit(row);
        next.events = vec![event(None, &format!("event of commit {number}")); number % 4];
        row.seq = store.commit(&next).await.unwrap().seq;
    }
}

async fn records(store: &dyn Store) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    loop {
        let filter = RecordFilter {
            after: all.last().map_or(0, |last| last.number),
            ..RecordFilter::default()
        };
        let more = store.log_records(&filter).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// That the log's root is the one over all events as they are stored.
async fn assert_covered(store: &dyn Store) {
    let mut walk = Walk::default();
    for record in records(store).await {
        walk.step(&record).unwrap();
    }
    assert_eq!(*walk.frontier(), store.log_head().await.unwrap());
    assert_eq!(walk.frontier().size(), store.last_event().await.unwrap());
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub async fn every_event_is_a_leaf_of_the_log(store: &dyn Store) {
    assert_covered(store).await;
    fill(store, 30).await;
    assert_covered(store).await;
}

pub async fn a_refused_commit_leaves_no_leaf(store: &dyn Store) {
    fill(store, 6).await;
    let before = store.log_head().await.unwrap();
    let id = lane("c/production");
    let mut bad = commit(&claimed(store, &id, "one").await);
    bad.rollouts = vec![rollout("b-1", &lane("nobody/production"), None)];
    store.commit(&bad).await.unwrap_err();
    assert_eq!(store.log_head().await.unwrap(), before);
    assert_covered(store).await;
}

pub async fn records_are_the_stored_texts_and_know_the_event_before_them(store: &dyn Store) {
    let id = lane("a/production");
    let mut row = claimed(store, &id, "one").await;
    fill_one(store, "b/production").await;
    for message in ["first", "second"] {
        let mut next = commit(&row);
        next.events = vec![event(Some("a-1"), message)];
        next.input = json!({ "z": 1, "a": [1.5, "ü"] });
        row.seq = store.commit(&next).await.unwrap().seq;
        fill_one(store, "b/production").await;
    }
    let filter = RecordFilter {
        lane: Some(id),
        ..RecordFilter::default()
    };
    let found = store.log_records(&filter).await.unwrap();
    let places: Vec<_> = found
        .iter()
        .map(|it| (it.number, it.previous, it.seq))
        .collect();
    assert_eq!(places, [(2, 0, 1), (4, 2, 2)]);
    assert_eq!(found[1].rollout.as_deref(), Some("a-1"));
    assert_eq!(found[1].body, json!({ "message": "second" }).to_string());
    assert_eq!(
        found[1].input,
        json!({ "z": 1, "a": [1.5, "ü"] }).to_string()
    );
    let filter = RecordFilter {
        after: 2,
        limit: 1,
        ..RecordFilter::default()
    };
    let found = store.log_records(&filter).await.unwrap();
    assert_eq!(found.iter().map(|it| it.number).collect::<Vec<_>>(), [3]);
}

async fn fill_one(store: &dyn Store, name: &str) {
    let id = lane(name);
    let row = match store.lane(&id).await.unwrap() {
        Some(row) if row.owner.is_some() => row,
        _ => claimed(store, &id, "one").await,
    };
    store.commit(&commit(&row)).await.unwrap();
}

async fn tiles(store: &dyn Store, wanted: impl IntoIterator<Item = Tile>) -> Tiles {
    let mut tiles = Tiles::new();
    for tile in wanted {
        tiles.insert(tile, store.log_tile(tile).await.unwrap());
    }
    tiles
}

pub async fn tiles_lead_to_the_root_and_prove_every_event(store: &dyn Store) {
    let id = lane("a/production");
    let mut next = commit(&claimed(store, &id, "one").await);
    next.events = vec![event(None, "x"); 300];
    let seq = store.commit(&next).await.unwrap().seq;
    let old = store.log_head().await.unwrap();
    let mut next = commit(&store.lane(&id).await.unwrap().unwrap());
    next.seq = seq;
    next.events = vec![event(None, "y"); 333];
    store.commit(&next).await.unwrap();
    let head = store.log_head().await.unwrap();
    let all = records(store).await;
    assert_eq!((old.size(), head.size(), all.len()), (300, 633, 633));
    for index in [0, 1, 255, 256, 299, 300, 511, 512, 632] {
        let tiles = tiles(store, inclusion_tiles(index, 633).unwrap()).await;
        let proof = prove_inclusion(&tiles, index, 633).unwrap();
        let leaf = all[index as usize].leaf().unwrap();
        assert_eq!(
            verify_inclusion(&proof, index, leaf, 633, head.root()),
            Ok(())
        );
    }
    let tiles = tiles(store, consistency_tiles(300, 633).unwrap()).await;
    let proof = prove_consistency(&tiles, 300, 633).unwrap();
    let checked = verify_consistency(&proof, 300, old.root(), 633, head.root());
    assert_eq!(checked, Ok(()));
}

pub async fn a_commit_with_many_events_is_sealed_whole(store: &dyn Store) {
    let mut next = commit(&claimed(store, &lane("a/production"), "one").await);
    next.events = vec![event(None, "x"); 9_000];
    store.commit(&next).await.unwrap();
    assert_eq!(store.log_head().await.unwrap().size(), 9_000);
    assert_covered(store).await;
}
