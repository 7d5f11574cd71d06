//! Evidence: measurements, and the judge's state after some of them.

use airboss_model::{LaneId, RolloutId};

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::lanes;
use super::writer::Write;
use crate::EvidenceRow;

/// What is asked, for messages.
pub(super) const WHAT: &str = "the recording of measurements";

const ADD: &str = "INSERT INTO evidence (rollout, tick, at, body, snapshot) SELECT * FROM (VALUES ";
const IF_OWNED: &str = ") AS news WHERE EXISTS (SELECT 1 FROM lanes WHERE lane = ";
const UNLESS_THERE: &str = ") ON CONFLICT (rollout, tick) DO NOTHING";
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

/// Measurements of a lane's rollouts, all or none.
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
                body: row.body.to_string(),
                snapshot: row.snapshot.as_ref().map(ToString::to_string),
            })
        };
        Ok(Self {
            lane: lane.clone(),
            epoch,
            rows: rows.iter().map(prepare).collect::<Result<_, Fault>>()?,
        })
    }
}

impl Append {
    async fn add(&self, db: &mut Db, rows: &[Prepared]) -> Result<(), Fault> {
        let mut query = Sql::begin(ADD);
        let mut before = "";
        for row in rows {
            query.push(before).push_row([
                row.rollout.as_str().into(),
                row.tick.into(),
                row.at.into(),
                (&row.body).into(),
                (&row.snapshot).into(),
            ]);
            before = ", ";
        }
        query
            .push(IF_OWNED)
            .push_bind(self.lane.as_str())
            .push(" AND epoch = ")
            .push_bind(integer(self.epoch)?)
            .push(UNLESS_THERE);
        let added = query.execute(&mut *db).await?;
        if added == rows.len() as u64 {
            return Ok(());
        }
        lanes::fence(db, &self.lane, self.epoch).await?;
        // A repeated request brings the same rows; anything else is a second writer.
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
}

impl Write for Append {
    type Answer = ();
    const WHAT: &'static str = WHAT;

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let mut rest = self.rows.as_slice();
        for size in CHUNKS {
            let (chunks, behind) = rest.split_at(rest.len() / size * size);
            for chunk in chunks.chunks_exact(size) {
                self.add(db, chunk).await?;
            }
            rest = behind;
        }
        Ok(())
    }
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
        body: row.json("body")?,
        snapshot: row.maybe_json("snapshot")?,
    })
}
