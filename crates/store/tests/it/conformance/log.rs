//! The ledger: every event is sealed in the transaction that brings it.

use airboss_ledger::{
    Record, Tile, Tiles, Walk, consistency_tiles, inclusion_tiles, prove_consistency,
    prove_inclusion, verify_consistency, verify_inclusion,
};
use airboss_model::LaneId;
use airboss_store::{EventFilter, NewEvent, Pruning, RecordFilter, Removal, Store, StoreError};
use serde_json::json;

use super::known::artifact;
use super::tokens::token;
use crate::make::{
    at, claimed, command, commit, digest, event, evidence, lane, release, rollout, rollout_id,
    service,
};

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

async fn own(store: &dyn Store) -> Vec<Record> {
    let filter = RecordFilter {
        lane: Some(LaneId::installation()),
        ..RecordFilter::default()
    };
    store.log_records(&filter).await.unwrap()
}

fn kinds(records: &[Record]) -> Vec<&str> {
    records.iter().map(|it| it.kind.as_str()).collect()
}

pub async fn what_happens_to_the_installation_is_sealed_beside_the_lanes(store: &dyn Store) {
    fill(store, 3).await;
    store.put_service(&service("shop", "a: 1")).await.unwrap();
    store.put_artifact(&artifact(7, 0)).await.unwrap();
    store.create_release(&release("shop@1", 7)).await.unwrap();
    store.put_token(&token("t1", 1)).await.unwrap();
    store.revoke_token("t1", "eve", at(5)).await.unwrap();
    let removal = Removal {
        at: at(9),
        why: "nothing keeps it".to_owned(),
    };
    let removed = store.remove_artifact(&digest(7), &removal, at(9)).await;
    assert!(removed.unwrap());
    let trust = NewEvent {
        rollout: None,
        kind: "trust_changed".to_owned(),
        message: "ci is believed".to_owned(),
        body: json!({ "keys": [] }),
    };
    store.seal(&trust, "ann", at(10)).await.unwrap();
    fill_more(store).await;
    let own = own(store).await;
    assert_eq!(
        kinds(&own),
        [
            "manifest_kept",
            "artifact_kept",
            "release_registered",
            "token_made",
            "token_revoked",
            "artifact_removed",
            "trust_changed"
        ]
    );
    assert!(own[4].message.contains("t1") && own[4].message.contains("eve"));
    assert_eq!(own[6].body, r#"{"keys":[]}"#);
    assert_eq!(own[6].input, r#"{"by":"ann"}"#);
    assert_covered(store).await;
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    // Who follows rollouts is not told of it, and no list of lanes has it.
    let events = store.events(&EventFilter::default()).await.unwrap();
    assert!(events.iter().all(|it| it.lane != LaneId::installation()));
    assert_eq!(store.lanes().await.unwrap().len(), 2);
    let named = EventFilter {
        lane: Some(LaneId::installation()),
        ..EventFilter::default()
    };
    assert_eq!(store.events(&named).await.unwrap().len(), own.len());
}

/// One more commit of a lane that has some.
async fn fill_more(store: &dyn Store) {
    let row = store.lane(&lane("a/production")).await.unwrap().unwrap();
    store.commit(&commit(&row)).await.unwrap();
}

pub async fn what_is_kept_twice_is_sealed_once(store: &dyn Store) {
    for _ in 0..2 {
        store.put_service(&service("shop", "a: 1")).await.unwrap();
        store.put_artifact(&artifact(7, 0)).await.unwrap();
        store.create_release(&release("shop@1", 7)).await.unwrap();
    }
    // What is refused leaves nothing behind.
    store
        .create_release(&release("shop@1", 8))
        .await
        .unwrap_err();
    store.revoke_token("t9", "eve", at(5)).await.unwrap();
    assert_eq!(
        kinds(&own(store).await),
        ["manifest_kept", "artifact_kept", "release_registered"]
    );
    assert_covered(store).await;
}

pub async fn the_installations_lane_is_nobodys_to_ship_to(store: &dyn Store) {
    let refused = store.enqueue(&command(&LaneId::installation(), "k")).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
}

fn pruning(seq: u64) -> Pruning {
    Pruning {
        lane: lane("a/production"),
        seq,
        state: json!({ "step": seq }),
        at: at(50),
        by: "airboss".to_owned(),
        why: "older than 400d".to_owned(),
    }
}

pub async fn removed_words_leave_every_seal_and_proof(store: &dyn Store) {
    fill(store, 40).await;
    let before = records(store).await;
    let head = store.log_head().await.unwrap();
    let removed = store.prune(&pruning(10)).await.unwrap();
    assert!(removed > 0);
    // Again the same removes nothing and says nothing.
    assert_eq!(store.prune(&pruning(10)).await.unwrap(), 0);
    let after = records(store).await;
    assert_eq!(after.len(), before.len() + 1);
    let gone = |it: &Record| it.lane == "a/production" && it.seq <= 10;
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(was.leaf(), is.leaf());
        assert_eq!(is.removed.is_some(), gone(was));
        assert_eq!(is.message.is_empty(), gone(was));
    }
    assert_eq!(before.iter().filter(|it| gone(it)).count() as u64, removed);
    assert_eq!(own(store).await[0].kind, "history_removed");
    assert_covered(store).await;
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    let size = head.size();
    for index in [0, 1, size - 1] {
        let tiles = tiles(store, inclusion_tiles(index, size).unwrap()).await;
        let proof = prove_inclusion(&tiles, index, size).unwrap();
        let leaf = after[index as usize].leaf().unwrap();
        assert_eq!(
            verify_inclusion(&proof, index, leaf, size, head.root()),
            Ok(())
        );
    }
    // What is left is read as before, and goes on.
    let a = lane("a/production");
    let inputs = store.inputs(&a, 0, 0).await.unwrap();
    assert_eq!(inputs.first().map(|it| it.seq), Some(11));
    let filter = EventFilter {
        lane: Some(a),
        ..EventFilter::default()
    };
    let events = store.events(&filter).await.unwrap();
    assert!(events[0].message.is_empty() && events[0].body.is_null());
    assert!(!events.last().unwrap().message.is_empty());
    fill_more(store).await;
    assert!(store.prune(&pruning(15)).await.unwrap() > 0);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

/// What repeats the words, or was only their ground, goes with them.
pub async fn measurements_and_commands_go_with_the_words_that_rest_on_them(store: &dyn Store) {
    let a = lane("a/production");
    store.enqueue(&command(&a, "first")).await.unwrap();
    let mut row = claimed(store, &a, "one").await;
    let ids = ["shop-1", "shop-1", "shop-2", "shop-2"];
    for (at, id) in (1..).zip(ids) {
        let rows = [evidence(id, at, false), evidence(id, at + 10, true)];
        store.append_evidence(&a, row.epoch, &rows).await.unwrap();
        let mut next = commit(&row);
        next.events = vec![event(Some(id), "it went on")];
        if at == 2 {
            let first = store.inbox(&a, 1).await.unwrap().remove(0);
            next.consumes = Some((first.id, json!("done")));
        }
        row.seq = store.commit(&next).await.unwrap().seq;
        store
            .finish_effect(&a, row.epoch, row.seq, 0, "done")
            .await
            .unwrap();
    }
    // One that waits keeps all of itself.
    store.enqueue(&command(&a, "second")).await.unwrap();
    let kept = async |id: &str| {
        let rows = store.evidence(&rollout_id(id), 0, 100).await.unwrap();
        rows.len()
    };
    // The second rollout's last event keeps its words, and so it keeps its measurements.
    assert!(store.prune(&pruning(3)).await.unwrap() > 0);
    assert_eq!((kept("shop-1").await, kept("shop-2").await), (0, 4));
    let told = own(store).await;
    assert!(
        told[0].message.contains("measurements"),
        "{}",
        told[0].message
    );
    let entry = async |key: &str| store.inbox_entry(key).await.unwrap().unwrap();
    let first = entry("first").await;
    assert_eq!(
        (first.body, first.answer),
        (json!(null), Some(json!("done")))
    );
    assert!(!entry("second").await.body.is_null());
    // The same request again is still the same one.
    let again = store.enqueue(&command(&a, "first")).await.unwrap();
    assert_eq!(again.answer, Some(json!("done")));

    assert!(store.prune(&pruning(4)).await.unwrap() > 0);
    assert_eq!(kept("shop-2").await, 0);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub async fn words_are_removed_no_further_than_the_lane_goes(store: &dyn Store) {
    fill(store, 4).await;
    let refused = store.prune(&pruning(99)).await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    assert!(own(store).await.is_empty());
}
