//! What is kept of the installation beside its lanes, sealed row by row.
//!
//! Releases, artifacts, tokens and the like are no events, and what stands in their rows decides what
//! may be shipped and who may ask. So each change of such a row is an event of the installation's
//! own lane ([`LaneId::installation`]), in the transaction that changes the row, with what the row
//! holds afterwards. [`check`] compares every row with the last event that tells of it.

use std::collections::{BTreeMap, BTreeSet};

use airboss_ledger::TextHash;
use airboss_model::{LaneId, Timestamp};
use futures_util::TryStreamExt as _;
use serde_json::{Map, Value as Json, json};

use super::codec::{Columns as _, integer, micros};
use super::commit::{self, Prepared};
use super::db::{Db, Row, Sql, Value};
use super::fault::{Broken, Fault};
use super::lanes;
use super::script::MANY;
use super::writer::Write;
use crate::{Commit, NewEvent};

/// Rows of one event where rows of before the record are sealed.
const AT_ONCE: usize = 200;
/// Findings that are told at most.
const FINDINGS: usize = 20;

/// A table whose rows are sealed.
pub(super) struct Kept {
    /// Its name.
    pub(super) table: &'static str,
    /// What a row is, for people.
    noun: &'static str,
    /// Its key.
    key: &'static [Column],
    /// What else is sealed of a row.
    rest: &'static [Column],
}

/// A column and how it is sealed.
enum Column {
    Integer(&'static str),
    Text(&'static str),
    /// By the SHA-256 of its text: large, or nobody's business.
    Hidden(&'static str),
    /// By the SHA-256 of its bytes.
    Bytes(&'static str),
}

use Column::{Bytes, Hidden, Integer, Text};

pub(super) const AGENTS: Kept = Kept {
    table: "agents",
    noun: "agent",
    key: &[Text("id")],
    rest: &[
        Integer("number"),
        Text("name"),
        Text("carries"),
        Hidden("invite"),
        Text("invited_by"),
        Integer("invited_at"),
        Integer("invited_till"),
        Text("public_key"),
        Integer("joined_at"),
        Text("revoked_by"),
        Integer("revoked_at"),
    ],
};
pub(super) const ARTIFACTS: Kept = Kept {
    table: "artifacts",
    noun: "artifact",
    key: &[Text("digest")],
    rest: &[
        Integer("size"),
        Text("source"),
        Integer("at"),
        Integer("removed_at"),
        Text("removed_why"),
    ],
};
pub(super) const ATTESTATIONS: Kept = Kept {
    table: "attestations",
    noun: "attestation",
    key: &[Text("digest"), Text("id")],
    rest: &[
        Integer("number"),
        Text("form"),
        Text("predicate"),
        Hidden("facts"),
        Text("source"),
        Text("added_by"),
        Integer("at"),
    ],
};
pub(super) const BUILDS: Kept = Kept {
    table: "builds",
    noun: "build of",
    key: &[Text("release")],
    rest: &[
        Text("commit_id"),
        Text("reference"),
        Text("run"),
        Text("actor"),
        Text("repository"),
        Text("builder"),
        Integer("at"),
    ],
};
pub(super) const DOCUMENTS: Kept = Kept {
    table: "documents",
    noun: "document",
    key: &[Text("digest"), Text("id")],
    rest: &[Bytes("bytes"), Hidden("envelope")],
};
pub(super) const ORIGINS: Kept = Kept {
    table: "origins",
    noun: "origin",
    key: &[
        Text("digest"),
        Text("repository"),
        Text("tag"),
        Text("resolved"),
    ],
    rest: &[Text("manifest"), Text("platform"), Integer("at")],
};
/// How far histories were removed; [`super::prune`] seals it with what it led to.
const PRUNED_TO: Kept = Kept {
    table: "pruned_to",
    noun: "removal of the history of",
    key: &[Text("lane")],
    rest: &[Integer("seq")],
};
pub(super) const RELEASES: Kept = Kept {
    table: "releases",
    noun: "release",
    key: &[Text("id")],
    rest: &[
        Integer("number"),
        Text("service"),
        Text("digest"),
        Text("manifest_hash"),
        Text("created_by"),
        Integer("at"),
    ],
};
pub(super) const SERVICES: Kept = Kept {
    table: "services",
    noun: "manifest",
    key: &[Text("name"), Integer("version")],
    rest: &[
        Hidden("text"),
        Hidden("manifest"),
        Text("hash"),
        Integer("at"),
    ],
};
pub(super) const TOKENS: Kept = Kept {
    table: "tokens",
    noun: "token",
    key: &[Text("id")],
    rest: &[
        Text("name"),
        Text("scopes"),
        Hidden("secret"),
        Text("created_by"),
        Integer("created_at"),
        Integer("expires_at"),
        Integer("revoked_at"),
    ],
};

/// Every table whose rows are sealed. What the others hold is told in `docs/verification.md`.
pub(super) const KEPT: &[&Kept] = &[
    &AGENTS,
    &ARTIFACTS,
    &ATTESTATIONS,
    &BUILDS,
    &DOCUMENTS,
    &ORIGINS,
    &PRUNED_TO,
    &RELEASES,
    &SERVICES,
    &TOKENS,
];

/// What is told of a change.
pub(super) struct Told<'a> {
    /// Its kind, such as `token_made`.
    pub(super) kind: &'a str,
    /// One line for people.
    pub(super) message: String,
    /// Who asked for it, where that is known.
    pub(super) by: &'a str,
    /// When, in microseconds since 1970.
    pub(super) at: i64,
}

/// Rows that are about to be written, with what they hold before.
pub(super) struct Watched {
    rows: Vec<(&'static Kept, Vec<Value>)>,
    before: Vec<Option<Json>>,
}

impl Watched {
    /// Looks at rows before a write.
    pub(super) async fn begin(
        db: &mut Db,
        rows: impl IntoIterator<Item = (&'static Kept, Vec<Value>)>,
    ) -> Result<Self, Fault> {
        let rows: Vec<_> = rows.into_iter().collect();
        let before = read(db, &rows).await?;
        Ok(Self { rows, before })
    }

    /// Seals those rows that hold something else after the write; no event where none does.
    pub(super) async fn seal(self, db: &mut Db, told: Told<'_>) -> Result<(), Fault> {
        let Told {
            kind,
            message,
            by,
            at,
        } = told;
        self.seal_each(db, kind, vec![message], by, at).await
    }

    /// The same in one commit with an event for each message: the first tells of the first rows, and
    /// so on, of equally many.
    pub(super) async fn seal_each(
        self,
        db: &mut Db,
        kind: &str,
        messages: Vec<String>,
        by: &str,
        at: i64,
    ) -> Result<(), Fault> {
        let after = read(db, &self.rows).await?;
        let rows = self.rows.iter().zip(self.before).zip(after);
        let changed: Vec<Option<Json>> = rows
            .map(|(((kept, _), before), after)| {
                let row = after.filter(|row| before.as_ref() != Some(row))?;
                Some(json!({ "table": kept.table, "row": row }))
            })
            .collect();
        let each = changed.len().div_ceil(messages.len().max(1)).max(1);
        let events = messages.into_iter().zip(changed.chunks(each));
        let events = events.filter_map(|(message, rows)| {
            let rows: Vec<&Json> = rows.iter().flatten().collect();
            (!rows.is_empty()).then(|| NewEvent {
                rollout: None,
                kind: kind.to_owned(),
                message,
                body: json!({ "rows": rows }),
            })
        });
        append_all(db, by, at, events.collect()).await
    }
}

/// Changes one row by a statement that returns it, and seals what it holds then. None where there is
/// no such row.
pub(super) async fn change<'a, T>(
    db: &mut Db,
    of: &'static Kept,
    key: &str,
    statement: Sql,
    read: impl Fn(&Row) -> Result<T, Fault>,
    told: impl FnOnce(&T) -> Told<'a>,
) -> Result<Option<T>, Fault> {
    let kept = Watched::begin(db, [(of, vec![key.into()])]).await?;
    let row = statement.fetch_optional(&mut *db).await?;
    let Some(row) = row.as_ref().map(read).transpose()? else {
        return Ok(None);
    };
    kept.seal(db, told(&row)).await?;
    Ok(Some(row))
}

/// An event of the installation that is no change of a row.
pub(super) struct Seal {
    pub(super) event: NewEvent,
    pub(super) by: String,
    pub(super) at: Timestamp,
}

impl Write for Seal {
    type Answer = ();
    const WHAT: &'static str = "the sealing of what happened to the installation";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let told = Told {
            kind: &self.event.kind,
            message: self.event.message.clone(),
            by: &self.by,
            at: micros(self.at),
        };
        append(db, told, self.event.body.clone()).await
    }
}

/// Adds an event to the installation's lane.
pub(super) async fn append(db: &mut Db, told: Told<'_>, body: Json) -> Result<(), Fault> {
    let event = NewEvent {
        rollout: None,
        kind: told.kind.to_owned(),
        message: told.message,
        body,
    };
    append_all(db, told.by, told.at, vec![event]).await
}

/// Adds events to the installation's lane, as one commit; none where there are none.
async fn append_all(db: &mut Db, by: &str, at: i64, events: Vec<NewEvent>) -> Result<(), Fault> {
    if events.is_empty() {
        return Ok(());
    }
    let lane = LaneId::installation();
    lanes::create(db, lane.as_str()).await?;
    let place = Sql::new("SELECT seq, epoch FROM lanes WHERE lane = $1").bind(lane.as_str());
    let place = place.fetch_one(&mut *db).await?;
    let at = Timestamp::from_microsecond(at)
        .map_err(|why| Fault::conflict("a time", why.to_string()))?;
    let commit = Prepared::new(&Commit {
        lane,
        seq: place.count("seq")?,
        epoch: place.count("epoch")?,
        at,
        input: json!({ "by": by }),
        consumes: None,
        events,
        state: Json::Null,
        active: false,
        effects: Vec::new(),
        rollouts: Vec::new(),
    });
    // The lane was read in this very transaction, so nothing can have come between.
    match commit::apply(db, &[&commit]).await? {
        Some(_) => Ok(()),
        None => Err(Fault::unreadable(
            "the installation's own lane cannot be written".into(),
        )),
    }
}

/// Seals the rows of a database that is older than this record. It is done once, with the step
/// of the schema that brought the record.
pub(super) async fn begin_record(db: &mut Db) -> Result<(), Fault> {
    for kept in KEPT {
        let mut rows = Vec::new();
        for row in kept.all(db).await? {
            rows.push(json!({ "table": kept.table, "row": kept.json(&row)? }));
        }
        for some in rows.chunks(AT_ONCE) {
            let told = Told {
                kind: "sealed_from_here",
                message: format!(
                    "{} rows of {} were kept before the record of the installation began",
                    some.len(),
                    kept.table
                ),
                by: "airboss",
                // No clock is at hand; the events around it have times.
                at: 0,
            };
            append(db, told, json!({ "rows": some })).await?;
        }
    }
    Ok(())
}

impl Column {
    fn name(&self) -> &'static str {
        match self {
            Integer(name) | Text(name) | Hidden(name) | Bytes(name) => name,
        }
    }

    fn json(&self, row: &Row) -> Result<Json, Fault> {
        Ok(match self {
            Integer(name) => row.maybe_integer(name)?.map_or(Json::Null, Json::from),
            Text(name) => row.maybe_text(name)?.map_or(Json::Null, Json::from),
            Hidden(name) => {
                let text = row.maybe_text(name)?;
                text.map_or(Json::Null, |text| TextHash::of(&text).to_string().into())
            }
            Bytes(name) => TextHash::of_bytes(&row.bytes(name)?).to_string().into(),
        })
    }
}

impl Kept {
    fn columns(&self) -> impl Iterator<Item = &'static Column> + use<> {
        self.key.iter().chain(self.rest)
    }

    fn select(&self) -> String {
        let names: Vec<_> = self.columns().map(Column::name).collect();
        format!("SELECT {} FROM {}", names.join(", "), self.table)
    }

    /// The rows with these keys, by their keys. Each is hashed as it comes: documents are large.
    async fn read(
        &self,
        db: &mut Db,
        keys: &[&Vec<Value>],
    ) -> Result<BTreeMap<String, Json>, Fault> {
        let names: Vec<_> = self.key.iter().map(Column::name).collect();
        let mut found = BTreeMap::new();
        for some in keys.chunks(MANY) {
            let mut sql = Sql::begin(&self.select());
            sql.push(&format!(" WHERE ({}) IN (VALUES ", names.join(", ")));
            // The last one again and again, so that few texts stay prepared.
            let size = if some.len() > 1 { MANY } else { 1 };
            for place in 0..size {
                sql.push(if place > 0 { ", " } else { "" });
                let key = some[place.min(some.len() - 1)];
                sql.push_row(key.iter().cloned());
            }
            sql.push(")");
            let mut rows = db.fetch(sql);
            while let Some(row) = rows.try_next().await? {
                let row = self.json(&row)?;
                found.insert(self.key_of(&row), row);
            }
        }
        Ok(found)
    }

    async fn all(&self, db: &mut Db) -> Result<Vec<Row>, Fault> {
        let order: Vec<_> = self.key.iter().map(Column::name).collect();
        let sql = format!("{} ORDER BY {}", self.select(), order.join(", "));
        Sql::begin(&sql).fetch_all(db).await
    }

    fn json(&self, row: &Row) -> Result<Json, Fault> {
        let pairs = self
            .columns()
            .map(|column| Ok((column.name().to_owned(), column.json(row)?)));
        Ok(Json::Object(pairs.collect::<Result<Map<_, _>, Fault>>()?))
    }

    /// The key of a row as it is sealed, for maps and people.
    fn key_of(&self, row: &Json) -> String {
        let part = |column: &Column| match &row[column.name()] {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.key.iter().map(part).collect::<Vec<_>>().join(" ")
    }
}

/// What rows hold; None for those that are not there. A table is read at once.
async fn read(
    db: &mut Db,
    rows: &[(&'static Kept, Vec<Value>)],
) -> Result<Vec<Option<Json>>, Fault> {
    let mut tables: BTreeMap<&str, (&Kept, Vec<&Vec<Value>>)> = BTreeMap::new();
    for (kept, key) in rows {
        let (_, keys) = tables.entry(kept.table).or_insert((kept, Vec::new()));
        keys.push(key);
    }
    let mut found = BTreeMap::new();
    for (table, (kept, keys)) in tables {
        found.insert(table, kept.read(db, &keys).await?);
    }
    let held = |(kept, key): &(&'static Kept, Vec<Value>)| {
        let key: Vec<_> = key.iter().map(ToString::to_string).collect();
        found.get(kept.table)?.get(&key.join(" ")).cloned()
    };
    Ok(rows.iter().map(held).collect())
}

/// What the record says of a row.
struct Said {
    event: u64,
    row: Json,
}

/// Every row that is not what the record says, every row that it does not tell of, and every one
/// that is gone.
pub(super) async fn check(db: &mut Db) -> Result<Vec<String>, Fault> {
    let mut findings = Vec::new();
    let mut said = record(db, &mut findings).await?;
    for kept in KEPT {
        let mut told = said.remove(kept.table).unwrap_or_default();
        for row in kept.all(db).await? {
            let row = match kept.json(&row) {
                Ok(row) => row,
                Err(Fault::Broken(Broken::Unreadable(why))) => {
                    findings.push(format!("a row of {} cannot be read: {why}", kept.table));
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            let key = kept.key_of(&row);
            findings.extend(kept.differs(&key, &row, told.remove(&key)));
        }
        findings.extend(told.into_iter().map(|(key, said)| {
            format!(
                "the {} {key} was removed from {} after event {} sealed it",
                kept.noun, kept.table, said.event
            )
        }));
    }
    findings.truncate(FINDINGS);
    Ok(findings)
}

impl Kept {
    fn differs(&self, key: &str, row: &Json, said: Option<Said>) -> Option<String> {
        let Some(said) = said else {
            return Some(format!(
                "the {} {key} was added to {} past the record: no event tells of it",
                self.noun, self.table
            ));
        };
        // A column that is younger than the event was empty then.
        let differ: Vec<_> = self
            .columns()
            .map(Column::name)
            .filter(|name| row[*name] != said.row[*name])
            .collect();
        (!differ.is_empty()).then(|| {
            format!(
                "the {} {key} is not what event {} sealed: {} differs",
                self.noun,
                said.event,
                differ.join(", ")
            )
        })
    }
}

/// The last word of the record on every row, by table and key.
async fn record(
    db: &mut Db,
    findings: &mut Vec<String>,
) -> Result<BTreeMap<&'static str, BTreeMap<String, Said>>, Fault> {
    let tables: BTreeMap<&str, &Kept> = KEPT.iter().map(|kept| (kept.table, *kept)).collect();
    let mut said: BTreeMap<&'static str, BTreeMap<String, Said>> = BTreeMap::new();
    let mut unread = BTreeSet::new();
    let mut after = 0;
    loop {
        let rows = Sql::new(EVENTS)
            .bind(LaneId::installation().as_str())
            .bind(integer(after)?)
            .fetch_all(&mut *db)
            .await?;
        let Some(last) = rows.last() else { break };
        after = last.count("number")?;
        for row in &rows {
            let event = row.count("number")?;
            // What cannot be read is not what was sealed, which the ledger's own check tells.
            let Ok(body) = row.json("body") else {
                unread.insert(event);
                continue;
            };
            for it in body["rows"].as_array().into_iter().flatten() {
                let table = it["table"].as_str().unwrap_or_default();
                if let Some(kept) = tables.get(table) {
                    let row = it["row"].clone();
                    let key = kept.key_of(&row);
                    let of_table = said.entry(kept.table).or_default();
                    of_table.insert(key, Said { event, row });
                }
            }
        }
    }
    findings.extend(
        unread
            .iter()
            .map(|event| format!("event {event} of the installation cannot be read")),
    );
    Ok(said)
}

const EVENTS: &str = "SELECT number, body FROM events
    WHERE lane = $1 AND number > $2 ORDER BY number LIMIT 500";
