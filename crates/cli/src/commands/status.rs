//! `airboss status`.

use airboss_server::api::views::LaneList;

use super::{Context, subject};
use crate::args::StatusArgs;
use crate::exit::Exit;
use crate::render::{self, Footnote, Line};

/// Prints one tree, or a table of several lanes where no service is named.
///
/// # Errors
/// Where the server cannot be asked, or the service is not there.
pub async fn run(args: StatusArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let lanes = subject::lanes(
        &client,
        args.service.as_deref(),
        args.environment.as_deref(),
    )
    .await?;
    if args.output.is_json() {
        context.json(&LaneList { lanes })?;
        return Ok(Exit::Done);
    }
    if lanes.is_empty() {
        context.console.text(
            "Nothing has been shipped yet. Ship the first version: airboss ship PATH --version VERSION",
        )?;
        return Ok(Exit::Done);
    }
    if args.service.is_none() && lanes.len() > 1 {
        context.console.lines(&render::lanes(&lanes))?;
        return Ok(Exit::Done);
    }
    for (at, lane) in lanes.iter().enumerate() {
        if at > 0 {
            context.console.lines(&[Line::default()])?;
        }
        let notes: Vec<Footnote> = lane
            .rollout
            .iter()
            .map(|rollout| Footnote::Hint(format!("follow it: airboss watch {}", rollout.id)))
            .collect();
        context.console.lines(&render::tree(lane, &[], &notes))?;
    }
    Ok(Exit::Done)
}
