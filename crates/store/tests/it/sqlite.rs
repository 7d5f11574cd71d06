//! The suite on SQLite.

use std::path::PathBuf;

use airboss_store::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// A store in a folder of its own that goes away with it.
pub struct Home {
    pub store: SqliteStore,
    pub path: PathBuf,
    _folder: TempDir,
}

pub async fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("airboss.db");
    Home {
        store: open(&path).await,
        path,
        _folder: folder,
    }
}

pub async fn open(path: &std::path::Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::default())
        .await
        .unwrap()
}

crate::conformance::suite!(crate::sqlite::home);
