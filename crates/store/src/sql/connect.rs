//! How connections are made.

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::time::timeout;

use super::db::Db;
use super::fault::{Broken, Fault};

/// How long a new connection to PostgreSQL may take.
pub(crate) const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How long a transaction on PostgreSQL may take, its turn included. A server that says nothing
/// for so long is as good as gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Makes connections of one kind.
#[derive(Debug, Clone)]
pub(crate) enum Connect {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

impl Connect {
    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Db, Broken> {
        let connected = match self {
            Self::Sqlite(options) => options.connect().await.map(Db::Sqlite),
            Self::Postgres(options) => match timeout(CONNECT_WITHIN, options.connect()).await {
                Ok(connected) => connected.map(Db::Postgres),
                Err(_) => return Err(Broken::silent(CONNECT_WITHIN)),
            },
        };
        connected.map_err(|error| Fault::from(error).into_broken())
    }

    /// How long a transaction may take. A file answers in the end, and a write that was given up
    /// half-way could still happen.
    pub(crate) fn write_within(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::MAX,
            Self::Postgres(_) => WRITE_WITHIN,
        }
    }
}
