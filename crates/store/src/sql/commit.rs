//! The one transaction that everything rests on.
//!
//! A commit is one script of statements, which SQLite takes in one trip to its thread.

use airboss_model::LaneId;

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Sql};
use super::fault::Fault;
use super::writer::Write;
use super::{effects, events, rollouts};
use crate::{Commit, Committed, InputRow, StoreError};

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

    /// All statements, the guards first, and how many guards there are.
    fn script(&self) -> Result<(Vec<Sql>, usize), Fault> {
        let lane = self.lane.as_str();
        // No row where the lane moved on or has another owner.
        let mut guard = Sql::begin("UPDATE lanes SET seq = seq + 1, active = ");
        guard
            .push_bind(i64::from(self.active))
            .push(", pending = pending - ")
            .push_bind(i64::from(self.consumes.is_some()))
            .push(" WHERE lane = ")
            .push_bind(lane)
            .push(" AND seq = ")
            .push_bind(integer(self.seq)?)
            .push(" AND epoch = ")
            .push_bind(integer(self.epoch)?);
        let mut script = vec![guard];
        if let Some((id, answer)) = &self.consumes {
            // No row where it was consumed by another, or never there.
            let mut consume = Sql::begin("UPDATE inbox SET answer = ");
            consume
                .push_bind(answer)
                .push(" WHERE answer IS NULL AND id = ")
                .push_bind(integer(*id)?)
                .push(" AND lane = ")
                .push_bind(lane);
            script.push(consume);
        }
        let guards = script.len();
        let seq = integer(self.seq + 1)?;
        let mut state = Sql::begin("INSERT INTO lane_states (lane, state) VALUES ");
        state
            .push_row([lane.into(), (&self.state).into()])
            .push(" ON CONFLICT (lane) DO UPDATE SET state = excluded.state");
        script.push(state);
        let mut input = Sql::begin("INSERT INTO inputs (lane, seq, at, input) VALUES ");
        input.push_row([
            lane.into(),
            seq.into(),
            self.at.into(),
            (&self.input).into(),
        ]);
        script.push(input);
        events::append(&mut script, lane, seq, self.at, &self.events);
        effects::append(&mut script, lane, seq, &self.effects);
        script.extend(self.rollouts.iter().map(rollouts::Prepared::upsert));
        Ok((script, guards))
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

    async fn apply(&self, db: &mut Db) -> Result<Committed, Fault> {
        let (script, guards) = self.script()?;
        // What the script did behind a guard by then is undone with the refusal.
        let rows = db.script(script, guards).await?;
        let rows = rows.ok_or_else(|| self.fenced())?;
        let last = rows.last().map_or(Ok(0), |row| row.count("last"))?;
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
    db: &Pool,
    lane: &str,
    after: u64,
    limit: i64,
) -> Result<Vec<InputRow>, Fault> {
    let rows = Sql::new(INPUTS)
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
