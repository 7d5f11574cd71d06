//! Notes: what a controller has learnt about a lane.

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Sql};
use super::fault::Fault;
use super::writer::Write;
use crate::NoteRow;

const PUT: &str = "INSERT INTO notes (lane, topic, body, at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (lane, topic) DO UPDATE SET body = excluded.body, at = excluded.at
    WHERE excluded.at >= notes.at";
const GET: &str = "SELECT lane, topic, body, at FROM notes WHERE lane = $1 AND topic = $2";

pub(super) struct Put {
    lane: String,
    topic: String,
    body: String,
    at: i64,
}

impl Put {
    pub(super) fn new(row: &NoteRow) -> Self {
        Self {
            lane: row.lane.to_string(),
            topic: row.topic.clone(),
            body: row.body.to_string(),
            at: micros(row.at),
        }
    }
}

impl Write for Put {
    type Answer = ();
    const WHAT: &'static str = "the keeping of a note";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        Sql::new(PUT)
            .bind(&self.lane)
            .bind(&self.topic)
            .bind(&self.body)
            .bind(self.at)
            .execute(db)
            .await?;
        Ok(())
    }
}

pub(super) async fn get(db: &Pool, lane: &str, topic: &str) -> Result<Option<NoteRow>, Fault> {
    let row = Sql::new(GET)
        .bind(lane)
        .bind(topic)
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        Ok(NoteRow {
            lane: row.id("lane")?,
            topic: row.text("topic")?,
            body: row.json("body")?,
            at: row.time("at")?,
        })
    })
    .transpose()
}
