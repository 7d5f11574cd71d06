//! The schema's steps, forward only. The newest one kept in the database says how far it is.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, raw_sql};

use super::fault::{Fault, Place};
use super::log;
use crate::StoreError;

/// Every step, in order: its number, its name, its SQL. A step that was shipped never changes.
const STEPS: &[(i64, &str, &str)] = &[
    (
        1,
        "start",
        include_str!("../../migrations/sqlite/0001_start.sql"),
    ),
    (
        2,
        "notes",
        include_str!("../../migrations/sqlite/0002_notes.sql"),
    ),
    (
        3,
        "log",
        include_str!("../../migrations/sqlite/0003_log.sql"),
    ),
];

const CREATE_STEPS: &str = "CREATE TABLE IF NOT EXISTS schema_steps (
    number INTEGER NOT NULL PRIMARY KEY,
    name   TEXT    NOT NULL
)";

/// The newest step in the database: None where it holds nothing of ours.
pub(super) async fn newest(db: &mut SqliteConnection) -> Result<Option<i64>, Fault> {
    let known: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_steps'",
    )
    .fetch_one(&mut *db)
    .await?;
    if known == 0 {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("SELECT max(number) FROM schema_steps")
        .fetch_one(db)
        .await?)
}

/// Refuses a database of a newer Airboss.
pub(super) fn check(newest: Option<i64>, place: &Place) -> Result<(), StoreError> {
    let known = STEPS.last().map_or(0, |(number, ..)| *number);
    match newest {
        Some(found) if found > known => Err(StoreError::TooNew {
            path: place.path().display().to_string(),
            found,
            known,
        }),
        _ => Ok(()),
    }
}

/// Takes the steps that are missing, all in one transaction, and seals the events of a database
/// that is older than the ledger.
pub(super) async fn run(db: &mut SqliteConnection) -> Result<(), Fault> {
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    raw_sql(CREATE_STEPS).execute(&mut *tx).await?;
    // Read inside the transaction: another process may have taken the steps meanwhile.
    let done: Option<i64> = sqlx::query_scalar("SELECT max(number) FROM schema_steps")
        .fetch_one(&mut *tx)
        .await?;
    for (number, name, sql) in STEPS {
        if *number <= done.unwrap_or(0) {
            continue;
        }
        raw_sql(*sql).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO schema_steps (number, name) VALUES ($1, $2)")
            .bind(*number)
            .bind(*name)
            .execute(&mut *tx)
            .await?;
    }
    log::seal(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}
