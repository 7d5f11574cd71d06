//! Events in their global order.
//!
//! The numbers have no gaps because they come from one row that changes in the transaction that
//! inserts the events; a rollback takes the numbers back. That holds on any database with row
//! locks; it serialises commits with events for as long as they take, which the single writer
//! does anyway here.

use super::codec::{Columns as _, integer};
use super::db::{Pool, Row, Sql};
use super::fault::Fault;
use crate::{EventFilter, EventRow, NAMED_AMONG};

const LIST: &str =
    "SELECT number, lane, seq, rollout, at, kind, message, body FROM events WHERE number > ";
// PostgreSQL has `strpos` and SQLite `instr`; `replace` is the same word in both.
const NAMING: &str = "SELECT number, lane, seq, rollout, at, kind, message, body FROM events
    WHERE number > (SELECT last FROM event_numbers WHERE \"only\" = 1) - $1
        AND replace(body, $2, '') <> body AND lane <> 'airboss/installation'
    ORDER BY number DESC LIMIT $3";
/// What happened to the installation itself is read where its lane is named.
const NOT_OURS: &str = " AND lane <> 'airboss/installation'";
const LAST: &str = "SELECT last FROM event_numbers WHERE \"only\" = 1";

pub(super) async fn list(
    db: &Pool,
    filter: &EventFilter,
    limit: i64,
) -> Result<Vec<EventRow>, Fault> {
    let mut query = Sql::begin(LIST);
    query.push_bind(integer(filter.after)?);
    match &filter.lane {
        Some(lane) => query.push(" AND lane = ").push_bind(lane.to_string()),
        None => query.push(NOT_OURS),
    };
    if let Some(rollout) = &filter.rollout {
        query.push(" AND rollout = ").push_bind(rollout.to_string());
    }
    query.push(" ORDER BY number LIMIT ").push_bind(limit);
    let rows = query.fetch_all(db).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn naming(db: &Pool, text: &str, limit: i64) -> Result<Vec<EventRow>, Fault> {
    let rows = Sql::new(NAMING)
        .bind(integer(NAMED_AMONG)?)
        .bind(text)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn last(db: &Pool) -> Result<u64, Fault> {
    Sql::new(LAST).fetch_one(db).await?.count("last")
}

fn read(row: &Row) -> Result<EventRow, Fault> {
    Ok(EventRow {
        number: row.count("number")?,
        lane: row.id("lane")?,
        seq: row.count("seq")?,
        rollout: row.maybe_id("rollout")?,
        at: row.time("at")?,
        kind: row.text("kind")?,
        message: row.text("message")?,
        // Nothing, where retention removed the words.
        body: match row.text("body")?.as_str() {
            "" => serde_json::Value::Null,
            _ => row.json("body")?,
        },
    })
}
