//! The inbox: commands that are accepted and wait for their decision.

use airboss_model::LaneId;

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::lanes;
use super::writer::Write;
use crate::{InboxEntry, NewInboxEntry};

const ADD: &str = "INSERT INTO inbox (lane, key, body, at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (key) DO NOTHING";
const BY_KEY: &str = "SELECT id, lane, key, body, at, answer FROM inbox WHERE key = $1";
const UNCONSUMED: &str = "SELECT id, lane, key, body, at, answer FROM inbox
    WHERE lane = $1 AND answer IS NULL ORDER BY id LIMIT $2";
const COUNT_UP: &str = "UPDATE lanes SET pending = pending + 1 WHERE lane = $1";

pub(super) struct Enqueue {
    lane: String,
    key: String,
    body: String,
    at: i64,
}

impl Enqueue {
    pub(super) fn new(entry: &NewInboxEntry) -> Self {
        Self {
            lane: entry.lane.to_string(),
            key: entry.key.clone(),
            body: entry.body.to_string(),
            at: micros(entry.at),
        }
    }
}

impl Write for Enqueue {
    type Answer = InboxEntry;
    const WHAT: &'static str = "the acceptance of a command";

    fn is_news(&self) -> bool {
        true
    }

    async fn apply(&self, db: &mut Db) -> Result<InboxEntry, Fault> {
        if self.lane == LaneId::installation().as_str() {
            let why = "that name is kept for what happens to the installation itself: name the service or the environment otherwise";
            return Err(Fault::conflict("a command to airboss/installation", why));
        }
        // The lane first: the entry refers to it.
        lanes::create(db, &self.lane).await?;
        let added = Sql::new(ADD)
            .bind(&self.lane)
            .bind(&self.key)
            .bind(&self.body)
            .bind(self.at)
            .execute(&mut *db)
            .await?;
        if added == 1 {
            Sql::new(COUNT_UP)
                .bind(&self.lane)
                .execute(&mut *db)
                .await?;
        }
        let row = Sql::new(BY_KEY).bind(&self.key).fetch_one(db).await?;
        read(&row)
    }
}

pub(super) async fn unconsumed(
    db: &Pool,
    lane: &str,
    limit: i64,
) -> Result<Vec<InboxEntry>, Fault> {
    let rows = Sql::new(UNCONSUMED)
        .bind(lane)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn by_key(db: &Pool, key: &str) -> Result<Option<InboxEntry>, Fault> {
    let row = Sql::new(BY_KEY).bind(key).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<InboxEntry, Fault> {
    Ok(InboxEntry {
        id: row.count("id")?,
        lane: row.id("lane")?,
        key: row.text("key")?,
        body: row.json("body")?,
        at: row.time("at")?,
        answer: row.maybe_json("answer")?,
    })
}
