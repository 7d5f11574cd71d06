//! Whether a database is sound: SQLite's own check, references, counts that must agree, and
//! events against their seals.

use super::codec::Columns as _;
use super::db::{Db, Dialect, Pool, Sql};
use super::fault::Fault;
use super::log_check;

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
    for (sql, finding) in AGREEMENTS {
        let broken = Sql::new(sql).fetch_one(&mut *db).await?.integer("broken")?;
        if broken != 0 {
            findings.push(format!("{finding} ({broken})"));
        }
    }
    findings.extend(log_check::check(db).await?);
    Ok(findings)
}

/// Counts that are 0 in a sound database, and what it means where they are not.
const AGREEMENTS: &[(&str, &str)] = &[
    (
        "SELECT (SELECT last FROM event_numbers) - (SELECT count(*) FROM events) AS broken",
        "the events' numbers have gaps",
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
