//! Backups: made whole or not at all, kept by number, and checked before they are trusted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use airboss_model::Timestamp;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::open::{marker, sync_folder_of, write_marker};
use super::{SqliteFile, SqliteOptions, SqliteStore};
use crate::sql::connect::Connect;
use crate::sql::db::Sql;
use crate::sql::fault::{Explain as _, Fault};
use crate::sql::{Backend, SqlStore, migrate, verify};
use crate::{Result, Store as _, StoreError};

const WHAT: &str = "the backup";
/// What a backup is called while it is not finished.
const PARTIAL: &str = ".partial";

/// Why a backup was not restored. Nothing was replaced then, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A running Airboss has the database open.
    #[error("{path} is in use: stop Airboss, then restore again")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The backup cannot be trusted.
    #[error("the backup {path} is not usable: {detail}. Nothing was replaced; try an older backup")]
    BadBackup {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A file of that name is there already.
    #[error("{path} exists already: name the damaged files otherwise")]
    AsideTaken {
        /// The name that was to be used.
        path: PathBuf,
    },
    /// A file could not be copied, renamed or flushed.
    #[error("{path}: {source}. Restoring again continues where this stopped")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A backup's file name, such as `airboss-20261123T011400.000000Z.db`. Names sort by time.
pub fn backup_name(at: Timestamp) -> String {
    format!("airboss-{}.db", at.strftime("%Y%m%dT%H%M%S.%6fZ"))
}

/// Where a database's backups lie.
pub(super) fn folder_beside(database: &Path) -> PathBuf {
    database.parent().unwrap_or(Path::new(".")).join("backups")
}

/// The newest backup in a folder by its name ([`backup_name`]); None where there is none or no
/// such folder.
pub fn newest_backup(folder: &Path) -> io::Result<Option<PathBuf>> {
    Ok(list(folder, ".db")?.pop())
}

/// Keeps the newest `keep` backups in a folder and removes the older ones, and what a crash left
/// of unfinished ones; so no backup may be under way in the folder meanwhile. Files with other
/// names than [`backup_name`]'s are left alone. Returns what was removed.
pub fn rotate_backups(folder: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut gone = list(folder, ".db")?;
    gone.truncate(gone.len().saturating_sub(keep));
    gone.extend(list(folder, ".db.partial")?);
    for path in &gone {
        fs::remove_file(path)?;
    }
    Ok(gone)
}

fn list(folder: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with("airboss-") && name.ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a copy to `to` under another name first, so that a file named `to` is always whole.
pub(super) async fn write(place: &SqliteFile, to: &Path) -> Result<()> {
    let io = |error| place.explain_io(WHAT, error);
    let target = SqliteFile::new(to.to_owned());
    if fs::exists(to).map_err(io)? {
        return Err(StoreError::Conflict {
            what: WHAT,
            detail: format!("{} exists already", to.display()),
        });
    }
    let partial = target.beside(PARTIAL);
    if fs::exists(&partial).map_err(io)? {
        fs::remove_file(&partial).map_err(io)?;
    }
    let written = vacuum_into(place, &partial).await;
    if let Err(fault) = written {
        // What cannot be removed is removed by the next backup of this name or the rotation.
        let _ = fs::remove_file(&partial);
        // The disk of the copy may be the full one, so the error names that file.
        return Err(target.explain(WHAT, fault));
    }
    let to = to.to_owned();
    blocking(move || {
        File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &to)?;
        sync_folder_of(&to)
    })
    .await
    .map_err(io)
}

async fn vacuum_into(place: &SqliteFile, partial: &Path) -> Result<(), Fault> {
    let options = SqliteConnectOptions::new()
        .filename(place.path())
        .create_if_missing(false)
        .disable_statement_logging();
    let mut db = Connect::Sqlite(options)
        .connect()
        .await
        .map_err(Fault::Broken)?;
    let done = Sql::new("VACUUM INTO $1")
        .bind(partial.display().to_string())
        .execute(&mut db)
        .await;
    db.close().await?;
    done?;
    Ok(())
}

impl SqliteStore {
    /// Writes what another store holds to a new file, so that a file named `to` is always whole.
    pub(crate) async fn copied_from<B: Backend>(from: &SqlStore<B>, to: &Path) -> Result<()> {
        let target = SqliteFile::new(to.to_owned());
        let io = |error| target.explain_io(WHAT, error);
        if fs::exists(to).map_err(io)? {
            return Err(StoreError::Conflict {
                what: WHAT,
                detail: format!("{} exists already", to.display()),
            });
        }
        let partial = SqliteFile::new(target.beside(PARTIAL));
        let leavings = ["", "-wal", "-shm", ".created"].map(|suffix| partial.beside(suffix));
        for path in &leavings {
            if fs::exists(path).map_err(io)? {
                fs::remove_file(path).map_err(io)?;
            }
        }
        let store = Self::open(partial.path(), SqliteOptions::default()).await?;
        let copied = from.copy(&store, false, &mut |_| {}).await;
        store.close().await;
        // No longer a store but a copy of one; a copy that failed goes as a whole.
        for path in &leavings[if copied.is_ok() { 1 } else { 0 }..] {
            if fs::exists(path).map_err(io)? {
                fs::remove_file(path).map_err(io)?;
            }
        }
        copied?;
        let to = to.to_owned();
        blocking(move || {
            File::open(partial.path())?.sync_all()?;
            fs::rename(partial.path(), &to)?;
            sync_folder_of(&to)
        })
        .await
        .map_err(io)
    }

    /// Writes a backup named after `at` into the folder `backups` beside the database, where
    /// damage is told to look for it, and keeps the newest `keep` (at least this one). Only one
    /// may run at a time. Returns the backup.
    pub async fn back_up(&self, at: Timestamp, keep: usize) -> Result<PathBuf> {
        let io = |error| self.backend.explain_io(WHAT, error);
        let folder = folder_beside(self.backend.path());
        fs::create_dir_all(&folder).map_err(io)?;
        let backup = folder.join(backup_name(at));
        write(&self.backend, &backup).await?;
        rotate_backups(&folder, keep.max(1)).map_err(io)?;
        Ok(backup)
    }

    /// Puts the backup `from` in the place of the database `to`. The backup is copied and the
    /// copy checked before anything is replaced; the damaged files are kept under their names
    /// with `.` and `aside` behind (a date, for instance). Stopped half-way, calling it again
    /// with another `aside` finishes it; until then the store refuses to open rather than start
    /// empty.
    pub async fn restore(from: &Path, to: &Path, aside: &str) -> Result<(), RestoreError> {
        let place = SqliteFile::new(to.to_owned());
        let lock_path = marker(&place);
        if !fs::exists(&lock_path).map_err(at(&lock_path))? {
            write_marker(&lock_path).map_err(at(&lock_path))?;
        }
        let lock = File::open(&lock_path).map_err(at(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => RestoreError::InUse {
                path: to.to_owned(),
            },
            fs::TryLockError::Error(source) => RestoreError::Io {
                path: lock_path.clone(),
                source,
            },
        })?;

        let copy = place.beside(".restoring");
        let (source, target) = (from.to_owned(), copy.clone());
        blocking(move || {
            fs::copy(&source, &target)?;
            File::open(&target)?.sync_all()
        })
        .await
        .map_err(at(from))?;
        let bad = |detail| RestoreError::BadBackup {
            path: from.to_owned(),
            detail,
        };
        if let Err(detail) = check_copy(from, &copy).await {
            // A copy that stays behind is overwritten by the next attempt.
            let _ = fs::remove_file(&copy);
            return Err(bad(detail));
        }

        // The log goes with its database: left behind, it would be played into the restored one.
        let files = ["", "-wal", "-shm"].map(|suffix| {
            let aside = place.beside(&format!(".{aside}{suffix}"));
            (place.beside(suffix), aside)
        });
        for (_, aside) in &files {
            if fs::exists(aside).map_err(at(aside))? {
                return Err(RestoreError::AsideTaken {
                    path: aside.clone(),
                });
            }
        }
        for (file, aside) in &files {
            if fs::exists(file).map_err(at(file))? {
                fs::rename(file, aside).map_err(at(file))?;
            }
        }
        fs::rename(&copy, to).map_err(at(to))?;
        sync_folder_of(to).map_err(at(to))
    }
}

async fn check_copy(from: &Path, copy: &Path) -> std::result::Result<(), String> {
    let log = SqliteFile::new(from.to_owned()).beside("-wal");
    if fs::metadata(&log).is_ok_and(|file| file.len() > 0) {
        return Err(format!(
            "{} lies beside it, so it is a database in use and no backup",
            log.display()
        ));
    }
    let options = SqliteConnectOptions::new()
        .filename(copy)
        .create_if_missing(false)
        .read_only(true)
        // Nothing else has the copy open, and so no files appear beside it.
        .immutable(true);
    let told = |fault: Fault| fault.into_broken().to_string();
    let connected = Connect::Sqlite(options).connect().await;
    let mut db = connected.map_err(|broken| broken.to_string())?;
    let newest = migrate::newest(&mut db).await.map_err(told);
    let findings = verify::integrity(&mut db).await.map_err(told);
    db.close().await.map_err(told)?;
    let (newest, findings) = (newest?, findings?);
    if newest.is_none() {
        return Err("it holds no tables of Airboss".to_owned());
    }
    migrate::check(newest, &copy.display().to_string()).map_err(|error| error.to_string())?;
    if findings.is_empty() {
        Ok(())
    } else {
        Err(findings.join("; "))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io { path, source }
}

/// Runs file work where it does not hold up other tasks.
async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
