//! Events in their global order.
//!
//! The numbers have no gaps because they come from one row that changes in the transaction that
//! inserts the events; a rollback takes the numbers back. That holds on any database with row
//! locks; it serialises commits with events for as long as they take, which the single writer
//! does anyway here.

use super::codec::{Columns as _, integer};
use super::db::{Pool, Row, Sql, Value};
use super::fault::Fault;
use crate::{EventFilter, EventRow, NewEvent};

/// The number of the newest event while a commit's events are inserted: they took theirs before.
const NEWEST: &str = "(SELECT last FROM event_numbers WHERE \"only\" = 1)";
/// Events to a statement at most.
const ROWS: usize = 32;
const LIST: &str =
    "SELECT number, lane, seq, rollout, at, kind, message, body FROM events WHERE number > ";
const LAST: &str = "SELECT last FROM event_numbers WHERE \"only\" = 1";

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

/// Adds the statements that insert events to a script; its one row, `last`, is the number of
/// the last of them.
pub(super) fn append(script: &mut Vec<Sql>, lane: &str, seq: i64, at: i64, events: &[Prepared]) {
    if events.is_empty() {
        return;
    }
    let mut number = Sql::begin("UPDATE event_numbers SET last = last + ");
    number
        .push_bind(events.len() as i64)
        .push(" WHERE \"only\" = 1 RETURNING last");
    script.push(number);
    let mut left = events.len() as i64;
    for some in events.chunks(ROWS) {
        let mut insert = Sql::begin(
            "INSERT INTO events (number, lane, seq, rollout, at, kind, message, body) VALUES ",
        );
        let mut before = "";
        for event in some {
            left -= 1;
            insert.push(before).push("(").push(NEWEST).push(" - ");
            insert.push_bind(left);
            let values: [Value; 7] = [
                lane.into(),
                seq.into(),
                (&event.rollout).into(),
                at.into(),
                (&event.kind).into(),
                (&event.message).into(),
                (&event.body).into(),
            ];
            for value in values {
                insert.push(", ").push_bind(value);
            }
            insert.push(")");
            before = ", ";
        }
        script.push(insert);
    }
}

pub(super) async fn list(
    db: &Pool,
    filter: &EventFilter,
    limit: i64,
) -> Result<Vec<EventRow>, Fault> {
    let mut query = Sql::begin(LIST);
    query.push_bind(integer(filter.after)?);
    if let Some(lane) = &filter.lane {
        query.push(" AND lane = ").push_bind(lane.to_string());
    }
    if let Some(rollout) = &filter.rollout {
        query.push(" AND rollout = ").push_bind(rollout.to_string());
    }
    query.push(" ORDER BY number LIMIT ").push_bind(limit);
    let rows = query.fetch_all(db).await?;
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
        body: row.json("body")?,
    })
}
