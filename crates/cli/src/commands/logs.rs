//! `airboss logs`.

use std::collections::BTreeMap;
use std::time::Duration;

use airboss_server::api::views::{LogLineView, LogView};
use tokio::time::sleep;

use super::{Context, subject};
use crate::args::LogsArgs;
use crate::exit::{Exit, UsageError};
use crate::render;

/// Pause between two looks with `--follow`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Lines of each instance that a look of `--follow` fetches: more than this between two looks are
/// left out, and it is said.
const LOOK_LINES: u32 = 1000;

/// Prints what a rollout's instances wrote.
///
/// # Errors
/// Where the server cannot be asked, or there is no such rollout.
pub async fn run(args: LogsArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let rollout = subject::newest(&client, args.subject.as_deref()).await?;
    let view = client.logs(&rollout.id, args.lines).await?;
    if args.output.is_json() && args.follow {
        return Err(UsageError(
            "--follow prints text; for programs, ask again and again without it".to_owned(),
        )
        .into());
    }
    if args.output.is_json() {
        context.json(&view)?;
        return Ok(Exit::Done);
    }
    print(&view, context)?;
    if let Some(problem) = &view.problem {
        anyhow::ensure!(
            !view.lines.is_empty(),
            "no logs of {}: {problem}",
            rollout.id
        );
    }
    if !args.follow {
        return Ok(Exit::Done);
    }
    let mut seen = by_instance(view);
    loop {
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
        }
        let view = match client.logs(&rollout.id, LOOK_LINES).await {
            Ok(view) => view,
            // A server that restarts is asked again; the lines stay where they are.
            Err(error) if error.is_passing() => continue,
            Err(error) => return Err(error.into()),
        };
        let mut fresh = Vec::new();
        for (instance, lines) in by_instance(view) {
            let before = seen.insert(instance.clone(), lines.clone());
            let (new, gap) = behind(before.as_deref().unwrap_or_default(), &lines);
            let texts = gap
                .then(|| "… lines left out …".to_owned())
                .into_iter()
                .chain(new.iter().cloned());
            fresh.extend(texts.map(|text| LogLineView {
                instance: instance.clone(),
                text,
            }));
        }
        print(
            &LogView {
                lines: fresh,
                problem: None,
            },
            context,
        )?;
    }
}

fn print(view: &LogView, context: &mut Context) -> anyhow::Result<()> {
    for line in render::lines_of_log(view, !context.console.is_terminal()) {
        context.console.text(&line)?;
    }
    Ok(())
}

fn by_instance(view: LogView) -> BTreeMap<String, Vec<String>> {
    let mut instances: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in view.lines {
        instances.entry(line.instance).or_default().push(line.text);
    }
    instances
}

/// The lines of `now` that come after those of `before`: what follows the longest end of `before`
/// that `now` holds. True where the two have nothing in common, so that lines may be missing.
fn behind<'a>(before: &[String], now: &'a [String]) -> (&'a [String], bool) {
    if before.is_empty() {
        return (now, false);
    }
    // The newest place first: all of `before`'s last lines up to there must agree.
    for end in (1..=now.len()).rev() {
        let common = end.min(before.len());
        if now[end - common..end] == before[before.len() - common..] {
            return (&now[end..], false);
        }
    }
    (now, !now.is_empty())
}

#[cfg(test)]
mod tests {
    use super::behind;

    fn lines(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn each_line_is_printed_once_while_logs_grow() {
        for (before, now, new, gap) in [
            ("", "ab", "ab", false),
            ("ab", "ab", "", false),
            ("ab", "abc", "c", false),
            ("abc", "bcd", "d", false),
            ("xabc", "cde", "de", false),
            ("abc", "xyz", "xyz", true),
            ("aaa", "aaaa", "", false),
            ("abc", "", "", false),
        ] {
            let now = lines(now);
            let (found, missing) = behind(&lines(before), &now);
            assert_eq!((found.concat().as_str(), missing), (new, gap), "{before}");
        }
    }
}
