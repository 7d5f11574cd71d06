//! `airboss slo`.

use super::{Context, subject};
use crate::args::{SloArgs, SloVerb};
use crate::exit::{Exit, UsageError};
use crate::render;

/// Says what a service's history says of its SLOs.
///
/// # Errors
/// Where the server cannot be asked, or there is no such service.
pub async fn run(args: SloArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let SloVerb::Suggest(args) = args.verb;
    let client = context.client()?;
    let environment = args.environment.as_deref();
    let lane = subject::lane(&client, &args.service, environment).await?;
    let list = client.slos(&lane.service, &lane.environment).await?;
    if args.output.is_json() {
        context.json(&list)?;
        return Ok(Exit::Done);
    }
    if list.slos.is_empty() && list.requests_per_second.is_none() {
        return Err(UsageError(format!(
            "no traffic of {}/{} was seen yet: an objective is proposed from a service's own history",
            lane.service, lane.environment
        ))
        .into());
    }
    context.console.lines(&render::slos(&list))?;
    Ok(Exit::Done)
}
