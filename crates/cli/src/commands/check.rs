//! `airboss check`: is the manifest good, and what does it mean?

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use airboss_judge::words;
use airboss_model::manifest::{
    self, Bake, Better, Canary, Chance, Diagnostic, Document, Edge, Guardrail, Judging, Measured,
    ProcessTarget, Resource, Service, Slo, Sticky, Strategy, Target, Then, Tier, WhenBusy, WhenLow,
    WhenSpent,
};
use airboss_model::route::RoutePattern;
use airboss_server::api::evidence::ReleaseView;
use airboss_server::api::views::{SloAdviceView, SloList};
use airboss_telemetry::{Forecast, Usual, blind_spots, forecast};
use serde_json::json;

use crate::exit::Exit;

use super::{MANIFEST, Output, manifest_path, read_manifest, requires};

/// Checks a manifest and says in words what it means.
///
/// Findings go to standard error, each with file, line and column. Exit code 0: the manifest
/// is good, warnings included; 2: it is refused.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The manifest, or the folder that it is in; `-` reads standard input
    #[arg(value_name = "FILE", default_value = MANIFEST)]
    pub file: PathBuf,
    /// The service's usual traffic, such as 500/s: also say how long each step will take and what
    /// it would find
    #[arg(long, value_name = "REQUESTS/s", value_parser = super::rate)]
    pub rate: Option<f64>,
    /// Ask no server for the service's usual traffic
    #[arg(long)]
    pub offline: bool,
    /// How to answer
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// What a server knows of a service; each None where there is none, or it knows nothing.
#[derive(Debug, Default)]
pub struct Told {
    /// Its traffic.
    pub traffic: Option<SloList>,
    /// Its newest version, with how that stands to what the manifest at hand requires.
    pub newest: Option<ReleaseView>,
}

/// Asks a server.
pub type Ask<'a> = dyn Fn(&Service) -> Told + 'a;

/// A service with what is known of it.
struct Known<'a> {
    service: &'a Service,
    /// What the steps may expect of the usual traffic.
    steps: Vec<Forecast>,
    /// Usual requests a second, where a server said so.
    rate: Option<f64>,
    /// What no SLO sees, and objectives that do not fit.
    findings: Vec<String>,
    /// The newest version that a server knows.
    newest: Option<ReleaseView>,
}

impl<'a> Known<'a> {
    fn of(service: &'a Service, args: &CheckArgs, ask: &Ask) -> Self {
        let Told {
            traffic: told,
            newest,
        } = match args.offline {
            true => Told::default(),
            false => ask(service),
        };
        let usual = told.as_ref().and_then(|told| {
            Some(Usual {
                requests_per_second: told.requests_per_second?,
                ratios: told.usual.clone(),
                shares: BTreeMap::new(),
            })
        });
        let usual = usual
            .zip(told.as_ref())
            .map(|(usual, told)| usual.with_routes(service, &told.routes));
        let rate = usual.as_ref().map(|usual| usual.requests_per_second);
        let asked = args.rate.map(|requests_per_second| Usual {
            requests_per_second,
            ..usual.clone().unwrap_or_else(|| Usual {
                requests_per_second,
                ratios: BTreeMap::new(),
                shares: BTreeMap::new(),
            })
        });
        let steps = asked
            .or(usual)
            .map_or_else(Vec::new, |usual| forecast(service, &usual));
        let mut findings = Vec::new();
        if let Some(told) = &told {
            let spots = blind_spots(service, &told.routes, &steps);
            findings.extend(spots.iter().map(ToString::to_string));
            findings.extend(told.slos.iter().filter_map(|slo| unfit(service, slo)));
        }
        Self {
            service,
            steps,
            rate,
            findings,
            newest,
        }
    }
}

/// An objective of the manifest that the service's history does not fit.
fn unfit(service: &Service, slo: &SloAdviceView) -> Option<String> {
    let mut promised = service.spec.slos.iter();
    promised
        .find(|it| it.name == slo.slo && (it.objective.ratio() - slo.objective).abs() < 1e-9)?;
    let what = match slo.fit.as_str() {
        "not_reachable" => "was not kept",
        "too_loose" => "allows far more than ever happens",
        _ => return None,
    };
    Some(format!(
        "the objective of `{}` {what}: {}",
        slo.slo, slo.reason
    ))
}

/// Checks the manifest; `input` serves for `-`, `ask` for what a server knows.
///
/// # Errors
/// Where the file cannot be read or an answer cannot be written.
pub fn run(
    args: &CheckArgs,
    ask: &Ask,
    input: &mut dyn Read,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let path = manifest_path(&args.file);
    let bytes = read_manifest(&path, input)?;
    let name = if path == Path::new("-") {
        "<stdin>".to_owned()
    } else {
        path.display().to_string()
    };
    let result = manifest::parse_bytes(&name, &bytes);
    let known: Vec<Known> = result
        .iter()
        .flatten()
        .map(|document| {
            let Resource::Service(service) = &document.resource;
            Known::of(service, args, ask)
        })
        .collect();
    match args.output {
        Output::Json => answer_json(&name, &result, &known, out)?,
        Output::Text => answer_text(&name, &result, &known, out, err)?,
    }
    Ok(match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => Exit::Usage.into(),
    })
}

type Checked = Result<Vec<Document>, Vec<Diagnostic>>;

fn answer_json(
    name: &str,
    result: &Checked,
    known: &[Known],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let diagnostics: Vec<&Diagnostic> = match result {
        Ok(documents) => documents.iter().flat_map(|d| &d.warnings).collect(),
        Err(findings) => findings.iter().collect(),
    };
    let documents: Vec<_> = result
        .iter()
        .flatten()
        .zip(known)
        .map(|(d, known)| {
            let mut document = json!({ "kind": d.resource.kind(), "name": d.resource.name() });
            if !known.steps.is_empty() {
                document["forecast"] = json!(known.steps);
            }
            if !known.findings.is_empty() {
                document["findings"] = json!(known.findings);
            }
            let require = &known.service.spec.rollout.require;
            if !require.is_empty() {
                document["require"] = json!(require);
                document["newest"] = json!(known.newest.as_ref().map(|it| json!({
                    "release": it.id, "required": it.required,
                })));
            }
            document
        })
        .collect();
    let answer = json!({
        "file": name,
        "ok": result.is_ok(),
        "documents": documents,
        "diagnostics": diagnostics,
    });
    serde_json::to_writer_pretty(&mut *out, &answer)?;
    writeln!(out)?;
    Ok(())
}

fn answer_text(
    name: &str,
    result: &Checked,
    known: &[Known],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    match result {
        Err(findings) => {
            for finding in findings {
                writeln!(err, "{finding}\n")?;
            }
            let count = match findings.len() {
                1 => "1 finding".to_owned(),
                count => format!("{count} findings"),
            };
            writeln!(err, "{name} is refused: {count}")?;
        }
        Ok(documents) => {
            for document in documents {
                for warning in &document.warnings {
                    writeln!(err, "{warning}\n")?;
                }
            }
            for (index, known) in known.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                write!(out, "{}", summary(known))?;
            }
            writeln!(out, "\n{name} is good.")?;
        }
    }
    Ok(())
}

/// What a service's manifest means, in words, on less than a screen.
fn summary(known: &Known) -> String {
    let service = known.service;
    let metadata = &service.metadata;
    let tier = match metadata.tier {
        Tier::Critical => "critical",
        Tier::Standard => "standard",
        Tier::Low => "low",
    };
    let owner = metadata
        .owner
        .as_ref()
        .map_or(String::new(), |owner| format!(", owned by {owner}"));
    let Target::Process(process) = &service.spec.target;
    let mut text = printable(&format!(
        "Service {}: {tier} tier{owner}",
        metadata.name.as_str()
    ));
    text.push('\n');
    for (title, lines) in [
        ("Runs", runs(process)),
        ("Promises", promises(service)),
        (
            "Requires",
            requires::lines(&service.spec.rollout.require, known.newest.as_ref()),
        ),
        ("Rollout", rollout(service)),
        ("Expects", expects(known)),
        ("Beware", known.findings.clone()),
    ] {
        for (index, line) in lines.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            text += &format!("  {title:<9} {}\n", printable(line));
        }
    }
    text
}

fn expects(known: &Known) -> Vec<String> {
    let traffic = known
        .rate
        .map(|rate| format!("usually {} requests a second", words::significant(rate)));
    let steps = known.steps.iter().map(ToString::to_string);
    traffic.into_iter().chain(steps).collect()
}

/// A manifest may come from anybody: its text must not steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn runs(process: &ProcessTarget) -> Vec<String> {
    let command: Vec<String> = process
        .command
        .iter()
        .map(|word| {
            if word.contains(char::is_whitespace) || word.is_empty() {
                format!("{word:?}")
            } else {
                word.clone()
            }
        })
        .collect();
    let command = command.join(" ");
    let instances = match process.instances {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    let health = &process.health;
    let ready = match &health.http {
        Some(path) => format!("GET {path} answers 2xx or 3xx"),
        None => "its port accepts a connection".to_owned(),
    };
    let mut lines = vec![
        format!("{instances} behind {}: {command}", process.listen),
        format!(
            "ready when {ready}, within {}; probed every {}, out of traffic after {} failures",
            health.ready_within, health.every, health.failures
        ),
        format!(
            "{} to finish open requests before a stop; an answer takes at most {}",
            process.drain, process.response_timeout
        ),
    ];
    if !process.env.is_empty() {
        let names: Vec<&str> = process.env.keys().map(String::as_str).collect();
        lines.push(format!("environment: {}", names.join(", ")));
    }
    match &process.sticky {
        Some(Sticky::Cookie(name)) => lines.push(format!(
            "a user stays on one version, by the cookie `{name}`"
        )),
        Some(Sticky::Header(name)) => lines.push(format!(
            "a user stays on one version, by the header `{name}`"
        )),
        None => {}
    }
    if let Some(header) = &process.force_header {
        lines.push(format!(
            "the header `{header}: canary` or `{header}: stable` chooses the version"
        ));
    }
    lines
}

fn promises(service: &Service) -> Vec<String> {
    let mut lines: Vec<String> = service.spec.slos.iter().map(promise).collect();
    lines.extend(service.spec.guardrails.iter().map(guardrail));
    let judge = service.spec.judge;
    if judge != Judging::default() {
        lines.push(format!(
            "at most {} of sound releases are ever taken back, and {} of harmful steps passed; the next step may add {} bad requests",
            judge.alpha, judge.beta, judge.harm_budget
        ));
    }
    lines
}

fn promise(slo: &Slo) -> String {
    let share = String::from(slo.objective);
    let what = match (&slo.bad, &slo.good, &slo.under) {
        (Some(bad), _, _) => format!("{share} of requests are not `{bad}`"),
        (None, Some(good), _) => format!("{share} of requests are `{good}`"),
        (None, None, Some(under)) => format!("{share} of requests take at most {under}"),
        (None, None, None) => share,
    };
    let routes: Vec<&str> = slo.routes.iter().map(RoutePattern::as_str).collect();
    let what = match routes.as_slice() {
        [] => what,
        routes => format!("of {}, {what}", routes.join(", ")),
    };
    let weight = match (slo.advisory, slo.critical) {
        (true, _) => " (advisory: it is told and decides nothing)",
        (false, true) => "",
        (false, false) => " (can stop a release, its proof is not waited for)",
    };
    let chance = |said: &str, chance: Option<Chance>| {
        chance.map_or(String::new(), |chance| {
            format!("; {said}").replace('_', &chance.to_string())
        })
    };
    let own = [
        chance(
            "at most _ of sound releases are taken back by it",
            slo.alpha,
        ),
        chance("at most _ of steps beyond its margin pass", slo.beta),
        chance("the next step may add _", slo.harm_budget),
    ];
    let margin = |said: &str, edge: Option<Edge>| {
        edge.map_or(String::new(), |edge| format!("; {said} {edge} of stable's"))
    };
    let worse = if slo.good.is_some() {
        "below"
    } else {
        "beyond"
    };
    let fail = margin(&format!("taken back {worse}"), slo.margin.fail);
    let pass = margin("a step passes within", slo.margin.pass);
    format!("{}: {what}{fail}{pass}{}{weight}", slo.name, own.concat())
}

fn guardrail(guardrail: &Guardrail) -> String {
    let what = match guardrail.measured() {
        Some(Measured::Gauge(level)) => format!("the level `{level}`"),
        Some(Measured::Rate(count)) => format!("`{count}` a second"),
        Some(Measured::Events(count)) => format!("the events that `{count}` counts"),
        Some(Measured::Share(part, of)) => format!("`{part}` as a share of `{of}`"),
        Some(Measured::Mean(sum, of)) => format!("`{sum}` by `{of}`"),
        None => "nothing".to_owned(),
    };
    let verb = match guardrail.better {
        Better::Lower => "grow",
        Better::Higher => "fall",
    };
    let margin = guardrail.margin.map_or(String::new(), |margin| {
        format!(" beyond {margin} of stable's")
    });
    let weight = if guardrail.advisory {
        " (advisory: it is told and decides nothing)"
    } else {
        ""
    };
    format!("{}: {what} may not {verb}{margin}{weight}", guardrail.name)
}

fn rollout(service: &Service) -> Vec<String> {
    let rollout = &service.spec.rollout;
    let mut lines = match rollout.strategy() {
        Strategy::Canary(canary) => steps(&canary),
        Strategy::BlueGreen(blue_green) => vec![format!(
            "blue-green: a second full set, swapped at once; the old one is kept {} for a swap back",
            blue_green.keep
        )],
        Strategy::AllAtOnce(_) => {
            vec!["all at once, as soon as the new instances are ready".to_owned()]
        }
    };
    if rollout.when_low == WhenLow::Slow {
        lines.push(
            "below a quarter of an error budget it goes in smaller steps with half the harm, unless it is a fix".to_owned(),
        );
    }
    lines.push(
        match rollout.when_busy {
            WhenBusy::Queue => "a newer release waits until this one is through",
            WhenBusy::Supersede => "a newer release first takes this one back, then starts",
            WhenBusy::Reject => "a newer release is refused while this one runs",
        }
        .to_owned(),
    );
    if rollout.when_spent == WhenSpent::Refuse {
        lines.push(
            "a release is refused while an error budget is spent, unless it is a fix".to_owned(),
        );
    }
    lines.push(format!(
        "without a controller for {}, traffic returns to stable by itself",
        rollout.exposure_lease
    ));
    lines
}

fn steps(canary: &Canary) -> Vec<String> {
    let steps: Vec<String> = canary.steps.iter().map(ToString::to_string).collect();
    let bake = match canary.bake {
        Bake::Auto => "until the evidence suffices".to_owned(),
        Bake::AtLeast(span) => format!("at least {span} and until the evidence suffices"),
    };
    let then = match canary.then {
        Then::Hold => "it holds and tells people",
        Then::Promote => "it goes on without proof",
        Then::Rollback => "the release is taken back",
    };
    let mut lines = vec![
        format!("canary: {} of requests", steps.join(" → ")),
        format!(
            "a step lasts {bake}; without that after {}, {then}",
            canary.at_most
        ),
        format!(
            "the old version is kept {} behind the last step",
            canary.hold_old
        ),
    ];
    if canary.mirror.basis_points() > 0 {
        lines.push(format!(
            "before the first step, {} of stable's requests are copied to it, answers thrown away",
            canary.mirror
        ));
    }
    lines
}

#[cfg(test)]
mod tests;
