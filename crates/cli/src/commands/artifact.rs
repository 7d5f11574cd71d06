//! `airboss artifact`: what CI built, what is said of it, where it is from, and how long it is kept.

mod add;
mod ci;
mod drift;
mod known;

use std::path::PathBuf;

use airboss_model::Span;
use airboss_server::api::requests::RetentionRequest;
use clap::{Args, Subcommand};

use super::source::{AuthArgs, RegistryArgs};
use super::{Context, MANIFEST};
use crate::args::{ByArgs, OutputArgs};
use crate::exit::Exit;
use crate::render;

pub use ci::{Ci, Told};
pub use drift::{Drift, look};

/// `airboss artifact`.
#[derive(Debug, Clone, Args)]
pub struct ArtifactArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ArtifactVerb,
}

/// What to do with artifacts.
#[derive(Debug, Clone, Subcommand)]
pub enum ArtifactVerb {
    /// Register a version with what CI knows of it, without shipping it
    Add(AddArgs),
    /// Show one artifact: where it is from, whether it is kept, what is said of it, and what is missing
    Show(ShowArgs),
    /// List artifacts, those kept last first, and how complete the provenance of versions is
    List(ListArgs),
    /// List what is said of a version's artifact, or write it to a folder for other tools
    Attestations(AttestationsArgs),
    /// Print the digest that a folder, file or archive has as an artifact, for a signing tool
    Digest(DigestArgs),
    /// Ask the registries whether a tag was moved since a version was made of it
    Drift(DriftArgs),
    /// Remove the content of artifacts that no rule keeps, as happens by itself once a day
    Gc(GcArgs),
}

/// `airboss artifact add`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
In GitHub Actions, GitLab CI and Jenkins, what is not named is read from their environment: commit, ref, run,
actor, repository. All files are read before anything is sent, so a broken one leaves nothing behind.
Afterwards: airboss ship --version VERSION")]
pub struct AddArgs {
    /// What CI built: a folder, a file, a .tar archive, or an image as oci://REGISTRY/REPOSITORY:TAG; not needed
    /// for a version that is known
    #[arg(value_name = "PATH|IMAGE")]
    pub path: Option<PathBuf>,
    /// The version, such as 1.4.0; it stands for this content for good
    #[arg(long, value_name = "VERSION")]
    pub version: String,
    /// The service, where the manifest does not say it
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// The manifest
    #[arg(short = 'f', long, value_name = "FILE", default_value = MANIFEST)]
    pub file: PathBuf,
    /// Test results: JUnit XML, or a test-result statement
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub junit: Vec<PathBuf>,
    /// Findings of a scanner: SARIF
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub sarif: Vec<PathBuf>,
    /// Findings of a scanner in another form: OSV-scanner's JSON, a vulns statement
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub scan: Vec<PathBuf>,
    /// The bill of materials: CycloneDX or SPDX
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub sbom: Vec<PathBuf>,
    /// SLSA provenance: a DSSE envelope or a Sigstore bundle
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub provenance: Vec<PathBuf>,
    /// Any other attestation, or several, one a line
    #[arg(long, value_name = "FILE", help_heading = "Evidence")]
    pub attestation: Vec<PathBuf>,
    /// The commit that it was built from
    #[arg(long, value_name = "SHA", help_heading = "Where it comes from")]
    pub commit: Option<String>,
    /// The branch or tag
    #[arg(long = "ref", value_name = "REF", help_heading = "Where it comes from")]
    pub reference: Option<String>,
    /// The address of the run
    #[arg(long, value_name = "URL", help_heading = "Where it comes from")]
    pub run: Option<String>,
    /// Who or what started the run
    #[arg(long, value_name = "NAME", help_heading = "Where it comes from")]
    pub actor: Option<String>,
    /// The address of the repository
    #[arg(long, value_name = "URL", help_heading = "Where it comes from")]
    pub repository: Option<String>,
    /// What built it
    #[arg(long, value_name = "NAME", help_heading = "Where it comes from")]
    pub builder: Option<String>,
    /// The registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Who.
    #[command(flatten)]
    pub by: ByArgs,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss artifact show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// A digest or the first digits of one, a release such as checkout@1.4.0, or a version
    #[arg(value_name = "DIGEST|RELEASE|VERSION")]
    pub artifact: String,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss artifact list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// The service; all of them where none is named
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Only those of this span, such as 30d
    #[arg(long, value_name = "SPAN")]
    pub since: Option<Span>,
    /// At most so many, 1 to 10000; of versions, at most 500
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss artifact attestations`.
#[derive(Debug, Clone, Args)]
pub struct AttestationsArgs {
    /// A digest or the first digits of one, a release such as checkout@1.4.0, or a version
    #[arg(value_name = "DIGEST|RELEASE|VERSION")]
    pub artifact: String,
    /// Write each document, and the envelope that Airboss signed about a plain report, to this folder
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// `airboss artifact digest`.
#[derive(Debug, Clone, Args)]
pub struct DigestArgs {
    /// What CI built: a folder, a file, or a .tar archive
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Keep the archive that has this digest in this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// `airboss artifact drift`.
#[derive(Debug, Clone, Args)]
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
#[derive(Debug, Clone, Args)]
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

/// Does it.
///
/// # Errors
/// Where a file is wrong, or the server cannot be asked or refuses.
pub async fn run(args: ArtifactArgs, context: &mut Context) -> anyhow::Result<Exit> {
    match args.verb {
        ArtifactVerb::Add(args) => add::run(args, context).await,
        ArtifactVerb::Show(args) => known::show(args, context).await,
        ArtifactVerb::List(args) => known::list(args, context).await,
        ArtifactVerb::Attestations(args) => known::attestations(args, context).await,
        ArtifactVerb::Digest(args) => known::digest(&args, context),
        ArtifactVerb::Drift(args) => drift::run(&args, context).await,
        ArtifactVerb::Gc(args) => gc(&args, context).await,
    }
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
