//! `airboss rollback`.

use airboss_server::api::requests::RollbackRequest;

use super::watch::{self, Followed};
use super::{Context, act};
use crate::args::RollbackArgs;
use crate::exit::Exit;
use crate::identity;

/// Returns a service to an earlier version.
///
/// # Errors
/// Where the server cannot be asked or refuses.
pub async fn run(args: RollbackArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let request = RollbackRequest {
        environment: args.environment,
        to: args.to,
        by: identity::by(args.by.by.as_deref()),
        reason: args.reason,
    };
    let accepted = client.rollback(&args.service, &request).await?;
    // With JSON and --watch, all that is printed is events.
    if !(args.wait.watch && args.output.is_json()) {
        act::tell(&accepted, args.output, context)?;
    }
    if !args.wait.watch {
        return Ok(Exit::Done);
    }
    let rollout = client.rollout(&accepted.rollout).await?;
    let followed = Followed::Rollout(Box::new(rollout));
    let exit = watch::follow(client, followed, args.wait.timeout, args.output, context).await?;
    Ok(match exit {
        // A rollout in progress was taken back: that is what was asked for.
        Exit::RolledBack | Exit::Ended => Exit::Done,
        other => other,
    })
}
