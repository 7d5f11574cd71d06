//! `airboss agent token|list|revoke`: agents on hosts of their own, for whoever administers them.

use airboss_server::api::agents::{HostAgent, NewAgent, RevokeAgent};
use clap::Args;

use super::Context;
use crate::args::{ByArgs, OutputArgs};
use crate::exit::Exit;
use crate::{identity, render};

/// `airboss agent token`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
For example, a host for everything in production, and what is typed there:
  airboss agent token web-1 --carries '*/production'
  airboss agent join --controller https://airboss.example.org:7420
  airboss agent")]
pub struct InviteArgs {
    /// The agent's name, such as its host's
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Lanes that it carries, as SERVICE/ENVIRONMENT with * for any; may be repeated. Of several agents
    /// whose patterns fit, the one that was invited first carries a lane
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pub carries: Vec<String>,
    /// How long the join token can be used
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub expires: String,
    /// Carry also what runs on this installation's own agent now, which will run twice unless the
    /// new agent joins on the same host or the other one is stopped
    #[arg(long)]
    pub take_over: bool,
    /// Who asks.
    #[command(flatten)]
    pub by: ByArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss agent revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// The agent's name, or its id
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Who asks.
    #[command(flatten)]
    pub by: ByArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Invites an agent.
///
/// # Errors
/// Where the server cannot be asked, or says no.
pub async fn invite(args: InviteArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let made = client
        .invite_agent(&NewAgent {
            name: args.name,
            carries: args.carries,
            expires_in: args.expires,
            take_over: args.take_over,
            by: identity::by(args.by.by.as_deref()),
        })
        .await?;
    if args.output.is_json() {
        context.json(&made)?;
        return Ok(Exit::Done);
    }
    let HostAgent { name, carries, .. } = &made.agent;
    let name = name.as_deref().unwrap_or_default();
    let till = made.agent.invited_till.as_deref().unwrap_or_default();
    let url = &context.places.server()?.url;
    context.console.text(&format!(
        "{}\n\nThis lets {name} in, once, until {}; it will carry {}. It is shown this once. On its host:\n  airboss agent join --controller {url}\nand paste it there; then `airboss agent` runs it.",
        made.join_token,
        render::words::day_and_clock(till),
        carries.join(", "),
    ))?;
    Ok(Exit::Done)
}

/// Lists agents.
///
/// # Errors
/// Where the server cannot be asked.
pub async fn list(output: OutputArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let list = context.client()?.agents().await?;
    if output.is_json() {
        context.json(&list)?;
    } else if list.agents.is_empty() {
        context.console.text(
            "No agent has reported, and none is invited. `airboss up` runs one here; `airboss agent token NAME` invites one of another host.",
        )?;
    } else {
        context.console.lines(&render::agents(&list))?;
    }
    Ok(Exit::Done)
}

/// Revokes an agent.
///
/// # Errors
/// Where the server cannot be asked, or there is no such agent.
pub async fn revoke(args: RevokeArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let by = identity::by(args.by.by.as_deref());
    let agent = client.revoke_agent(&args.name, &RevokeAgent { by }).await?;
    if args.output.is_json() {
        context.json(&agent)?;
        return Ok(Exit::Done);
    }
    let name = agent.name.as_deref().unwrap_or(&agent.id);
    let what = if agent.lanes.is_empty() {
        "It carried nothing.".to_owned()
    } else {
        format!(
            "It carried {}. What runs there goes on as it is until it is stopped on that host: `airboss agent list` says who carries it from now on.",
            agent.lanes.join(", ")
        )
    };
    context.console.text(&format!(
        "{name} is revoked: no server listens to it any more. {what}"
    ))?;
    Ok(Exit::Done)
}
