//! Effects: what shall be done after a commit, until it is done.

use airboss_model::LaneId;

use super::codec::{Columns as _, integer};
use super::db::{Db, Pool, Sql};
use super::fault::Fault;
use super::writer::Write;
use crate::EffectRow;

const UNFINISHED: &str = "SELECT lane, seq, ordinal, body FROM effects
    WHERE lane = $1 AND outcome IS NULL ORDER BY seq, ordinal";
const FINISH: &str = "UPDATE effects SET outcome = coalesce(outcome, $4)
    WHERE lane = $1 AND seq = $2 AND ordinal = $3";

/// Effects to a statement at most.
const ROWS: usize = 32;

/// Adds the statements that insert a commit's effects to a script.
pub(super) fn append(script: &mut Vec<Sql>, lane: &str, seq: i64, bodies: &[String]) {
    for some in (0_i64..).zip(bodies).collect::<Vec<_>>().chunks(ROWS) {
        let mut insert = Sql::begin("INSERT INTO effects (lane, seq, ordinal, body) VALUES ");
        let mut before = "";
        for (ordinal, body) in some {
            insert.push(before);
            insert.push_row([lane.into(), seq.into(), (*ordinal).into(), (*body).into()]);
            before = ", ";
        }
        script.push(insert);
    }
}

/// The end of an effect. The first outcome stands.
pub(super) struct Finish {
    pub(super) lane: LaneId,
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
            .execute(db)
            .await?;
        if finished == 0 {
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
