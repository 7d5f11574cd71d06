//! Events that others pushed.

use airboss_model::Timestamp;

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::writer::Write;
use crate::{DeliveryFilter, DeliveryRow};

const DELIVER: &str = "INSERT INTO deliveries
    (id, at, sender, event, outcome, build, commit_id, run, release)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING";
const FORGET: &str = "DELETE FROM deliveries WHERE at < $1";
const LIST: &str =
    "SELECT id, at, sender, event, outcome, build, commit_id, run, release FROM deliveries";

pub(super) struct Deliver {
    pub(super) delivery: DeliveryRow,
    pub(super) forget_before: Timestamp,
}

impl Write for Deliver {
    type Answer = bool;
    const WHAT: &'static str = "the noting of a delivery";

    async fn apply(&self, db: &mut Db) -> Result<bool, Fault> {
        Sql::new(FORGET)
            .bind(micros(self.forget_before))
            .execute(&mut *db)
            .await?;
        let it = &self.delivery;
        let build = it.build.as_ref().map(serde_json::Value::to_string);
        let done = Sql::new(DELIVER)
            .bind(&it.id)
            .bind(micros(it.at))
            .bind(&it.sender)
            .bind(&it.event)
            .bind(&it.outcome)
            .bind(&build)
            .bind(&it.commit)
            .bind(&it.run)
            .bind(&it.release.as_ref().map(ToString::to_string))
            .execute(db)
            .await?;
        Ok(done > 0)
    }
}

pub(super) async fn list(
    db: &Pool,
    filter: &DeliveryFilter,
    limit: i64,
) -> Result<Vec<DeliveryRow>, Fault> {
    let mut query = Sql::begin(LIST);
    match filter {
        DeliveryFilter::All => {}
        DeliveryFilter::Id(id) => {
            query.push(" WHERE id = ").push_bind(id);
        }
        // What is not named is NULL here, which equals nothing.
        DeliveryFilter::About {
            release,
            commit,
            run,
        } => {
            query
                .push(" WHERE (commit_id = ")
                .push_bind(commit)
                .push(" OR run = ")
                .push_bind(run)
                .push(" OR release = ")
                .push_bind(&release.as_ref().map(ToString::to_string))
                .push(")");
        }
    }
    query.push(" ORDER BY at DESC, id LIMIT ").push_bind(limit);
    let rows = query.fetch_all(db).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<DeliveryRow, Fault> {
    let build = row.maybe_text("build")?;
    let build = build.map(|text| serde_json::from_str(&text)).transpose();
    Ok(DeliveryRow {
        id: row.text("id")?,
        sender: row.text("sender")?,
        event: row.text("event")?,
        outcome: row.text("outcome")?,
        build: build.map_err(|error| Fault::unreadable(format!("a delivery's build: {error}")))?,
        commit: row.maybe_text("commit_id")?,
        run: row.maybe_text("run")?,
        release: row.maybe_id("release")?,
        at: row.time("at")?,
    })
}
