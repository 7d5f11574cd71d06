//! Releases: versions pinned to digests, and the numbers of rollouts.

use airboss_model::{Digest, ReleaseId, RolloutId, ServiceName};

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::journal::{self, Told, Watched};
use super::writer::Write;
use crate::{DOCUMENTS_SEARCHED, ReleaseFilter, ReleaseRow, StoreError};

const CREATE: &str = "INSERT INTO releases (id, service, digest, manifest_hash, created_by, at)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
const GET: &str = "SELECT id, digest, manifest_hash, created_by, at FROM releases WHERE id = $1";
const OF_SERVICE: &str = "SELECT id, digest, manifest_hash, created_by, at FROM releases
    WHERE service = $1 ORDER BY number DESC LIMIT $2";
const FIND: &str = "SELECT id, digest, manifest_hash, created_by, at FROM releases WHERE ";
const NEXT_ROLLOUT: &str = "INSERT INTO rollout_numbers (service, last) VALUES ($1, 1)
    ON CONFLICT (service) DO UPDATE SET last = rollout_numbers.last + 1 RETURNING last";

pub(super) struct Create {
    id: ReleaseId,
    digest: Digest,
    manifest_hash: String,
    created_by: String,
    at: i64,
}

impl Create {
    pub(super) fn new(row: &ReleaseRow) -> Self {
        Self {
            id: row.id.clone(),
            digest: row.digest,
            manifest_hash: row.manifest_hash.to_string(),
            created_by: row.created_by.clone(),
            at: micros(row.at),
        }
    }
}

impl Write for Create {
    type Answer = ReleaseRow;
    const WHAT: &'static str = "the creation of a release";

    async fn apply(&self, db: &mut Db) -> Result<ReleaseRow, Fault> {
        let new = [(&journal::RELEASES, vec![self.id.as_str().into()])];
        let new = Watched::begin(db, new).await?;
        Sql::new(CREATE)
            .bind(self.id.as_str())
            .bind(self.id.service().as_str())
            .bind(self.digest.to_string())
            .bind(&self.manifest_hash)
            .bind(&self.created_by)
            .bind(self.at)
            .execute(&mut *db)
            .await?;
        let kept = Sql::new(GET).bind(self.id.as_str());
        let kept = read(&kept.fetch_one(&mut *db).await?)?;
        if kept.digest == self.digest {
            let told = Told {
                kind: "release_registered",
                message: format!("{} stands for {} from now on", self.id, self.digest),
                by: &self.created_by,
                at: self.at,
            };
            new.seal(db, told).await?;
            return Ok(kept);
        }
        Err(Fault::Refused(StoreError::VersionPinned {
            release: self.id.clone(),
            existing: kept.digest,
            offered: self.digest,
        }))
    }
}

pub(super) struct NextRollout(pub(super) ServiceName);

impl Write for NextRollout {
    type Answer = RolloutId;
    const WHAT: &'static str = "the numbering of a rollout";

    async fn apply(&self, db: &mut Db) -> Result<RolloutId, Fault> {
        let row = Sql::new(NEXT_ROLLOUT)
            .bind(self.0.as_str())
            .fetch_one(db)
            .await?;
        Ok(RolloutId::new(&self.0, row.count("last")?))
    }
}

pub(super) async fn get(db: &Pool, id: &str) -> Result<Option<ReleaseRow>, Fault> {
    let row = Sql::new(GET).bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn of_service(
    db: &Pool,
    service: &str,
    limit: i64,
) -> Result<Vec<ReleaseRow>, Fault> {
    let rows = Sql::new(OF_SERVICE)
        .bind(service)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

/// Releases of any service, newest first.
pub(super) async fn find(
    db: &Pool,
    filter: &ReleaseFilter,
    limit: i64,
) -> Result<Vec<ReleaseRow>, Fault> {
    let rows = finding(filter, limit)?.fetch_all(db).await?;
    rows.iter().map(read).collect()
}

fn finding(filter: &ReleaseFilter, limit: i64) -> Result<Sql, Fault> {
    let mut query = Sql::begin(FIND);
    match filter {
        // As in the index `releases_of_version`.
        ReleaseFilter::Version(version) => query
            .push("substr(id, length(service) + 2) = ")
            .push_bind(version),
        ReleaseFilter::Digest(prefix) => begins(&mut query, "digest", prefix),
        ReleaseFilter::By(name) => query.push("created_by = ").push_bind(name),
        ReleaseFilter::Since(at) => query.push("at >= ").push_bind(micros(*at)),
        ReleaseFilter::Commit(prefix) => {
            query.push("id IN (SELECT release FROM builds WHERE ");
            begins(&mut query, "commit_id", prefix).push(")")
        }
        ReleaseFilter::Run(run) => {
            query
                .push("id IN (SELECT release FROM builds WHERE run = ")
                .push_bind(run)
                // Attempts and the like come behind a slash; `0` is what comes behind that.
                .push(" OR (run >= ")
                .push_bind(format!("{run}/"))
                .push(" AND run < ")
                .push_bind(format!("{run}0"))
                .push(")");
            if run.bytes().all(|it| it.is_ascii_digit()) {
                for pattern in [format!("%/{run}"), format!("%/{run}/%")] {
                    query.push(" OR run LIKE ").push_bind(pattern);
                }
            }
            query.push(")")
        }
        ReleaseFilter::Actor(name) => query
            .push("id IN (SELECT release FROM builds WHERE actor = ")
            .push_bind(name)
            .push(")"),
        ReleaseFilter::Image(prefix) => {
            query.push("digest IN (SELECT digest FROM origins WHERE (");
            begins(&mut query, "resolved", prefix).push(") OR (");
            begins(&mut query, "manifest", prefix).push("))")
        }
        ReleaseFilter::Document(prefix) => {
            query.push("digest IN (SELECT digest FROM attestations WHERE ");
            begins(&mut query, "id", prefix).push(")")
        }
        // As in `events::NAMING`.
        ReleaseFilter::Said(text) => query
            .push("digest IN (SELECT digest FROM (SELECT digest, facts FROM attestations ORDER BY number DESC LIMIT ")
            .push_bind(integer(DOCUMENTS_SEARCHED)?)
            .push(") AS newest WHERE replace(facts, ")
            .push_bind(text)
            .push(", '') <> facts)"),
    };
    query.push(" ORDER BY number DESC LIMIT ").push_bind(limit);
    Ok(query)
}

/// Hexadecimal digits are below `g`.
fn begins<'a>(query: &'a mut Sql, column: &str, prefix: &str) -> &'a mut Sql {
    query
        .push(column)
        .push(" >= ")
        .push_bind(prefix)
        .push(" AND ")
        .push(column)
        .push(" < ")
        .push_bind(format!("{prefix}g"))
}

fn read(row: &Row) -> Result<ReleaseRow, Fault> {
    Ok(ReleaseRow {
        id: row.id("id")?,
        digest: row.id("digest")?,
        manifest_hash: row.id("manifest_hash")?,
        created_by: row.text("created_by")?,
        at: row.time("at")?,
    })
}
