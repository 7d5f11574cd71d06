//! `airboss explain`.

use super::{Context, subject};
use crate::args::ExplainArgs;
use crate::exit::Exit;
use crate::render;

/// Says why a rollout went as it did.
///
/// # Errors
/// Where the server cannot be asked, or there is no such rollout.
pub async fn run(args: ExplainArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let rollout = subject::newest(&client, args.subject.as_deref()).await?;
    let explanation = client.explain(&rollout.id).await?;
    if args.output.is_json() {
        context.json(&explanation)?;
    } else {
        context
            .console
            .lines(&render::explanation(&explanation, args.full))?;
    }
    Ok(Exit::Done)
}
