//! Who changes the file behind the store's back is found, and what they changed is named.

use airboss_store::{SqliteStore, Store};
use proptest::prelude::*;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::make::{claimed, commit, event, lane};
use crate::sqlite::{Home, home, open};

/// A closed store with ten events of two lanes.
async fn filled() -> Home {
    let home = home().await;
    for name in ["a/production", "b/production"] {
        let mut row = claimed(&home.store, &lane(name), "one").await;
        for round in 0..5 {
            let mut next = commit(&row);
            next.events = vec![event(Some("a-1"), &format!("round {round} of {name}"))];
            next.input = json!({ "round": round });
            row.seq = home.store.commit(&next).await.unwrap().seq;
        }
    }
    home.store.close().await;
    home
}

async fn tamper(home: &Home, sql: &str) {
    let mut db: SqliteConnection = SqliteConnectOptions::new()
        .filename(&home.path)
        .foreign_keys(false)
        .connect()
        .await
        .unwrap();
    unguard(&mut db).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
}

/// Takes the guards away, as somebody does who means it.
pub async fn unguard(db: &mut SqliteConnection) {
    let guards = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
    let names: Vec<String> = sqlx::query_scalar(guards)
        .fetch_all(&mut *db)
        .await
        .unwrap();
    for name in names {
        let drop = format!("DROP TRIGGER {name}");
        sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(&mut *db)
            .await
            .unwrap();
    }
}

async fn findings(home: &Home) -> Vec<String> {
    let store: SqliteStore = open(&home.path).await;
    let findings = store.verify().await.unwrap();
    store.close().await;
    findings
}

/// Tampers with a fresh store and expects a finding that says `expected`.
async fn assert_found(sql: &str, expected: &str) {
    let home = filled().await;
    assert_eq!(findings(&home).await, Vec::<String>::new());
    tamper(&home, sql).await;
    let found = findings(&home).await;
    assert!(
        found.iter().any(|finding| finding.contains(expected)),
        "{sql}: {found:?}"
    );
}

#[tokio::test]
async fn a_changed_column_of_an_event_is_found_and_the_event_is_named() {
    for change in [
        "message = message || '!'",
        "body = replace(body, 'round', 'ROUND')",
        "kind = 'step_failed'",
        "at = at + 1",
        "rollout = NULL",
        "seq = 2",
        "lane = 'b/production'",
    ] {
        assert_found(
            &format!("UPDATE events SET {change} WHERE number = 4"),
            "event 4 (",
        )
        .await;
    }
}

#[tokio::test]
async fn a_changed_input_is_found_at_the_event_that_it_led_to() {
    let input = "WHERE lane = 'b/production' AND seq = 2";
    let change = format!("UPDATE inputs SET input = replace(input, '1', '2') {input}");
    assert_found(&change, "event 7 (step_passed of b/production)").await;
    assert_found(&format!("DELETE FROM inputs {input}"), "event 7 (").await;
}

#[tokio::test]
async fn a_removed_event_is_named() {
    for number in [1, 4, 10] {
        assert_found(
            &format!("DELETE FROM events WHERE number = {number}"),
            &format!("event {number} was removed after it was sealed"),
        )
        .await;
    }
}

#[tokio::test]
async fn an_added_event_is_named() {
    let columns = "lane, seq, rollout, at, kind, message, body";
    let add = |number: i64| {
        format!(
            "INSERT INTO events (number, {columns}) SELECT {number}, {columns} FROM events WHERE number = 3"
        )
    };
    assert_found(&add(0), "an event with a number below 1").await;
    // Opening seals what an older store left unsealed, so the count must tell it.
    assert_found(&add(11), "10 events were numbered and 11 were sealed").await;
}

#[tokio::test]
async fn events_that_changed_places_are_named() {
    assert_found(
        "UPDATE events SET number = -1 WHERE number = 3;
         UPDATE events SET number = 3 WHERE number = 4;
         UPDATE events SET number = 4 WHERE number = -1;",
        "event 3 (",
    )
    .await;
}

#[tokio::test]
async fn a_tampered_ledger_is_found() {
    for (sql, expected) in [
        (
            "UPDATE log_hashes SET hash = zeroblob(32) WHERE level = 0 AND place = 5",
            "event 6 (",
        ),
        (
            "DELETE FROM log_hashes WHERE place = 5",
            "the seal of event 6",
        ),
        (
            "UPDATE log SET frontier = zeroblob(64)",
            "do not lead to the ledger's root",
        ),
        (
            "INSERT INTO log_hashes VALUES (1, 0, zeroblob(32))",
            "inner hashes are not those of its leaves",
        ),
        (
            "UPDATE event_numbers SET last = 11",
            "11 events were numbered and 10 were sealed",
        ),
    ] {
        assert_found(sql, expected).await;
    }
}

#[tokio::test]
async fn an_event_removed_together_with_its_seal_is_found() {
    let home = filled().await;
    tamper(
        &home,
        "DELETE FROM events WHERE number = 10; DELETE FROM log_hashes WHERE place = 9",
    )
    .await;
    let found = findings(&home).await;
    assert!(
        found.iter().any(|it| it.contains("event 10 is missing")),
        "{found:?}"
    );
}

#[tokio::test]
async fn events_of_a_database_older_than_the_ledger_are_sealed_at_the_first_opening() {
    let home = filled().await;
    let head = {
        let store = open(&home.path).await;
        let head = store.log_head().await.unwrap();
        store.close().await;
        head
    };
    tamper(
        &home,
        "DROP TABLE log; DROP TABLE log_hashes; DROP TABLE pruned; DROP TABLE pruned_to;
         DELETE FROM schema_steps WHERE number IN (3, 15)",
    )
    .await;
    let store = open(&home.path).await;
    assert_eq!(store.log_head().await.unwrap(), head);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A random byte of a random text of a random event.
    #[test]
    fn any_flipped_byte_of_an_event_is_found(
        number in 1_i64..=10,
        column in prop::sample::select(vec!["lane", "kind", "message", "body", "rollout"]),
        place in any::<prop::sample::Index>(),
        by in 1_u8..128,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async {
            let home = filled().await;
            let mut db: SqliteConnection =
                SqliteConnectOptions::new().filename(&home.path).foreign_keys(false).connect().await.unwrap();
            unguard(&mut db).await;
            let read = format!("SELECT CAST({column} AS BLOB) FROM events WHERE number = $1");
            let mut bytes: Vec<u8> =
                sqlx::query_scalar(AssertSqlSafe(read)).bind(number).fetch_one(&mut db).await.unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= by;
            let write = format!("UPDATE events SET {column} = CAST($1 AS TEXT) WHERE number = $2");
            sqlx::query(AssertSqlSafe(write)).bind(bytes).bind(number).execute(&mut db).await.unwrap();
            db.close().await.unwrap();
            findings(&home).await
        });
        let named = format!("event {number} (");
        prop_assert!(found.iter().any(|it| it.contains(&named)), "{found:?}");
    }
}

/// Leaves are made from what is handed to the database, so the two must be the same bytes.
#[tokio::test]
async fn texts_are_stored_as_they_were_sealed() {
    let home = home().await;
    let mut row = claimed(&home.store, &lane("a/production"), "one").await;
    for text in [
        "",
        "\0",
        "a\0b",
        "\u{feff}",
        "'; --",
        "ü\r\n\t",
        "\u{10ffff}",
        " 1 ",
        "1e5",
    ] {
        let mut next = commit(&row);
        next.events = vec![event(Some("a-1"), text), event(None, text)];
        next.events[0].kind = text.to_owned();
        next.events[1].body = json!({ text: text });
        next.input = json!([text, 0.1, 1e300, -0.0, u64::MAX]);
        row.seq = home.store.commit(&next).await.unwrap().seq;
    }
    assert_eq!(home.store.verify().await.unwrap(), Vec::<String>::new());
}
