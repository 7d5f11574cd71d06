//! `airboss agent`: carries out on this host what the controller decided.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use airboss_runtime::Clock;
use airboss_targets::process::{AgentConfig, StopMode};
use anyhow::Context as _;
use tokio::sync::watch;

use super::folder::DataArgs;
use super::joining::{self, JoinArgs};
use super::signals::{Stop, die_with};
use crate::args::OutputArgs;
use crate::commands::agents::{InviteArgs, RevokeArgs};
use crate::exit::Exit;

/// What happens to services when the agent is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnStop {
    /// They go on; the next agent takes them over. For restarts and upgrades of the agent
    Leave,
    /// They finish their requests and end
    Stop,
}

/// Runs the agent, on a host that carries services; or lets another host's agent in.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AgentArgs {
    /// What to do instead of running it.
    #[command(subcommand)]
    pub verb: Option<AgentVerb>,
    /// A controller's address; named once for each [default: the one in the data folder]
    #[arg(long, value_name = "URL")]
    pub controller: Vec<String>,
    /// What happens to services when the agent is told to stop
    #[arg(long, value_enum, value_name = "WHAT", default_value = "leave")]
    pub on_stop: OnStop,
    /// Where it keeps its data.
    #[command(flatten)]
    pub data: DataArgs,
    /// The process that supervises this one
    #[arg(long, hide = true, value_name = "PID")]
    pub supervisor: Option<u32>,
}

/// What to do with agents.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AgentVerb {
    /// Invite an agent of another host: make the token by which it joins, once
    Token(InviteArgs),
    /// Join, on the agent's host, with a key of its own; the token is read from $AIRBOSS_JOIN_TOKEN or standard input
    Join(JoinArgs),
    /// List agents: where they stand, what they carry, their versions
    List(OutputArgs),
    /// Listen to an agent no more, at once and for good
    Revoke(RevokeArgs),
}

/// Runs until it is told to stop. Who has joined shows its key; else the token is `$AIRBOSS_TOKEN`, or the data folder's.
///
/// # Errors
/// Where it cannot start: another agent in the folder, no token, no address.
pub fn run(args: AgentArgs, ca: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    if let Some(supervisor) = args.supervisor {
        die_with(supervisor)?;
    }
    super::logging::start();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime
        .block_on(agent(args, ca))
        .map(|()| Exit::Done.into())
}

/// Lets the splitter keep as many connections as the system allows this process.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = limit.current, "the limit of open files stays as it is; it bounds the splitter's connections");
    }
}

async fn agent(args: AgentArgs, ca: Option<PathBuf>) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let folder = args.data.open()?;
    let announced = folder.announced();
    let identity = joining::identity(&folder)?;
    let mut controllers = args.controller;
    if let (true, Some(identity)) = (controllers.is_empty(), &identity) {
        controllers.clone_from(&identity.controllers);
    }
    if let (true, Ok(url)) = (controllers.is_empty(), std::env::var("AIRBOSS_SERVER")) {
        controllers.push(url);
    }
    if controllers.is_empty() {
        let here = announced.as_ref().map(|server| server.url.clone()).context(
            "no server is known here: join one: `airboss agent join --controller URL` with a token of `airboss agent token`. Or name its address with --controller, and set $AIRBOSS_TOKEN to the token in its data folder",
        )?;
        controllers.push(here);
    }
    let ca = ca.or(announced
        .filter(|server| controllers == [server.url.clone()])
        .and_then(|server| server.ca));
    let token = match std::env::var("AIRBOSS_TOKEN") {
        _ if identity.is_some() => String::new(),
        Ok(token) if !token.trim().is_empty() => token.trim().to_owned(),
        _ => folder.token()?,
    };
    let clock = Clock::system();
    let mut config = AgentConfig::new(
        folder.path(),
        controllers.clone(),
        token,
        Arc::new(move || clock.now()),
    );
    config.ca = ca;
    config.identity = identity;
    let (tell, told) = watch::channel(None);
    tracing::info!(?controllers, data = %folder.path().display(), version = env!("CARGO_PKG_VERSION"), "agent starts");
    let mode = match args.on_stop {
        OnStop::Leave => StopMode::LeaveRunning,
        OnStop::Stop => StopMode::StopInstances,
    };
    tokio::spawn(async move {
        stop.told().await;
        tell.send_replace(Some(mode));
        // Told again, the agent is already about it.
        stop.told().await;
    });
    airboss_targets::process::run(config, told).await?;
    tracing::info!("agent stopped");
    Ok(())
}
