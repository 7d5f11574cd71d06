//! The store in a PostgreSQL database, for several controllers at once.
//!
//! Every transaction that writes has its turn among all controllers', so events have one order;
//! what waits in one controller shares its turn and its flush.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::watch;

use crate::sql::connect::{CONNECT_WITHIN, Connect};
use crate::sql::db::Pool;
use crate::sql::fault::{Broken, Explain, Fault};
use crate::sql::writer::Writer;
use crate::sql::{Backend, Copied, SqlStore, migrate};
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::{Result, StoreError};

mod listen;

const WHAT: &str = "the opening of the store";

/// How long one reading may take.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// The server ends a transaction whose controller says nothing for so long, in milliseconds:
/// else one frozen controller would keep all others from writing.
const IDLE_IN_TRANSACTION_MS: &str = "3000";

/// Durable state in a PostgreSQL database, which several controllers may share.
pub type PostgresStore = SqlStore<PostgresServer>;

/// How a [`PostgresStore`] behaves.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Connections for reading; at least 1. Default 4. One more writes and one listens.
    pub readers: u32,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { readers: 4 }
    }
}

/// A PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresServer {
    options: PgConnectOptions,
    name: String,
    hints: watch::Receiver<u64>,
}

impl PostgresStore {
    /// Connects to a database and takes the steps of the schema that are missing there. `url` is
    /// as libpq has it: `postgres://user:password@host:port/database`; the environment's `PG…`
    /// variables and `~/.pgpass` fill in what it leaves out.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] where a newer Airboss took steps that this one does not know, and
    /// [`StoreError::Unavailable`] where the database cannot be reached.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self> {
        let (hint, hints) = watch::channel(0);
        let server = PostgresServer::named(url, hints)?;
        let connect = Connect::Postgres(server.options.clone());
        let broken = |broken: Broken| server.explain_broken(WHAT, &broken);
        let fault = |fault: Fault| server.explain(WHAT, fault);
        let mut db = connect.connect().await.map_err(broken)?;
        let newest = migrate::newest(&mut db).await.map_err(fault)?;
        migrate::check(newest, &server.name)?;
        migrate::run(&mut db).await.map_err(fault)?;
        let readers = PgPoolOptions::new()
            .max_connections(options.readers.max(1))
            .acquire_timeout(CONNECT_WITHIN)
            .connect_lazy_with(server.options.clone());
        tokio::spawn(listen::listen(server.options.clone(), hint));
        Ok(Self {
            writer: Writer::start(db, connect.clone(), Arc::new(server.clone()), None),
            readers: Pool::Postgres(readers),
            connect,
            backend: server,
        })
    }

    /// Puts what a backup holds, a file that [`Store::backup`](crate::Store::backup) wrote on
    /// either database, into a new and empty database; all or nothing. The file stays as it is.
    pub async fn restore(&self, from: &Path, tell: impl FnMut(Copied) + Send) -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| self.backend.explain_io(error))?;
        let copy = folder.path().join("backup.db");
        std::fs::copy(from, &copy).map_err(|error| self.backend.explain_io(error))?;
        let backup = SqliteStore::open(&copy, SqliteOptions::default()).await?;
        let copied = backup.copy_to(self, tell).await;
        crate::Store::close(&backup).await;
        copied
    }

    /// What people call the database; without its password.
    pub fn name(&self) -> &str {
        &self.backend.name
    }
}

impl PostgresServer {
    fn named(url: &str, hints: watch::Receiver<u64>) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(|error| StoreError::Unavailable {
            what: WHAT,
            source: format!("the address of the database is not understood: {error}").into(),
        })?;
        let host = match options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        // Never the password.
        let database = options.get_database().unwrap_or(options.get_username());
        let name = format!("PostgreSQL {database} at {host}");
        let options = options
            .application_name("airboss")
            .options([(
                "idle_in_transaction_session_timeout",
                IDLE_IN_TRANSACTION_MS,
            )])
            .disable_statement_logging();
        Ok(Self {
            options,
            name,
            hints,
        })
    }
}

impl PostgresServer {
    fn explain_io(&self, error: std::io::Error) -> StoreError {
        StoreError::Unavailable {
            what: "the restoring of a backup",
            source: Box::new(error),
        }
    }
}

impl Explain for PostgresServer {
    fn explain_broken(&self, what: &'static str, broken: &Broken) -> StoreError {
        match (broken, broken.sqlstate()) {
            // 53100 is a full disk, XX001 and XX002 are damaged data and indexes.
            (_, Some("53100")) => StoreError::DiskFull {
                path: self.name.clone(),
            },
            (Broken::Unreadable(_), _) | (_, Some("XX001" | "XX002")) => StoreError::Corrupt {
                path: self.name.clone(),
                detail: broken.to_string(),
                restore: "Stop every Airboss, restore the database from a backup and start again"
                    .to_owned(),
            },
            (_, Some(_)) if broken.is_constraint() => StoreError::Conflict {
                what,
                detail: broken.to_string(),
            },
            (Broken::Sql(error), _) => StoreError::Unavailable {
                what,
                source: Box::new(Arc::clone(error)),
            },
        }
    }
}

#[async_trait]
impl Backend for PostgresServer {
    fn read_within(&self) -> Duration {
        READ_WITHIN
    }
    fn hints(&self) -> Option<watch::Receiver<u64>> {
        Some(self.hints.clone())
    }
    async fn backup(store: &PostgresStore, to: &Path) -> Result<()> {
        SqliteStore::copied_from(store, to).await
    }
}
