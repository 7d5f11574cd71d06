//! The one transaction that everything rests on.
//!
//! A commit is one script of statements: a statement of its own for each row would cost a trip
//! to SQLite's thread each, which takes longer than most of the statements do.

use airboss_model::LaneId;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Either, Executor as _, QueryBuilder, Sqlite, SqlitePool};

use super::codec::{Columns as _, integer, micros};
use super::fault::Fault;
use super::writer::Write;
use super::{effects, events, rollouts};
use crate::{Commit, Committed, InputRow, StoreError};

const INPUTS: &str = "SELECT lane, seq, at, input FROM inputs
    WHERE lane = $1 AND seq > $2 ORDER BY seq LIMIT $3";

/// Scripts with more rows than this are prepared anew each time: large ones differ and would
/// only fill the cache of statements.
const KEPT_ROWS: usize = 16;

/// A commit with its texts made in the caller's task, to keep the one writer free of that work.
pub(super) struct Prepared {
    lane: LaneId,
    seq: u64,
    epoch: u64,
    at: i64,
    active: bool,
    input: String,
    state: String,
    consumes: Option<(u64, String)>,
    events: Vec<events::Prepared>,
    effects: Vec<String>,
    rollouts: Vec<rollouts::Prepared>,
}

impl Prepared {
    pub(super) fn new(commit: &Commit) -> Self {
        Self {
            lane: commit.lane.clone(),
            seq: commit.seq,
            epoch: commit.epoch,
            at: micros(commit.at),
            active: commit.active,
            input: commit.input.to_string(),
            state: commit.state.to_string(),
            consumes: commit
                .consumes
                .as_ref()
                .map(|(id, answer)| (*id, answer.to_string())),
            events: commit.events.iter().map(events::Prepared::new).collect(),
            effects: commit.effects.iter().map(ToString::to_string).collect(),
            rollouts: commit
                .rollouts
                .iter()
                .map(rollouts::Prepared::new)
                .collect(),
        }
    }

    /// All statements, the guards first.
    fn script(&self) -> Result<QueryBuilder<Sqlite>, Fault> {
        let lane = self.lane.as_str();
        let seq = integer(self.seq)?;
        // No row where the lane moved on or has another owner.
        let mut script = QueryBuilder::new("UPDATE lanes SET seq = seq + 1, active = ");
        script
            .push_bind(self.active)
            .push(", pending = pending - ")
            .push_bind(i64::from(self.consumes.is_some()))
            .push(" WHERE lane = ")
            .push_bind(lane.to_owned())
            .push(" AND seq = ")
            .push_bind(seq)
            .push(" AND epoch = ")
            .push_bind(integer(self.epoch)?);
        if let Some((id, answer)) = &self.consumes {
            // No row where it was consumed by another, or never there.
            script
                .push("; UPDATE inbox SET answer = ")
                .push_bind(answer.clone())
                .push(" WHERE answer IS NULL AND id = ")
                .push_bind(integer(*id)?)
                .push(" AND lane = ")
                .push_bind(lane.to_owned());
        }
        let seq = integer(self.seq + 1)?;
        script.push("; INSERT INTO lane_states (lane, state) VALUES (");
        script
            .separated(", ")
            .push_bind(lane.to_owned())
            .push_bind(self.state.clone());
        script.push(") ON CONFLICT (lane) DO UPDATE SET state = excluded.state");
        script.push("; INSERT INTO inputs (lane, seq, at, input) VALUES (");
        script
            .separated(", ")
            .push_bind(lane.to_owned())
            .push_bind(seq)
            .push_bind(self.at)
            .push_bind(self.input.clone());
        script.push(")");
        events::append(&mut script, lane, seq, self.at, &self.events);
        effects::append(&mut script, lane, seq, &self.effects);
        for rollout in &self.rollouts {
            rollout.upsert(&mut script);
        }
        Ok(script)
    }

    fn fenced(&self) -> Fault {
        Fault::Refused(StoreError::Fenced {
            lane: self.lane.clone(),
            seq: self.seq,
            epoch: self.epoch,
        })
    }
}

impl Write for Prepared {
    type Answer = Committed;
    const WHAT: &'static str = "the commit of a decision";

    fn brings_events(&self) -> bool {
        !self.events.is_empty()
    }

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Committed, Fault> {
        let mut script = self.script()?;
        let rows = self.events.len() + self.effects.len() + self.rollouts.len();
        let query = script.build().persistent(rows <= KEPT_ROWS);
        let mut results = db.fetch_many(query);
        // The first statements are the guards; each changes one row or the commit is refused.
        // What the script did behind a guard by then is undone with the refusal.
        let mut guards = 1 + u32::from(self.consumes.is_some());
        let mut last = 0;
        while let Some(result) = results.try_next().await? {
            match result {
                Either::Right(row) => last = row.count("last")?,
                Either::Left(done) if guards > 0 => {
                    if done.rows_affected() == 0 {
                        return Err(self.fenced());
                    }
                    guards -= 1;
                }
                Either::Left(_) => {}
            }
        }
        let events = match self.events.len() as u64 {
            0 => Vec::new(),
            count => ((last + 1).saturating_sub(count)..=last).collect(),
        };
        Ok(Committed {
            seq: self.seq + 1,
            events,
        })
    }
}

pub(super) async fn inputs(
    db: &SqlitePool,
    lane: &str,
    after: u64,
    limit: i64,
) -> Result<Vec<InputRow>, Fault> {
    let rows = sqlx::query(INPUTS)
        .bind(lane)
        .bind(integer(after)?)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(InputRow {
                lane: row.id("lane")?,
                seq: row.count("seq")?,
                at: row.time("at")?,
                input: row.json("input")?,
            })
        })
        .collect()
}
