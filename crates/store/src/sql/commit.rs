//! The one transaction that everything rests on.
//!
//! Commits that wait together are written together ([`apply`]): a statement brings one table's
//! rows of all of them. Their texts are made and hashed in the callers' tasks, to keep the one
//! writer free of that work.

use std::collections::HashMap;

use airboss_ledger::{Entry, TextHash};
use airboss_model::LaneId;

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Row, Sql, without_nul};
use super::fault::Fault;
use super::log::{self, Leaves};
use super::rollouts;
use super::script::{MANY, Script};
use super::writer::Together;
use crate::{Commit, Committed, InputRow, StoreError};

// No row where the lane moved on or has another owner.
const GUARD: &str =
    "UPDATE lanes SET seq = seq + 1, active = column4, pending = pending - column5 FROM";
const GUARD_ROWS: &str =
    "WHERE lane = column1 AND seq = column2 AND epoch = column3 RETURNING lane,
    coalesce((SELECT max(number) FROM events WHERE events.lane = lanes.lane), 0) AS newest";
// No row where it was consumed by another, or never there.
const CONSUME: &str = "UPDATE inbox SET answer = column3 FROM";
const CONSUME_ROWS: &str =
    "WHERE answer IS NULL AND id = column1 AND lane = column2 RETURNING lane, 0 AS newest";
/// A rolled-back commit gives its numbers back, so the order has no gaps.
const NUMBER: &str = "UPDATE event_numbers SET last = last + ";
const NUMBER_ROW: &str = " WHERE \"only\" = 1 RETURNING last";

const GIVEN: &str = "WHERE column1 IS NOT NULL";
const STATES: &str = "INSERT INTO lane_states (lane, state) SELECT * FROM";
const STATES_ROWS: &str =
    "WHERE column1 IS NOT NULL ON CONFLICT (lane) DO UPDATE SET state = excluded.state";
const INPUT_ROWS: &str = "INSERT INTO inputs (lane, seq, at, input) SELECT * FROM";
const EVENTS: &str = "INSERT INTO events (number, lane, seq, rollout, at, kind, message, body)
    SELECT * FROM";
const EFFECTS: &str = "INSERT INTO effects (lane, seq, ordinal, body) SELECT * FROM";

const INPUTS: &str = "SELECT lane, seq, at, input FROM inputs
    WHERE lane = $1 AND seq > $2 AND input <> '' ORDER BY seq LIMIT $3";

/// A commit with its texts made and hashed.
pub(super) struct Prepared {
    lane: LaneId,
    seq: u64,
    epoch: u64,
    at: i64,
    active: bool,
    input: String,
    input_hash: TextHash,
    state: String,
    consumes: Option<(u64, String)>,
    events: Vec<Event>,
    effects: Vec<String>,
    rollouts: Vec<rollouts::Prepared>,
}

/// An event with its texts made and hashed.
struct Event {
    rollout: Option<String>,
    kind: String,
    message: String,
    message_hash: TextHash,
    body: String,
    body_hash: TextHash,
}

impl Prepared {
    pub(super) fn new(commit: &Commit) -> Self {
        let input = commit.input.to_string();
        let event = |event: &crate::NewEvent| {
            let (message, body) = (without_nul(event.message.clone()), event.body.to_string());
            Event {
                rollout: event.rollout.as_ref().map(ToString::to_string),
                kind: without_nul(event.kind.clone()),
                message_hash: TextHash::of(&message),
                message,
                body_hash: TextHash::of(&body),
                body,
            }
        };
        Self {
            lane: commit.lane.clone(),
            seq: commit.seq,
            epoch: commit.epoch,
            at: micros(commit.at),
            active: commit.active,
            input_hash: TextHash::of(&input),
            input,
            state: commit.state.to_string(),
            consumes: commit
                .consumes
                .as_ref()
                .map(|(id, answer)| (*id, answer.to_string())),
            events: commit.events.iter().map(event).collect(),
            effects: commit.effects.iter().map(ToString::to_string).collect(),
            rollouts: commit
                .rollouts
                .iter()
                .map(rollouts::Prepared::new)
                .collect(),
        }
    }

    /// Whether other controllers are to look at once.
    pub(super) fn is_news(&self) -> bool {
        !self.events.is_empty()
    }
}

impl Together for Prepared {
    type Answer = Committed;
    const WHAT: &'static str = "the commit of a decision";
    const GROUP: usize = MANY;

    async fn apply(db: &mut Db, group: &[&Self]) -> Result<Option<Vec<Committed>>, Fault> {
        apply(db, group).await
    }

    fn refused(&self) -> StoreError {
        StoreError::Fenced {
            lane: self.lane.clone(),
            seq: Some(self.seq),
            epoch: self.epoch,
        }
    }
}

/// Writes up to [`MANY`] commits of different lanes, and seals their events. None where a guard
/// held one of them back: then the caller undoes all of it.
pub(super) async fn apply(
    db: &mut Db,
    group: &[&Prepared],
) -> Result<Option<Vec<Committed>>, Fault> {
    let Some(start) = guard(db, group).await? else {
        return Ok(None);
    };
    let mut leaves = Leaves::behind(start.head);
    let (mut events, mut committed) = (Vec::new(), Vec::with_capacity(group.len()));
    for commit in group {
        let mut previous = start.newest.get(commit.lane.as_str()).copied().unwrap_or(0);
        let mut numbers = Vec::with_capacity(commit.events.len());
        for event in &commit.events {
            let number = leaves.size() + 1;
            leaves.add(&Entry {
                number,
                previous,
                lane: commit.lane.as_str(),
                seq: commit.seq + 1,
                rollout: event.rollout.as_deref(),
                at: commit.at,
                kind: &event.kind,
                message: event.message_hash,
                body: event.body_hash,
                input: commit.input_hash,
            })?;
            events.push((number, *commit, event));
            numbers.push(number);
            previous = number;
        }
        committed.push(Committed {
            seq: commit.seq + 1,
            events: numbers,
        });
    }
    write(db, group, &events, leaves).await?;
    Ok(Some(committed))
}

/// What a group begins with.
struct Start {
    /// The newest event of each lane.
    newest: HashMap<String, u64>,
    /// The ledger.
    head: airboss_ledger::Frontier,
}

/// Moves the lanes on, takes the commands that are consumed, and takes the events' numbers. None
/// where a lane or a command is not as a commit expects it.
async fn guard(db: &mut Db, group: &[&Prepared]) -> Result<Option<Start>, Fault> {
    let consuming: Vec<_> = group
        .iter()
        .filter_map(|it| Some((*it, it.consumes.as_ref()?)))
        .collect();
    let mut checked = Vec::with_capacity(group.len());
    for commit in group {
        integer(commit.seq + 1)?;
        checked.push((*commit, integer(commit.seq)?, integer(commit.epoch)?));
    }
    let mut script = Script::new(db, group.len());
    let guard = |(commit, seq, epoch): &(&Prepared, i64, i64)| {
        let consumes = i64::from(commit.consumes.is_some());
        [
            commit.lane.as_str().into(),
            (*seq).into(),
            (*epoch).into(),
            i64::from(commit.active).into(),
            consumes.into(),
        ]
    };
    script.rows(GUARD, &checked, GUARD_ROWS, guard).await?;
    let consume = |(commit, (id, answer)): &(&Prepared, &(u64, String))| {
        // Larger than any id of the inbox, where it does not fit: no row, so it is held back.
        let id = i64::try_from(*id).unwrap_or(i64::MAX);
        [id.into(), commit.lane.as_str().into(), answer.into()]
    };
    script
        .rows(CONSUME, &consuming, CONSUME_ROWS, consume)
        .await?;
    let count: usize = group.iter().map(|it| it.events.len()).sum();
    let mut numbers = Sql::begin(NUMBER);
    numbers.push_bind(count as i64).push(NUMBER_ROW);
    script.add(numbers).await?;
    script.add(Sql::begin(log::HEAD)).await?;
    let rows = script.finish().await?;
    let [guarded @ .., numbered, head] = rows.as_slice() else {
        return Err(Fault::unreadable("the ledger has no head".into()));
    };
    if guarded.len() != group.len() + consuming.len() {
        return Ok(None);
    }
    let head = log::read_head(head)?;
    if numbered.count("last")? != head.size() + count as u64 {
        return Err(log::missing(head.size() + 1));
    }
    let newest = |row: &Row| Ok((row.text("lane")?, row.count("newest")?));
    let newest: Result<_, Fault> = guarded[..group.len()].iter().map(newest).collect();
    Ok(Some(Start {
        newest: newest?,
        head,
    }))
}

async fn write(
    db: &mut Db,
    group: &[&Prepared],
    events: &[(u64, &Prepared, &Event)],
    leaves: Leaves,
) -> Result<(), Fault> {
    let effects: Vec<_> = group
        .iter()
        .flat_map(|it| (0_i64..).zip(&it.effects).map(move |effect| (*it, effect)))
        .collect();
    let rollouts: Vec<_> = group.iter().flat_map(|it| &it.rollouts).collect();
    let most = [group.len(), events.len(), effects.len(), rollouts.len()];
    let mut script = Script::new(db, most.into_iter().max().unwrap_or(0));
    // The guards have seen that these numbers fit the database's.
    let seq = |commit: &Prepared| commit.seq as i64 + 1;
    let state = |it: &&Prepared| [it.lane.as_str().into(), (&it.state).into()];
    script.rows(STATES, group, STATES_ROWS, state).await?;
    let input = |it: &&Prepared| {
        [
            it.lane.as_str().into(),
            seq(it).into(),
            it.at.into(),
            (&it.input).into(),
        ]
    };
    script.rows(INPUT_ROWS, group, GIVEN, input).await?;
    let event = |(number, commit, event): &(u64, &Prepared, &Event)| {
        [
            (*number as i64).into(),
            commit.lane.as_str().into(),
            seq(commit).into(),
            (&event.rollout).into(),
            commit.at.into(),
            (&event.kind).into(),
            (&event.message).into(),
            (&event.body).into(),
        ]
    };
    script.rows(EVENTS, events, GIVEN, event).await?;
    let effect = |(commit, (ordinal, body)): &(&Prepared, (i64, &String))| {
        [
            commit.lane.as_str().into(),
            seq(commit).into(),
            (*ordinal).into(),
            (*body).into(),
        ]
    };
    script.rows(EFFECTS, &effects, GIVEN, effect).await?;
    rollouts::upsert(&mut script, &rollouts).await?;
    leaves.write(&mut script).await?;
    script.finish().await?;
    Ok(())
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
