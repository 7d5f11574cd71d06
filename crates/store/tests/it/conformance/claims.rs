//! Who owns a lane.

use std::collections::BTreeSet;

use airboss_store::{Store, StoreError};

use crate::make::{at, claimed, command, commit, lane};

pub async fn a_lane_of_a_dead_owner_is_claimed_with_a_higher_epoch(store: &dyn Store) {
    let dead = claimed(store, &lane("a/production"), "dead").await;
    store.commit(&commit(&dead)).await.unwrap();

    let taken = store.claim("heir", at(120), at(61), 10).await.unwrap();

    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].epoch, dead.epoch + 1);
    assert_eq!(taken[0].seq, 1);
    assert_eq!(taken[0].owner.as_deref(), Some("heir"));
    assert_eq!(taken[0].owned_until, Some(at(120)));
    assert_eq!(taken[0].state, Some(serde_json::json!({ "step": 1 })));
    assert!(taken[0].active);
}

pub async fn a_lane_of_a_living_owner_is_left_alone(store: &dyn Store) {
    let living = claimed(store, &lane("a/production"), "living").await;
    store.commit(&commit(&living)).await.unwrap();

    // The lease holds up to and including its last moment.
    assert!(
        store
            .claim("other", at(120), at(60), 10)
            .await
            .unwrap()
            .is_empty()
    );
    let one = store
        .claim_lane(&living.lane, "other", at(120), at(60))
        .await;
    assert!(one.unwrap().is_none());
}

pub async fn a_lane_without_work_is_not_claimed(store: &dyn Store) {
    let row = claimed(store, &lane("a/production"), "one").await;
    let mut idle = commit(&row);
    idle.active = false;
    store.commit(&idle).await.unwrap();
    store.release_claims("one").await.unwrap();

    assert!(
        store
            .claim("two", at(60), at(0), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn a_lane_with_a_waiting_command_is_claimed(store: &dyn Store) {
    let id = lane("a/production");
    let entry = store.enqueue(&command(&id, "ship")).await.unwrap();
    let taken = store.claim("one", at(60), at(0), 10).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].lane, id);
    assert_eq!(taken[0].state, None);
    assert!(!taken[0].active);

    // Once it is consumed and the lane is idle, nobody needs the lane any more.
    let mut done = commit(&taken[0]);
    done.active = false;
    done.consumes = Some((entry.id, serde_json::json!("done")));
    store.commit(&done).await.unwrap();
    store.release_claims("one").await.unwrap();
    assert!(
        store
            .claim("two", at(60), at(0), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn a_claim_takes_no_more_lanes_than_asked_for(store: &dyn Store) {
    for name in ["a/production", "b/production", "c/production"] {
        store.enqueue(&command(&lane(name), name)).await.unwrap();
    }
    assert_eq!(store.claim("one", at(60), at(0), 2).await.unwrap().len(), 2);
    assert_eq!(store.claim("two", at(60), at(0), 2).await.unwrap().len(), 1);
    assert_eq!(store.claim("two", at(60), at(0), 2).await.unwrap().len(), 0);
}

pub async fn a_new_lane_can_be_claimed_by_name(store: &dyn Store) {
    let id = lane("new/staging");
    assert!(store.lane(&id).await.unwrap().is_none());
    let row = claimed(store, &id, "one").await;
    assert_eq!((row.seq, row.epoch, row.state), (0, 1, None));
    assert_eq!(store.lanes().await.unwrap().len(), 1);
}

pub async fn of_two_owners_that_race_one_gets_each_lane(store: &dyn Store) {
    let mut lanes = BTreeSet::new();
    for number in 0..20 {
        let id = lane(&format!("s{number}/production"));
        store.enqueue(&command(&id, id.as_str())).await.unwrap();
        lanes.insert(id);
    }
    let claim = async |owner: &'static str| {
        let mut got = Vec::new();
        loop {
            let more = store.claim(owner, at(60), at(0), 3).await.unwrap();
            if more.is_empty() {
                return got;
            }
            got.extend(more.into_iter().map(|row| row.lane));
        }
    };
    let (one, two) = tokio::join!(claim("one"), claim("two"));
    assert_eq!(one.len() + two.len(), lanes.len(), "a lane was given twice");
    assert_eq!(one.into_iter().chain(two).collect::<BTreeSet<_>>(), lanes);
}

pub async fn an_expired_claim_is_not_renewed(store: &dyn Store) {
    let id = lane("a/production");
    claimed(store, &id, "one").await;
    let kept = store.renew("one", at(90), at(60)).await.unwrap();
    assert_eq!(kept.as_slice(), std::slice::from_ref(&id));
    assert_eq!(
        store.lane(&id).await.unwrap().unwrap().owned_until,
        Some(at(90))
    );
    assert!(
        store
            .renew("one", at(200), at(91))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store.lane(&id).await.unwrap().unwrap().owned_until,
        Some(at(90))
    );
}

pub async fn an_owner_claims_its_lane_again_under_a_higher_epoch(store: &dyn Store) {
    let first = claimed(store, &lane("a/production"), "one").await;
    let again = claimed(store, &first.lane, "one").await;
    assert_eq!(again.epoch, first.epoch + 1);
    let refused = store.commit(&commit(&first)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { .. }));
}

pub async fn an_epoch_is_raised_by_its_owner_only(store: &dyn Store) {
    let mut row = claimed(store, &lane("a/production"), "one").await;
    store.raise_epoch(&row.lane, row.epoch, 40).await.unwrap();
    let refused = store.raise_epoch(&row.lane, row.epoch, 50).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })));
    row.epoch = 40;
    store.commit(&commit(&row)).await.unwrap();
    // Never lowered.
    store.raise_epoch(&row.lane, 40, 7).await.unwrap();
    let kept = store.lane(&row.lane).await.unwrap().unwrap();
    assert_eq!(kept.epoch, 40);
}

pub async fn an_owner_is_told_where_commands_wait(store: &dyn Store) {
    let (a, b) = (lane("a/production"), lane("b/production"));
    claimed(store, &a, "one").await;
    claimed(store, &b, "two").await;
    assert_eq!(store.waiting("one").await.unwrap(), []);
    store.enqueue(&command(&a, "ship a")).await.unwrap();
    store.enqueue(&command(&b, "ship b")).await.unwrap();
    assert_eq!(store.waiting("one").await.unwrap(), [a]);
}

pub async fn lanes_given_back_are_free_at_once(store: &dyn Store) {
    let id = lane("a/production");
    let first = claimed(store, &id, "one").await;
    store.release_claims("one").await.unwrap();
    let free = store.lane(&id).await.unwrap().unwrap();
    assert_eq!((free.owner, free.owned_until), (None, None));
    let second = claimed(store, &id, "two").await;
    assert_eq!(second.epoch, first.epoch + 1);
}
