//! Whether a database is sound: SQLite's own check, references, counts that must agree, and
//! events against their seals.

use std::collections::{BTreeMap, BTreeSet};

use super::codec::Columns as _;
use super::db::{Db, Dialect, Pool, Sql};
use super::fault::Fault;
use super::{journal, log_check};

/// Findings of SQLite's that are told at most.
const FINDINGS: usize = 20;

/// What SQLite finds in the file's structure; it says "ok" where that is nothing.
pub(crate) async fn integrity(db: &mut Db) -> Result<Vec<String>, Fault> {
    checked(db, "PRAGMA integrity_check(20)").await
}

/// The same, quicker and less thorough.
pub(crate) async fn quick_integrity(db: &mut Db) -> Result<Vec<String>, Fault> {
    checked(db, "PRAGMA quick_check(20)").await
}

async fn checked(db: &mut Db, pragma: &'static str) -> Result<Vec<String>, Fault> {
    let column = match pragma.starts_with("PRAGMA quick") {
        true => "quick_check",
        false => "integrity_check",
    };
    let rows = Sql::new(pragma).fetch_all(db).await?;
    let texts = rows.iter().map(|row| row.text(column));
    let mut findings = texts.collect::<Result<Vec<_>, _>>()?;
    findings.retain(|finding| finding != "ok");
    findings.truncate(FINDINGS);
    Ok(findings)
}

/// Every finding of a thorough check: SQLite's own, references, counts that must agree,
/// and events against their seals.
pub(super) async fn check(readers: &Pool) -> Result<Vec<String>, Fault> {
    let mut db = readers.take().await?;
    let dialect = db.dialect();
    db.run(dialect.begin_reading()).await?;
    let findings = findings(&mut db).await;
    db.run(dialect.commit(false)).await?;
    findings
}

async fn findings(db: &mut Db) -> Result<Vec<String>, Fault> {
    let mut findings = Vec::new();
    if db.dialect() == Dialect::Sqlite {
        findings = integrity(db).await?;
        let missing = Sql::new("SELECT count(*) AS broken FROM pragma_foreign_key_check");
        let missing = missing.fetch_one(&mut *db).await?.integer("broken")?;
        if missing != 0 {
            findings.push(format!("rows refer to rows that are missing ({missing})"));
        }
    }
    findings.extend(guards(db).await?);
    for (sql, finding) in AGREEMENTS {
        let broken = Sql::new(sql).fetch_one(&mut *db).await?.integer("broken")?;
        if broken != 0 {
            findings.push(format!("{finding} ({broken})"));
        }
    }
    findings.extend(log_check::check(db).await?);
    findings.extend(journal::check(db).await?);
    Ok(findings)
}

const SQLITE_SCHEMA: &str = "SELECT type || ' ' || name AS name, sql FROM sqlite_schema
    WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'";
/// The names of guards that are in force.
const POSTGRES_GUARDS: &str = "SELECT tgname::text AS name FROM pg_trigger
    WHERE NOT tgisinternal AND tgenabled <> 'D'";

/// What of the schema is not as this Airboss makes it; on PostgreSQL, of the log's guards alone.
async fn guards(db: &mut Db) -> Result<Vec<String>, Fault> {
    let mut fresh = super::fresh().await?;
    let rows = Sql::new(SQLITE_SCHEMA).fetch_all(&mut fresh).await?;
    fresh.close().await?;
    let mut wanted = BTreeMap::new();
    for row in &rows {
        wanted.insert(row.text("name")?, row.text("sql")?);
    }
    if db.dialect() == Dialect::Postgres {
        let rows = Sql::new(POSTGRES_GUARDS).fetch_all(db).await?;
        let here = rows.iter().map(|row| row.text("name"));
        let here: BTreeSet<String> = here.collect::<Result<_, _>>()?;
        wanted.retain(|name, _| {
            name.strip_prefix("trigger ")
                .is_some_and(|guard| !here.contains(guard))
        });
    } else {
        for row in &Sql::new(SQLITE_SCHEMA).fetch_all(db).await? {
            let name = row.text("name")?;
            if wanted
                .get(&name)
                .is_some_and(|made| row.text("sql").ok().as_ref() == Some(made))
            {
                wanted.remove(&name);
            }
        }
    }
    let missing = wanted.into_keys();
    Ok(missing
        .map(|name| format!("the {name} is missing, or is not as Airboss makes it"))
        .collect())
}

/// Counts that are 0 in a sound database, and what it means where they are not.
const AGREEMENTS: &[(&str, &str)] = &[
    (
        "SELECT (SELECT last FROM event_numbers) - (SELECT count(*) FROM events) AS broken",
        "the events' numbers have gaps",
    ),
    (
        "SELECT count(*) AS broken FROM (SELECT DISTINCT lane FROM inputs) AS decided
            WHERE NOT EXISTS (SELECT 1 FROM lanes WHERE lanes.lane = decided.lane)",
        "there are inputs of decisions of lanes that are not there",
    ),
    (
        "SELECT count(*) AS broken FROM pruned
            WHERE NOT EXISTS (SELECT 1 FROM events WHERE events.number = pruned.number)",
        "there are hashes of removed words without their events",
    ),
    (
        "SELECT count(*) AS broken FROM lanes WHERE pending <>
            (SELECT count(*) FROM inbox WHERE inbox.lane = lanes.lane AND answer IS NULL)",
        "lanes count their waiting commands wrongly",
    ),
    (
        "SELECT count(*) AS broken FROM lanes WHERE seq <>
            (SELECT count(*) FROM inputs WHERE inputs.lane = lanes.lane)",
        "lanes miss inputs of their commits",
    ),
];
