//! Retention of the log: words go, seals stay.
//!
//! Of the events that are old enough the texts are removed and their hashes kept, so that every leaf can
//! still be made, every proof holds and the order of a lane is still complete. An event of the
//! installation says what was removed and why, with the state that the removed events led to, so that
//! decisions behind them can still be made again.
//!
//! What repeats those words or was only their ground goes with them: measurements of rollouts of which
//! no event keeps its words, commands that were answered, effects that are done.

use serde_json::json;

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Sql};
use super::fault::Fault;
use super::journal::{self, Told};
use super::log::{read_record, select_records};
use super::writer::Write;
use crate::Pruning;

const OLD: &str = concat!(
    select_records!("$1"),
    " AND e.lane = $2 AND e.seq <= $3 AND d.number IS NULL ORDER BY e.number LIMIT 1000"
);
const KEEP: &str = "INSERT INTO pruned (number, texts) SELECT * FROM";
const PRUNED_TO: &str = "INSERT INTO pruned_to (lane, seq) VALUES ($1, $2)
    ON CONFLICT (lane) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > pruned_to.seq";
const EVENTS: &str = "UPDATE events SET message = '', body = '' WHERE lane = $1 AND seq <= $2
    AND (message <> '' OR body <> '')";
const INPUTS: &str = "UPDATE inputs SET input = '' WHERE lane = $1 AND seq <= $2 AND input <> ''";
const MEASUREMENTS: &str = "DELETE FROM evidence WHERE rollout IN (SELECT rollout FROM events
    WHERE lane = $1 AND rollout IS NOT NULL GROUP BY rollout HAVING max(seq) <= $2)";
/// Keys and answers stay: the same request again is still the same one.
const COMMANDS: &str = "UPDATE inbox SET body = 'null' WHERE lane = $1 AND answer IS NOT NULL
    AND body <> 'null' AND at <= (SELECT max(at) FROM events WHERE lane = $1 AND seq <= $2)";
const EFFECTS: &str = "DELETE FROM effects WHERE lane = $1 AND seq <= $2 AND outcome IS NOT NULL";
const COMMITS: &str = "SELECT seq FROM lanes WHERE lane = $1";

pub(super) struct Prune(pub(super) Pruning);

impl Write for Prune {
    type Answer = u64;
    const WHAT: &'static str = "the removal of old history";

    async fn apply(&self, db: &mut Db) -> Result<u64, Fault> {
        let Self(pruning) = self;
        let (lane, seq) = (pruning.lane.as_str(), integer(pruning.seq)?);
        if pruning.lane == airboss_model::LaneId::installation() {
            let why = "it says what was removed elsewhere".to_owned();
            return Err(Fault::conflict("the installation's own history", why));
        }
        let commits = Sql::new(COMMITS)
            .bind(lane)
            .fetch_optional(&mut *db)
            .await?;
        if commits.map_or(Ok(0), |row| row.integer("seq"))? < seq {
            let why = format!("{lane} has no commit {seq} yet");
            return Err(Fault::conflict(Self::WHAT, why));
        }
        let (mut removed, mut last) = (0, 0);
        loop {
            let old = Sql::new(OLD).bind(integer(last)?).bind(lane).bind(seq);
            let rows = old.fetch_all(&mut *db).await?;
            let mut script = super::script::Script::new(db, rows.len());
            let mut hashes = Vec::with_capacity(rows.len());
            for row in &rows {
                let record = read_record(row)?;
                last = record.number;
                hashes.push((integer(record.number)?, record.texts().to_bytes()));
            }
            let row = |(number, texts): &(i64, Vec<u8>)| [(*number).into(), texts.clone().into()];
            script
                .rows(KEEP, &hashes, "WHERE column1 IS NOT NULL", row)
                .await?;
            script.finish().await?;
            removed += rows.len() as u64;
            if rows.is_empty() {
                break;
            }
        }
        if removed == 0 {
            return Ok(0);
        }
        let measurements = Sql::new(MEASUREMENTS).bind(lane).bind(seq);
        let measurements = measurements.execute(&mut *db).await?;
        for statement in [PRUNED_TO, EVENTS, INPUTS, COMMANDS, EFFECTS] {
            let sql = Sql::new(statement).bind(lane).bind(seq);
            sql.execute(&mut *db).await?;
        }
        let measured = match measurements {
            1 => "1 measurement".to_owned(),
            count => format!("{count} measurements"),
        };
        let told = Told {
            kind: "history_removed",
            message: format!(
                "the words of {removed} events of {lane} were removed, their seals stay, and {measured} with them: {}",
                pruning.why
            ),
            by: &pruning.by,
            at: micros(pruning.at),
        };
        let body = json!({
            "rows": [{ "table": "pruned_to", "row": { "lane": lane, "seq": seq } }],
            "last": last,
            "events": removed,
            "measurements": measurements,
            "state": pruning.state,
        });
        journal::append(db, told, body).await?;
        Ok(removed)
    }
}
