//! `airboss slo burn` and `airboss slo backtest`: alerts and margins before they meet users.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use airboss_judge::alerts::{self, Detection, Pitfall, RuleReplay};
use airboss_judge::backtest::{Backtest, backtest};
use airboss_judge::burn::{BurnRule, PERIOD_SECONDS, WORKBOOK};
use airboss_judge::recording::{self, History};
use airboss_judge::{Config, Margin, words};
use airboss_model::manifest::{Edge, Objective, Service, Strategy};
use airboss_model::{ServiceName, Span};
use airboss_telemetry::Gauge;
use serde::Serialize;

use super::super::judge::{read, service};
use super::super::rate;
use crate::args::OutputArgs;
use crate::exit::{Exit, UsageError};
use crate::render::harmless;

/// Of a recording, so many of the newest seconds are replayed through the judge: a day.
pub(super) const PAST_SECONDS: usize = 86_400;
/// Bad shares that a calculation shows: a total outage, a tenth, a hundredth.
const SHOWN: [f64; 3] = [1.0, 0.1, 0.01];
/// Shares that a canary is tried at where no manifest says which.
const USUAL_STEPS: [f64; 3] = [0.01, 0.1, 0.5];

/// Says how soon burn-rate rules alert, what is spent by then and when they end.
///
/// Yours stand beside those of the Site Reliability Workbook. With a recording it tells too when each
/// would have alerted on it. Exit code 3 where a rule of yours has a pitfall, which is named.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A rule is LONG/SHORT/RATE: it alerts while both windows burn the budget at least RATE times as fast as 30
days allow. `/ticket` behind it says that nobody is woken. For example:
  airboss slo burn --objective 99.9% --rule 30m/5m/20 --rule 1d/2h/3/ticket --rate 50/s")]
pub struct BurnArgs {
    /// What is promised, such as 99.9%
    #[arg(long, value_name = "SHARE", value_parser = objective)]
    pub objective: Objective,
    /// A rule of yours, such as 1h/5m/14.4
    #[arg(long = "rule", value_name = "RULE")]
    pub rules: Vec<Rule>,
    /// The service's traffic, such as 50/s: few requests have pitfalls of their own
    #[arg(long, value_name = "REQUESTS/s", value_parser = rate)]
    pub rate: Option<f64>,
    /// Try the rules on a recording too
    #[arg(long, value_name = "RECORDING")]
    pub recording: Option<PathBuf>,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Tries margins on the past: would stable have been blamed for what it is itself, or a rollout of before?
///
/// Some of stable's instances play the new version, chosen anew each time. The share of replays that fail is the
/// rate of false rollbacks by these margins. Of a service, every rollout that the server keeps second by second is
/// judged again too. Exit code 3 where a margin is too tight for the service, which is named with one that is not, or
/// where a release that was shipped would have been taken back.
#[derive(Debug, Clone, clap::Args)]
pub struct BacktestArgs {
    /// A recording, of 20 minutes of stable traffic at least, or a service that the server knows
    #[arg(value_name = "RECORDING|SERVICE")]
    pub past: String,
    /// The environment, of a service [default: the only one, else production]
    #[arg(short, long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Judge by the SLOs and steps of this manifest [default: of a recording errors and latency at 1%, 10% and
    /// 50%; of a service as its newest rollout was judged]
    #[arg(long, value_name = "FILE")]
    pub service: Option<PathBuf>,
    /// Replays of each step
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=i64::from(airboss_judge::backtest::RUNS_MAX)))]
    pub runs: u32,
    /// The same seed gives the same figures
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl BacktestArgs {
    /// Whether a file is meant: one that is there, or what cannot be a service's name.
    pub fn is_recording(&self) -> bool {
        Path::new(&self.past).exists() || self.past.parse::<ServiceName>().is_err()
    }
}

fn objective(text: &str) -> Result<Objective, String> {
    Objective::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// A rule as a person writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule(BurnRule);

impl FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no rule: write LONG/SHORT/RATE such as `1h/5m/14.4`, windows of at most 30 days and a rate above 0, and `/ticket` behind it where nobody is to be woken"
            )
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (window, page) = match parts.as_slice() {
            [window @ .., "ticket"] => (window, false),
            window => (window, true),
        };
        let [long, short, rate] = window else {
            return Err(wrong());
        };
        let seconds = |text: &str| {
            let span: Span = text.parse().ok()?;
            Some(span.0.as_secs()).filter(|seconds| (1..=PERIOD_SECONDS).contains(seconds))
        };
        let rate = rate
            .parse()
            .ok()
            .filter(|rate: &f64| *rate > 0.0 && *rate < 1e6);
        match (seconds(long), seconds(short), rate) {
            (Some(long), Some(short), Some(rate)) => Ok(Self(BurnRule {
                long,
                short,
                rate,
                page,
            })),
            _ => Err(wrong()),
        }
    }
}

/// One rule and all that is to be said of it.
#[derive(Debug, Serialize)]
struct Told {
    rule: BurnRule,
    yours: bool,
    /// The share of 30 days' budget that is spent when it alerts.
    spent: f64,
    detections: Vec<Detection>,
    pitfalls: Vec<Pitfall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<RuleReplay>,
}

/// Calculates, and replays where there is a recording.
///
/// # Errors
/// Where the recording cannot be read, or an answer cannot be written.
pub fn burn(args: &BurnArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let objective = args.objective.ratio();
    let yours = args.rules.iter().map(|rule| (rule.0, true));
    let all: Vec<(BurnRule, bool)> = yours.chain(WORKBOOK.map(|rule| (rule, false))).collect();
    let rules: Vec<BurnRule> = all.iter().map(|(rule, _)| *rule).collect();
    let replays = match &args.recording {
        Some(path) => {
            let seconds = read(path, |lines| recording::errors(lines))?;
            alerts::replay(objective, &rules, seconds.into_iter())
        }
        None => None,
    };
    let mut replays = replays.unwrap_or_default().into_iter();
    let told: Vec<Told> = all
        .into_iter()
        .map(|(rule, yours)| Told {
            rule,
            yours,
            spent: rule.spent(),
            detections: SHOWN.map(|bad| rule.detection(objective, bad)).to_vec(),
            pitfalls: rule.pitfalls(objective, args.rate),
            replay: replays.next(),
        })
        .collect();
    if args.output.is_json() {
        serde_json::to_writer_pretty(&mut *out, &told)?;
        writeln!(out)?;
    } else {
        burn_text(args, &told, out)?;
    }
    let pitfall = told.iter().any(|it| it.yours && !it.pitfalls.is_empty());
    Ok(if pitfall {
        Exit::RolledBack
    } else {
        Exit::Done
    })
}

fn name(rule: &BurnRule) -> String {
    let window = |seconds: u64| Span::secs(seconds).to_string();
    format!(
        "{}/{}/{}{}",
        window(rule.long),
        window(rule.short),
        rule.rate,
        if rule.page { "" } else { "/ticket" }
    )
}

fn burn_text(args: &BurnArgs, told: &[Told], out: &mut dyn Write) -> io::Result<()> {
    let promised = String::from(args.objective);
    writeln!(out, "{promised}: burn-rate rules, and how soon each alerts")?;
    let heads = SHOWN.map(|bad| format!("at {}", words::percent(bad)));
    writeln!(
        out,
        "  {:<18} {:>9} {:>10} {:>10} {:>10} {:>10}",
        "rule", "spent", heads[0], heads[1], heads[2], "ends after"
    )?;
    for it in told {
        let span = |seconds: Option<f64>| seconds.map_or("never".to_owned(), words::duration);
        let resets = it.detections.first().and_then(|first| first.resets);
        let of = if it.yours { "" } else { "  (workbook)" };
        write!(
            out,
            "  {:<18} {:>9}",
            name(&it.rule),
            words::percent(it.spent)
        )?;
        for detection in &it.detections {
            write!(out, " {:>10}", span(detection.after))?;
        }
        writeln!(out, " {:>10}{of}", span(resets))?;
        for pitfall in &it.pitfalls {
            writeln!(out, "    ! {pitfall}")?;
        }
        if let Some(replay) = &it.replay {
            replay_text(replay, out)?;
        }
    }
    writeln!(
        out,
        "  spent: of 30 days' budget when it alerts; ends after: from the end of a total outage"
    )
}

fn replay_text(replay: &RuleReplay, out: &mut dyn Write) -> io::Result<()> {
    if replay.tried == 0 {
        return writeln!(
            out,
            "    the recording is shorter than {}, so it was not tried",
            Span::secs(replay.rule.long)
        );
    }
    let tried = words::duration(replay.tried as f64);
    if replay.alerts.is_empty() {
        return writeln!(out, "    on the recording: no alert in {tried}");
    }
    let (count, shown) = (replay.alerts.len(), replay.alerts.iter().take(5));
    let alerts = if count == 1 { "alert" } else { "alerts" };
    writeln!(out, "    on the recording: {count} {alerts} in {tried}")?;
    for alert in shown {
        writeln!(
            out,
            "      at {} s for {}: {} of {} requests bad in the long window",
            alert.from,
            words::duration(alert.seconds as f64),
            words::count(alert.seen.bad),
            words::count(alert.seen.requests)
        )?;
    }
    Ok(())
}

/// Replays stable against itself.
///
/// # Errors
/// Where a file cannot be read, the recording is too short or of one instance, or an answer cannot be written.
pub fn run_backtest(args: &BacktestArgs, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let recording = Path::new(&args.past);
    let history = read(recording, |lines| History::read_last(lines, PAST_SECONDS))?;
    let service = args.service.as_deref().map(service).transpose()?;
    let edges = history.edges().to_vec();
    let (config, steps) = match &service {
        Some(service) => {
            let config = Config {
                latency_edges_ms: edges,
                ..Gauge::whole(service).config().clone()
            };
            (config, steps(service))
        }
        None => (Config::errors_and_latency(edges), USUAL_STEPS.to_vec()),
    };
    let weights: Vec<(f64, Option<f64>)> = steps
        .iter()
        .enumerate()
        .map(|(index, weight)| (*weight, steps.get(index + 1).copied()))
        .collect();
    let told = backtest(&history, &config, &weights, args.runs, args.seed)
        .map_err(|error| UsageError(format!("{}: {error}", recording.display())))?;
    if args.output.is_json() {
        serde_json::to_writer_pretty(&mut *out, &told)?;
        writeln!(out)?;
    } else {
        backtest_text(&told, &config, service.as_ref(), out)?;
    }
    Ok(if told.too_tight.is_empty() {
        Exit::Done
    } else {
        Exit::RolledBack
    })
}

pub(super) fn backtest_text(
    told: &Backtest,
    config: &Config,
    service: Option<&Service>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(
        out,
        "stable against itself: {} learnt from, {} replayed; at most {} may be blamed",
        words::duration(told.learnt as f64),
        words::duration(told.replayed as f64),
        words::percent(config.alpha)
    )?;
    for step in &told.steps {
        let passed = match step.median_seconds {
            Some(seconds) => format!("half pass within {}", words::duration(seconds as f64)),
            None => format!("{} of {} pass", step.passed, step.runs),
        };
        writeln!(
            out,
            "  {:>5}  {} of {} blamed, {} (95 % sure: below {}); {passed}",
            words::percent(step.weight).replace(' ', ""),
            step.failed,
            step.runs,
            words::percent(f64::from(step.failed) / f64::from(step.runs)),
            words::percent(step.high),
        )?;
        for (sli, times) in &step.blamed {
            writeln!(out, "         by {}: {times}", harmless(sli))?;
        }
    }
    for tight in &told.too_tight {
        let slos = service.into_iter().flat_map(|service| &service.spec.slos);
        let good = slos
            .clone()
            .any(|slo| slo.name == tight.sli && slo.good.is_some());
        let mend = match tight.fail {
            Some(margin) => format!("`margin: {{ fail: {} }}`", written(margin, good)),
            None => "a much wider margin, or another SLI: none that was tried sufficed".to_owned(),
        };
        writeln!(
            out,
            "  ! {}: the margin is too tight for this service: at {} {} of the replays are blamed; write {mend}",
            harmless(&tight.sli),
            words::percent(tight.weight),
            words::percent(tight.share),
        )?;
    }
    Ok(())
}

/// A margin as a manifest has it. The judge reads one of good requests as one of bad ones.
fn written(margin: Margin, good: bool) -> Edge {
    let round = |value: f64, digits: f64| (value * digits).round() / digits;
    let plus = if good {
        1.0 - margin.rho - margin.delta
    } else {
        margin.delta
    };
    Edge {
        factor: round(margin.rho, 1e2),
        plus: round(plus, 1e5),
    }
}

/// The shares below 100 % of a manifest's canary.
pub(super) fn steps(service: &Service) -> Vec<f64> {
    let Strategy::Canary(canary) = service.spec.rollout.strategy() else {
        return USUAL_STEPS.to_vec();
    };
    let steps = canary.steps.iter().map(|weight| weight.ratio());
    steps
        .filter(|weight| *weight > 0.0 && *weight < 1.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    enum Parser {
        Burn(BurnArgs),
        Backtest(BacktestArgs),
    }

    /// `words` with `@` for the recording's path, on five instances of which one is worse in the end.
    fn told(words: &str, seconds: u64) -> anyhow::Result<(Exit, String)> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("past.ndjson");
        let mut text = "{\"airboss\":\"recording/v1\"}\n".to_owned();
        for t in 0..seconds {
            for n in 0..5 {
                let every = if t > 900 && n == 3 { 1 } else { 5 };
                let bad = u64::from((t * 5 + n) % every == 0);
                text += &format!(
                    "{{\"t\":{t},\"arm\":\"baseline\",\"instance\":\"b{n}\",\"requests\":100,\"bad\":{bad}}}\n"
                );
            }
        }
        std::fs::write(&path, text)?;
        let path = path.display().to_string();
        let words = words.split_whitespace();
        let words = words.map(|word| if word == "@" { &path } else { word });
        let parsed = Parser::try_parse_from(std::iter::once("slo").chain(words))?;
        let mut out = Vec::new();
        let exit = match parsed {
            Parser::Burn(args) => burn(&args, &mut out)?,
            Parser::Backtest(args) => run_backtest(&args, &mut out)?,
        };
        Ok((exit, String::from_utf8(out)?))
    }

    #[test]
    fn rules_of_ones_own_stand_beside_the_workbooks_with_their_pitfalls_named() {
        let words = "burn --objective 99.9% --rule 30m/5m/20 --rule 6h/6h/6 --rule 1d/2h/3/ticket --rate 50/s --recording @";
        let (exit, text) = told(words, 4_000).unwrap();
        assert_eq!(exit, Exit::RolledBack);
        insta::assert_snapshot!(text);
        let sound = "burn --objective 99.9% --rule 1h/5m/14.4";
        assert_eq!(told(sound, 0).unwrap().0, Exit::Done);
    }

    #[test]
    fn a_margin_that_blames_stable_for_what_it_is_itself_is_named_with_one_that_does_not() {
        let (exit, text) = told("backtest @ --runs 60", 1_500).unwrap();
        assert_eq!(exit, Exit::RolledBack);
        insta::assert_snapshot!(text);
        let (_, json) = told("backtest @ --runs 5 -o json", 1_300).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["steps"][0]["runs"], 5);
    }

    #[test]
    fn what_cannot_be_tried_is_told_with_what_to_write() {
        for (words, what) in [
            ("burn --objective 120%", "`99.9%`"),
            ("burn --objective 99% --rule 1h/5m", "LONG/SHORT/RATE"),
            ("burn --objective 99% --rule 40d/5m/2", "30 days"),
            ("backtest /nonexistent", "airboss record"),
            ("backtest @", "at least 1200 s"),
        ] {
            let error = format!("{:#}", told(words, 60).unwrap_err());
            assert!(error.contains(what), "{words}: {error}");
        }
    }
}
