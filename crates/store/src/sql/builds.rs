//! Where releases come from, and the events that others pushed.

use airboss_model::Timestamp;

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::writer::Write;
use crate::{BuildFilter, BuildRow};

/// What is known stays; what is not is added.
const PUT: &str = "INSERT INTO builds
    (release, commit_id, reference, run, actor, repository, builder, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (release) DO UPDATE SET
        commit_id = coalesce(builds.commit_id, excluded.commit_id),
        reference = coalesce(builds.reference, excluded.reference),
        run = coalesce(builds.run, excluded.run),
        actor = coalesce(builds.actor, excluded.actor),
        repository = coalesce(builds.repository, excluded.repository),
        builder = coalesce(builds.builder, excluded.builder)";
const GET: &str = "SELECT release, commit_id, reference, run, actor, repository, builder, at
    FROM builds WHERE release = $1";
const OF_COMMIT: &str = "SELECT release, commit_id, reference, run, actor, repository, builder, at
    FROM builds WHERE commit_id >= $1 AND commit_id < $2 ORDER BY at DESC, release LIMIT $3";
const OF_RUN: &str = "SELECT release, commit_id, reference, run, actor, repository, builder, at
    FROM builds WHERE run = $1 ORDER BY at DESC, release LIMIT $2";
const DELIVER: &str = "INSERT INTO deliveries (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
const FORGET: &str = "DELETE FROM deliveries WHERE at < $1";

pub(super) struct Put(pub(super) BuildRow);

impl Write for Put {
    type Answer = BuildRow;
    const WHAT: &'static str = "the keeping of a build";

    async fn apply(&self, db: &mut Db) -> Result<BuildRow, Fault> {
        let build = &self.0;
        Sql::new(PUT)
            .bind(build.release.as_str())
            .bind(&build.commit)
            .bind(&build.reference)
            .bind(&build.run)
            .bind(&build.actor)
            .bind(&build.repository)
            .bind(&build.builder)
            .bind(micros(build.at))
            .execute(&mut *db)
            .await?;
        let kept = Sql::new(GET)
            .bind(build.release.as_str())
            .fetch_one(db)
            .await?;
        read(&kept)
    }
}

pub(super) struct Deliver {
    pub(super) id: String,
    pub(super) at: Timestamp,
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
        let done = Sql::new(DELIVER)
            .bind(&self.id)
            .bind(micros(self.at))
            .execute(db)
            .await?;
        Ok(done > 0)
    }
}

pub(super) async fn get(db: &Pool, release: &str) -> Result<Option<BuildRow>, Fault> {
    let row = Sql::new(GET).bind(release).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn list(
    db: &Pool,
    filter: &BuildFilter,
    limit: i64,
) -> Result<Vec<BuildRow>, Fault> {
    let rows = match filter {
        // No hexadecimal digit comes behind `f`.
        BuildFilter::Commit(prefix) => {
            Sql::new(OF_COMMIT)
                .bind(prefix)
                .bind(format!("{prefix}g"))
                .bind(limit)
                .fetch_all(db)
                .await?
        }
        BuildFilter::Run(run) => Sql::new(OF_RUN).bind(run).bind(limit).fetch_all(db).await?,
    };
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<BuildRow, Fault> {
    Ok(BuildRow {
        release: row.id("release")?,
        commit: row.maybe_text("commit_id")?,
        reference: row.maybe_text("reference")?,
        run: row.maybe_text("run")?,
        actor: row.maybe_text("actor")?,
        repository: row.maybe_text("repository")?,
        builder: row.maybe_text("builder")?,
        at: row.time("at")?,
    })
}
