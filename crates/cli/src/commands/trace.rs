//! `airboss trace`.

use airboss_server::api::trace::TraceQuery;

use super::Context;
use crate::args::TraceArgs;
use crate::exit::Exit;
use crate::render;

/// Lists everything linked to something.
///
/// # Errors
/// Where the server cannot be asked, or nothing is recorded of it.
pub async fn run(args: TraceArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let query = TraceQuery {
        about: args.about,
        limit: Some(args.limit),
    };
    let trace = client.trace(&query).await?;
    if args.output.is_json() {
        context.json(&trace)?;
    } else {
        context.console.lines(&render::trace(&trace))?;
    }
    Ok(Exit::Done)
}
