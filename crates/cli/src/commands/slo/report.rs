//! `airboss slo report`: how releases went through their gates, and what they changed.

use super::super::{Context, subject};
use crate::args::SloServiceArgs;
use crate::exit::Exit;
use crate::render;

/// Prints the report of a service.
///
/// # Errors
/// Where the server cannot be asked, or there is no such service.
pub async fn run(args: SloServiceArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let lane = subject::lane(&client, &args.service, args.environment.as_deref()).await?;
    let report = client.report(&lane.service, &lane.environment).await?;
    if args.output.is_json() {
        context.json(&report)?;
    } else {
        context.console.lines(&render::report(&report))?;
    }
    Ok(Exit::Done)
}
