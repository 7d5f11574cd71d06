//! The one transaction that everything rests on.

use airboss_model::LaneId;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnection;

use super::codec::{Columns as _, integer, micros};
use super::fault::Fault;
use super::writer::Write;
use super::{effects, events, rollouts};
use crate::{Commit, Committed, InputRow, StoreError};

/// The fence: no row where the lane moved on or has another owner.
const ADVANCE: &str = "UPDATE lanes SET seq = seq + 1, active = $4, pending = pending - $5
    WHERE lane = $1 AND seq = $2 AND epoch = $3";
const CONSUME: &str = "UPDATE inbox SET answer = $3 WHERE id = $1 AND lane = $2 AND answer IS NULL";
const KEEP_STATE: &str = "INSERT INTO lane_states (lane, state) VALUES ($1, $2)
    ON CONFLICT (lane) DO UPDATE SET state = excluded.state";
const KEEP_INPUT: &str = "INSERT INTO inputs (lane, seq, at, input) VALUES ($1, $2, $3, $4)";
const INPUTS: &str = "SELECT lane, seq, at, input FROM inputs
    WHERE lane = $1 AND seq > $2 ORDER BY seq LIMIT $3";

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

    async fn apply(&self, db: &mut SqliteConnection) -> Result<Committed, Fault> {
        let lane = self.lane.as_str();
        let advanced = sqlx::query(ADVANCE)
            .bind(lane)
            .bind(integer(self.seq)?)
            .bind(integer(self.epoch)?)
            .bind(self.active)
            .bind(i64::from(self.consumes.is_some()))
            .execute(&mut *db)
            .await?;
        if advanced.rows_affected() == 0 {
            return Err(self.fenced());
        }
        if let Some((id, answer)) = &self.consumes {
            let consumed = sqlx::query(CONSUME)
                .bind(integer(*id)?)
                .bind(lane)
                .bind(answer)
                .execute(&mut *db)
                .await?;
            // Consumed by another, or never there: what the caller believes is out of date.
            if consumed.rows_affected() == 0 {
                return Err(self.fenced());
            }
        }
        let seq = self.seq + 1;
        let row_seq = integer(seq)?;
        sqlx::query(KEEP_STATE)
            .bind(lane)
            .bind(&self.state)
            .execute(&mut *db)
            .await?;
        sqlx::query(KEEP_INPUT)
            .bind(lane)
            .bind(row_seq)
            .bind(self.at)
            .bind(&self.input)
            .execute(&mut *db)
            .await?;
        let numbers = events::append(db, lane, row_seq, self.at, &self.events).await?;
        effects::append(db, lane, row_seq, &self.effects).await?;
        for rollout in &self.rollouts {
            rollout.upsert(db).await?;
        }
        Ok(Committed {
            seq,
            events: numbers,
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
