//! `airboss pause`, `resume`, `promote` and `abort`.

use airboss_server::api::requests::ActionRequest;
use airboss_server::api::views::Accepted;

use super::{Context, subject};
use crate::args::{AbortArgs, ActArgs, OutputArgs, PromoteArgs};
use crate::client::Action;
use crate::exit::Exit;
use crate::identity;
use crate::render::{Chunk, Line, Style};

/// `airboss pause`.
///
/// # Errors
/// Where the server cannot be asked or refuses.
pub async fn pause(args: ActArgs, context: &mut Context) -> anyhow::Result<Exit> {
    act(Action::Pause, args, false, false, context).await
}

/// `airboss resume`.
///
/// # Errors
/// As [`pause`].
pub async fn resume(args: ActArgs, context: &mut Context) -> anyhow::Result<Exit> {
    act(Action::Resume, args, false, false, context).await
}

/// `airboss promote`.
///
/// # Errors
/// As [`pause`].
pub async fn promote(args: PromoteArgs, context: &mut Context) -> anyhow::Result<Exit> {
    act(Action::Promote, args.act, args.full, false, context).await
}

/// `airboss abort`.
///
/// # Errors
/// As [`pause`].
pub async fn abort(args: AbortArgs, context: &mut Context) -> anyhow::Result<Exit> {
    act(Action::Abort, args.act, false, args.force, context).await
}

async fn act(
    action: Action,
    args: ActArgs,
    full: bool,
    force: bool,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let rollout = subject::in_progress(&client, args.rollout, action.as_str()).await?;
    let request = ActionRequest {
        by: identity::by(args.by.by.as_deref()),
        reason: args.reason,
        full,
        force,
    };
    let accepted = client.act(&rollout, action, &request).await?;
    tell(&accepted, args.output, context)?;
    Ok(Exit::Done)
}

/// Prints what was accepted.
///
/// # Errors
/// Where the output is gone or full.
pub(super) fn tell(
    accepted: &Accepted,
    output: OutputArgs,
    context: &mut Context,
) -> anyhow::Result<()> {
    if output.is_json() {
        return context.json(accepted);
    }
    let mut lines = vec![Line::indented(
        2,
        vec![
            Chunk::styled("✓", Style::Good)
                .and(" ", Style::Plain)
                .and(&accepted.message, Style::Plain),
        ],
    )];
    for warning in &accepted.warnings {
        // A manifest's warning spans lines, with its place marked by columns.
        lines.extend(
            warning
                .lines()
                .map(|line| Line::guided("! ", "  ", vec![Chunk::styled(line, Style::Warn)])),
        );
    }
    context.console.lines(&lines)?;
    Ok(())
}
