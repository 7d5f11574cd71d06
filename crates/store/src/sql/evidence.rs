//! Evidence: measurements, and the judge's state after some of them.

use airboss_model::{LaneId, RolloutId};

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::lanes;
use super::writer::Together;
use crate::{EvidenceRow, StoreError};

/// What is asked, for messages.
pub(super) const WHAT: &str = "the recording of measurements";

const ADD: &str = "INSERT INTO evidence (rollout, tick, at, body, snapshot)
    SELECT column1, column2, column3, column4, column5 FROM (VALUES ";
const IF_OWNED: &str = ") AS news WHERE EXISTS
    (SELECT 1 FROM lanes WHERE lane = column6 AND epoch = column7) ON CONFLICT (rollout, tick) DO NOTHING";
/// Rows to a statement: as many of the first size as fit, then of the next. Few sizes, so that
/// few statements are prepared.
const CHUNKS: [usize; 3] = [64, 8, 1];
const IS_SAME: &str = "SELECT count(*) AS same FROM evidence WHERE rollout = $1 AND tick = $2
    AND at = $3 AND body = $4 AND snapshot IS NOT DISTINCT FROM $5";
const NEWEST_SNAPSHOT: &str = "SELECT rollout, tick, at, body, snapshot FROM evidence
    WHERE rollout = $1 AND snapshot IS NOT NULL ORDER BY tick DESC LIMIT 1";
const FROM: &str = "SELECT rollout, tick, at, body, snapshot FROM evidence
    WHERE rollout = $1 AND tick >= $2 ORDER BY tick LIMIT $3";

struct Prepared {
    rollout: RolloutId,
    tick: i64,
    at: i64,
    body: String,
    snapshot: Option<String>,
}

/// Measurements of a lane's rollouts, all or none. Those of many lanes go together.
pub(super) struct Append {
    lane: LaneId,
    epoch: u64,
    rows: Vec<Prepared>,
}

impl Append {
    pub(super) fn new(lane: &LaneId, epoch: u64, rows: &[EvidenceRow]) -> Result<Self, Fault> {
        let prepare = |row: &EvidenceRow| {
            Ok(Prepared {
                rollout: row.rollout.clone(),
                tick: integer(row.tick)?,
                at: micros(row.at),
                body: row.body.clone(),
                snapshot: row.snapshot.clone(),
            })
        };
        Ok(Self {
            lane: lane.clone(),
            epoch,
            rows: rows.iter().map(prepare).collect::<Result<_, Fault>>()?,
        })
    }
}

impl Together for Append {
    type Answer = ();
    const WHAT: &'static str = WHAT;
    const GROUP: usize = CHUNKS[0];

    async fn apply(db: &mut Db, group: &[&Self]) -> Result<Option<Vec<()>>, Fault> {
        let all: Vec<_> = group
            .iter()
            .flat_map(|append| append.rows.iter().map(move |row| (*append, row)))
            .collect();
        if add(db, &all).await? == all.len() as u64 {
            return Ok(Some(vec![(); group.len()]));
        }
        let [only] = group else {
            return Ok(None);
        };
        lanes::fence(db, &only.lane, only.epoch).await?;
        are_same(db, &only.rows).await.map(|()| Some(vec![()]))
    }

    fn refused(&self) -> StoreError {
        StoreError::Fenced {
            lane: self.lane.clone(),
            seq: None,
            epoch: self.epoch,
        }
    }
}

/// Adds rows whose lanes are still owned and that are not there yet; returns how many.
async fn add(db: &mut Db, mut rest: &[(&Append, &Prepared)]) -> Result<u64, Fault> {
    let mut added = 0;
    for size in CHUNKS {
        let (chunks, behind) = rest.split_at(rest.len() / size * size);
        for chunk in chunks.chunks_exact(size) {
            let mut query = Sql::begin(ADD);
            let mut before = "";
            for (append, row) in chunk {
                query.push(before).push_row([
                    row.rollout.as_str().into(),
                    row.tick.into(),
                    row.at.into(),
                    (&row.body).into(),
                    (&row.snapshot).into(),
                    append.lane.as_str().into(),
                    integer(append.epoch)?.into(),
                ]);
                before = ", ";
            }
            query.push(IF_OWNED);
            added += query.execute(&mut *db).await?;
        }
        rest = behind;
    }
    Ok(added)
}

/// A repeated request brings the same rows; anything else is a second writer.
async fn are_same(db: &mut Db, rows: &[Prepared]) -> Result<(), Fault> {
    for row in rows {
        let same = Sql::new(IS_SAME)
            .bind(row.rollout.as_str())
            .bind(row.tick)
            .bind(row.at)
            .bind(&row.body)
            .bind(&row.snapshot)
            .fetch_one(&mut *db)
            .await?;
        if same.count("same")? == 0 {
            return Err(Fault::conflict(
                WHAT,
                format!(
                    "tick {} of {} is already recorded with other content",
                    row.tick, row.rollout
                ),
            ));
        }
    }
    Ok(())
}

pub(super) async fn since_snapshot(
    db: &Pool,
    rollout: &str,
) -> Result<(Option<EvidenceRow>, Vec<EvidenceRow>), Fault> {
    let snapshot = Sql::new(NEWEST_SNAPSHOT)
        .bind(rollout)
        .fetch_optional(db)
        .await?;
    let snapshot = snapshot.as_ref().map(read).transpose()?;
    let next = snapshot.as_ref().map_or(0, |row| row.tick + 1);
    // Rows only ever appear, so the second read continues the first one without a gap.
    let rest = from(db, rollout, next, i64::MAX).await?;
    Ok((snapshot, rest))
}

pub(super) async fn from(
    db: &Pool,
    rollout: &str,
    tick: u64,
    limit: i64,
) -> Result<Vec<EvidenceRow>, Fault> {
    let rows = Sql::new(FROM)
        .bind(rollout)
        .bind(integer(tick)?)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<EvidenceRow, Fault> {
    Ok(EvidenceRow {
        rollout: row.id("rollout")?,
        tick: row.count("tick")?,
        at: row.time("at")?,
        body: row.text("body")?,
        snapshot: row.maybe_text("snapshot")?,
    })
}
