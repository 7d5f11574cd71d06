//! SQLite's bad days: damage, loss, strangers, full disks, backups and restores.

use std::fs;
use std::path::Path;
use std::process::Command;

use airboss_store::{
    RestoreError, SqliteOptions, SqliteStore, Store, StoreError, backup_name, newest_backup,
    rotate_backups,
};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::make::{at, claimed, command, commit, lane, release};
use crate::sqlite::{Home, home, open};

/// A closed store with something in it, so large that it has pages to damage.
async fn filled() -> Home {
    let home = home().await;
    let mut row = claimed(&home.store, &lane("a/production"), "one").await;
    for _ in 0..20 {
        let mut next = commit(&row);
        next.state = json!("x".repeat(4_000));
        next.input = json!("y".repeat(4_000));
        row.seq = home.store.commit(&next).await.unwrap().seq;
    }
    home.store.close().await;
    home
}

async fn refusal(path: &Path) -> StoreError {
    match SqliteStore::open(path, SqliteOptions::default()).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

async fn assert_corrupt(path: &Path) -> String {
    let before = fs::read(path).ok();
    let error = refusal(path).await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert_eq!(fs::read(path).ok(), before, "the damaged file was touched");
    error.to_string()
}

#[tokio::test]
async fn a_lost_database_is_never_replaced_by_an_empty_one() {
    let home = filled().await;
    fs::remove_file(&home.path).unwrap();
    let text = assert_corrupt(&home.path).await;
    assert!(text.contains("missing"), "{text}");
    assert!(text.contains("No backup was found"), "{text}");
    assert!(!home.path.exists());
}

#[tokio::test]
async fn an_emptied_database_is_never_taken_for_a_new_one() {
    let home = filled().await;
    fs::write(&home.path, b"").unwrap();
    assert_corrupt(&home.path).await;
}

#[tokio::test]
async fn a_truncated_database_is_refused() {
    let home = filled().await;
    let whole = fs::read(&home.path).unwrap();
    for length in [10, 100, 4_096, whole.len() / 2, whole.len() - 4_096] {
        fs::write(&home.path, &whole[..length]).unwrap();
        assert_corrupt(&home.path).await;
    }
}

#[tokio::test]
async fn a_database_with_flipped_bytes_is_refused() {
    let home = filled().await;
    let whole = fs::read(&home.path).unwrap();
    // The file's header, then the header of the schema's page.
    for from in [0, 100] {
        let mut damaged = whole.clone();
        damaged[from..from + 8].fill(0xa5);
        fs::write(&home.path, damaged).unwrap();
        assert_corrupt(&home.path).await;
    }
}

#[tokio::test]
async fn damage_names_the_newest_backup() {
    let home = filled().await;
    let store = open(&home.path).await;
    for seconds in [0, 50, 100] {
        store.back_up(at(seconds), 2).await.unwrap();
    }
    let folder = home.path.with_file_name("backups");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    store.close().await;
    fs::write(
        &home.path,
        b"not a database at all, but long enough to look like one",
    )
    .unwrap();
    let text = assert_corrupt(&home.path).await;
    assert!(text.contains(&backup_name(at(100))), "{text}");
}

#[tokio::test]
async fn a_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos.db");
    let mut db = raw(&path, true).await;
    sqlx::raw_sql("CREATE TABLE photos (id INTEGER)")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    let text = refusal(&path).await.to_string();
    assert!(text.contains("holds no tables of Airboss"), "{text}");
}

#[tokio::test]
async fn a_database_of_a_newer_airboss_is_refused() {
    let home = filled().await;
    let mut db = raw(&home.path, false).await;
    sqlx::raw_sql("INSERT INTO schema_steps (number, name) VALUES (999, 'later')")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    let error = refusal(&home.path).await;
    assert!(
        matches!(error, StoreError::TooNew { found: 999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("newer Airboss"), "{error}");
}

async fn raw(path: &Path, create: bool) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_folder_that_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(&folder.path().join("no/such/airboss.db")).await;
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again() {
    let home = filled().await;
    let store = open(&home.path).await;
    let row = store.lane(&lane("a/production")).await.unwrap().unwrap();
    assert_eq!(row.seq, 20);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_handed_over_before_the_end_is_done() {
    let home = home().await;
    let ids: Vec<_> = (0..50).map(|n| release(&format!("a@{n}"), 1)).collect();
    let creations = ids.iter().map(|row| home.store.create_release(row));
    let (created, ()) = tokio::join!(join_all(creations), home.store.close());
    let created = created.iter().filter(|result| result.is_ok()).count();
    let store = open(&home.path).await;
    let kept = store.releases(&"a".parse().unwrap(), 100).await.unwrap();
    assert_eq!((created, kept.len()), (50, 50));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let home = home().await;
    home.store.close().await;
    home.store.close().await;
    let error = home
        .store
        .create_release(&release("a@1", 1))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(home.store.lanes().await.is_err());
}

#[tokio::test]
async fn a_full_database_refuses_whole_commits_and_goes_on_with_small_ones() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        max_bytes: Some(1 << 20),
        ..Default::default()
    };
    let path = folder.path().join("airboss.db");
    let store = SqliteStore::open(&path, options).await.unwrap();
    let row = claimed(&store, &lane("a/production"), "one").await;
    let mut large = commit(&row);
    large.state = json!("x".repeat(2 << 20));
    let id = lane("b/production");
    let small = command(&id, "ship");

    // Handed over together: the one that does not fit must not take the other with it.
    let (full, accepted) = tokio::join!(store.commit(&large), store.enqueue(&small));

    assert!(matches!(full, Err(StoreError::DiskFull { .. })), "{full:?}");
    assert_eq!(store.inbox(&id, 0).await.unwrap(), [accepted.unwrap()]);
    assert_eq!(store.lane(&row.lane).await.unwrap().unwrap().seq, 0);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    assert_eq!(store.commit(&commit(&row)).await.unwrap().seq, 1);
}

/// A small disk of its own, where the machine lets us mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "airboss-test"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|out| out.status.success())
            .then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a failed test leaves no mount behind either.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_heals_by_itself() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    let path = disk.0.path().join("airboss.db");
    let ballast = disk.0.path().join("ballast");
    let store = open(&path).await;
    fs::write(&ballast, vec![0; 512 << 10]).unwrap();
    let mut row = claimed(&store, &lane("a/production"), "one").await;
    let error = loop {
        let mut next = commit(&row);
        next.state = json!("x".repeat(20_000));
        next.input = json!("y".repeat(20_000));
        match store.commit(&next).await {
            Ok(done) => row.seq = done.seq,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
    let kept = store.lane(&row.lane).await.unwrap().unwrap();
    assert_eq!(kept.seq, row.seq, "a refused commit left something behind");
    let backup = store.backup(&disk.0.path().join("backup.db")).await;
    assert!(
        matches!(backup, Err(StoreError::DiskFull { .. })),
        "{backup:?}"
    );
    assert!(!disk.0.path().join("backup.db").exists());

    fs::remove_file(&ballast).unwrap();

    assert_eq!(store.commit(&commit(&row)).await.unwrap().seq, row.seq + 1);
    assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    store.close().await;
    let reopened = open(&path).await;
    let kept = reopened.lane(&row.lane).await.unwrap().unwrap();
    assert_eq!(kept.seq, row.seq + 1);
    // Nothing may be open on the small disk when it goes.
    reopened.close().await;
}

#[tokio::test]
async fn a_backup_is_a_whole_store_and_replaces_nothing() {
    let home = filled().await;
    let store = open(&home.path).await;
    let copy = home.path.with_file_name(backup_name(at(0)));
    store.backup(&copy).await.unwrap();
    let again = store.backup(&copy).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    let copied = open(&copy).await;
    assert_eq!(copied.lanes().await.unwrap(), store.lanes().await.unwrap());
    assert_eq!(copied.verify().await.unwrap(), Vec::<String>::new());
}

#[test]
fn rotation_keeps_the_newest_backups_and_strangers() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(newest_backup(&folder.path().join("none")).unwrap(), None);
    let names: Vec<_> = [5, 1, 3, 2, 4]
        .map(|s| backup_name(at(s * 100_000)))
        .to_vec();
    for name in &names {
        fs::write(folder.path().join(name), b"x").unwrap();
    }
    fs::write(folder.path().join("mine.db"), b"x").unwrap();
    fs::write(folder.path().join("airboss-x.db.partial"), b"x").unwrap();
    assert_eq!(rotate_backups(folder.path(), 2).unwrap().len(), 4);
    let newest = newest_backup(folder.path()).unwrap().unwrap();
    assert_eq!(newest, folder.path().join(&names[0]));
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [names[4].clone(), names[0].clone(), "mine.db".to_owned()]
    );
}

#[tokio::test]
async fn a_restore_brings_the_backup_back_and_keeps_the_damaged_files() {
    let home = filled().await;
    let store = open(&home.path).await;
    let backup = home.path.with_file_name("backup.db");
    store.backup(&backup).await.unwrap();
    store.create_release(&release("later@1", 1)).await.unwrap();

    let in_use = SqliteStore::restore(&backup, &home.path, "2026-11-23").await;
    assert!(
        matches!(in_use, Err(RestoreError::InUse { .. })),
        "{in_use:?}"
    );
    store.close().await;
    drop(store);
    fs::write(&home.path, b"damaged").unwrap();
    let log = home.path.with_file_name("airboss.db-wal");
    fs::write(&log, b"old log").unwrap();
    SqliteStore::restore(&backup, &home.path, "2026-11-23")
        .await
        .unwrap();

    let restored = open(&home.path).await;
    let row = restored.lane(&lane("a/production")).await.unwrap().unwrap();
    assert_eq!(row.seq, 20);
    assert!(
        restored
            .releases(&"later".parse().unwrap(), 0)
            .await
            .unwrap()
            .is_empty()
    );
    let aside = |name: &str| fs::read(home.path.with_file_name(name)).unwrap();
    assert_eq!(aside("airboss.db.2026-11-23"), b"damaged");
    assert_eq!(aside("airboss.db.2026-11-23-wal"), b"old log");
}

#[tokio::test]
async fn a_bad_backup_replaces_nothing() {
    let home = filled().await;
    let whole = fs::read(&home.path).unwrap();
    let backup = home.path.with_file_name("backup.db");
    for bad in [
        b"".to_vec(),
        b"nonsense".to_vec(),
        whole[..whole.len() / 2].to_vec(),
    ] {
        fs::write(&backup, bad).unwrap();
        let refused = SqliteStore::restore(&backup, &home.path, "x").await;
        assert!(
            matches!(refused, Err(RestoreError::BadBackup { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&home.path).unwrap(), whole);
    }
    let missing = SqliteStore::restore(Path::new("/no/such/file"), &home.path, "x").await;
    assert!(
        matches!(missing, Err(RestoreError::Io { .. })),
        "{missing:?}"
    );
    open(&home.path).await;
}
