//! Commands that were accepted.

use std::collections::BTreeSet;

use airboss_store::Store;
use futures_util::future::join_all;
use serde_json::json;

use crate::make::{claimed, command, commit, lane};

pub async fn the_same_key_is_accepted_once(store: &dyn Store) {
    let id = lane("a/production");
    let mut repeated = command(&id, "ship");
    let first = store.enqueue(&repeated).await.unwrap();
    repeated.body = json!({ "other": "body" });
    let (again, also) = tokio::join!(store.enqueue(&repeated), store.enqueue(&repeated));
    assert_eq!(again.unwrap(), first);
    assert_eq!(also.unwrap(), first);
    assert_eq!(store.inbox(&id, 0).await.unwrap(), [first]);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

pub async fn a_repeated_request_sees_the_answer(store: &dyn Store) {
    let id = lane("a/production");
    let entry = store.enqueue(&command(&id, "ship")).await.unwrap();
    assert_eq!(entry.answer, None);
    let mut done = commit(&claimed(store, &id, "one").await);
    // JSON null is an answer too.
    done.consumes = Some((entry.id, json!(null)));
    store.commit(&done).await.unwrap();
    let again = store.enqueue(&command(&id, "ship")).await.unwrap();
    assert_eq!((again.id, again.answer), (entry.id, Some(json!(null))));
    assert!(store.inbox(&id, 0).await.unwrap().is_empty());
}

pub async fn commands_are_read_oldest_first(store: &dyn Store) {
    let id = lane("a/production");
    for key in ["c", "a", "b"] {
        store.enqueue(&command(&id, key)).await.unwrap();
        let other = lane("b/production");
        store
            .enqueue(&command(&other, &format!("other-{key}")))
            .await
            .unwrap();
    }
    let keys = async |limit| {
        let entries = store.inbox(&id, limit).await.unwrap();
        entries
            .into_iter()
            .map(|entry| entry.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(0).await, ["c", "a", "b"]);
    assert_eq!(keys(2).await, ["c", "a"]);
}

pub async fn a_rush_of_commands_is_accepted_whole(store: &dyn Store) {
    // More callers than may wait in any store's queue.
    let commands: Vec<_> = (0..3_000)
        .map(|number| command(&lane("a/production"), &format!("ship-{number}")))
        .collect();
    let accepted = join_all(commands.iter().map(|command| store.enqueue(command))).await;
    let ids: BTreeSet<u64> = accepted
        .into_iter()
        .map(|entry| entry.unwrap().id)
        .collect();
    assert_eq!(ids.len(), commands.len());
    let waiting = store.inbox(&commands[0].lane, u32::MAX).await.unwrap();
    assert_eq!(waiting.len(), commands.len());
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}
