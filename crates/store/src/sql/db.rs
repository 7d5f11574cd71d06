//! Connections, statements and rows that are the same for both databases.
//!
//! A statement is written once, in the SQL that SQLite and PostgreSQL share. What differs is
//! here: how values are bound, and that SQLite takes several statements in one trip.

use std::borrow::Cow;
use std::fmt;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgPool, Postgres, Sqlite, SqlitePool};

use super::fault::Fault;

/// Statements with more values than this are prepared anew each time: large ones differ and
/// would only fill the cache of statements.
const KEPT_VALUES: usize = 1_000;

/// One connection.
pub(crate) enum Db {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    PooledSqlite(PoolConnection<Sqlite>),
    PooledPostgres(PoolConnection<Postgres>),
}

/// Connections for reading.
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A row that was read.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A value that goes into a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Integer(i64),
    Text(Option<String>),
    MaybeInteger(Option<i64>),
    Bytes(Vec<u8>),
}

impl Value {
    /// What stands for a value of this type where there is none.
    pub(crate) fn missing(&self) -> Self {
        match self {
            Self::Integer(_) | Self::MaybeInteger(_) => Self::MaybeInteger(None),
            Self::Text(_) => Self::Text(None),
            Self::Bytes(_) => Self::Bytes(Vec::new()),
        }
    }
    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Integer(_) | Self::MaybeInteger(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// As JSON has it, for keys; bytes are no key.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) | Self::MaybeInteger(Some(number)) => write!(f, "{number}"),
            Self::Text(Some(text)) => f.write_str(text),
            Self::MaybeInteger(None) | Self::Text(None) | Self::Bytes(_) => f.write_str("null"),
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}
impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::MaybeInteger(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}
impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}
impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}
impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

/// A statement with its values: either a constant with `$1`, `$2` …, or one that is put together
/// piece by piece.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    text: Cow<'static, str>,
    values: Vec<Value>,
}

impl Sql {
    /// A constant statement; values follow by [`Sql::bind`].
    pub(crate) fn new(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            values: Vec::new(),
        }
    }
    /// The beginning of a statement that is put together.
    pub(crate) fn begin(text: &str) -> Self {
        Self {
            text: Cow::Owned(text.to_owned()),
            values: Vec::new(),
        }
    }
    /// The next value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }
    /// More text. It must be the program's own.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }
    /// A value where the text ends.
    pub(crate) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.push("?")
    }
    /// Values in parentheses where the text ends.
    pub(crate) fn push_row(&mut self, values: impl IntoIterator<Item = Value>) -> &mut Self {
        let mut before = "(";
        for value in values {
            self.push(before).push_bind(value);
            before = ", ";
        }
        self.push(")")
    }

    #[cfg(test)]
    pub(crate) fn into_text(self) -> String {
        self.text.into_owned()
    }
    /// Its text with numbered values, and the values.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (String, &[Value]) {
        (numbered(&self.text), &self.values)
    }

    fn is_kept(&self) -> bool {
        self.values.len() <= KEPT_VALUES
    }

    fn sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        let kept = self.is_kept();
        let query = sqlx::query(AssertSqlSafe(self.text)).persistent(kept);
        self.values
            .into_iter()
            .fold(query, |query, value| match value {
                Value::Integer(value) => query.bind(value),
                Value::MaybeInteger(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            })
    }

    fn postgres(self) -> Query<'static, Postgres, PgArguments> {
        let kept = self.is_kept();
        let text = match self.text {
            Cow::Owned(text) => Cow::Owned(numbered(&text)),
            fixed @ Cow::Borrowed(_) => fixed,
        };
        let query = sqlx::query(AssertSqlSafe(text)).persistent(kept);
        self.values
            .into_iter()
            .fold(query, |query, value| match value {
                Value::Integer(value) => query.bind(value),
                Value::MaybeInteger(value) => query.bind(value),
                Value::Text(value) => query.bind(value.map(without_nul)),
                Value::Bytes(value) => query.bind(value),
            })
    }

    /// Runs it; how many rows it changed.
    pub(crate) async fn execute(self, on: impl On) -> Result<u64, Fault> {
        on.execute(self).await
    }
    /// All its rows.
    pub(crate) async fn fetch_all(self, on: impl On) -> Result<Vec<Row>, Fault> {
        on.all(self).await
    }
    /// Its first row, where it has one.
    pub(crate) async fn fetch_optional(self, on: impl On) -> Result<Option<Row>, Fault> {
        Ok(on.all(self).await?.into_iter().next())
    }
    /// Its one row.
    pub(crate) async fn fetch_one(self, on: impl On) -> Result<Row, Fault> {
        let row = self.fetch_optional(on).await?;
        row.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }
}

/// PostgreSQL keeps no NUL character in a text. JSON writes it as an escape, so this concerns
/// only lines for people.
pub(crate) fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{2400}")
    } else {
        text
    }
}

/// PostgreSQL wants its values numbered.
fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 64);
    for (number, piece) in text.split('?').enumerate() {
        if number > 0 {
            numbered.push('$');
            numbered.push_str(&number.to_string());
        }
        numbered.push_str(piece);
    }
    numbered
}

/// What a statement can be run on.
pub(crate) trait On: Send {
    /// All rows of a statement.
    fn all(self, sql: Sql) -> impl Future<Output = Result<Vec<Row>, Fault>> + Send;
    /// How many rows a statement changed.
    fn execute(self, sql: Sql) -> impl Future<Output = Result<u64, Fault>> + Send;
}

impl On for &mut Db {
    async fn all(self, sql: Sql) -> Result<Vec<Row>, Fault> {
        self.fetch(sql).try_collect().await
    }
    async fn execute(self, sql: Sql) -> Result<u64, Fault> {
        #[cfg(test)]
        super::freeze::note(&sql);
        Ok(match self.borrow() {
            Borrowed::Sqlite(db) => db.execute(sql.sqlite()).await?.rows_affected(),
            Borrowed::Postgres(db) => db.execute(sql.postgres()).await?.rows_affected(),
        })
    }
}

impl On for &Pool {
    async fn all(self, sql: Sql) -> Result<Vec<Row>, Fault> {
        self.take().await?.all(sql).await
    }
    async fn execute(self, sql: Sql) -> Result<u64, Fault> {
        self.take().await?.execute(sql).await
    }
}

impl Pool {
    /// A connection of the pool's.
    pub(crate) async fn take(&self) -> Result<Db, Fault> {
        Ok(match self {
            Self::Sqlite(pool) => Db::PooledSqlite(pool.acquire().await?),
            Self::Postgres(pool) => Db::PooledPostgres(pool.acquire().await?),
        })
    }
    /// Ends every connection after what is under way.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

enum Borrowed<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// Which SQL a connection speaks, where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Db {
    fn borrow(&mut self) -> Borrowed<'_> {
        match self {
            Self::Sqlite(db) => Borrowed::Sqlite(db),
            Self::PooledSqlite(db) => Borrowed::Sqlite(db),
            Self::Postgres(db) => Borrowed::Postgres(db),
            Self::PooledPostgres(db) => Borrowed::Postgres(db),
        }
    }

    /// Ends it; one of a pool goes back there.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        match self {
            Self::Sqlite(db) => db.close().await?,
            Self::Postgres(db) => db.close().await?,
            Self::PooledSqlite(_) | Self::PooledPostgres(_) => {}
        }
        Ok(())
    }

    /// Its dialect.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) | Self::PooledSqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) | Self::PooledPostgres(_) => Dialect::Postgres,
        }
    }

    /// Rows as they come.
    pub(crate) fn fetch(&mut self, sql: Sql) -> BoxStream<'_, Result<Row, Fault>> {
        #[cfg(test)]
        super::freeze::note(&sql);
        match self.borrow() {
            Borrowed::Sqlite(db) => db
                .fetch(sql.sqlite())
                .map_ok(Row::Sqlite)
                .map_err(Fault::from)
                .boxed(),
            Borrowed::Postgres(db) => db
                .fetch(sql.postgres())
                .map_ok(Row::Postgres)
                .map_err(Fault::from)
                .boxed(),
        }
    }

    /// Runs text of the program's own that brings no values and gives no rows: `BEGIN` and such,
    /// steps of the schema.
    pub(crate) async fn run(&mut self, text: &str) -> Result<(), Fault> {
        let raw = sqlx::raw_sql(AssertSqlSafe(text));
        let done = match self.borrow() {
            Borrowed::Sqlite(db) => db.execute(raw).await.map(|_| ()),
            Borrowed::Postgres(db) => db.execute(raw).await.map(|_| ()),
        };
        Ok(done?)
    }

    /// Runs statements that were put together, in order; all rows of all of them. SQLite has them
    /// in one trip to its thread.
    pub(crate) async fn script(&mut self, script: Vec<Sql>) -> Result<Vec<Row>, Fault> {
        #[cfg(test)]
        script.iter().for_each(super::freeze::note);
        let script = match self.dialect() {
            Dialect::Sqlite => vec![joined(script)],
            Dialect::Postgres => script,
        };
        let mut rows = Vec::new();
        for sql in script {
            let mut found = self.fetch(sql);
            while let Some(row) = found.try_next().await? {
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

impl Dialect {
    /// Opens a transaction that writes. On PostgreSQL one such transaction is open at a time,
    /// whichever controller it is of: events have one order, and nobody waits for a row half-way.
    pub(crate) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            // The number spells "airboss"; it names the lock within the database.
            Self::Postgres => "BEGIN; SELECT pg_advisory_xact_lock(27419012739593075)",
        }
    }
    /// Opens a transaction that sees one state, whatever is written meanwhile.
    pub(crate) fn begin_reading(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
    /// Ends a transaction, with a hint for other controllers where there is news for them.
    pub(crate) fn commit(self, news: bool) -> &'static str {
        match self {
            Self::Postgres if news => "NOTIFY airboss; COMMIT",
            _ => "COMMIT",
        }
    }
}

fn joined(script: Vec<Sql>) -> Sql {
    let mut joined = Sql::begin("");
    for sql in script {
        if !joined.text.is_empty() {
            joined.push("; ");
        }
        joined.push(&sql.text);
        joined.values.extend(sql.values);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_in_their_order() {
        let mut sql = Sql::begin("INSERT INTO t (a, b) VALUES ");
        sql.push_row([Value::from(1), Value::from("x")]);
        assert_eq!(numbered(&sql.text), "INSERT INTO t (a, b) VALUES ($1, $2)");
    }

    #[test]
    fn a_nul_becomes_a_sign_for_it() {
        assert_eq!(without_nul("a\0b".to_owned()), "a\u{2400}b");
    }
}
