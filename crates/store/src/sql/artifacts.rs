//! Artifacts, where they were taken from, and whether their content is kept.

use airboss_model::{Digest, Origin, Timestamp};

use super::codec::{Columns as _, integer, limit, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::journal::{self, Told, Watched};
use super::writer::Write;
use crate::{ArtifactFilter, ArtifactRow, KeptArtifact, KnownOrigin, Removal, TagSeen};

/// Most artifacts in one answer.
const MOST: u32 = 10_000;

const PUT: &str =
    "INSERT INTO artifacts (digest, size, source, at, kept_at) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (digest) DO UPDATE
    SET kept_at = excluded.kept_at, removed_at = NULL, removed_why = NULL";
const GET: &str =
    "SELECT digest, size, source, at FROM artifacts WHERE digest = $1 AND removed_at IS NULL";
// Artifacts of before there was `kept_at` were kept when they were registered.
const LIST: &str = "SELECT digest, size, source, at, coalesce(kept_at, at) AS kept_at, removed_at,
        removed_why FROM artifacts WHERE digest IS NOT NULL";
const ORIGINS: &str = "SELECT o.repository, o.tag, o.resolved, o.manifest, o.platform, o.at,
        t.digest AS seen, t.at AS seen_at
    FROM origins o LEFT JOIN tags t ON t.repository = o.repository AND t.tag = o.tag AND o.tag <> ''
    WHERE o.digest = $1 ORDER BY o.at DESC, o.repository, o.tag";
const RELEASES: &str = "SELECT id FROM releases WHERE digest = $1 ORDER BY number";
const PUT_ORIGIN: &str =
    "INSERT INTO origins (digest, repository, tag, resolved, manifest, platform, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
const PUT_TAG: &str = "INSERT INTO tags (repository, tag, digest, at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, at = excluded.at
    WHERE excluded.at >= tags.at";
const REMOVE: &str = "UPDATE artifacts SET removed_at = $2, removed_why = $3
    WHERE digest = $1 AND removed_at IS NULL AND coalesce(kept_at, at) <= $4";

pub(super) struct Put {
    digest: String,
    size: u64,
    source: String,
    at: i64,
}

impl Put {
    pub(super) fn new(row: &ArtifactRow) -> Self {
        Self {
            digest: row.digest.to_string(),
            size: row.size,
            source: row.source.clone(),
            at: micros(row.at),
        }
    }
}

impl Write for Put {
    type Answer = ();
    const WHAT: &'static str = "the registration of an artifact";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let new = [(&journal::ARTIFACTS, vec![(&self.digest).into()])];
        let new = Watched::begin(db, new).await?;
        Sql::new(PUT)
            .bind(&self.digest)
            .bind(integer(self.size)?)
            .bind(&self.source)
            .bind(self.at)
            .execute(&mut *db)
            .await?;
        let told = Told {
            kind: "artifact_kept",
            message: format!("{} is kept, {} bytes", self.digest, self.size),
            by: "",
            at: self.at,
        };
        new.seal(db, told).await
    }
}

pub(super) struct PutOrigin {
    digest: String,
    origin: Origin,
    tag: Option<PutTag>,
    at: i64,
}

impl PutOrigin {
    pub(super) fn new(digest: &Digest, origin: &Origin, at: Timestamp) -> Self {
        let seen = TagSeen {
            digest: origin.resolved,
            at,
        };
        let tag = origin.tag.as_deref();
        Self {
            digest: digest.to_string(),
            tag: tag.map(|tag| PutTag::new(&origin.repository, tag, &seen)),
            origin: origin.clone(),
            at: micros(at),
        }
    }
}

impl Write for PutOrigin {
    type Answer = ();
    const WHAT: &'static str = "the noting of an artifact's origin";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let tag = self.origin.tag.as_deref().unwrap_or_default();
        let key = vec![
            (&self.digest).into(),
            (&self.origin.repository).into(),
            tag.into(),
            self.origin.resolved.to_string().into(),
        ];
        let new = Watched::begin(db, [(&journal::ORIGINS, key)]).await?;
        Sql::new(PUT_ORIGIN)
            .bind(&self.digest)
            .bind(&self.origin.repository)
            .bind(tag)
            .bind(self.origin.resolved.to_string())
            .bind(self.origin.manifest.to_string())
            .bind(&self.origin.platform)
            .bind(self.at)
            .execute(&mut *db)
            .await?;
        let told = Told {
            kind: "origin_noted",
            message: format!("{} was taken from {}", self.digest, self.origin.repository),
            by: "",
            at: self.at,
        };
        new.seal(db, told).await?;
        match &self.tag {
            Some(tag) => tag.apply(db).await,
            None => Ok(()),
        }
    }
}

pub(super) struct PutTag {
    repository: String,
    tag: String,
    digest: String,
    at: i64,
}

impl PutTag {
    pub(super) fn new(repository: &str, tag: &str, seen: &TagSeen) -> Self {
        Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            digest: seen.digest.to_string(),
            at: micros(seen.at),
        }
    }
}

impl Write for PutTag {
    type Answer = ();
    const WHAT: &'static str = "the noting of a tag";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        Sql::new(PUT_TAG)
            .bind(&self.repository)
            .bind(&self.tag)
            .bind(&self.digest)
            .bind(self.at)
            .execute(db)
            .await?;
        Ok(())
    }
}

pub(super) struct Remove {
    digest: String,
    why: String,
    at: i64,
    planned: i64,
}

impl Remove {
    pub(super) fn new(digest: &Digest, removal: &Removal, planned: Timestamp) -> Self {
        Self {
            digest: digest.to_string(),
            why: removal.why.clone(),
            at: micros(removal.at),
            planned: micros(planned),
        }
    }
}

impl Write for Remove {
    type Answer = bool;
    const WHAT: &'static str = "the removal of an artifact";

    async fn apply(&self, db: &mut Db) -> Result<bool, Fault> {
        let gone = [(&journal::ARTIFACTS, vec![(&self.digest).into()])];
        let gone = Watched::begin(db, gone).await?;
        let changed = Sql::new(REMOVE)
            .bind(&self.digest)
            .bind(self.at)
            .bind(&self.why)
            .bind(self.planned)
            .execute(&mut *db)
            .await?;
        let told = Told {
            kind: "artifact_removed",
            message: format!("the content of {} was removed: {}", self.digest, self.why),
            by: "",
            at: self.at,
        };
        gone.seal(db, told).await?;
        Ok(changed > 0)
    }
}

pub(super) async fn get(db: &Pool, digest: &str) -> Result<Option<ArtifactRow>, Fault> {
    let row = Sql::new(GET).bind(digest).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn list(db: &Pool, filter: &ArtifactFilter) -> Result<Vec<KeptArtifact>, Fault> {
    let mut sql = Sql::begin(LIST);
    if let Some(digest) = &filter.digest {
        sql.push(" AND digest = ").push_bind(digest.to_string());
    }
    if let Some(manifest) = &filter.manifest {
        sql.push(" AND digest IN (SELECT digest FROM origins WHERE manifest = ")
            .push_bind(manifest.to_string())
            .push(" OR resolved = ")
            .push_bind(manifest.to_string())
            .push(")");
    }
    if let Some((repository, tag)) = &filter.tag {
        sql.push(" AND digest IN (SELECT digest FROM origins WHERE repository = ")
            .push_bind(repository)
            .push(" AND tag = ")
            .push_bind(tag)
            .push(")");
    }
    sql.push(match filter.kept {
        Some(true) => " AND removed_at IS NULL",
        Some(false) => " AND removed_at IS NOT NULL",
        None => "",
    });
    sql.push(" ORDER BY coalesce(kept_at, at) DESC, digest LIMIT ")
        .push_bind(limit(filter.limit, 100, MOST));
    let rows = sql.fetch_all(db).await?;
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let artifact = read(row)?;
        let digest = artifact.digest.to_string();
        let origins = Sql::new(ORIGINS).bind(&digest).fetch_all(db).await?;
        let releases = Sql::new(RELEASES).bind(&digest).fetch_all(db).await?;
        let removed = match row.maybe_time("removed_at")? {
            Some(at) => Some(Removal {
                at,
                why: row.maybe_text("removed_why")?.unwrap_or_default(),
            }),
            None => None,
        };
        all.push(KeptArtifact {
            artifact,
            kept_at: row.time("kept_at")?,
            removed,
            origins: origins.iter().map(origin).collect::<Result<_, _>>()?,
            releases: releases
                .iter()
                .map(|row| row.id("id"))
                .collect::<Result<_, _>>()?,
        });
    }
    Ok(all)
}

fn read(row: &Row) -> Result<ArtifactRow, Fault> {
    Ok(ArtifactRow {
        digest: row.id("digest")?,
        size: row.count("size")?,
        source: row.text("source")?,
        at: row.time("at")?,
    })
}

fn origin(row: &Row) -> Result<KnownOrigin, Fault> {
    let seen = match (row.maybe_id("seen")?, row.maybe_time("seen_at")?) {
        (Some(digest), Some(at)) => Some(TagSeen { digest, at }),
        _ => None,
    };
    Ok(KnownOrigin {
        origin: Origin {
            repository: row.text("repository")?,
            tag: Some(row.text("tag")?).filter(|tag| !tag.is_empty()),
            resolved: row.id("resolved")?,
            manifest: row.id("manifest")?,
            platform: row.maybe_text("platform")?,
        },
        at: row.time("at")?,
        seen,
    })
}
