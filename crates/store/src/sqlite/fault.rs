//! What can go wrong below the trait, and how it is told to callers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;

/// Why one operation did not happen.
#[derive(Debug)]
pub(super) enum Fault {
    /// The rules forbid it; the database is fine.
    Refused(StoreError),
    /// The database could not do it.
    Broken(Broken),
}

/// Why the database could not do something. One failure may have to be told to many callers.
#[derive(Debug, Clone)]
pub(super) enum Broken {
    /// SQLite or the driver said so.
    Sql(Arc<sqlx::Error>),
    /// A row does not hold what was once written.
    Unreadable(String),
}

impl Fault {
    pub(super) fn conflict(what: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused(StoreError::Conflict {
            what,
            detail: detail.into(),
        })
    }
    pub(super) fn unreadable(detail: String) -> Self {
        Self::Broken(Broken::Unreadable(detail))
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_) => Self::unreadable(error.to_string()),
            error => Self::Broken(Broken::Sql(Arc::new(error))),
        }
    }
}

impl Broken {
    /// SQLite's extended result code, where SQLite spoke.
    fn code(&self) -> Option<i32> {
        match self {
            Self::Sql(error) => error.as_database_error()?.code()?.parse().ok(),
            Self::Unreadable(_) => None,
        }
    }
    /// SQLite's primary result code, where SQLite spoke.
    fn primary(&self) -> Option<i32> {
        self.code().map(|code| code & 0xff)
    }
    /// Whether a rule of the schema (a key, a reference) was broken. SQLite undoes only the
    /// statement then and the transaction goes on.
    pub(super) fn is_constraint(&self) -> bool {
        self.primary() == Some(19)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(f),
            Self::Unreadable(detail) => f.write_str(detail),
        }
    }
}

/// The database file, for messages.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

/// Less free space than this on the disk makes a failed write a full disk, in bytes.
const NEARLY_NOTHING: u64 = 256 * 1024;

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
    fn text(&self) -> String {
        self.0.display().to_string()
    }

    /// The file with something behind its name, such as `-wal`.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// What callers are told.
    pub(super) fn explain(&self, what: &'static str, fault: Fault) -> StoreError {
        match fault {
            Fault::Refused(error) => error,
            Fault::Broken(broken) => self.explain_broken(what, &broken),
        }
    }

    /// What callers are told when the database could not do something.
    pub(super) fn explain_broken(&self, what: &'static str, broken: &Broken) -> StoreError {
        // 13 FULL, 10 IOERR, 14 CANTOPEN, 11 CORRUPT, 26 NOTADB, 19 CONSTRAINT.
        match (broken, broken.primary()) {
            (_, Some(13)) => self.disk_full(),
            // SQLite has one code for all failed writes, so the disk is asked.
            (_, Some(10 | 14)) if self.has_no_space() => self.disk_full(),
            (Broken::Unreadable(_), _) | (_, Some(11 | 26)) => self.corrupt(broken.to_string()),
            (_, Some(19)) => StoreError::Conflict {
                what,
                detail: broken.to_string(),
            },
            (Broken::Sql(error), _) => StoreError::Unavailable {
                what,
                source: Box::new(Arc::clone(error)),
            },
        }
    }

    /// What callers are told when a file operation beside the database failed.
    pub(super) fn explain_io(&self, what: &'static str, error: std::io::Error) -> StoreError {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return self.disk_full();
        }
        StoreError::Unavailable {
            what,
            source: Box::new(error),
        }
    }

    /// Damage, with how to go on from the newest backup.
    pub(super) fn corrupt(&self, detail: impl Into<String>) -> StoreError {
        let (path, backups) = (self.text(), super::backup::folder_beside(&self.0));
        let aside = format!("stop Airboss, move {path}, {path}-wal and {path}-shm aside");
        let restore = match super::backup::newest_backup(&backups) {
            Ok(Some(newest)) => format!(
                "To restore the newest backup: {aside}, copy {} to {path} and start again",
                newest.display()
            ),
            _ => format!(
                "No backup was found in {}. If you have one elsewhere: {aside}, copy it to {path} and start again. To start empty and give up what was recorded, move {path}.created aside as well",
                backups.display()
            ),
        };
        StoreError::Corrupt {
            path,
            detail: detail.into(),
            restore,
        }
    }

    fn disk_full(&self) -> StoreError {
        StoreError::DiskFull { path: self.text() }
    }

    fn has_no_space(&self) -> bool {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        rustix::fs::statvfs(folder)
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < NEARLY_NOTHING)
    }
}
