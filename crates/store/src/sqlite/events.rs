//! Events in their global order.
//!
//! The numbers have no gaps because they come from one row that changes in the transaction that
//! inserts the events; a rollback takes the numbers back. That holds on any database with row
//! locks; it serialises commits with events for as long as they take, which the single writer
//! does anyway here.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Sqlite, SqlitePool};

use super::codec::{Columns as _, integer};
use super::fault::Fault;
use crate::{EventFilter, EventRow, NewEvent};

const TAKE_NUMBERS: &str =
    "UPDATE event_numbers SET last = last + $1 WHERE only = 1 RETURNING last";
const ADD: &str = "INSERT INTO events (number, lane, seq, rollout, at, kind, message, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const LIST: &str =
    "SELECT number, lane, seq, rollout, at, kind, message, body FROM events WHERE number > ";
const LAST: &str = "SELECT last FROM event_numbers WHERE only = 1";

/// An event with its texts made.
pub(super) struct Prepared {
    rollout: Option<String>,
    kind: String,
    message: String,
    body: String,
}

impl Prepared {
    pub(super) fn new(event: &NewEvent) -> Self {
        Self {
            rollout: event.rollout.as_ref().map(ToString::to_string),
            kind: event.kind.clone(),
            message: event.message.clone(),
            body: event.body.to_string(),
        }
    }
}

/// Inserts events and returns their numbers.
pub(super) async fn append(
    db: &mut SqliteConnection,
    lane: &str,
    seq: i64,
    at: i64,
    events: &[Prepared],
) -> Result<Vec<u64>, Fault> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let count = events.len() as u64;
    let last = sqlx::query(TAKE_NUMBERS)
        .bind(integer(count)?)
        .fetch_one(&mut *db)
        .await?
        .count("last")?;
    let numbers: Vec<u64> = (last - count + 1..=last).collect();
    for (number, event) in numbers.iter().zip(events) {
        sqlx::query(ADD)
            .bind(integer(*number)?)
            .bind(lane)
            .bind(seq)
            .bind(&event.rollout)
            .bind(at)
            .bind(&event.kind)
            .bind(&event.message)
            .bind(&event.body)
            .execute(&mut *db)
            .await?;
    }
    Ok(numbers)
}

pub(super) async fn list(
    db: &SqlitePool,
    filter: &EventFilter,
    limit: i64,
) -> Result<Vec<EventRow>, Fault> {
    let mut query = QueryBuilder::<Sqlite>::new(LIST);
    query.push_bind(integer(filter.after)?);
    if let Some(lane) = &filter.lane {
        query.push(" AND lane = ").push_bind(lane.to_string());
    }
    if let Some(rollout) = &filter.rollout {
        query.push(" AND rollout = ").push_bind(rollout.to_string());
    }
    query.push(" ORDER BY number LIMIT ").push_bind(limit);
    let rows = query.build().fetch_all(db).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn last(db: &SqlitePool) -> Result<u64, Fault> {
    sqlx::query(LAST).fetch_one(db).await?.count("last")
}

fn read(row: &SqliteRow) -> Result<EventRow, Fault> {
    Ok(EventRow {
        number: row.count("number")?,
        lane: row.id("lane")?,
        seq: row.count("seq")?,
        rollout: row.maybe_id("rollout")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        message: row.text("message")?,
        body: row.json("body")?,
    })
}
