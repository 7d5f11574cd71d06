//! Whether the events are still those that were sealed, and if not, which is the first.

use std::collections::BTreeMap;

use airboss_ledger::{Frontier, Hash};
use futures_util::TryStreamExt as _;

use super::codec::{Columns as _, integer};
use super::db::{Db, Sql};
use super::fault::{Broken, Fault};
use super::log::{self, HEAD, read_hash, read_head, read_record, select_records};

/// Events that are compared at once.
const CHUNK: u64 = 1_024;
/// Events that are told at most; the first is what matters.
const FINDINGS: usize = 20;

const EVENTS: &str = select_records!("$1 AND e.number <= $2");
const HASHES: &str = "SELECT place, hash FROM log_hashes
    WHERE level = $1 AND place >= $2 AND place < $3";
const ENDS: &str = "SELECT
    coalesce((SELECT max(number) FROM events), 0) AS newest,
    coalesce((SELECT min(number) FROM events), 1) AS oldest,
    coalesce((SELECT max(place) + 1 FROM log_hashes WHERE level = 0), 0) AS leaves,
    (SELECT last FROM event_numbers WHERE \"only\" = 1) AS numbered,
    (SELECT count(*) FROM log_hashes WHERE level > 0) AS inner_hashes";

/// What is kept of an event once its leaf is made.
struct Found {
    lane: String,
    seq: u64,
    kind: String,
    is_wordless: bool,
    /// None where it cannot be a leaf.
    leaf: Option<Hash>,
}

/// Every finding, the first wrong event first. The caller holds a transaction, so that commits
/// meanwhile do not show.
pub(super) async fn check(db: &mut Db) -> Result<Vec<String>, Fault> {
    let head = read_head(&Sql::new(HEAD).fetch_one(&mut *db).await?)?;
    let ends = Sql::new(ENDS).fetch_one(&mut *db).await?;
    let (newest, leaves) = (ends.count("newest")?, ends.count("leaves")?);
    let mut findings = Vec::new();
    if ends.integer("oldest")? < 1 {
        findings.push("there is an event with a number below 1, which nobody sealed".to_owned());
    }
    if ends.count("numbered")? != head.size() {
        findings.push(format!(
            "{} events were numbered and {} were sealed",
            ends.count("numbered")?,
            head.size()
        ));
    }
    let mut removed: BTreeMap<String, u64> = BTreeMap::new();
    let mut tree = Some(Frontier::default());
    let mut inner: Vec<(u32, u64, Hash)> = Vec::new();
    let end = newest.max(leaves).max(head.size());
    let mut after = 0;
    while after < end && findings.len() < FINDINGS {
        let upto = (after + CHUNK).min(end);
        let records = records(db, after, upto, &mut findings).await?;
        for record in records.values().filter(|it| it.is_wordless) {
            removed.insert(record.lane.clone(), record.seq);
        }
        let hashes = hashes(db, 0, after, upto).await?;
        for number in after + 1..=upto {
            let hash = hashes.get(&(number - 1));
            if let Some(finding) = compare(number, records.get(&number), hash, head.size())
                && findings.len() < FINDINGS
            {
                findings.push(finding);
            }
            // Without one leaf nothing can be said of the tree above it.
            tree = tree.take().zip(hash).map(|(mut tree, hash)| {
                tree.append(*hash, |level, place, hash| {
                    if level % 8 == 0 && level > 0 {
                        inner.push((level / 8, place, hash));
                    }
                });
                tree
            });
        }
        after = upto;
    }
    if after < end {
        findings.truncate(FINDINGS);
        return Ok(findings);
    }
    findings.extend(unfounded(db, &removed).await?);
    if tree.as_ref() != Some(&head) {
        findings.push("the leaves' hashes do not lead to the ledger's root".to_owned());
    } else if inner_differ(db, &inner, ends.count("inner_hashes")?).await? {
        findings.push("the ledger's inner hashes are not those of its leaves".to_owned());
    }
    Ok(findings)
}

fn compare(
    number: u64,
    record: Option<&Found>,
    sealed: Option<&Hash>,
    size: u64,
) -> Option<String> {
    match (record, sealed) {
        (None, Some(_)) => Some(format!("event {number} was removed after it was sealed")),
        (None, None) => Some(format!("event {number} is missing, and so is its seal")),
        (Some(it), None) if number > size => Some(format!(
            "event {number} ({} of {}) was added past the ledger: nobody sealed it",
            it.kind, it.lane
        )),
        (Some(it), None) => Some(format!(
            "the seal of event {number} ({} of {}) was removed",
            it.kind, it.lane
        )),
        (Some(it), Some(sealed)) if it.leaf.as_ref() != Some(sealed) => Some(format!(
            "event {number} ({} of {}), the input of its decision or the event before it in its lane is not what was sealed",
            it.kind, it.lane
        )),
        _ => None,
    }
}

/// Words that are gone and that nobody said to have been removed. That what was said is sealed is
/// checked with the other rows of the installation.
async fn unfounded(db: &mut Db, removed: &BTreeMap<String, u64>) -> Result<Vec<String>, Fault> {
    let rows = Sql::new("SELECT lane, seq FROM pruned_to")
        .fetch_all(db)
        .await?;
    let mut told = BTreeMap::new();
    for row in &rows {
        told.insert(row.text("lane")?, row.count("seq")?);
    }
    let beyond = removed
        .iter()
        .filter(|(lane, seq)| told.get(*lane).is_none_or(|to| to < *seq));
    Ok(beyond
        .map(|(lane, seq)| {
            format!(
                "the words of {lane} up to commit {seq} are gone, and nothing says that they were removed"
            )
        })
        .collect())
}

async fn inner_differ(db: &mut Db, inner: &[(u32, u64, Hash)], stored: u64) -> Result<bool, Fault> {
    if stored != inner.len() as u64 {
        return Ok(true);
    }
    let mut levels: BTreeMap<u32, Vec<Hash>> = BTreeMap::new();
    for (level, _, hash) in inner {
        levels.entry(*level).or_default().push(*hash);
    }
    for (level, expected) in levels {
        let found = hashes(db, level, 0, expected.len() as u64).await?;
        if !found.values().eq(&expected) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Events by their number, each hashed while the database reads the next. One that cannot be read is
/// told and left out.
async fn records(
    db: &mut Db,
    after: u64,
    upto: u64,
    findings: &mut Vec<String>,
) -> Result<BTreeMap<u64, Found>, Fault> {
    let sql = Sql::new(EVENTS).bind(integer(after)?).bind(integer(upto)?);
    let mut rows = db.fetch(sql);
    let mut records = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        let number = row.count("number")?;
        match read_record(&row) {
            Ok(record) => {
                if row
                    .maybe_integer("input_at")?
                    .is_some_and(|at| at != record.at)
                {
                    findings.push(format!(
                        "event {number} ({} of {}) was not decided when its input says",
                        record.kind, record.lane
                    ));
                }
                let found = Found {
                    leaf: record.leaf().ok(),
                    is_wordless: record.removed.is_some(),
                    lane: record.lane,
                    seq: record.seq,
                    kind: record.kind,
                };
                records.insert(number, found);
            }
            Err(Fault::Broken(Broken::Unreadable(why))) => {
                findings.push(format!(
                    "event {number} (unreadable) is not what was sealed: {why}"
                ));
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(records)
}

/// Hashes by their place.
async fn hashes(db: &mut Db, level: u32, from: u64, to: u64) -> Result<BTreeMap<u64, Hash>, Fault> {
    if let Ok(all) = log::hashes(db, level, from, to).await
        && all.len() as u64 == to - from
    {
        return Ok((from..to).zip(all).collect());
    }
    let rows = Sql::new(HASHES)
        .bind(i64::from(level))
        .bind(integer(from)?)
        .bind(integer(to)?)
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| Ok((row.count("place")?, read_hash(row)?)))
        .collect()
}
