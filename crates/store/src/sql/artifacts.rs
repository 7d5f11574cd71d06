//! Artifacts whose content is kept.

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Sql};
use super::fault::Fault;
use super::writer::Write;
use crate::ArtifactRow;

const PUT: &str = "INSERT INTO artifacts (digest, size, source, at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (digest) DO NOTHING";
const GET: &str = "SELECT digest, size, source, at FROM artifacts WHERE digest = $1";

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
        Sql::new(PUT)
            .bind(&self.digest)
            .bind(integer(self.size)?)
            .bind(&self.source)
            .bind(self.at)
            .execute(db)
            .await?;
        Ok(())
    }
}

pub(super) async fn get(db: &Pool, digest: &str) -> Result<Option<ArtifactRow>, Fault> {
    let row = Sql::new(GET).bind(digest).fetch_optional(db).await?;
    row.map(|row| {
        Ok(ArtifactRow {
            digest: row.id("digest")?,
            size: row.count("size")?,
            source: row.text("source")?,
            at: row.time("at")?,
        })
    })
    .transpose()
}
