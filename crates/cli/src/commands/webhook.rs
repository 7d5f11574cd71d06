//! `airboss webhook`: events that CI pushed.

use airboss_server::api::deliveries::DeliveryQuery;
use clap::{Args, Subcommand};

use super::Context;
use crate::args::OutputArgs;
use crate::exit::Exit;
use crate::render;

/// `airboss webhook`.
#[derive(Debug, Clone, Args)]
pub struct WebhookArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: WebhookVerb,
}

/// What to do with events.
#[derive(Debug, Clone, Subcommand)]
pub enum WebhookVerb {
    /// List the events of the last 30 days, newest first, with what became of each
    List(ListArgs),
}

/// `airboss webhook list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
An event that was refused, such as one with a wrong signature, is in the server's log alone, with the reason.
To take events, start the server with --webhook github=file:PATH (or gitlab, standard) and have them sent to
SERVER/webhooks/github. docs/ci.md has the steps for each.")]
pub struct ListArgs {
    /// At most so many, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Lists events.
///
/// # Errors
/// Where the server cannot be asked.
pub async fn run(args: WebhookArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let WebhookVerb::List(args) = args.verb;
    let query = DeliveryQuery {
        limit: Some(args.limit),
    };
    let list = context.client()?.deliveries(&query).await?;
    if args.output.is_json() {
        context.json(&list)?;
    } else {
        context.console.lines(&render::deliveries(&list))?;
    }
    Ok(Exit::Done)
}
