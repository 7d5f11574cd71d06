//! The store in one SQLite file.
//!
//! The file is in WAL mode, so readers never wait for the writer, and every commit is flushed
//! before it is acknowledged.

mod backup;
mod open;
mod place;

pub use backup::{RestoreError, backup_name, newest_backup, rotate_backups};
pub use place::SqliteFile;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::Result;
use crate::sql::{Backend, SqlStore};

/// Durable state in one SQLite file.
pub type SqliteStore = SqlStore<SqliteFile>;

/// How a [`SqliteStore`] behaves. The defaults fit one controller on one machine.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Connections for reading; at least 1. Default 4.
    pub readers: u32,
    /// How long an operation waits for another process that writes. Default 5 s.
    pub busy_timeout: Duration,
    /// Files below this size, in bytes, are checked page by page when they are opened; of
    /// larger ones only the header, the length and the schema, to start in bounded time.
    /// Default 256 MiB.
    pub check_below_bytes: u64,
    /// How large the database may grow, in bytes; a write beyond it is
    /// [`StoreError::DiskFull`](crate::StoreError::DiskFull). Default: as large as the disk.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            check_below_bytes: 256 * 1024 * 1024,
            max_bytes: None,
        }
    }
}

impl SqliteStore {
    /// Opens the database file, or creates it in a folder that exists.
    ///
    /// A damaged, truncated or missing database is [`StoreError::Corrupt`](crate::StoreError::Corrupt)
    /// with how to restore it; it is never replaced by an empty one. To know a lost database
    /// from a new one, a marker file `<path>.created` is kept beside it. A database that a newer
    /// Airboss made is [`StoreError::TooNew`](crate::StoreError::TooNew). Damage inside a value
    /// that leaves the file's structure whole is not found here.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self> {
        open::open(path.as_ref(), &options).await
    }
}

#[async_trait]
impl Backend for SqliteFile {
    fn read_within(&self) -> Duration {
        // A file answers in the end.
        Duration::MAX
    }
    fn hints(&self) -> Option<watch::Receiver<u64>> {
        None
    }
    async fn backup(store: &SqliteStore, to: &Path) -> Result<()> {
        backup::write(&store.backend, to).await
    }
}
