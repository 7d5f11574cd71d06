//! `airboss artifact`: what was shipped, where it is from, and how long it is kept.

mod drift;

use airboss_server::api::requests::{ArtifactQuery, RetentionRequest};
use airboss_server::api::views::ArtifactDetail;

use super::Context;
use super::source::AuthArgs;
use crate::args::OutputArgs;
use crate::exit::{Exit, UsageError};
use crate::render;

pub use drift::{Drift, look};

/// Looks at what was shipped.
#[derive(Debug, Clone, clap::Args)]
pub struct ArtifactArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ArtifactVerb,
}

/// What to do with artifacts.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ArtifactVerb {
    /// List artifacts, those kept last first
    List(ListArgs),
    /// Show one artifact: its releases, where it is from, whether its content is kept
    Show(ShowArgs),
    /// Ask the registries whether a tag was moved since a version was made of it
    Drift(DriftArgs),
    /// Remove the content of artifacts that no rule keeps, as happens by itself once a day
    Gc(GcArgs),
}

/// `airboss artifact list`.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// At most so many, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss artifact show`.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// A digest or the first digits of one, a release such as checkout@1.4.0, or a version
    #[arg(value_name = "DIGEST|RELEASE|VERSION")]
    pub artifact: String,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss artifact drift`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Exit code 3: a tag was moved. What runs stays what it was: a digest was pinned when it was shipped."
)]
pub struct DriftArgs {
    /// The service; all of them where none is named
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthArgs,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss artifact gc`.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "What runs anywhere, waits or can be returned to is never removed. The manifest's `retention` says what else is kept."
)]
pub struct GcArgs {
    /// Only say what would go, and why what stays stays
    #[arg(long)]
    pub dry_run: bool,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Most artifacts among which one is looked for by version.
const LOOKED_AT: u32 = 10_000;

/// Does what is asked.
///
/// # Errors
/// Where the server cannot be asked, or there is no such artifact or service.
pub async fn run(args: ArtifactArgs, context: &mut Context) -> anyhow::Result<Exit> {
    match args.verb {
        ArtifactVerb::List(args) => list(&args, context).await,
        ArtifactVerb::Show(args) => show(&args, context).await,
        ArtifactVerb::Drift(args) => drift::run(&args, context).await,
        ArtifactVerb::Gc(args) => gc(&args, context).await,
    }
}

async fn list(args: &ListArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let query = ArtifactQuery {
        limit: Some(args.limit),
        ..ArtifactQuery::default()
    };
    let list = context.client()?.artifacts(&query).await?;
    if args.output.is_json() {
        context.json(&list)?;
    } else if list.artifacts.is_empty() {
        context.console.text("No artifacts.")?;
    } else {
        context.console.lines(&render::artifacts(&list.artifacts))?;
    }
    Ok(Exit::Done)
}

async fn show(args: &ShowArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let query = ArtifactQuery {
        limit: Some(LOOKED_AT),
        ..ArtifactQuery::default()
    };
    let list = context.client()?.artifacts(&query).await?;
    let mut found: Vec<ArtifactDetail> = list
        .artifacts
        .into_iter()
        .filter(|artifact| is_meant(artifact, &args.artifact))
        .collect();
    let named = &args.artifact;
    let artifact = match (found.pop(), found.len()) {
        (Some(only), 0) => only,
        (None, _) => {
            return Err(UsageError(format!(
                "there is no artifact `{named}`\n  list them: airboss artifact list"
            ))
            .into());
        }
        (Some(_), others) => {
            return Err(UsageError(format!(
                "`{named}` could be {} artifacts; name a release such as checkout@1.4.0, or more digits of the digest",
                others + 1
            ))
            .into());
        }
    };
    if args.output.is_json() {
        context.json(&artifact)?;
    } else {
        context.console.lines(&render::artifact(&artifact))?;
    }
    Ok(Exit::Done)
}

/// Fewest digits of a digest that stand for it.
const DIGITS: usize = 6;

fn is_meant(artifact: &ArtifactDetail, named: &str) -> bool {
    let digits = named.strip_prefix("sha256:").unwrap_or(named);
    let by_digest = digits.len() >= DIGITS
        && artifact.digest["sha256:".len()..].starts_with(&digits.to_ascii_lowercase());
    by_digest
        || artifact.releases.iter().any(|release| {
            release == named
                || release
                    .split_once('@')
                    .is_some_and(|(_, version)| version == named)
        })
}

async fn gc(args: &GcArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let request = RetentionRequest {
        dry_run: args.dry_run,
    };
    let report = context.client()?.retain(&request).await?;
    if args.output.is_json() {
        context.json(&report)?;
    } else {
        context.console.lines(&render::retention(&report))?;
    }
    Ok(if report.failed.is_empty() {
        Exit::Done
    } else {
        Exit::Error
    })
}
