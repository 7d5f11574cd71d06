//! Freezes the statements of a release, so that the next ones can be held to them:
//! `tests/it/previous.rs` runs them against whatever the schema has become.
//!
//! After a release: `cargo test -p airboss-store --lib -- --ignored freeze`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::json;

use super::db::{Sql, Value};
use crate::{SqliteOptions, SqliteStore};

/// Statements with more values than this are the same ones with more rows.
const VALUES_MAX: usize = 60;

/// How often a statement is frozen, with different values: the later ones find what the earlier
/// ones put there.
const TIMES: usize = 3;

/// A statement's text and values.
type Noted = (String, Vec<Value>);

thread_local! {
    static NOTED: RefCell<Option<Vec<Noted>>> = const { RefCell::new(None) };
}

/// Notes a statement where this thread collects them.
pub(super) fn note(sql: &Sql) {
    NOTED.with_borrow_mut(|noted| {
        if let Some(noted) = noted {
            let (text, values) = sql.parts();
            noted.push((text, values.to_vec()));
        }
    });
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Integer(number) => json!({ "i": number }),
        Value::MaybeInteger(number) => json!({ "i": number }),
        Value::Text(text) => json!({ "t": text }),
        Value::Bytes(bytes) => json!({ "b": bytes }),
    }
}

/// True for what asks the database about itself, or is written for one alone.
fn is_of_one_database(text: &str) -> bool {
    [
        "PRAGMA",
        "EXPLAIN",
        "VACUUM",
        "sqlite_",
        "pragma_",
        "schema_steps",
        "unhex(",
    ]
    .iter()
    .any(|word| text.contains(word))
}

#[tokio::test]
#[ignore = "writes the file that the next releases are held to"]
async fn freeze() {
    NOTED.set(Some(Vec::new()));
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    macro_rules! keep {
        ($promise:path) => {
            count += 1;
            let path = folder.path().join(format!("{count}.db"));
            let store = SqliteStore::open(path, SqliteOptions::default()).await;
            $promise(&store.unwrap()).await;
        };
    }
    crate::conformance::suite! { @all each keep }
    let noted = NOTED.take().unwrap_or_default();
    // One database takes them all; what it refuses was not meant for it.
    let mut db = super::fresh().await.unwrap();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    for (text, values) in noted {
        // With `;` it is several, each of which was noted by itself.
        if values.len() > VALUES_MAX || is_of_one_database(&text) || text.contains("; ") {
            continue;
        }
        let taken = known.entry(text.clone()).or_default();
        let line = json!({
            "sql": text.split_whitespace().collect::<Vec<_>>().join(" "),
            "values": values.iter().map(json).collect::<Vec<_>>(),
        });
        let line = line.to_string();
        let sql = values.into_iter().fold(Sql::begin(&text), Sql::bind);
        let is_new = *taken < TIMES && !lines.contains(&line);
        if is_new && sql.execute(&mut db).await.is_ok() {
            *taken += 1;
            lines.push(line);
        }
    }
    let never = known.iter().filter(|(_, taken)| **taken == 0);
    let never: Vec<_> = never.map(|(text, _)| text).collect();
    assert!(never.is_empty(), "left out: {never:#?}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/frozen/statements.json");
    std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).unwrap();
}
