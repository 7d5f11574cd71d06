//! `airboss store`: the database itself, beside any server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use airboss_engine::{Event, Lane, evolve};
use airboss_model::LaneId;
use airboss_runtime::Clock;
use airboss_store::{
    Copied, EventFilter, LaneRow, PostgresOptions, PostgresStore, RecordFilter, SqliteOptions,
    SqliteStore, Store,
};
use anyhow::Context as _;
use serde_json::{Map, Value};

use super::audit::begins;
use crate::exit::{Exit, UsageError};
use crate::host::folder::{Folder, RoleLock};
use crate::terminal::Console;

/// Characters of a value that differs, in a finding.
const DIFFERENCE_MAX: usize = 120;

/// Backups that `store backup` keeps beside the database.
const BACKUPS: usize = 4;

/// Looks after the database that `airboss serve` works on.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: StoreVerb,
    /// The PostgreSQL database, as for `airboss serve` [default: SQLite in the data folder]
    #[arg(
        long,
        global = true,
        env = "AIRBOSS_DATABASE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database: Option<String>,
    /// The data folder [default: $AIRBOSS_HOME, else .airboss]
    #[arg(
        long,
        global = true,
        env = "AIRBOSS_HOME",
        value_name = "PATH",
        hide_env_values = true
    )]
    pub data_dir: Option<PathBuf>,
}

/// What to do with the database.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum StoreVerb {
    /// Take the steps of the schema that are missing, as `airboss serve` does when it starts
    Migrate,
    /// Check it whole: structure, every event against its seal, every state against its events
    Verify,
    /// Write a consistent copy to a file, while Airboss runs
    Backup(BackupArgs),
    /// Put a backup in the database's place; the server must be stopped
    Restore(RestoreArgs),
    /// Copy everything from SQLite into a new PostgreSQL database; the server must be stopped
    Copy(CopyArgs),
}

/// `airboss store backup`.
#[derive(Debug, Clone, clap::Args)]
pub struct BackupArgs {
    /// The new file [default with SQLite: named after the time, in backups beside the database, of which the newest 4 stay]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `airboss store restore`.
#[derive(Debug, Clone, clap::Args)]
pub struct RestoreArgs {
    /// A file that `airboss store backup` wrote, from either kind of database
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `airboss store copy`.
#[derive(Debug, Clone, clap::Args)]
pub struct CopyArgs {
    /// The new, empty PostgreSQL database
    #[arg(long, value_name = "URL")]
    pub to: String,
}

/// Does it.
///
/// # Errors
/// Where the database cannot be opened, read or written, or is in use where it must not be.
pub async fn run(args: StoreArgs, console: &mut Console) -> anyhow::Result<Exit> {
    let folder = || Folder::open(args.data_dir.as_deref());
    match (&args.verb, &args.database) {
        (StoreVerb::Migrate, _) => {
            let store = open(&args).await?;
            store.close().await;
            console.text("✓ the schema is the newest that this Airboss knows")?;
        }
        (StoreVerb::Verify, _) => {
            let store = open(&args).await?;
            let checked = verify(&*store, console).await;
            store.close().await;
            return checked;
        }
        (StoreVerb::Backup(BackupArgs { file: Some(file) }), _) => {
            let store = open(&args).await?;
            let written = store.backup(file).await;
            store.close().await;
            written?;
            console.text(&format!("✓ written to {}", file.display()))?;
        }
        (StoreVerb::Backup(BackupArgs { file: None }), None) => {
            let store = SqliteStore::open(database(&folder()?), SqliteOptions::default()).await?;
            let written = store.back_up(Clock::system().now(), BACKUPS).await;
            store.close().await;
            console.text(&format!("✓ written to {}", written?.display()))?;
        }
        (StoreVerb::Backup(BackupArgs { file: None }), Some(_)) => {
            return Err(
                UsageError("name the file to write: airboss store backup FILE".to_owned()).into(),
            );
        }
        (StoreVerb::Restore(restore), None) => {
            let folder = folder()?;
            let _stopped = stopped(&folder)?;
            let aside = Clock::system().now().strftime("%Y%m%dT%H%M%SZ").to_string();
            SqliteStore::restore(&restore.file, &database(&folder), &aside).await?;
            console.text(&format!(
                "✓ restored; what was there before lies beside it, its names ending in .{aside}"
            ))?;
        }
        (StoreVerb::Restore(restore), Some(url)) => {
            let store = PostgresStore::open(url, PostgresOptions::default()).await?;
            let mut told = Ok(());
            let restored = store.restore(&restore.file, |copied| tell(console, &copied, &mut told));
            let restored = restored.await;
            store.close().await;
            restored?;
            told?;
            console.text("✓ restored whole")?;
        }
        (StoreVerb::Copy(copy), None) => {
            let folder = folder()?;
            let _stopped = stopped(&folder)?;
            let path = database(&folder);
            anyhow::ensure!(path.exists(), "there is no database {}", path.display());
            let from = SqliteStore::open(path, SqliteOptions::default()).await?;
            let to = PostgresStore::open(&copy.to, PostgresOptions::default()).await?;
            let mut told = Ok(());
            let copied = from.copy_to(&to, |copied| tell(console, &copied, &mut told));
            copied.await?;
            told?;
            anyhow::ensure!(
                from.log_head().await? == to.log_head().await?,
                "the copy's ledger is not its source's: do not use it"
            );
            let checked = verify(&to, console).await;
            from.close().await;
            to.close().await;
            console.text(&format!(
                "The file {} is left as it was. From now on start\n  airboss serve --database URL --artifacts {}\nand never again without --database. Artifacts' content is no part of the database: it stays where --artifacts, or --blobs, says.",
                database(&folder).display(),
                folder.path().join("artifacts").display(),
            ))?;
            return checked;
        }
        (StoreVerb::Copy(_), Some(_)) => {
            return Err(UsageError(
                "copy goes from SQLite in the data folder to --to; between PostgreSQL databases use backup and restore, or PostgreSQL's own tools".to_owned(),
            )
            .into());
        }
    }
    Ok(Exit::Done)
}

fn database(folder: &Folder) -> PathBuf {
    folder.path().join("airboss.db")
}

/// Nobody else works in the folder for as long as this is held.
fn stopped(folder: &Folder) -> anyhow::Result<RoleLock> {
    folder.lock("controller")
}

async fn open(args: &StoreArgs) -> anyhow::Result<Box<dyn Store>> {
    if let Some(url) = &args.database {
        return Ok(Box::new(
            PostgresStore::open(url, PostgresOptions::default()).await?,
        ));
    }
    let folder = Folder::open(args.data_dir.as_deref())?;
    let path: &Path = &database(&folder);
    anyhow::ensure!(
        path.exists(),
        "there is no database {}; name the data folder with --data-dir",
        path.display()
    );
    Ok(Box::new(
        SqliteStore::open(path, SqliteOptions::default()).await?,
    ))
}

/// A line for every table that is copied whole; where it cannot be printed that is told later.
fn tell(console: &mut Console, copied: &Copied, told: &mut anyhow::Result<()>) {
    if copied.done && told.is_ok() {
        let line = format!("  {:<16} {:>9} rows", copied.table, copied.rows);
        *told = console
            .text(&line)
            .context("the progress cannot be printed");
    }
}

/// Every finding of the store's own check, and every lane whose state its events do not lead to.
async fn verify(store: &dyn Store, console: &mut Console) -> anyhow::Result<Exit> {
    let mut findings = store.verify().await?;
    let lanes = store.lanes().await?;
    let (mut events, mut begun) = (0, Vec::new());
    for row in &lanes {
        let (after, begins) = begin(store, &row.lane).await?;
        if after > 0 {
            begun.push(row.lane.to_string());
        }
        let (replayed, count) = replay(store, &row.lane, after, begins).await?;
        events += count;
        findings.extend(differs(row, replayed));
    }
    for finding in &findings {
        console.text(&format!("✗ {}", crate::render::harmless(finding)))?;
    }
    if !findings.is_empty() {
        return Ok(Exit::RolledBack);
    }
    let size = store.log_head().await?.size();
    console.text(&format!(
        "✓ {size} events are as they were sealed; {events} of them lead {} lanes to the states that are kept",
        lanes.len()
    ))?;
    if !begun.is_empty() {
        console.text(&format!(
            "! retention removed the words of older events of {}: their seals hold, and the state that they led to is the one sealed then; it cannot be made again from them",
            begun.join(", ")
        ))?;
    }
    Ok(Exit::Done)
}

/// The state that a lane's events behind `after` lead to, from what those before left; or what was
/// wrong with them. And how many they are.
async fn replay(
    store: &dyn Store,
    id: &LaneId,
    mut after: u64,
    mut lane: Lane,
) -> anyhow::Result<(Result<Lane, String>, u64)> {
    let mut count = 0;
    loop {
        let filter = EventFilter {
            after,
            lane: Some(id.clone()),
            ..EventFilter::default()
        };
        let events = store.events(&filter).await?;
        let Some(last) = events.last() else {
            return Ok((Ok(lane), count));
        };
        after = last.number;
        for event in events {
            count += 1;
            match serde_json::from_value::<Event>(event.body) {
                Ok(event) => lane = evolve(lane, &event),
                Err(why) => {
                    let why = format!("event {} of {id} is not understood: {why}", event.number);
                    return Ok((Err(why), count));
                }
            }
        }
    }
}

/// Where a lane's history begins: with nothing, or behind the events whose words retention removed, with
/// the state that they led to.
async fn begin(store: &dyn Store, id: &LaneId) -> anyhow::Result<(u64, Lane)> {
    let mut begin = (0, Lane::new(id.clone()));
    let mut filter = RecordFilter {
        lane: Some(LaneId::installation()),
        ..RecordFilter::default()
    };
    loop {
        let records = store.log_records(&filter).await?;
        let Some(last) = records.last() else {
            return Ok(begin);
        };
        filter.after = last.number;
        let newest = records.iter().rev();
        if let Some(found) = newest.filter_map(|it| begins(it, id.as_str())).next() {
            begin = found;
        }
    }
}

fn differs(row: &LaneRow, replayed: Result<Lane, String>) -> Option<String> {
    let replayed = match replayed {
        Ok(lane) => lane,
        Err(why) => return Some(why),
    };
    let kept = match &row.state {
        Some(state) => match serde_json::from_value::<Lane>(state.clone()) {
            Ok(lane) => lane,
            Err(why) => {
                return Some(format!(
                    "the state of {} is not understood: {why}",
                    row.lane
                ));
            }
        },
        None => Lane::new(row.lane.clone()),
    };
    if kept == replayed {
        return None;
    }
    let place = match (serde_json::to_value(&kept), serde_json::to_value(&replayed)) {
        (Ok(kept), Ok(replayed)) => first_difference("", &kept, &replayed).unwrap_or_default(),
        _ => String::new(),
    };
    Some(format!(
        "the state of {} is not the one that its events lead to{place}",
        row.lane
    ))
}

/// Where two states part first, and what each has there.
fn first_difference(place: &str, kept: &Value, replayed: &Value) -> Option<String> {
    if kept == replayed {
        return None;
    }
    if let (Value::Object(kept), Value::Object(replayed)) = (kept, replayed) {
        let names: BTreeSet<_> = kept.keys().chain(replayed.keys()).collect();
        return names.into_iter().find_map(|name| {
            let of = |all: &Map<String, Value>| all.get(name).cloned().unwrap_or_default();
            first_difference(&format!("{place}/{name}"), &of(kept), &of(replayed))
        });
    }
    if let (Value::Array(kept), Value::Array(replayed)) = (kept, replayed)
        && kept.len() == replayed.len()
    {
        let pairs = kept.iter().zip(replayed).enumerate();
        return pairs.into_iter().find_map(|(at, (kept, replayed))| {
            first_difference(&format!("{place}/{at}"), kept, replayed)
        });
    }
    let short = |value: &Value| {
        let text = value.to_string();
        match text.char_indices().nth(DIFFERENCE_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    Some(format!(
        ": {place} is {}, by the events it is {}",
        short(kept),
        short(replayed)
    ))
}
