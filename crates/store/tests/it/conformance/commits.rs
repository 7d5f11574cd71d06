//! The one transaction.

use airboss_store::{EventFilter, RolloutFilter, Store, StoreError};
use futures_util::future::join_all;
use serde_json::json;

use crate::make::{at, claimed, command, commit, event, lane, rollout};

/// That nothing of a refused commit is there.
async fn assert_untouched(store: &dyn Store, name: &str, seq: u64) {
    let id = lane(name);
    assert_eq!(store.lane(&id).await.unwrap().unwrap().seq, seq);
    assert_eq!(
        store.last_event().await.unwrap(),
        seq,
        "one event per commit"
    );
    assert_eq!(store.pending_effects(&id).await.unwrap().len() as u64, seq);
    assert_eq!(store.inputs(&id, 0, 0).await.unwrap().len() as u64, seq);
    let rollouts = store.rollouts(&RolloutFilter::default()).await.unwrap();
    assert!(rollouts.is_empty());
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub async fn a_commit_under_an_old_epoch_writes_nothing(store: &dyn Store) {
    let id = lane("a/production");
    let old = claimed(store, &id, "old").await;
    store.release_claims("old").await.unwrap();
    let new = claimed(store, &id, "new").await;
    store.commit(&commit(&new)).await.unwrap();

    let mut late = commit(&old);
    late.seq = 1;
    late.rollouts = vec![rollout("a-1", &id, None)];
    let refused = store.commit(&late).await.unwrap_err();

    assert!(
        matches!(
            refused,
            StoreError::Fenced {
                seq: Some(1),
                epoch: 1,
                ..
            }
        ),
        "{refused}"
    );
    assert_untouched(store, "a/production", 1).await;
}

pub async fn a_commit_on_an_old_seq_writes_nothing(store: &dyn Store) {
    let row = claimed(store, &lane("a/production"), "one").await;
    store.commit(&commit(&row)).await.unwrap();
    let refused = store.commit(&commit(&row)).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Fenced { seq: Some(0), .. }),
        "{refused}"
    );
    assert_untouched(store, "a/production", 1).await;
}

pub async fn a_commit_is_all_or_nothing(store: &dyn Store) {
    let id = lane("a/production");
    let row = claimed(store, &id, "one").await;
    let entry = store.enqueue(&command(&id, "ship")).await.unwrap();
    let mut bad = commit(&row);
    bad.consumes = Some((entry.id, json!("accepted")));
    // The last thing that a commit writes fails: the lane that it names does not exist.
    bad.rollouts = vec![
        rollout("a-1", &id, None),
        rollout("b-1", &lane("b/production"), None),
    ];

    let refused = store.commit(&bad).await.unwrap_err();

    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    assert_untouched(store, "a/production", 0).await;
    assert_eq!(store.inbox(&id, 0).await.unwrap(), [entry]);
    bad.rollouts.pop();
    assert_eq!(store.commit(&bad).await.unwrap().events, [1]);
}

pub async fn a_command_is_consumed_once(store: &dyn Store) {
    let id = lane("a/production");
    let entry = store.enqueue(&command(&id, "ship")).await.unwrap();
    let row = claimed(store, &id, "one").await;
    let mut first = commit(&row);
    first.consumes = Some((entry.id, json!({ "rollout": "a-1" })));
    store.commit(&first).await.unwrap();

    let mut again = first.clone();
    again.seq = 1;
    let refused = store.commit(&again).await.unwrap_err();

    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
    assert_untouched(store, "a/production", 1).await;
    let kept = store.inbox_entry("ship").await.unwrap().unwrap();
    assert_eq!(kept.answer, Some(json!({ "rollout": "a-1" })));
    assert!(store.inbox(&id, 0).await.unwrap().is_empty());
}

pub async fn a_command_of_another_lane_is_not_consumed(store: &dyn Store) {
    let other = store
        .enqueue(&command(&lane("b/production"), "ship"))
        .await
        .unwrap();
    let row = claimed(store, &lane("a/production"), "one").await;
    let mut wrong = commit(&row);
    wrong.consumes = Some((other.id, json!("mine now")));
    let refused = store.commit(&wrong).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
    assert_eq!(store.inbox(&other.lane, 0).await.unwrap(), [other]);
}

pub async fn event_numbers_have_no_gaps(store: &dyn Store) {
    let id = lane("a/production");
    let mut row = claimed(store, &id, "one").await;
    let mut numbers = Vec::new();
    for round in 0..10_usize {
        let mut next = commit(&row);
        next.events = vec![event(None, "x"); round % 4];
        let mut refused = next.clone();
        refused.epoch += 1;
        let (kept, fenced) = tokio::join!(store.commit(&next), store.commit(&refused));
        assert!(matches!(fenced, Err(StoreError::Fenced { .. })));
        let kept = kept.unwrap();
        assert_eq!(kept.events.len(), round % 4);
        numbers.extend(kept.events);
        row.seq = kept.seq;
        // A failure after the numbers were taken gives them back.
        let mut bad = commit(&row);
        bad.rollouts = vec![rollout("b-1", &lane("nobody/production"), None)];
        store.commit(&bad).await.unwrap_err();
    }
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(store.last_event().await.unwrap(), numbers.len() as u64);
    let listed = store.events(&EventFilter::default()).await.unwrap();
    assert_eq!(listed.iter().map(|e| e.number).collect::<Vec<_>>(), numbers);
}

pub async fn one_fenced_commit_does_not_spoil_its_neighbours(store: &dyn Store) {
    let good = claimed(store, &lane("good/production"), "one").await;
    let mut bad = claimed(store, &lane("bad/production"), "one").await;
    bad.epoch += 1;
    let mut ill = commit(&claimed(store, &lane("ill/production"), "one").await);
    ill.rollouts = vec![rollout("b-1", &lane("nobody/production"), None)];
    let (good, bad) = (commit(&good), commit(&bad));
    let ship = command(&lane("c/production"), "ship");

    // Handed over together, so that they share a transaction where the store does that.
    let (bad, ill, good, command) = tokio::join!(
        store.commit(&bad),
        store.commit(&ill),
        store.commit(&good),
        store.enqueue(&ship),
    );

    assert!(matches!(bad, Err(StoreError::Fenced { .. })));
    assert!(matches!(ill, Err(StoreError::Conflict { .. })));
    assert_eq!(good.unwrap().events, [1]);
    assert_eq!(
        store.inbox(&command.unwrap().lane, 0).await.unwrap().len(),
        1
    );
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub async fn a_hundred_lanes_commit_at_once(store: &dyn Store) {
    const ROUNDS: u64 = 5;
    let lane_of = |number: u64| lane(&format!("s{number}/production"));
    let work = (0..100).map(|number| async move {
        let mut row = claimed(store, &lane_of(number), "one").await;
        let mut numbers = Vec::new();
        for _ in 0..ROUNDS {
            let done = store.commit(&commit(&row)).await.unwrap();
            row.seq = done.seq;
            numbers.extend(done.events);
        }
        numbers
    });
    let mut numbers: Vec<u64> = join_all(work).await.into_iter().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=100 * ROUNDS).collect::<Vec<_>>());
    for number in 0..100 {
        assert_eq!(
            store.lane(&lane_of(number)).await.unwrap().unwrap().seq,
            ROUNDS
        );
    }
}

pub async fn everything_a_commit_brings_can_be_read_back(store: &dyn Store) {
    let id = lane("a/production");
    let row = claimed(store, &id, "one").await;
    let mut full = commit(&row);
    full.events = vec![event(Some("a-1"), "first"), event(None, "second")];
    full.effects = vec![json!({ "do": 1 }), json!({ "do": 2 })];
    full.rollouts = vec![rollout("a-1", &id, None)];
    full.active = false;
    full.state = json!({ "deep": [{ "of": ["it", null, true, -7, 1.5, "ü\u{0}\n"] }] });

    let done = store.commit(&full).await.unwrap();

    assert_eq!((done.seq, done.events.as_slice()), (1, [1, 2].as_slice()));
    let kept = store.lane(&id).await.unwrap().unwrap();
    assert_eq!((kept.seq, kept.epoch, kept.active), (1, 1, false));
    assert_eq!(kept.state, Some(full.state));
    let events = store.events(&EventFilter::default()).await.unwrap();
    assert_eq!(events[0].rollout, full.events[0].rollout);
    for (read, given) in events.iter().zip(&full.events) {
        assert_eq!((&read.lane, read.seq, read.at), (&id, 1, full.at));
        assert_eq!((&read.kind, &read.message), (&given.kind, &given.message));
        assert_eq!((&read.rollout, &read.body), (&given.rollout, &given.body));
    }
    let effects = store.pending_effects(&id).await.unwrap();
    let places: Vec<_> = effects.iter().map(|e| (e.seq, e.ordinal)).collect();
    assert_eq!(places, [(1, 0), (1, 1)]);
    assert_eq!(effects[1].body, json!({ "do": 2 }));
    let listed = store.rollout(&full.rollouts[0].id).await.unwrap();
    assert_eq!(listed.as_ref(), Some(&full.rollouts[0]));
}

pub async fn an_unknown_lane_is_fenced(store: &dyn Store) {
    let mut row = claimed(store, &lane("a/production"), "one").await;
    row.lane = lane("b/production");
    let refused = store.commit(&commit(&row)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
}

pub async fn inputs_are_kept_for_replay(store: &dyn Store) {
    let id = lane("a/production");
    let mut row = claimed(store, &id, "one").await;
    for _ in 0..4 {
        row.seq = store.commit(&commit(&row)).await.unwrap().seq;
    }
    let inputs = store.inputs(&id, 1, 2).await.unwrap();
    assert_eq!(inputs.iter().map(|i| i.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(
        (&inputs[0].input, inputs[0].at),
        (&json!({ "tick": 1 }), at(2))
    );
}
