//! `airboss audit`: whether the record is the one that was sealed.

mod evidence;
mod export;
mod log;
mod offline;
mod page;
mod replay;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use airboss_ledger::VerifyingKey;
use airboss_model::Timestamp;
use airboss_server::api::log::RemoveWords;
use anyhow::Context as _;

use super::Context;
use crate::args::{ByArgs, OutputArgs};
use crate::exit::{Exit, UsageError};

pub use replay::{ReplayError, Replayed, begins};

/// Checks the sealed record, or exports the part of a release or a rollout.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: AuditVerb,
}

/// What to do with the record.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AuditVerb {
    /// Check a server's whole log, or a bundle without any server
    Verify(VerifyArgs),
    /// Write everything about a release or a rollout that a stranger needs to check it
    Export(ExportArgs),
    /// List what the log keeps, how old it is, and what retention removes of it next
    Retention(RetentionArgs),
}

/// `airboss audit retention`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "The log keeps everything for ever unless the server is started with --keep-record. Then the words of older events are removed once a day, with the measurements of rollouts of which no words are left; seals stay, and so does all of rollouts that serve, run or wait."
)]
pub struct RetentionArgs {
    /// Remove now what the next run would remove; needs the scope admin
    #[arg(long)]
    pub now: bool,
    /// Who asks, for the record.
    #[command(flatten)]
    pub by: ByArgs,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss audit verify`.
///
/// Without BUNDLE every event of the server is hashed anew and the tree compared with the signed
/// checkpoint. With BUNDLE signature and proofs are checked, then every decision is made again on
/// its recorded input and compared word for word; no server is asked. Where the bundle's page lies
/// beside it, that is compared too.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Exit code 3: something is not what was sealed; the first such event is named."
)]
pub struct VerifyArgs {
    /// A bundle that `airboss audit export` wrote
    #[arg(value_name = "BUNDLE")]
    pub bundle: Option<PathBuf>,
    /// The log's public key, or a file with it, that you have from elsewhere [default: log.vkey in the data folder, else the key that is offered]
    #[arg(long, value_name = "KEY|FILE")]
    pub key: Option<String>,
    /// Make the bundle's page anew and write it here; a file that exists is left alone
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub page: Option<PathBuf>,
    /// A checkpoint kept from an earlier check: the log must have grown from it
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub earlier: Option<PathBuf>,
    /// Keep the checkpoint here, for --earlier next time
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    pub save: Option<PathBuf>,
}

/// `airboss audit export`.
///
/// Two files are written: the bundle, which `airboss audit verify` checks, and a page made from it,
/// for people to read, which needs neither network nor scripts.
#[derive(Debug, Clone, clap::Args)]
pub struct ExportArgs {
    /// A release such as checkout@1.4.0, with all its rollouts everywhere, or a rollout such as checkout-7
    #[arg(value_name = "RELEASE|ROLLOUT")]
    pub subject: String,
    /// Where to write the bundle; the page lies beside it and ends in .html. Files that exist are left alone [default: SUBJECT.audit.json]
    #[arg(short = 'o', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The log's public key, or a file with it [default: log.vkey in the data folder, else the key that the server offers]
    #[arg(long, value_name = "KEY|FILE")]
    pub key: Option<String>,
}

/// Checks or exports.
///
/// # Errors
/// Where the server cannot be asked, a file cannot be read or written, or something is no key,
/// checkpoint or bundle. What is not as it was sealed is told, not an error.
pub async fn run(args: AuditArgs, context: &mut Context) -> anyhow::Result<Exit> {
    match args.verb {
        AuditVerb::Verify(args) => match &args.bundle {
            Some(bundle) => offline::verify(bundle, &args, context),
            None => log::verify(&args, context).await,
        },
        AuditVerb::Export(args) => export::run(&args, context).await,
        AuditVerb::Retention(args) => retention(&args, context).await,
    }
}

async fn retention(args: &RetentionArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let report = match args.now {
        false => client.log_retention().await?,
        true => {
            let by = crate::identity::by(args.by.by.as_deref());
            client.remove_words(&RemoveWords { by }).await?
        }
    };
    if args.output.is_json() {
        context.json(&report)?;
        return Ok(Exit::Done);
    }
    let console = &mut context.console;
    console.text(&format!(
        "the log keeps its words {}",
        match report.keep.as_str() {
            "for ever" => "for ever".to_owned(),
            span => format!("for {span}; seals stay for ever"),
        }
    ))?;
    for it in &report.settings {
        console.text(&crate::render::harmless(&format!(
            "  server {}: {} since {}, started so by {} (event {})",
            it.controller,
            it.keep,
            crate::render::words::day_and_clock(&it.at),
            it.by,
            it.event
        )))?;
    }
    for it in &report.lanes {
        let goes = match it.goes {
            0 => String::new(),
            goes if args.now => format!("; {goes} more have lost their words now"),
            goes => format!("; {goes} lose their words with the next run"),
        };
        console.text(&format!(
            "  {}: {} events, {} of them without their words, {} bytes of words, the oldest from {}{goes}",
            it.lane,
            it.events,
            it.removed,
            it.bytes,
            it.oldest.as_deref().unwrap_or("never"),
        ))?;
    }
    Ok(Exit::Done)
}

/// A key that the command line names, as text or as a file that holds it.
fn named_key(named: &str) -> anyhow::Result<VerifyingKey> {
    let text = if named.contains('+') {
        named.to_owned()
    } else {
        std::fs::read_to_string(named).with_context(|| {
            UsageError(format!(
                "`{named}` is neither a key nor a file that can be read"
            ))
        })?
    };
    text.trim()
        .parse()
        .map_err(|why| UsageError(format!("`{named}`: {why}")).into())
}

/// The day of a record's time, in microseconds since 1970, UTC.
fn day(at: i64) -> String {
    Timestamp::from_microsecond(at)
        .map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// Says what is wrong with the record.
fn tampered(context: &mut Context, what: &str) -> anyhow::Result<Exit> {
    let what = crate::render::harmless(what);
    context.console.text(&format!("✗ {what}"))?;
    Ok(Exit::RolledBack)
}

/// Writes a file that is new.
fn create(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = path.display();
    let mut file = File::create_new(path).with_context(|| {
        UsageError(format!(
            "cannot make {shown}; a file that exists is left alone"
        ))
    })?;
    file.write_all(bytes)
        .with_context(|| format!("cannot write {shown}"))
}
