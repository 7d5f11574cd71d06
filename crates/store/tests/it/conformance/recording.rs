//! Effects and evidence.

use airboss_model::LaneId;
use airboss_store::{NoteRow, Store, StoreError};
use serde_json::json;

use crate::make::{at, claimed, commit, evidence, lane, rollout_id};

/// A lane that was claimed once.
async fn owned(store: &dyn Store) -> LaneId {
    claimed(store, &lane("a/production"), "one").await.lane
}

pub async fn a_finished_effect_is_not_pending(store: &dyn Store) {
    let id = lane("a/production");
    let mut next = commit(&claimed(store, &id, "one").await);
    next.effects = vec![json!(1), json!(2), json!(3)];
    store.commit(&next).await.unwrap();
    store.finish_effect(&id, 1, 1, 1, "done").await.unwrap();
    let left = store.pending_effects(&id).await.unwrap();
    assert_eq!(left.iter().map(|e| e.ordinal).collect::<Vec<_>>(), [0, 2]);
}

pub async fn the_first_outcome_of_an_effect_stands(store: &dyn Store) {
    let id = lane("a/production");
    store
        .commit(&commit(&claimed(store, &id, "one").await))
        .await
        .unwrap();
    store.finish_effect(&id, 1, 1, 0, "done").await.unwrap();
    store.finish_effect(&id, 1, 1, 0, "failed").await.unwrap();
    assert!(store.pending_effects(&id).await.unwrap().is_empty());
}

pub async fn finishing_an_unknown_effect_is_refused(store: &dyn Store) {
    let id = owned(store).await;
    let refused = store.finish_effect(&id, 1, 1, 0, "done").await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
}

pub async fn evidence_continues_behind_the_newest_snapshot(store: &dyn Store) {
    let id = owned(store).await;
    let rollout = rollout_id("a-1");
    assert_eq!(
        store.evidence_since_snapshot(&rollout).await.unwrap(),
        (None, vec![])
    );
    let rows: Vec<_> = (0..10)
        .map(|tick| evidence("a-1", tick, tick == 3 || tick == 6))
        .collect();
    store.append_evidence(&id, 1, &rows[..2]).await.unwrap();
    store
        .append_evidence(&id, 1, &[evidence("b-1", 0, true)])
        .await
        .unwrap();
    let (snapshot, since) = store.evidence_since_snapshot(&rollout).await.unwrap();
    assert_eq!((snapshot, since.as_slice()), (None, &rows[..2]));

    store.append_evidence(&id, 1, &rows[2..]).await.unwrap();
    let (snapshot, since) = store.evidence_since_snapshot(&rollout).await.unwrap();
    assert_eq!(
        (snapshot.as_ref(), since.as_slice()),
        (Some(&rows[6]), &rows[7..])
    );
    // What lies before the snapshot stays for audit.
    assert_eq!(store.evidence(&rollout, 1, 4).await.unwrap(), rows[1..5]);
}

pub async fn the_same_evidence_again_changes_nothing(store: &dyn Store) {
    let id = owned(store).await;
    let rows = [evidence("a-1", 0, false), evidence("a-1", 1, true)];
    store.append_evidence(&id, 1, &rows).await.unwrap();
    store.append_evidence(&id, 1, &rows).await.unwrap();
    assert_eq!(store.evidence(&rows[0].rollout, 0, 0).await.unwrap(), rows);
}

pub async fn other_evidence_under_a_recorded_tick_is_refused_whole(store: &dyn Store) {
    let id = owned(store).await;
    store
        .append_evidence(&id, 1, &[evidence("a-1", 5, false)])
        .await
        .unwrap();
    let mut other = evidence("a-1", 5, false);
    other.body = json!({ "requests": 0 }).to_string();
    let refused = store
        .append_evidence(&id, 1, &[evidence("a-1", 4, false), other])
        .await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    let kept = store.evidence(&rollout_id("a-1"), 0, 0).await.unwrap();
    assert_eq!(kept, [evidence("a-1", 5, false)]);
}

pub async fn a_former_owner_records_and_finishes_nothing(store: &dyn Store) {
    let old = claimed(store, &lane("a/production"), "one").await;
    store.commit(&commit(&old)).await.unwrap();
    store.release_claims("one").await.unwrap();
    let new = claimed(store, &old.lane, "two").await;
    let row = evidence("a-1", 0, false);

    let rows = std::slice::from_ref(&row);
    let refused = store.append_evidence(&old.lane, old.epoch, rows).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })));
    let refused = store
        .finish_effect(&old.lane, old.epoch, 1, 0, "done")
        .await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })));
    assert_eq!(store.evidence(&row.rollout, 0, 0).await.unwrap(), []);
    assert_eq!(store.pending_effects(&old.lane).await.unwrap().len(), 1);

    let rows = store.append_evidence(&new.lane, new.epoch, rows).await;
    rows.unwrap();
    let done = store
        .finish_effect(&new.lane, new.epoch, 1, 0, "done")
        .await;
    done.unwrap();
    assert_eq!(store.evidence(&row.rollout, 0, 0).await.unwrap(), [row]);
}

pub async fn numbers_come_back_bit_for_bit(store: &dyn Store) {
    let id = owned(store).await;
    // A generator with a fixed start, over all exponents.
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    let mut numbers = vec![0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX, -0.0, 1e-310];
    while numbers.len() < 2_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = f64::from_bits(bits);
        if number.is_finite() {
            numbers.push(number);
        }
    }
    numbers.extend([u64::MAX as f64, i64::MIN as f64]);
    let note = NoteRow {
        lane: id.clone(),
        topic: "numbers".to_owned(),
        body: json!({ "floats": numbers, "big": u64::MAX, "small": i64::MIN }),
        at: at(0),
    };
    store.put_note(&note).await.unwrap();
    assert_eq!(store.note(&id, "numbers").await.unwrap(), Some(note));
    let mut row = evidence("a-1", 0, false);
    row.body = json!(numbers).to_string();
    row.snapshot = Some(json!({ "big": u64::MAX, "small": i64::MIN }).to_string());
    store
        .append_evidence(&id, 1, std::slice::from_ref(&row))
        .await
        .unwrap();
    let kept = store.evidence(&row.rollout, 0, 1).await.unwrap();
    assert_eq!(kept, [row]);
}

pub async fn a_newer_note_replaces_an_older_one_of_its_topic(store: &dyn Store) {
    let note = |topic: &str, body: u32, second: i64| NoteRow {
        lane: lane("a/production"),
        topic: topic.to_owned(),
        body: json!(body),
        at: at(second),
    };
    let kept = |topic: &'static str| async move {
        store.note(&lane("a/production"), topic).await.unwrap()
    };
    assert_eq!(kept("history").await, None);
    store.put_note(&note("history", 1, 1)).await.unwrap();
    store.put_note(&note("budgets", 2, 1)).await.unwrap();
    store.put_note(&note("history", 4, 3)).await.unwrap();
    store.put_note(&note("history", 3, 2)).await.unwrap();
    assert_eq!(kept("history").await, Some(note("history", 4, 3)));
    assert_eq!(kept("budgets").await, Some(note("budgets", 2, 1)));
}
