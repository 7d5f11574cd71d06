//! `airboss check`: is the manifest good, and what does it mean?

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use airboss_model::manifest::{
    self, Bake, Canary, Diagnostic, Document, ProcessTarget, Resource, Service, Slo, Sticky,
    Strategy, Target, Then, Tier, WhenBusy, WhenSpent,
};
use airboss_telemetry::{Forecast, Usual, forecast};
use serde_json::json;

use crate::exit::Exit;

use super::{MANIFEST, Output, manifest_path, read_manifest};

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
    /// How to answer
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// What the steps may expect of this many requests a second, where that was asked.
fn expectations(service: &Service, rate: Option<f64>) -> Vec<Forecast> {
    let usual = rate.map(|requests_per_second| Usual {
        requests_per_second,
        ratios: BTreeMap::new(),
    });
    usual.map_or_else(Vec::new, |usual| forecast(service, &usual))
}

/// Checks the manifest; `input` serves for `-`.
///
/// # Errors
/// Where the file cannot be read or an answer cannot be written.
pub fn run(
    args: &CheckArgs,
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
    match args.output {
        Output::Json => answer_json(&name, &result, args.rate, out)?,
        Output::Text => answer_text(&name, &result, args.rate, out, err)?,
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
    rate: Option<f64>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let diagnostics: Vec<&Diagnostic> = match result {
        Ok(documents) => documents.iter().flat_map(|d| &d.warnings).collect(),
        Err(findings) => findings.iter().collect(),
    };
    let documents: Vec<_> = result
        .iter()
        .flatten()
        .map(|d| {
            let Resource::Service(service) = &d.resource;
            let mut document = json!({ "kind": d.resource.kind(), "name": d.resource.name() });
            if rate.is_some() {
                document["forecast"] = json!(expectations(service, rate));
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
    rate: Option<f64>,
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
            for (index, document) in documents.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                let Resource::Service(service) = &document.resource;
                write!(out, "{}", summary(service, rate))?;
            }
            writeln!(out, "\n{name} is good.")?;
        }
    }
    Ok(())
}

/// What a service's manifest means, in words, on less than a screen.
fn summary(service: &Service, rate: Option<f64>) -> String {
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
        ("Promises", service.spec.slos.iter().map(promise).collect()),
        ("Rollout", rollout(service)),
        (
            "Expects",
            expectations(service, rate)
                .iter()
                .map(ToString::to_string)
                .collect(),
        ),
    ] {
        for (index, line) in lines.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            text += &format!("  {title:<9} {}\n", printable(line));
        }
    }
    text
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

fn promise(slo: &Slo) -> String {
    let share = String::from(slo.objective);
    let what = match (&slo.bad, &slo.under) {
        (Some(bad), _) => format!("{share} of requests are not `{bad}`"),
        (None, Some(under)) => format!("{share} of requests take at most {under}"),
        (None, None) => share,
    };
    let weight = if slo.critical {
        ""
    } else {
        " (can stop a release, its proof is not waited for)"
    };
    format!("{}: {what}{weight}", slo.name)
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
mod tests {
    use super::*;

    fn checked(text: &str, output: Output) -> (ExitCode, String, String) {
        let args = CheckArgs {
            file: "-".into(),
            rate: None,
            output,
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&args, &mut text.as_bytes(), &mut out, &mut err).unwrap();
        let string = |bytes| String::from_utf8(bytes).unwrap();
        (code, string(out), string(err))
    }

    const GOOD: &str = r#"apiVersion: airboss/v1
kind: Service
metadata: { name: checkout, owner: payments, tier: critical }
spec:
  target:
    process:
      command: ["{artifact}/checkout", "--port", "{port}", "--greet", "good day"]
      instances: 2
      listen: 127.0.0.1:8080
      health: { http: /healthz, ready_within: 10s }
      env: { LOG_LEVEL: info }
      sticky: { cookie: arm }
      force_header: x-arm
  slos:
    - { name: availability, objective: 99.9%, bad: "status >= 500" }
    - { name: latency, objective: 99%, under: 250ms, critical: false }
  rollout:
    canary: { steps: [1%, 10%, 50%, 100%], bake: 2m, at_most: 20m, mirror: 5% }
"#;

    #[test]
    fn a_good_manifest_is_explained_in_words() {
        let (code, out, err) = checked(GOOD, Output::Text);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        insta::assert_snapshot!(out);
        assert!(out.lines().count() < 24, "less than a screen");
    }

    #[test]
    fn a_refused_manifest_answers_on_stderr_with_code_2() {
        let (code, out, err) = checked(&GOOD.replace("instances", "instanses"), Output::Text);
        assert_eq!((code, out.as_str()), (Exit::Usage.into(), ""));
        assert!(
            err.starts_with("<stdin>:8:7: unknown field `instanses`"),
            "{err}"
        );
        assert!(err.ends_with("<stdin> is refused: 1 finding\n"), "{err}");
    }

    #[test]
    fn programs_get_the_same_findings_as_people() {
        let (code, out, err) = checked(&GOOD.replace("99.9%", "99.9"), Output::Json);
        assert_eq!((code, err.as_str()), (Exit::Usage.into(), ""));
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(answer["ok"], false);
        assert_eq!(answer["diagnostics"][0]["line"], 15);
        assert_eq!(answer["diagnostics"][0]["severity"], "error");
        let (code, out, _) = checked(GOOD, Output::Json);
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(code, ExitCode::SUCCESS);
        assert_eq!(answer["documents"][0]["name"], "checkout");
    }

    #[test]
    fn at_a_known_traffic_each_step_says_how_long_it_takes_and_what_it_finds() {
        let answer = |rate: &str, output| {
            let args = CheckArgs {
                file: "-".into(),
                rate: Some(crate::commands::rate(rate).unwrap()),
                output,
            };
            let mut out = Vec::new();
            run(&args, &mut GOOD.as_bytes(), &mut out, &mut std::io::sink()).unwrap();
            String::from_utf8(out).unwrap()
        };
        let busy = answer("500/s", Output::Text);
        assert!(busy.contains("  Expects   1%: about "), "{busy}");
        assert!(
            busy.contains("10%: about ") && busy.contains("finds availability"),
            "{busy}"
        );
        assert!(!busy.contains("synthetic"), "{busy}");
        assert!(answer("0.2", Output::Text).contains("synthetic load"));
        let json: serde_json::Value = serde_json::from_str(&answer("500", Output::Json)).unwrap();
        assert_eq!(json["documents"][0]["forecast"][2]["weight"], "50%");
        for wrong in ["", "fast", "-1", "NaN", "1e300"] {
            assert!(crate::commands::rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_missing_manifest_says_how_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let args = CheckArgs {
            file: folder.path().to_owned(),
            rate: None,
            output: Output::Text,
        };
        let error = run(
            &args,
            &mut std::io::empty(),
            &mut std::io::sink(),
            &mut std::io::sink(),
        );
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("airboss init"), "{error}");
        assert!(error.contains(MANIFEST), "{error}");
    }
}
