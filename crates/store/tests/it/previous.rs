//! During an upgrade servers of the version before work beside new ones, on the new schema. What
//! their statements are is frozen at each release (`sql/freeze.rs`); here each of them runs on
//! the schema as it is now, and must do what it did.

use serde::Deserialize;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::postgres::{Server, database};

/// A statement of the version before with values that it had.
#[derive(Debug, Deserialize)]
struct Statement {
    sql: String,
    values: Vec<Value>,
}

#[derive(Debug, Deserialize)]
enum Value {
    #[serde(rename = "i")]
    Integer(Option<i64>),
    #[serde(rename = "t")]
    Text(Option<String>),
    #[serde(rename = "b")]
    Bytes(Vec<u8>),
}

fn frozen() -> Vec<Statement> {
    let statements: Vec<Statement> =
        serde_json::from_str(include_str!("../frozen/statements.json")).unwrap();
    assert!(statements.len() > 60, "{}", statements.len());
    statements
}

/// Runs every statement; those that did not do what they did. The macro is for what the two
/// databases have in common and their types do not say.
macro_rules! broken {
    ($db:expr) => {{
        let mut broken = Vec::new();
        for statement in frozen() {
            let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
            for value in statement.values {
                query = match value {
                    Value::Integer(value) => query.bind(value),
                    Value::Text(value) => query.bind(value),
                    Value::Bytes(value) => query.bind(value),
                };
            }
            let done = query.execute(&mut $db).await;
            if let Err(why) = done {
                broken.push(format!("{}: {why}", statement.sql));
            }
        }
        broken
    }};
}

async fn sqlite() -> (SqliteConnection, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("airboss.db");
    airboss_store::Store::close(&crate::sqlite::open(&path).await).await;
    let url = format!("sqlite://{}", path.display());
    (SqliteConnection::connect(&url).await.unwrap(), folder)
}

async fn postgres(server: &'static Server) -> PgConnection {
    let url = tokio::task::spawn_blocking(|| database(server))
        .await
        .unwrap();
    airboss_store::Store::close(&crate::postgres::open(&url).await).await;
    PgConnection::connect(&url).await.unwrap()
}

#[tokio::test]
async fn the_version_before_works_on_the_newest_schema() {
    let (mut db, _folder) = sqlite().await;
    assert_eq!(broken!(db), Vec::<String>::new(), "on SQLite");
    let mut db = postgres(&crate::postgres::SHARED).await;
    assert_eq!(broken!(db), Vec::<String>::new(), "on PostgreSQL");
}

/// Steps that would break servers of the version before, in the ways that steps do.
#[tokio::test]
async fn a_step_that_breaks_the_version_before_is_found() {
    let steps = [
        "ALTER TABLE tokens RENAME COLUMN name TO label",
        "DROP TABLE notes",
        "ALTER TABLE artifacts ADD COLUMN colour TEXT NOT NULL CHECK (colour <> '') DEFAULT ''",
    ];
    for step in steps {
        let (mut db, _folder) = sqlite().await;
        db.execute(step).await.unwrap();
        assert_ne!(broken!(db), Vec::<String>::new(), "{step} on SQLite");
        let mut db = postgres(&crate::postgres::SHARED).await;
        db.execute(step).await.unwrap();
        assert_ne!(broken!(db), Vec::<String>::new(), "{step} on PostgreSQL");
    }
}
