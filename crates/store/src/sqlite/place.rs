//! The database file, for messages.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;
use crate::sql::fault::{Broken, Explain};

/// The database file, for messages.
#[derive(Debug, Clone)]
pub struct SqliteFile(PathBuf);

/// Less free space than this on the disk makes a failed write a full disk, in bytes.
const NEARLY_NOTHING: u64 = 256 * 1024;

impl SqliteFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn text(&self) -> String {
        self.0.display().to_string()
    }

    /// The file with something behind its name, such as `-wal`.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// What callers are told when a file operation beside the database failed.
    pub(crate) fn explain_io(&self, what: &'static str, error: std::io::Error) -> StoreError {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return self.disk_full();
        }
        StoreError::Unavailable {
            what,
            source: Box::new(error),
        }
    }

    /// Damage, with how to go on from the newest backup.
    pub(crate) fn corrupt(&self, detail: impl Into<String>) -> StoreError {
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

impl Explain for SqliteFile {
    fn explain_broken(&self, what: &'static str, broken: &Broken) -> StoreError {
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
}
