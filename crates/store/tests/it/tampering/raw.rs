//! Past Airboss, by the database's own means.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

/// A database as somebody sees it who goes past Airboss.
pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Raw {
    pub async fn sqlite(path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(false);
        Self::Sqlite(options.connect().await.unwrap())
    }

    pub async fn postgres(url: &str) -> Self {
        let mut db = PgConnection::connect(url).await.unwrap();
        // Neither guards nor references hold up the administrator.
        let replica = "SET session_replication_role = replica";
        sqlx::raw_sql(replica).execute(&mut db).await.unwrap();
        Self::Postgres(db)
    }

    pub async fn texts(&mut self, sql: &str) -> Vec<Vec<String>> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let read = |count: usize, get: &dyn Fn(usize) -> String| (0..count).map(get).collect();
        match self {
            Self::Sqlite(db) => {
                let rows = sql.fetch_all(db).await.unwrap();
                rows.iter()
                    .map(|row| read(row.len(), &|at| row.get(at)))
                    .collect()
            }
            Self::Postgres(db) => {
                let rows = sql.fetch_all(db).await.unwrap();
                rows.iter()
                    .map(|row| read(row.len(), &|at| row.get(at)))
                    .collect()
            }
        }
    }

    /// Whether the database did it: a key that exists is refused, as for anybody.
    pub async fn run(&mut self, sql: &str) -> bool {
        let raw = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(db) => raw.execute(db).await.is_ok(),
            Self::Postgres(db) => raw.execute(db).await.is_ok(),
        }
    }

    /// Every table with its columns and their types.
    pub async fn tables(&mut self) -> BTreeMap<String, Vec<(String, String)>> {
        let sql = match self {
            Self::Sqlite(_) => {
                "SELECT m.name, p.name, lower(p.type) FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS p
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, p.cid"
            }
            Self::Postgres(_) => {
                "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
                 WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
            }
        };
        let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for row in self.texts(sql).await {
            let [table, column, kind] = &row[..] else {
                panic!()
            };
            let columns = tables.entry(table.clone()).or_default();
            columns.push((column.clone(), kind.clone()));
        }
        tables
    }

    /// Conditions that each name one row of a table.
    pub async fn rows(&mut self, table: &str) -> Vec<String> {
        let of = match (&self, table) {
            // A row in all its columns: it may be written anew and has the same name then.
            (Self::Postgres(_), _) => {
                format!("'{table}::text = ' || quote_literal({table}::text)")
            }
            (_, "log_hashes") => "'level = ' || level || ' AND place = ' || place".to_owned(),
            _ => "'rowid = ' || rowid".to_owned(),
        };
        let rows = self
            .texts(&format!("SELECT {of} FROM {table} ORDER BY 1"))
            .await;
        rows.into_iter().flatten().collect()
    }

    /// An expression for another value than a column has.
    pub fn other(&self, column: &str, kind: &str) -> String {
        match (self, kind) {
            (_, "integer" | "bigint") => format!("coalesce(\"{column}\" + 1, 1)"),
            (_, "text") => format!("coalesce(\"{column}\" || 'x', 'x')"),
            (Self::Sqlite(_), _) => format!("zeroblob(length(\"{column}\"))"),
            (Self::Postgres(_), _) => {
                format!("set_byte(\"{column}\", 0, get_byte(\"{column}\", 0) # 1)")
            }
        }
    }

    pub async fn close(self) {
        match self {
            Self::Sqlite(db) => db.close().await.unwrap(),
            Self::Postgres(db) => db.close().await.unwrap(),
        }
    }
}
