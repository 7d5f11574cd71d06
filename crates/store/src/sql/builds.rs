//! Where releases come from.

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::journal::{self, Told, Watched};
use super::writer::Write;
use crate::BuildRow;

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

pub(super) struct Put(pub(super) BuildRow);

impl Write for Put {
    type Answer = BuildRow;
    const WHAT: &'static str = "the keeping of a build";

    async fn apply(&self, db: &mut Db) -> Result<BuildRow, Fault> {
        let build = &self.0;
        let told = [(&journal::BUILDS, vec![build.release.as_str().into()])];
        let told = Watched::begin(db, told).await?;
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
        let kept = Sql::new(GET).bind(build.release.as_str());
        let kept = read(&kept.fetch_one(&mut *db).await?)?;
        let news = Told {
            kind: "build_told",
            message: format!("it was told where {} comes from", build.release),
            by: build.actor.as_deref().unwrap_or_default(),
            at: micros(build.at),
        };
        told.seal(db, news).await?;
        Ok(kept)
    }
}

pub(super) async fn get(db: &Pool, release: &str) -> Result<Option<BuildRow>, Fault> {
    let row = Sql::new(GET).bind(release).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
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
