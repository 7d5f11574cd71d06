//! Effects: what shall be done after a commit, until it is done.

use airboss_model::LaneId;

use super::codec::{Columns as _, integer};
use super::db::{Db, Pool, Sql};
use super::fault::Fault;
use super::lanes;
use super::writer::Write;
use crate::EffectRow;

const UNFINISHED: &str = "SELECT lane, seq, ordinal, body FROM effects
    WHERE lane = $1 AND outcome IS NULL ORDER BY seq, ordinal";
const FINISH: &str = "UPDATE effects SET outcome = coalesce(outcome, $4)
    WHERE lane = $1 AND seq = $2 AND ordinal = $3
    AND EXISTS (SELECT 1 FROM lanes WHERE lanes.lane = $1 AND epoch = $5)";

/// The end of an effect. The first outcome stands.
pub(super) struct Finish {
    pub(super) lane: LaneId,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) ordinal: u32,
    pub(super) outcome: String,
}

impl Write for Finish {
    type Answer = ();
    const WHAT: &'static str = "the finishing of an effect";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let finished = Sql::new(FINISH)
            .bind(self.lane.as_str())
            .bind(integer(self.seq)?)
            .bind(i64::from(self.ordinal))
            .bind(&self.outcome)
            .bind(integer(self.epoch)?)
            .execute(&mut *db)
            .await?;
        if finished == 0 {
            lanes::fence(db, &self.lane, self.epoch).await?;
            return Err(Fault::conflict(
                Self::WHAT,
                format!(
                    "no effect {}/{}/{} exists",
                    self.lane, self.seq, self.ordinal
                ),
            ));
        }
        Ok(())
    }
}

pub(super) async fn unfinished(db: &Pool, lane: &str) -> Result<Vec<EffectRow>, Fault> {
    let rows = Sql::new(UNFINISHED).bind(lane).fetch_all(db).await?;
    rows.iter()
        .map(|row| {
            let ordinal = row.count("ordinal")?;
            Ok(EffectRow {
                lane: row.id("lane")?,
                seq: row.count("seq")?,
                ordinal: u32::try_from(ordinal)
                    .map_err(|why| Fault::unreadable(format!("ordinal {ordinal}: {why}")))?,
                body: row.json("body")?,
            })
        })
        .collect()
}
