//! Whoever changes the database past Airboss is found, whatever table he goes to; and what may be
//! changed without being found is written here, table by table, with the reason.
//!
//! The tables are asked of the database itself: one that is on neither list fails the test.

mod raw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use airboss_model::{LaneId, Origin};
use airboss_store::{
    BuildRow, NoteRow, PostgresOptions, PostgresStore, Pruning, SqliteStore, Store, TagSeen,
};
use proptest::prelude::*;
use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::OnceCell;

use crate::conformance::agents::invited;
use crate::conformance::attested::said;
use crate::conformance::known::artifact;
use crate::conformance::tokens::token;
use crate::make::{
    at, claimed, command, commit, digest, event, evidence, lane, release, rollout, service,
};
use crate::{postgres, sqlite};
use raw::Raw;

/// What may be changed without being found here: a table with its columns, or all of them, and why.
/// `docs/verification.md` says the same to users.
const NOT_SEALED: &[(&str, &[&str], &str)] = &[
    (
        "artifacts",
        &["kept_at"],
        "when it was handed in last; only retention asks for it",
    ),
    (
        "attestations",
        &["verification", "checked_at"],
        "the latest check, made again from the sealed document",
    ),
    (
        "deliveries",
        &[],
        "so that a pushed event that comes twice is taken once; forgotten after a while",
    ),
    (
        "effects",
        &[],
        "what is asked of targets; made from the events, and done by now",
    ),
    (
        "evidence",
        &[],
        "measurements; the verdicts drawn from them are sealed with their numbers",
    ),
    (
        "inbox",
        &[],
        "commands; who decides on one seals it with the decision",
    ),
    (
        "lane_states",
        &[],
        "`airboss store verify` compares each with what the events lead to",
    ),
    (
        "lanes",
        &["epoch", "owner", "owned_until", "active"],
        "claims: who works on a lane now",
    ),
    (
        "notes",
        &[],
        "what was learnt of traffic; losing it loses no decision",
    ),
    (
        "rollout_numbers",
        &[],
        "the next number; a rollout that exists is never numbered anew",
    ),
    ("rollouts", &[], "what lists show; events are what counts"),
    ("schema_steps", &["name"], "names for people"),
    (
        "tags",
        &[],
        "what tags pointed to when they were last looked at",
    ),
];

fn is_sealed(table: &str, column: Option<&str>) -> bool {
    !NOT_SEALED.iter().any(|(name, columns, _)| {
        *name == table
            && (columns.is_empty() || column.is_some_and(|column| columns.contains(&column)))
    })
}

/// Something in every table.
async fn fill(store: &dyn Store) {
    for content in [7, 8] {
        store
            .put_artifact(&artifact(content, content.into()))
            .await
            .unwrap();
        let origin = Origin {
            repository: "registry.test/shop".to_owned(),
            tag: Some(format!("v{content}")),
            resolved: digest(content + 10),
            manifest: digest(content + 20),
            platform: Some("linux/amd64".to_owned()),
        };
        store
            .put_origin(&digest(content), &origin, at(1))
            .await
            .unwrap();
        let id = format!("shop@{content}");
        store
            .put_service(&service("shop", &"a: 1 ".repeat(content.into())))
            .await
            .unwrap();
        store.create_release(&release(&id, content)).await.unwrap();
        let build = BuildRow {
            release: id.parse().unwrap(),
            commit: Some(format!("abcdef{content}")),
            reference: Some("refs/heads/main".to_owned()),
            run: Some("https://ci.test/1".to_owned()),
            actor: Some("ann".to_owned()),
            repository: Some("https://git.test/shop".to_owned()),
            builder: Some("ci".to_owned()),
            at: at(1),
        };
        store.put_build(&build).await.unwrap();
        let mut document = said(content, content + 1);
        document.document.envelope = Some("{}".to_owned());
        store.put_attestations(&[document]).await.unwrap();
        store
            .put_token(&token(&format!("t{content}"), content))
            .await
            .unwrap();
        let agent = invited(&format!("web-{content}"), content);
        store.invite_agent(&agent).await.unwrap();
        let joined = store.join_agent(&agent.invite, "key", at(2)).await;
        joined.unwrap().unwrap();
    }
    let seen = TagSeen {
        digest: digest(1),
        at: at(2),
    };
    store
        .put_tag("registry.test/shop", "v7", &seen)
        .await
        .unwrap();
    store.revoke_token("t7", "eve", at(3)).await.unwrap();
    store.revoke_agent("a7", "eve", at(3)).await.unwrap();
    for (seq, name) in [(4, "shop/production"), (5, "shop/staging")] {
        let id: LaneId = lane(name);
        let number = store.allocate_rollout(&id.service()).await.unwrap();
        let mut row = claimed(store, &id, "one").await;
        for round in 0..13 {
            let mut next = commit(&row);
            next.events = vec![event(Some(number.as_str()), &format!("round {round}")); 10];
            next.input = json!({ "round": round });
            next.rollouts = vec![rollout(number.as_str(), &id, None)];
            row.seq = store.commit(&next).await.unwrap().seq;
        }
        let second = evidence(number.as_str(), 1, true);
        store
            .append_evidence(&id, row.epoch, &[second])
            .await
            .unwrap();
        let note = NoteRow {
            lane: id.clone(),
            topic: "traffic".to_owned(),
            body: json!({}),
            at: at(1),
        };
        store.put_note(&note).await.unwrap();
        store.enqueue(&command(&id, name)).await.unwrap();
        let pruning = Pruning {
            lane: id,
            seq,
            state: json!({ "step": seq }),
            at: at(9),
            by: "airboss".to_owned(),
            why: "older than 400d".to_owned(),
        };
        store.prune(&pruning).await.unwrap();
    }
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

/// A file that is filled once, and copied for everybody who tampers with it: its bytes.
static PATTERN: OnceCell<Vec<u8>> = OnceCell::const_new();

async fn pattern() -> &'static [u8] {
    let make = || async {
        let home = sqlite::home().await;
        fill(&home.store).await;
        home.store.close().await;
        std::fs::read(&home.path).unwrap()
    };
    PATTERN.get_or_init(make).await
}

/// These bytes as a database in an empty folder.
fn laid(bytes: &[u8], folder: &Path) -> PathBuf {
    let path = folder.join("airboss.db");
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(folder.join("airboss.db.created"), "").unwrap();
    path
}

/// A copy in a folder of its own.
async fn copied(folder: &Path) -> Raw {
    Raw::sqlite(&laid(pattern().await, folder)).await
}

/// What the check says of a file; that it cannot be opened or read is a finding too.
async fn found_in(path: &Path) -> Vec<String> {
    let store = match SqliteStore::open(path, Default::default()).await {
        Ok(store) => store,
        Err(error) => return vec![format!("cannot be opened: {error}")],
    };
    let found = store.verify().await;
    store.close().await;
    found.unwrap_or_else(|error| vec![format!("cannot be read: {error}")])
}

async fn found_at(url: &str) -> Vec<String> {
    let store = match PostgresStore::open(url, PostgresOptions::default()).await {
        Ok(store) => store,
        Err(error) => return vec![format!("cannot be opened: {error}")],
    };
    let found = store.verify().await;
    store.close().await;
    found.unwrap_or_else(|error| vec![format!("cannot be read: {error}")])
}

/// Every single change, removal, addition and exchange, of the first, a middle and the last row of
/// every table that is not told of above (or of the middle one alone): as SQL, with what to call it.
async fn attacks(raw: &mut Raw, thorough: bool) -> Vec<(String, String)> {
    let mut attacks = Vec::new();
    for (table, columns) in raw.tables().await {
        if !is_sealed(&table, None) {
            continue;
        }
        let rows = raw.rows(&table).await;
        assert!(
            !rows.is_empty(),
            "{table} has no row to tamper with: fill it, or put it on the list"
        );
        let mut some = vec![rows.len() / 2];
        if thorough {
            some.extend([0, rows.len() - 1]);
            some.sort_unstable();
            some.dedup();
        }
        for at in some {
            let row = &rows[at];
            for (column, kind) in columns.iter().filter(|it| is_sealed(&table, Some(&it.0))) {
                let other = raw.other(column, kind);
                let sql = format!("UPDATE {table} SET \"{column}\" = {other} WHERE {row}");
                attacks.push((format!("{table}: {column} of row {at} changed"), sql));
            }
            let sql = format!("DELETE FROM {table} WHERE {row}");
            attacks.push((format!("{table}: row {at} removed"), sql));
            // The same again under another key.
            let names: Vec<_> = columns
                .iter()
                .map(|(name, _)| format!("\"{name}\""))
                .collect();
            let values: Vec<_> = columns
                .iter()
                .map(|(name, kind)| match kind.as_str() {
                    "text" if !["form", "kind"].contains(&name.as_str()) => {
                        format!("\"{name}\" || 'y'")
                    }
                    "integer" | "bigint" => format!("\"{name}\" + 100000"),
                    _ => format!("\"{name}\""),
                })
                .collect();
            let (names, values) = (names.join(", "), values.join(", "));
            let sql =
                format!("INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE {row}");
            attacks.push((format!("{table}: row {at} added again"), sql));
        }
        if let [first, .., last] = &rows[..]
            && let [_, rest @ ..] = &columns[..]
            && !["lanes", "schema_steps"].contains(&table.as_str())
        {
            // What both rows say, exchanged, but for keys that must differ.
            let set: Vec<_> = rest
                .iter()
                .filter(|(name, _)| is_sealed(&table, Some(name)))
                .filter(|(name, _)| !["id", "secret", "number", "place", "tag", "version"].contains(&name.as_str()))
                .map(|(name, _)| {
                    format!("\"{name}\" = CASE WHEN {first} THEN (SELECT \"{name}\" FROM {table} WHERE {last}) ELSE (SELECT \"{name}\" FROM {table} WHERE {first}) END")
                })
                .collect();
            let sql = format!(
                "UPDATE {table} SET {} WHERE ({first}) OR ({last})",
                set.join(", ")
            );
            attacks.push((format!("{table}: first and last row exchanged"), sql));
        }
    }
    attacks
}

/// The list above names tables and columns that exist, and the page for users names them too.
async fn assert_listed(raw: &mut Raw) {
    let tables = raw.tables().await;
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/verification.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (table, columns, why) in NOT_SEALED {
        assert!(!why.is_empty());
        let known = &tables
            .get(*table)
            .unwrap_or_else(|| panic!("there is no table {table}"));
        for column in *columns {
            assert!(
                known.iter().any(|(name, _)| name == column),
                "{table}.{column}"
            );
        }
        assert!(
            page.contains(&format!("| `{table}`")),
            "docs/verification.md does not name {table}"
        );
    }
}

#[tokio::test]
async fn every_change_of_a_sqlite_database_is_found_or_told_to_go_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = copied(folder.path()).await;
    assert_listed(&mut raw).await;
    let attacks = attacks(&mut raw, true).await;
    raw.close().await;
    let (mut tried, mut missed) = (0, Vec::new());
    for (what, sql) in attacks {
        let folder = tempfile::tempdir().unwrap();
        let mut raw = copied(folder.path()).await;
        let guards = guards_off(&mut raw).await;
        let done = raw.run(&sql).await;
        guards_on(&mut raw, guards).await;
        raw.close().await;
        if done {
            tried += 1;
            let found = found_in(&folder.path().join("airboss.db")).await;
            if found.is_empty() {
                missed.push(what);
            }
        }
    }
    assert_eq!(missed, Vec::<String>::new());
    assert!(tried > 200, "only {tried} attacks went through");
}

/// Takes the guards away, as somebody does who means it, and says how they were made.
async fn guards_off(raw: &mut Raw) -> Vec<String> {
    let guards = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'";
    let mut made = Vec::new();
    for guard in raw.texts(guards).await {
        assert!(raw.run(&format!("DROP TRIGGER {}", guard[0])).await);
        made.push(guard[1].clone());
    }
    made
}

async fn guards_on(raw: &mut Raw, guards: Vec<String>) {
    for guard in guards {
        assert!(raw.run(&guard).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_postgresql_database_is_found_or_told_to_go_unnoticed() {
    let server = postgres::shared();
    server.query("postgres", "CREATE DATABASE tampered");
    let store = postgres::open(&server.url("tampered")).await;
    fill(&store).await;
    store.close().await;
    let mut raw = Raw::postgres(&server.url("tampered")).await;
    assert_listed(&mut raw).await;
    let attacks = attacks(&mut raw, false).await;
    let tables: Vec<String> = raw.tables().await.into_keys().collect();
    assert!(raw.run("CREATE SCHEMA saved").await);
    for table in &tables {
        let save = format!("CREATE TABLE saved.{table} AS TABLE {table}");
        assert!(raw.run(&save).await);
    }
    let url = server.url("tampered");
    let (mut tried, mut missed) = (0, Vec::new());
    for (what, sql) in attacks {
        if !raw.run(&sql).await {
            continue;
        }
        tried += 1;
        if found_at(&url).await.is_empty() {
            missed.push(what.clone());
        }
        let (table, _) = what.split_once(':').unwrap();
        let undo = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved.{table}");
        assert!(raw.run(&undo).await, "{undo}");
    }
    assert_eq!(found_at(&url).await, Vec::<String>::new());
    assert_eq!(missed, Vec::<String>::new());
    assert!(tried > 80, "only {tried} attacks went through");
    raw.close().await;
}

/// What the guards refuse is not done, on either database.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_deletes_from_the_log_or_changes_it_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let server = postgres::shared();
    server.query("postgres", "CREATE DATABASE guarded");
    let store = postgres::open(&server.url("guarded")).await;
    fill(&store).await;
    store.close().await;
    let url = server.url("guarded");
    let plain = PgConnection::connect(&url).await.unwrap();
    for mut raw in [copied(folder.path()).await, Raw::Postgres(plain)] {
        for table in [
            "events",
            "inputs",
            "log",
            "log_hashes",
            "pruned",
            "pruned_to",
        ] {
            assert!(!raw.run(&format!("DELETE FROM {table}")).await, "{table}");
        }
        for change in [
            "events SET message = 'x'",
            "events SET message = '', body = ''",
            "events SET kind = 'x'",
            "inputs SET input = ''",
            "inputs SET at = 0",
            "log SET size = size - 1",
            "log_hashes SET place = place + 100000",
            "pruned SET number = number + 100000",
            "pruned_to SET seq = seq - 1",
        ] {
            assert!(!raw.run(&format!("UPDATE {change}")).await, "{change}");
        }
        if matches!(raw, Raw::Postgres(_)) {
            assert!(!raw.run("TRUNCATE log_hashes").await);
        }
        raw.close().await;
    }
}

/// Everything that is sealed, as texts; None where the file cannot be read.
async fn content(
    path: &Path,
    tables: &BTreeMap<String, Vec<(String, String)>>,
) -> Option<Vec<Vec<String>>> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut db: SqliteConnection = options.connect().await.ok()?;
    let mut content = Vec::new();
    for (table, columns) in tables {
        let sealed: Vec<_> = columns
            .iter()
            .filter(|(name, _)| is_sealed(table, Some(name)))
            .map(|(name, _)| format!("coalesce(hex(\"{name}\"), '-')"))
            .collect();
        if sealed.is_empty() {
            continue;
        }
        let sealed = sealed.join(" || ',' || ");
        let sql = format!("SELECT {sealed} AS whole FROM {table} ORDER BY 1");
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut db)
            .await
            .ok()?;
        let texts = rows.iter().map(|row| row.try_get::<String, _>(0));
        content.push(texts.collect::<Result<_, _>>().ok()?);
    }
    db.close().await.ok()?;
    Some(content)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes of the file itself, wherever they fall: pages, indexes, free space, the schema. Each case
    /// tries forty places.
    #[test]
    fn any_changed_bytes_of_the_file_are_found_or_change_nothing_that_is_sealed(
        places in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let missed: Result<(), String> = runtime.block_on(async {
            let whole = pattern().await;
            let folder = tempfile::tempdir().unwrap();
            let path = laid(whole, folder.path());
            let mut raw = Raw::sqlite(&path).await;
            let tables = raw.tables().await;
            raw.close().await;
            let before = content(&path, &tables).await;
            assert!(before.is_some());
            for (place, by) in places {
                let folder = tempfile::tempdir().unwrap();
                let mut bytes = whole.to_vec();
                let place = place.index(bytes.len());
                bytes[place] ^= by;
                let path = laid(&bytes, folder.path());
                let same = content(&path, &tables).await == before;
                if found_in(&path).await.is_empty() && !same {
                    return Err(format!("byte {place} changed by {by}"));
                }
            }
            Ok(())
        });
        prop_assert_eq!(missed, Ok(()));
    }
}
