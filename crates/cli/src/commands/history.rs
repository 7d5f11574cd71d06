//! `airboss history`.

use airboss_server::api::requests::RolloutQuery;

use super::Context;
use crate::args::HistoryArgs;
use crate::exit::Exit;
use crate::render::{self, Chunk, Line, Style};

/// Prints a page of rollouts, newest first.
///
/// # Errors
/// Where the server cannot be asked.
pub async fn run(args: HistoryArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let list = client
        .rollouts(&RolloutQuery {
            service: args.service.clone(),
            environment: args.environment.clone(),
            release: None,
            ended: None,
            before: args.before,
            limit: Some(args.limit),
        })
        .await?;
    if args.output.is_json() {
        context.json(&list)?;
        return Ok(Exit::Done);
    }
    if list.rollouts.is_empty() {
        context.console.text("No rollouts.")?;
        return Ok(Exit::Done);
    }
    let mut lines = render::history(&list.rollouts);
    if let Some(next) = list.next.filter(|_| context.console.is_terminal()) {
        let mut more = String::from("older ones: airboss history");
        for (flag, value) in [("", &args.service), ("--environment ", &args.environment)] {
            if let Some(value) = value {
                more += &format!(" {flag}{value}");
            }
        }
        more += &format!(" --before {next}");
        lines.push(Line::indented(2, vec![Chunk::styled(more, Style::Dim)]));
    }
    context.console.lines(&lines)?;
    Ok(Exit::Done)
}
