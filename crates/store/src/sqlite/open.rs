//! Opening a database, and refusing one that cannot be trusted.
//!
//! Beside the database lies a marker, `<path>.created`, written once the first schema stands.
//! It tells "new here" from "lost here": a database that is missing or empty while its marker
//! is there is damage, never a fresh start. Whoever has the store open holds a shared lock on
//! the marker, so that a restore cannot replace a database in use.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{SqliteFile, SqliteOptions, SqliteStore};
use crate::sql::connect::Connect;
use crate::sql::db::{Db, Pool};
use crate::sql::fault::Explain as _;
use crate::sql::writer::Writer;
use crate::sql::{migrate, verify};
use crate::{Result, StoreError};

const WHAT: &str = "the opening of the store";
/// Rows that a connection reads ahead of who takes them, so that neither waits for the other at each.
const ROWS_AHEAD: usize = 256;
const MARKER: &str = "An Airboss store was created beside this file. It stays here so that a lost database is noticed\ninstead of being replaced by an empty one. Remove it only to start empty on purpose.\n";

/// Opens the store; see [`SqliteStore::open`].
pub(super) async fn open(path: &Path, options: &SqliteOptions) -> Result<SqliteStore> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let place = SqliteFile::new(path);
    let io = |error| place.explain_io(WHAT, error);

    let in_use = lock(&place)?;
    let is_new = find(&place, in_use.is_some())?;
    let connect = connect_options(place.path(), options);
    // The writer may keep 16 MiB of pages; a reader keeps SQLite's usual 2.
    let write = connect.clone().pragma("cache_size", "-16384");
    let create = Connect::Sqlite(write.clone().create_if_missing(is_new));
    let connected = create.connect().await;
    let mut db = connected.map_err(|broken| place.explain_broken(WHAT, &broken))?;
    if !is_new {
        check(&mut db, &place, options).await?;
    }
    migrate::run(&mut db)
        .await
        .map_err(|fault| place.explain(WHAT, fault))?;
    let in_use = match in_use {
        Some(lock) => Some(lock),
        None => {
            write_marker(&marker(&place)).map_err(io)?;
            lock(&place)?
        }
    };
    let readers = SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(Duration::from_secs(10))
        .connect_lazy_with(connect.read_only(true));
    let explain = Arc::new(place.clone());
    Ok(SqliteStore {
        writer: Writer::start(db, Connect::Sqlite(write.clone()), explain, in_use),
        readers: Pool::Sqlite(readers),
        connect: Connect::Sqlite(write),
        backend: place,
    })
}

/// How every connection is made. `FULL` flushes each commit; in WAL mode that is one flush.
fn connect_options(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        .row_buffer_size(ROWS_AHEAD)
        // The log moves into the database every 16 MiB instead of every 4: that costs two more
        // flushes, and pages that changed often in between are written once.
        .pragma("wal_autocheckpoint", "4096")
        // After a burst the log file is cut back to this many bytes.
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging();
    match options.max_bytes {
        // 4,096 bytes is SQLite's page size, which no option here changes.
        Some(bytes) => connect.pragma("max_page_count", (bytes / 4096).max(1).to_string()),
        None => connect,
    }
}

pub(super) fn marker(place: &SqliteFile) -> PathBuf {
    place.beside(".created")
}

/// The lock that says "in use". None where no store was created here yet.
fn lock(place: &SqliteFile) -> Result<Option<File>> {
    let file = match File::open(marker(place)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(place.explain_io(WHAT, error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable {
            what: WHAT,
            source: "it is being restored at this moment; start again when that is done".into(),
        }),
        Err(TryLockError::Error(error)) => Err(place.explain_io(WHAT, error)),
    }
}

/// Whether the database is to be made. An error where one was here and is gone.
fn find(place: &SqliteFile, was_created: bool) -> Result<bool> {
    let length = match fs::metadata(place.path()) {
        Ok(file) => Some(file.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(place.explain_io(WHAT, error)),
    };
    match length {
        None if was_created => {
            Err(place.corrupt("the file is missing, though a store was created here"))
        }
        Some(0) if was_created => {
            Err(place.corrupt("the file is empty, though a store was created here"))
        }
        None | Some(0) => Ok(true),
        Some(_) => Ok(false),
    }
}

/// Refuses an existing database that is not ours, too new, or damaged.
async fn check(db: &mut Db, place: &SqliteFile, options: &SqliteOptions) -> Result<()> {
    let explain = |fault| place.explain(WHAT, fault);
    let newest = migrate::newest(db).await.map_err(explain)?;
    if newest.is_none() {
        return Err(place.corrupt("it holds no tables of Airboss"));
    }
    migrate::check(newest, &place.text())?;
    let size = fs::metadata(place.path()).map_or(0, |file| file.len());
    // Reading the schema above has already checked the header and the file's length.
    if size < options.check_below_bytes {
        let findings = verify::quick_integrity(db).await.map_err(explain)?;
        if !findings.is_empty() {
            return Err(place.corrupt(findings.join("; ")));
        }
    }
    Ok(())
}

/// Writes the marker so that it survives a crash of the machine.
pub(super) fn write_marker(path: &Path) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(MARKER.as_bytes())?;
    file.sync_all()?;
    sync_folder_of(path)
}

/// Makes names in the file's folder survive a crash of the machine.
pub(super) fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
