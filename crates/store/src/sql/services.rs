//! Services: every manifest text that was ever in force.

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::journal::{self, Told, Watched};
use super::writer::Write;
use crate::ServiceRow;

/// Adds a version unless the newest one has the same text.
const PUT: &str = "INSERT INTO services (name, version, text, manifest, hash, at)
    SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5 FROM services WHERE name = $1
    HAVING NOT EXISTS (
        SELECT 1 FROM services WHERE name = $1 AND hash = $4
        AND version = (SELECT max(version) FROM services WHERE name = $1)
    )";
const NEXT: &str = "SELECT coalesce(max(version), 0) + 1 AS version FROM services WHERE name = $1";
const NEWEST: &str = "SELECT name, text, manifest, hash, at FROM services
    WHERE name = $1 ORDER BY version DESC LIMIT 1";
const ALL: &str = "SELECT name, text, manifest, hash, at FROM services AS s
    WHERE version = (SELECT max(version) FROM services WHERE name = s.name) ORDER BY name";

pub(super) struct Put {
    name: String,
    text: String,
    manifest: String,
    hash: String,
    at: i64,
}

impl Put {
    pub(super) fn new(row: &ServiceRow) -> Self {
        Self {
            name: row.name.to_string(),
            text: row.text.clone(),
            manifest: row.manifest.to_string(),
            hash: row.hash.to_string(),
            at: micros(row.at),
        }
    }
}

impl Write for Put {
    type Answer = ();
    const WHAT: &'static str = "the keeping of a service's manifest";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let next = Sql::new(NEXT).bind(&self.name).fetch_one(&mut *db).await?;
        let next = next.integer("version")?;
        let new = [(&journal::SERVICES, vec![(&self.name).into(), next.into()])];
        let new = Watched::begin(db, new).await?;
        Sql::new(PUT)
            .bind(&self.name)
            .bind(&self.text)
            .bind(&self.manifest)
            .bind(&self.hash)
            .bind(self.at)
            .execute(&mut *db)
            .await?;
        let told = Told {
            kind: "manifest_kept",
            message: format!(
                "manifest {next} of {} is in force: {}",
                self.name, self.hash
            ),
            by: "",
            at: self.at,
        };
        new.seal(db, told).await
    }
}

pub(super) async fn newest(db: &Pool, name: &str) -> Result<Option<ServiceRow>, Fault> {
    let row = Sql::new(NEWEST).bind(name).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(db: &Pool) -> Result<Vec<ServiceRow>, Fault> {
    let rows = Sql::new(ALL).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<ServiceRow, Fault> {
    Ok(ServiceRow {
        name: row.id("name")?,
        text: row.text("text")?,
        manifest: row.json("manifest")?,
        hash: row.id("hash")?,
        at: row.time("at")?,
    })
}
