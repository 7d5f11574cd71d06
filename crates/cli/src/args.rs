//! The verbs and their flags.

use std::path::PathBuf;

use airboss_model::Span;
use clap::{Args, Parser, Subcommand};

use crate::commands::artifact::ArtifactArgs;
use crate::commands::audit::AuditArgs;
use crate::commands::check::CheckArgs;
use crate::commands::init::InitArgs;
use crate::commands::judge::JudgeArgs;
use crate::commands::keys::KeysArgs;
use crate::commands::rehearse::RehearseArgs;
use crate::commands::schema::SchemaArgs;
use crate::commands::slo::past::{BacktestArgs, BurnArgs};
use crate::commands::source::RegistryArgs;
use crate::commands::store::StoreArgs;
use crate::commands::token::TokenArgs;
use crate::commands::webhook::WebhookArgs;
use crate::commands::{MANIFEST, Output};
use crate::exit;
use crate::host;
use crate::terminal::ColorChoice;

const ENVIRONMENT_HELP: &str = "\
Environment:
  AIRBOSS_SERVER  the server's address, as --server
  AIRBOSS_TOKEN   the token, where the data folder is not at hand
  AIRBOSS_CA      certificates to trust, as --ca
  AIRBOSS_HOME    the data folder; otherwise the nearest .airboss from here upward
  AIRBOSS_USER    who asks, for the record, as --by
  NO_COLOR        no colours";

/// Ships releases a slice at a time, judges each slice against its SLOs, and takes it back the
/// moment it hurts.
#[derive(Debug, Parser)]
#[command(
    name = "airboss",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = false,
    after_help = "Exit codes and environment: airboss --help",
    after_long_help = format!("{}\n{ENVIRONMENT_HELP}", exit::help())
)]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What holds for every verb.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Talk to the server at this address
    #[arg(
        long,
        global = true,
        env = "AIRBOSS_SERVER",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    pub server: Option<String>,
    /// Trust the certificates in this PEM file, and no others, for an https:// server
    #[arg(
        long,
        global = true,
        env = "AIRBOSS_CA",
        value_name = "FILE",
        hide_env_values = true,
        help_heading = "Everywhere"
    )]
    pub ca: Option<PathBuf>,
    /// When to colour: auto, always, never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true,
        help_heading = "Everywhere"
    )]
    pub color: ColorChoice,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
#[non_exhaustive]
pub enum Verb {
    /// Run Airboss on this machine: server and agent in one
    Up(host::up::UpArgs),
    /// Run the server alone
    Serve(host::serve::ServeArgs),
    /// Run the agent alone, on a host that carries services; invite, list and revoke agents
    Agent(host::agent::AgentArgs),

    /// Write a first airboss.yaml for the service in a folder
    Init(InitArgs),
    /// Check a manifest and say in words what it means
    Check(CheckArgs),
    /// Print the JSON Schema of the manifest
    Schema(SchemaArgs),
    /// Judge a recording of traffic as the live judge would
    Judge(JudgeArgs),
    /// Play a release and a fault on a simulated clock, before you ship
    Rehearse(RehearseArgs),

    /// What CI built: register it, see what is said of it, where it is from, how long it is kept
    Artifact(ArtifactArgs),
    /// What CI pushed here by itself, and what became of it
    Webhook(WebhookArgs),
    /// Ship a version: upload it, then expose it step by step
    Ship(ShipArgs),
    /// Show what serves users and what is under way
    Status(StatusArgs),
    /// Follow a rollout or a service as it goes
    Watch(WatchArgs),
    /// List rollouts, newest first
    History(HistoryArgs),
    /// Hold a rollout at its present weight
    Pause(ActArgs),
    /// Let a held rollout go on
    Resume(ActArgs),
    /// End the present step without waiting for its proof
    Promote(PromoteArgs),
    /// End a rollout and take its version back
    Abort(AbortArgs),
    /// Return a service to an earlier version
    Rollback(RollbackArgs),
    /// Say why a rollout went as it did
    Explain(ExplainArgs),
    /// Show what a rollout's instances wrote
    Logs(LogsArgs),
    /// Record live traffic, for `airboss judge`
    Record(RecordArgs),
    /// What a service's history says of its objectives
    Slo(SloArgs),
    /// List everything linked to a version, digest, commit, run of CI, rollout, person or environment
    Trace(TraceArgs),
    /// Check that the record is the one that was sealed, or export a rollout's part of it
    Audit(AuditArgs),
    /// Make, list and revoke the tokens that let people, CI and agents in
    Token(TokenArgs),
    /// The keys that Airboss signs with, and whose it believes
    Keys(KeysArgs),
    /// Check, back up, restore or move the database
    Store(StoreArgs),
    /// Look for what is wrong with this installation
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// `--output`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputArgs {
    /// How to print: text, json
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub output: Output,
}

impl OutputArgs {
    /// True for programs.
    pub fn is_json(self) -> bool {
        self.output == Output::Json
    }
}

/// `--by`.
#[derive(Debug, Clone, Default, Args)]
pub struct ByArgs {
    /// Who asks, for the record [default: git's user.email, else $USER@host]
    #[arg(
        long,
        env = "AIRBOSS_USER",
        value_name = "NAME",
        hide_env_values = true
    )]
    pub by: Option<String>,
}

/// `--watch` and `--timeout`.
#[derive(Debug, Clone, Default, Args)]
pub struct WaitArgs {
    /// Follow until the end; the exit code says how it ended
    #[arg(short, long)]
    pub watch: bool,
    /// With --watch: stop following after this long, such as 20m; the rollout goes on
    #[arg(long, value_name = "SPAN", requires = "watch")]
    pub timeout: Option<Span>,
}

/// `airboss ship`.
#[derive(Debug, Clone, Args)]
pub struct ShipArgs {
    /// What to ship: a folder, a file, a .tar archive, or an image as oci://REGISTRY/REPOSITORY:TAG; not needed
    /// for a version that is known
    #[arg(value_name = "PATH|IMAGE")]
    pub path: Option<PathBuf>,
    /// The version, such as 1.4.0; it stands for this content for good
    #[arg(long, value_name = "VERSION")]
    pub version: String,
    /// The service, where the manifest holds several
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// The environment [default: production]
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// The manifest
    #[arg(short = 'f', long, value_name = "FILE", default_value = MANIFEST)]
    pub file: PathBuf,
    /// It repairs what spends an error budget, so it goes although a budget is spent
    #[arg(long)]
    pub fix: bool,
    /// Registries.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Following.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Who.
    #[command(flatten)]
    pub by: ByArgs,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The service; all of them where none is named
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Only this environment
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss watch`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A rollout is followed until it ends, and the exit code says how. A service is followed until Ctrl-C.
With neither, the only rollout in progress is followed. With --output json, each event is one line.")]
pub struct WatchArgs {
    /// A rollout such as checkout-7, or a service such as checkout
    #[arg(value_name = "ROLLOUT|SERVICE")]
    pub subject: Option<String>,
    /// The environment of a service [default: the only one, else production]
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Stop following after this long, such as 20m; the rollout goes on
    #[arg(long, value_name = "SPAN")]
    pub timeout: Option<Span>,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// The service; all of them where none is named
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Only this environment
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// At most so many, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Only those asked for before this rollout
    #[arg(long, value_name = "ROLLOUT")]
    pub before: Option<String>,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss pause` and `airboss resume`.
#[derive(Debug, Clone, Args)]
pub struct ActArgs {
    /// The rollout, or the service that it is of; the only one in progress where none is named
    #[arg(value_name = "ROLLOUT|SERVICE")]
    pub rollout: Option<String>,
    /// Why, for the record
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// Who.
    #[command(flatten)]
    pub by: ByArgs,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss promote`.
#[derive(Debug, Clone, Args)]
pub struct PromoteArgs {
    /// What is common.
    #[command(flatten)]
    pub act: ActArgs,
    /// Go to 100 % at once, past all further steps
    #[arg(long)]
    pub full: bool,
}

/// `airboss abort`.
#[derive(Debug, Clone, Args)]
pub struct AbortArgs {
    /// What is common.
    #[command(flatten)]
    pub act: ActArgs,
    /// Go to 0 % at once even where the version that serves has not the capacity
    #[arg(long)]
    pub force: bool,
}

/// `airboss rollback`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Where a rollout is in progress, that one is taken back. With --watch, the exit code is 0 as soon as \
users are on the earlier version.")]
pub struct RollbackArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// The version to return to [default: the one before]
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// The environment [default: production]
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Why, for the record
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
    /// Following.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Who.
    #[command(flatten)]
    pub by: ByArgs,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// A rollout, or a service for its newest one; the one in progress or the newest where none is named
    #[arg(value_name = "ROLLOUT|SERVICE")]
    pub subject: Option<String>,
    /// With the numbers that each decision rests on
    #[arg(long)]
    pub full: bool,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss trace`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Whatever it may be is tried; of a run, its address or its number. Each release that it leads to is listed, newest first, \
with its artifact, build, tests, rollouts, environments and people, with what led there, and with what nothing is recorded of.")]
pub struct TraceArgs {
    /// A release, rollout, version, digest or commit (or its first 7 digits), run of CI, test report, person or environment
    #[arg(value_name = "WHAT")]
    pub about: String,
    /// At most so many releases, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: u32,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// A rollout, or a service for its newest one; the one in progress or the newest where none is named
    #[arg(value_name = "ROLLOUT|SERVICE")]
    pub subject: Option<String>,
    /// The last so many of each instance, 1 to 1000
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub lines: u32,
    /// Go on printing until Ctrl-C
    #[arg(long)]
    pub follow: bool,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss record`.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// The environment [default: the only one, else production]
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Stop after this long, such as 10m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "SPAN")]
    pub r#for: Option<Span>,
    /// The file to make; it must not exist yet [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `airboss slo`.
#[derive(Debug, Clone, Args)]
pub struct SloArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: SloVerb,
}

/// What to do about objectives.
#[derive(Debug, Clone, Subcommand)]
pub enum SloVerb {
    /// Say which objectives fit the service's history, and propose others where they do not
    Suggest(SloServiceArgs),
    /// Say how releases went through their gates, what the gates did not see, and what each release changed
    Report(SloServiceArgs),
    /// Say how soon burn-rate rules alert, what is spent by then and when they end
    Burn(BurnArgs),
    /// Try margins on the past: would stable, or a rollout of before, have been blamed?
    Backtest(BacktestArgs),
}

/// `airboss slo suggest` and `airboss slo report`.
#[derive(Debug, Clone, Args)]
pub struct SloServiceArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// The environment [default: the only one, else production]
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
For example:
  airboss completions bash > ~/.local/share/bash-completion/completions/airboss
  airboss completions zsh > \"${fpath[1]}/_airboss\"
  airboss completions fish > ~/.config/fish/completions/airboss.fish")]
pub struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    pub shell: clap_complete::Shell,
}
