//! `airboss slo backtest SERVICE`: what the server keeps of a service's rollouts, judged by other rules.

use std::collections::BTreeMap;
use std::io::{self, Write};

use airboss_judge::backtest::{Backtest, BacktestError, backtest};
use airboss_judge::recording::{History, Mark, VerdictLine, judge_lines};
use airboss_judge::{Config, Verdict, words};
use airboss_model::manifest::Service;
use airboss_server::api::requests::RolloutQuery;
use airboss_server::api::views::LaneView;
use airboss_telemetry::{Gauge, measures};
use futures_util::StreamExt as _;
use serde::Serialize;

use super::super::judge::service;
use super::super::{Context, subject};
use super::past::{BacktestArgs, PAST_SECONDS, backtest_text, steps};
use crate::client::Client;
use crate::exit::{Exit, UsageError};
use crate::render::harmless;
use crate::render::words::plain;

/// Largest past that is taken from a server.
const PAST_BYTES_MAX: usize = 512 << 20;

/// A rollout of the past by other rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Replayed {
    id: String,
    /// How it ended, such as `shipped`.
    outcome: String,
    /// Where it would be taken back: after how many seconds, by which SLI, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_back: Option<TakenBack>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct TakenBack {
    after: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sli: Option<String>,
    reason: String,
}

/// Everything that is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Told {
    service: String,
    environment: String,
    /// The rules that were tried.
    config: Config,
    rollouts: Vec<Replayed>,
    /// Kept rollouts that were measured otherwise, so that these rules cannot be tried on them.
    left_out: usize,
    /// Seconds of stable beside these rollouts.
    stable_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    against_itself: Option<Backtest>,
    /// Why stable was not held against itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_tried: Option<String>,
}

/// Judges a service's kept rollouts again.
///
/// # Errors
/// Where the server cannot be asked, nothing is kept, or an answer cannot be written.
pub async fn run(args: &BacktestArgs, name: &str, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let lane = subject::lane(&client, name, args.environment.as_deref()).await?;
    let manifest = args.service.as_deref().map(service).transpose()?;
    let lines = past(&client, &lane).await?;
    let outcomes = outcomes(&client, &lane).await?;
    let name = (lane.service.as_str(), lane.environment.as_str());
    let told = tell(name, &lines, &outcomes, manifest.as_ref(), args)?;
    let mut text = Vec::new();
    if args.output.is_json() {
        serde_json::to_writer_pretty(&mut text, &told)?;
        text.push(b'\n');
    } else {
        write_text(&told, manifest.as_ref(), &mut text)?;
    }
    context
        .console
        .text(String::from_utf8_lossy(&text).trim_end())?;
    Ok(if is_blamed(&told) {
        Exit::RolledBack
    } else {
        Exit::Done
    })
}

async fn past(client: &Client, lane: &LaneView) -> anyhow::Result<Vec<String>> {
    let mut stream = client.past(&lane.service, &lane.environment).await?;
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part?);
        anyhow::ensure!(
            bytes.len() <= PAST_BYTES_MAX,
            "what is kept of {}/{} is larger than {PAST_BYTES_MAX} bytes, which is too much to replay at once",
            lane.service,
            lane.environment
        );
    }
    let text = String::from_utf8(bytes)?;
    Ok(text.lines().map(str::to_owned).collect())
}

async fn outcomes(client: &Client, lane: &LaneView) -> anyhow::Result<BTreeMap<String, String>> {
    let query = RolloutQuery {
        service: Some(lane.service.clone()),
        environment: Some(lane.environment.clone()),
        ended: Some(true),
        limit: Some(500),
        ..RolloutQuery::default()
    };
    let list = client.rollouts(&query).await?.rollouts.into_iter();
    let ended = list.filter_map(|rollout| Some((rollout.id, rollout.outcome?)));
    Ok(ended.collect())
}

/// A kept rollout's mark.
struct Kept {
    id: String,
    start: u64,
    weights: Vec<f64>,
    config: Config,
    measures: BTreeMap<String, String>,
}

fn kept(line: &str) -> Option<Kept> {
    let is = line.contains("\"airboss\":\"rollout\"");
    match serde_json::from_str::<Mark>(line).ok().filter(|_| is)? {
        Mark::Rollout {
            id,
            start,
            weights,
            config: Some(config),
            measures,
            ..
        } => Some(Kept {
            id,
            start,
            weights,
            config: *config,
            measures,
        }),
        _ => None,
    }
}

fn tell(
    (name, environment): (&str, &str),
    lines: &[String],
    outcomes: &BTreeMap<String, String>,
    manifest: Option<&Service>,
    args: &BacktestArgs,
) -> anyhow::Result<Told> {
    let marks: Vec<Kept> = lines.iter().filter_map(|line| kept(line)).collect();
    let Some(newest) = marks.last() else {
        return Err(UsageError(format!(
            "nothing of {name}/{environment} is kept second by second: a canary's rollouts are. `airboss record {name} --for 1h` makes a recording to replay"
        ))
        .into());
    };
    let edges = newest.config.latency_edges_ms.clone();
    let (config, wanted, weights) = match manifest {
        Some(service) => {
            let config = Config {
                latency_edges_ms: edges,
                ..Gauge::new(service).config().clone()
            };
            (config, measures(service), steps(service))
        }
        None => (
            newest.config.clone(),
            newest.measures.clone(),
            newest.weights.clone(),
        ),
    };
    let like = |kept: &Kept| {
        let mut slis = config.slis.iter();
        slis.all(|sli| {
            let measured = kept.measures.get(&sli.name);
            measured.is_some() && measured == wanted.get(&sli.name)
        })
    };
    // Lines of rollouts that were measured alike; the header is everybody's.
    let (mut usable, mut is_like) = (Vec::new(), true);
    for line in lines {
        if let Some(kept) = kept(line) {
            is_like = like(&kept);
        }
        if is_like {
            usable.push(line.as_str());
        }
    }
    let (alike, others): (Vec<Kept>, Vec<Kept>) = marks.into_iter().partition(like);
    let verdicts = judge_lines(usable.iter().copied(), Some(config.clone()), None)?;
    let rollouts: Vec<Replayed> = alike
        .iter()
        .map(|kept| Replayed {
            id: kept.id.clone(),
            outcome: outcomes.get(&kept.id).cloned().unwrap_or_default(),
            taken_back: verdicts.iter().find_map(|line| taken_back(kept, line)),
        })
        .collect();
    let history = History::read_last(usable.iter().copied(), PAST_SECONDS)?;
    let stable = history.stable(&config);
    let stable_seconds = stable.filter(|(_, arm)| !arm.instances.is_empty()).count() as u64;
    let next = |at: usize| weights.get(at + 1).copied();
    let weights: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| (*weight, next(at)))
        .collect();
    let (against_itself, not_tried) =
        match backtest(&history, &config, &weights, args.runs, args.seed) {
            Ok(told) => (Some(told), None),
            Err(error @ (BacktestError::TooShort { .. } | BacktestError::OneInstance { .. })) => {
                (None, Some(error.to_string()))
            }
            Err(error) => return Err(error.into()),
        };
    Ok(Told {
        service: name.to_owned(),
        environment: environment.to_owned(),
        config,
        rollouts,
        left_out: others.len(),
        stable_seconds,
        against_itself,
        not_tried,
    })
}

fn taken_back(kept: &Kept, line: &VerdictLine) -> Option<TakenBack> {
    let is = line.rollout.as_ref() == Some(&kept.id) && line.verdict == Verdict::Fail;
    is.then(|| TakenBack {
        after: line.t.saturating_sub(kept.start),
        sli: line.sli.clone(),
        reason: line.reason.clone(),
    })
}

/// Stable, or a release that served everybody, would be blamed.
fn is_blamed(told: &Told) -> bool {
    let shipped = |rollout: &Replayed| rollout.outcome == "shipped" && rollout.taken_back.is_some();
    let tight = |told: &Backtest| !told.too_tight.is_empty();
    told.rollouts.iter().any(shipped) || told.against_itself.as_ref().is_some_and(tight)
}

fn write_text(told: &Told, manifest: Option<&Service>, out: &mut dyn Write) -> io::Result<()> {
    let rules = match manifest {
        Some(_) => "the manifest",
        None => "the newest of them",
    };
    writeln!(
        out,
        "{}/{}: {} rollouts are kept second by second. By the rules of {rules}:",
        told.service,
        told.environment,
        told.rollouts.len()
    )?;
    for rollout in &told.rollouts {
        let outcome = plain(&rollout.outcome);
        match &rollout.taken_back {
            None => writeln!(out, "    {}  ({outcome})  not blamed", rollout.id)?,
            Some(back) => {
                let mark = if rollout.outcome == "shipped" {
                    '!'
                } else {
                    ' '
                };
                writeln!(
                    out,
                    "  {mark} {}  ({outcome})  taken back after {}: {}",
                    rollout.id,
                    words::duration(back.after as f64),
                    harmless(&back.reason)
                )?;
            }
        }
    }
    if told.left_out > 0 {
        writeln!(
            out,
            "  {} more were measured by other SLOs or routes, so these rules cannot be tried on them",
            told.left_out
        )?;
    }
    writeln!(
        out,
        "  each is kept to its end: one that was taken back tells nothing of what would have come later"
    )?;
    match (&told.against_itself, &told.not_tried) {
        (Some(itself), _) => {
            backtest_text(itself, &told.config, manifest, out)?;
            writeln!(
                out,
                "  stable's seconds are those beside these rollouts, not whole days: `airboss record` sees more"
            )
        }
        (None, Some(why)) => writeln!(out, "stable against itself was not tried: {why}"),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::OutputArgs;

    #[test]
    fn rules_that_would_have_blamed_a_release_that_everybody_has_are_named() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "shop" },
            "spec": { "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1" } },
                "slos": [{ "name": "availability", "objective": "99%", "bad": "status >= 500" }] }
        }))
        .unwrap();
        let config = Gauge::new(&service).config().clone();
        let mut lines = vec![airboss_judge::recording::header(&[])];
        let mut next = 0;
        // A sound one, one with 1 % against 0.5 %, and one that was measured by something else.
        for (id, bad, measured) in [
            ("shop-2", 1, true),
            ("shop-3", 2, true),
            ("shop-4", 1, false),
        ] {
            let mut config = config.clone();
            config.slis[0].fail = Some(airboss_judge::Margin {
                rho: 3.0,
                delta: 0.01,
            });
            let measures = if measured {
                measures(&service)
            } else {
                BTreeMap::new()
            };
            let start = next;
            let mark = Mark::Rollout {
                t: start,
                id: id.to_owned(),
                start,
                weights: vec![0.1],
                config: Some(Box::new(config)),
                measures,
                history: None,
            };
            lines.push(serde_json::to_string(&mark).unwrap());
            for t in start..start + 600 {
                for n in 0..2 {
                    let stable = (t + n) % 2;
                    lines.push(format!("{{\"t\":{t},\"arm\":\"baseline\",\"instance\":\"stable.{n}\",\"requests\":100,\"bad\":{stable},\"weight\":0.1}}"));
                }
                lines.push(format!("{{\"t\":{t},\"arm\":\"canary\",\"instance\":\"{id}.0\",\"requests\":100,\"bad\":{},\"weight\":0.1}}", bad * (t % 2)));
            }
            lines.push(format!(
                "{{\"airboss\":\"rollout_end\",\"t\":{}}}",
                start + 600
            ));
            next = start + 660;
        }
        let outcomes =
            ["shop-2", "shop-3", "shop-4"].map(|id| (id.to_owned(), "shipped".to_owned()));
        let args = BacktestArgs {
            past: "shop".to_owned(),
            environment: None,
            service: None,
            runs: 20,
            seed: 1,
            output: OutputArgs::default(),
        };
        let told = tell(
            ("shop", "production"),
            &lines,
            &outcomes.into(),
            Some(&service),
            &args,
        )
        .unwrap();
        assert_eq!(
            (told.rollouts.len(), told.left_out, told.stable_seconds),
            (2, 1, 1_200)
        );
        assert!(is_blamed(&told));
        let mut out = Vec::new();
        write_text(&told, Some(&service), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
        let own = tell(
            ("shop", "production"),
            &lines[..lines.len() - 1_802],
            &[].into(),
            None,
            &args,
        )
        .unwrap();
        assert!(
            own.rollouts
                .iter()
                .all(|rollout| rollout.taken_back.is_none()),
            "{own:?}"
        );
    }
}
