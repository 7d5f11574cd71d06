//! Agents, from their invitation to their end.

use airboss_store::{AgentRow, InviteError, Store, StoreError};

use crate::make::{at, digest};

/// An agent that is invited, under an id made of the number.
pub fn invited(name: &str, number: u8) -> AgentRow {
    AgentRow {
        id: format!("a{number}"),
        name: name.to_owned(),
        carries: "*/production shop/staging".to_owned(),
        invite: digest(number),
        invited_by: "ada".to_owned(),
        invited_at: at(0),
        invited_till: at(100),
        public_key: None,
        joined_at: None,
        revoked_by: None,
        revoked_at: None,
    }
}

pub async fn an_invitation_is_used_once_and_by_who_used_it_first(store: &dyn Store) {
    store.invite_agent(&invited("web", 1)).await.unwrap();
    let unknown = store.join_agent(&digest(9), "key", at(5)).await.unwrap();
    assert_eq!(unknown, Err(InviteError::Unknown));
    let joined = AgentRow {
        public_key: Some("key".to_owned()),
        joined_at: Some(at(5)),
        ..invited("web", 1)
    };
    // Its answer may be lost, and its end may have come meanwhile.
    for later in [5, 6, 500] {
        let again = store.join_agent(&digest(1), "key", at(later)).await;
        assert_eq!(again.unwrap(), Ok(joined.clone()));
    }
    let other = store.join_agent(&digest(1), "other", at(7)).await.unwrap();
    assert_eq!(other, Err(InviteError::Used(at(5))));
    assert_eq!(store.agents().await.unwrap(), [joined]);
}

pub async fn an_invitation_ends(store: &dyn Store) {
    store.invite_agent(&invited("web", 1)).await.unwrap();
    let late = store.join_agent(&digest(1), "key", at(100)).await.unwrap();
    assert_eq!(late, Err(InviteError::Expired(at(100))));
    let revoked = store.revoke_agent("a1", "bob", at(101)).await.unwrap();
    assert_eq!(revoked.unwrap().revoked_by.as_deref(), Some("bob"));
    let late = store.join_agent(&digest(1), "key", at(50)).await.unwrap();
    assert_eq!(late, Err(InviteError::Revoked));
}

pub async fn a_revoked_agent_stays_revoked_and_its_name_is_free(store: &dyn Store) {
    store.invite_agent(&invited("web", 1)).await.unwrap();
    store
        .join_agent(&digest(1), "key", at(1))
        .await
        .unwrap()
        .unwrap();
    let taken = store.invite_agent(&invited("web", 2)).await;
    assert!(
        matches!(taken, Err(StoreError::Conflict { .. })),
        "{taken:?}"
    );
    for (by, second) in [("bob", 5), ("eve", 9)] {
        let revoked = store.revoke_agent("a1", by, at(second)).await.unwrap();
        let revoked = revoked.unwrap();
        assert_eq!(revoked.revoked_at, Some(at(5)));
        assert_eq!(revoked.revoked_by.as_deref(), Some("bob"));
    }
    let again = store.join_agent(&digest(1), "key", at(6)).await.unwrap();
    assert_eq!(again, Err(InviteError::Revoked));
    store.invite_agent(&invited("web", 2)).await.unwrap();
    let ids: Vec<_> = store.agents().await.unwrap();
    let ids: Vec<_> = ids.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["a1", "a2"]);
    assert_eq!(store.revoke_agent("a3", "bob", at(9)).await.unwrap(), None);
}
