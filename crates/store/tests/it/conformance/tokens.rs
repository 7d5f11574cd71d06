//! Tokens.

use airboss_store::{Store, TokenRow};

use crate::make::{at, digest};

pub fn token(id: &str, secret: u8) -> TokenRow {
    TokenRow {
        id: id.to_owned(),
        name: "ci".to_owned(),
        scopes: "read ship".to_owned(),
        secret: digest(secret),
        created_by: "ada".to_owned(),
        created_at: at(i64::from(secret)),
        expires_at: Some(at(100)),
        revoked_at: None,
    }
}

pub async fn a_token_is_found_by_its_secret_alone(store: &dyn Store) {
    let kept = token("t1", 1);
    store.put_token(&kept).await.unwrap();
    assert_eq!(store.token(&digest(1)).await.unwrap(), Some(kept));
    assert_eq!(store.token(&digest(2)).await.unwrap(), None);
}

pub async fn a_revoked_token_stays_revoked_from_the_first_time_on(store: &dyn Store) {
    store.put_token(&token("t1", 1)).await.unwrap();
    for later in [5, 9] {
        let revoked = store
            .revoke_token("t1", "eve", at(later))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(revoked.revoked_at, Some(at(5)));
    }
    let read = store.token(&digest(1)).await.unwrap().unwrap();
    assert_eq!(read.revoked_at, Some(at(5)));
    assert_eq!(store.revoke_token("t2", "eve", at(5)).await.unwrap(), None);
}

pub async fn a_secret_is_never_given_twice(store: &dyn Store) {
    store.put_token(&token("t1", 1)).await.unwrap();
    assert!(store.put_token(&token("t2", 1)).await.is_err());
    assert!(store.put_token(&token("t1", 2)).await.is_err());
    assert_eq!(store.tokens(0).await.unwrap().len(), 1);
}

pub async fn tokens_are_listed_newest_first(store: &dyn Store) {
    for (id, secret) in [("a", 1), ("b", 3), ("c", 2)] {
        store.put_token(&token(id, secret)).await.unwrap();
    }
    let listed = store.tokens(2).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["b", "c"]);
}
