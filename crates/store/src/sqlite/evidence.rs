//! Evidence: measurements, and the judge's state after some of them.

use airboss_model::RolloutId;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::codec::{Columns as _, integer, micros};
use super::fault::Fault;
use super::writer::Write;
use crate::EvidenceRow;

const ADD: &str = "INSERT INTO evidence (rollout, tick, at, body, snapshot)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (rollout, tick) DO NOTHING";
const IS_SAME: &str = "SELECT at = $3 AND body = $4 AND snapshot IS NOT DISTINCT FROM $5
    FROM evidence WHERE rollout = $1 AND tick = $2";
const NEWEST_SNAPSHOT: &str = "SELECT rollout, tick, at, body, snapshot FROM evidence
    WHERE rollout = $1 AND snapshot IS NOT NULL ORDER BY tick DESC LIMIT 1";
const FROM: &str = "SELECT rollout, tick, at, body, snapshot FROM evidence
    WHERE rollout = $1 AND tick >= $2 ORDER BY tick LIMIT $3";

struct Prepared {
    rollout: RolloutId,
    tick: u64,
    at: i64,
    body: String,
    snapshot: Option<String>,
}

/// Measurements of any rollouts, all or none.
pub(super) struct Append(Vec<Prepared>);

impl Append {
    pub(super) fn new(rows: &[EvidenceRow]) -> Self {
        let prepare = |row: &EvidenceRow| Prepared {
            rollout: row.rollout.clone(),
            tick: row.tick,
            at: micros(row.at),
            body: row.body.to_string(),
            snapshot: row.snapshot.as_ref().map(ToString::to_string),
        };
        Self(rows.iter().map(prepare).collect())
    }
}

impl Write for Append {
    type Answer = ();
    const WHAT: &'static str = "the recording of measurements";

    async fn apply(&self, db: &mut SqliteConnection) -> Result<(), Fault> {
        for row in &self.0 {
            let tick = integer(row.tick)?;
            let added = sqlx::query(ADD)
                .bind(row.rollout.as_str())
                .bind(tick)
                .bind(row.at)
                .bind(&row.body)
                .bind(&row.snapshot)
                .execute(&mut *db)
                .await?;
            if added.rows_affected() == 1 {
                continue;
            }
            // A repeated request brings the same row; anything else is a second writer.
            let same: bool = sqlx::query_scalar(IS_SAME)
                .bind(row.rollout.as_str())
                .bind(tick)
                .bind(row.at)
                .bind(&row.body)
                .bind(&row.snapshot)
                .fetch_one(&mut *db)
                .await?;
            if !same {
                return Err(Fault::conflict(
                    Self::WHAT,
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

pub(super) async fn since_snapshot(
    db: &SqlitePool,
    rollout: &str,
) -> Result<(Option<EvidenceRow>, Vec<EvidenceRow>), Fault> {
    let snapshot = sqlx::query(NEWEST_SNAPSHOT)
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
    db: &SqlitePool,
    rollout: &str,
    tick: u64,
    limit: i64,
) -> Result<Vec<EvidenceRow>, Fault> {
    let rows = sqlx::query(FROM)
        .bind(rollout)
        .bind(integer(tick)?)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> Result<EvidenceRow, Fault> {
    Ok(EvidenceRow {
        rollout: row.id("rollout")?,
        tick: row.count("tick")?,
        at: row.time("at")?,
        body: row.json("body")?,
        snapshot: row.maybe_json("snapshot")?,
    })
}
