//! `airboss judge`: the judge on a recording, by the code that judges live traffic.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};

use airboss_judge::recording::{History, MAX_LINE_BYTES, Player, RecordingError, VerdictLine};
use airboss_judge::{Config, Verdict, words};
use airboss_model::manifest::{self, Resource, Service};
use airboss_telemetry::Gauge;
use anyhow::Context as _;

use super::{manifest_path, read_manifest};
use crate::exit::{Exit, UsageError};
use crate::render::harmless;

/// Judges a recording of traffic and says what the live judge would have said.
///
/// One line at every change of verdict, and a last one. Exit code 0: pass; 3: fail; 5: no verdict,
/// for whatever reason; 2: the recording or a file beside it cannot be read.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The first line of a recording is {\"airboss\":\"recording/v1\",\"latency_edges_ms\":[5,10,20]}, then one \
line for each second and instance:
{\"t\":12,\"arm\":\"canary\",\"instance\":\"c1\",\"requests\":400,\"bad\":1,\"latency\":[[0,310],[1,90]]}
`airboss record SERVICE` makes one from live traffic.")]
pub struct JudgeArgs {
    /// The recording; `-` reads standard input
    #[arg(value_name = "RECORDING")]
    pub recording: PathBuf,
    /// Judge by the SLOs of this manifest [default: what the recording was judged by, else errors
    /// and latency with default margins]
    #[arg(long, value_name = "FILE")]
    pub service: Option<PathBuf>,
    /// An earlier recording, from which the judge learns what is usual
    #[arg(long, value_name = "RECORDING")]
    pub history: Option<PathBuf>,
    /// How to print: text, ndjson
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub output: Lines,
}

/// How verdicts are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Lines {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Ndjson,
}

/// Judges; `input` serves for `-`.
///
/// # Errors
/// Where a file cannot be read, is no recording, or an answer cannot be written.
pub fn run(args: &JudgeArgs, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let config = args.service.as_deref().map(config).transpose()?;
    let history = args.history.as_deref().map(history).transpose()?;
    let mut player = Player::new(config, history);
    let name = args.recording.display().to_string();
    let mut file;
    let input = if args.recording == Path::new("-") {
        input
    } else {
        file = open(&args.recording)?;
        &mut file
    };
    let mut reader = LineReader::new(input);
    let mut printer = Printer {
        output: args.output,
        rollout: None,
        out,
    };
    while let Some(line) = reader
        .next()
        .with_context(|| format!("cannot read {name}"))?
    {
        let changes = player.line(line).map_err(|error| wrong(&name, &error))?;
        printer.print(&changes)?;
    }
    let lines = player.finish().map_err(|error| wrong(&name, &error))?;
    printer.print(&lines)?;
    Ok(match lines.last().map(|line| line.verdict) {
        Some(Verdict::Pass) => Exit::Done,
        Some(Verdict::Fail) => Exit::RolledBack,
        _ => Exit::Waiting,
    })
}

fn wrong(name: &str, error: &RecordingError) -> UsageError {
    UsageError(format!(
        "{}: {}",
        harmless(name),
        harmless(&error.to_string())
    ))
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| {
        UsageError(format!(
            "cannot open the recording {}; `airboss record SERVICE` makes one",
            path.display()
        ))
    })?;
    Ok(BufReader::new(file))
}

/// What a manifest promises, as the judge reads it.
fn config(path: &Path) -> anyhow::Result<Config> {
    Ok(Gauge::whole(&service(path)?).config().clone())
}

/// The only service of a manifest.
pub(super) fn service(path: &Path) -> anyhow::Result<Service> {
    let path = manifest_path(path);
    let bytes = read_manifest(&path, &mut io::empty())?;
    let name = path.display().to_string();
    let documents = manifest::parse_bytes(&name, &bytes).map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        UsageError(findings.join("\n"))
    })?;
    match documents.as_slice() {
        [only] => {
            let Resource::Service(service) = &only.resource;
            Ok(Service::clone(service))
        }
        several => Err(UsageError(format!(
            "{name} holds {} services; name a file that holds the one to judge by",
            several.len()
        ))
        .into()),
    }
}

fn history(path: &Path) -> anyhow::Result<History> {
    read(path, |lines| History::read(lines))
}

/// Reads a recording line by line.
pub(super) fn read<T>(
    path: &Path,
    take: impl FnOnce(&mut dyn Iterator<Item = String>) -> Result<T, RecordingError>,
) -> anyhow::Result<T> {
    let mut file = open(path)?;
    let mut reader = LineReader::new(&mut file);
    let mut failed = None;
    let mut lines = std::iter::from_fn(|| match reader.next() {
        Ok(line) => line.map(str::to_owned),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let taken = take(&mut lines);
    if let Some(error) = failed {
        return Err(error).with_context(|| format!("cannot read {}", path.display()));
    }
    Ok(taken.map_err(|error| wrong(&path.display().to_string(), &error))?)
}

/// Reads lines of bounded length. A longer one is handed on cut, yet too long to be accepted.
struct LineReader<'a> {
    input: &'a mut dyn BufRead,
    bytes: Vec<u8>,
    text: String,
}

impl<'a> LineReader<'a> {
    fn new(input: &'a mut dyn BufRead) -> Self {
        Self {
            input,
            bytes: Vec::new(),
            text: String::new(),
        }
    }

    fn next(&mut self) -> io::Result<Option<&str>> {
        self.bytes.clear();
        let most = MAX_LINE_BYTES as u64 + 2;
        let mut part = (&mut self.input).take(most);
        if part.read_until(b'\n', &mut self.bytes)? == 0 {
            return Ok(None);
        }
        // What is no UTF-8 is no JSON either: it is refused with its line.
        self.text = String::from_utf8_lossy(&self.bytes).into_owned();
        Ok(Some(self.text.trim_end_matches(['\n', '\r'])))
    }
}

/// Prints verdicts, and which rollout they are of where the recording tells.
struct Printer<'a> {
    output: Lines,
    rollout: Option<String>,
    out: &'a mut dyn Write,
}

impl Printer<'_> {
    fn print(&mut self, lines: &[VerdictLine]) -> anyhow::Result<()> {
        for line in lines {
            match self.output {
                Lines::Ndjson => {
                    serde_json::to_writer(&mut *self.out, line)?;
                    writeln!(self.out)?;
                }
                Lines::Text => self.text(line)?,
            }
        }
        // Whoever follows a pipe wants a verdict when it is there, not when a buffer is full.
        self.out.flush()?;
        Ok(())
    }

    fn text(&mut self, line: &VerdictLine) -> io::Result<()> {
        if self.rollout != line.rollout {
            self.rollout.clone_from(&line.rollout);
            let name = line.rollout.as_deref().unwrap_or("stable alone");
            writeln!(self.out, "{}", harmless(name))?;
        }
        let verdict = line.verdict.as_str().replace('_', " ");
        let reason = harmless(&line.reason);
        if line.is_final {
            let odds = words::odds(line.log_e);
            let proof = words::odds(line.step_pass);
            writeln!(
                self.out,
                "at the end: {verdict}; odds {odds} against the release, {proof} for the step\n  {reason}"
            )
        } else {
            let at = format!("{} s", line.t);
            writeln!(self.out, "{at:>8}  {verdict}: {reason}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "{\"airboss\":\"recording/v1\",\"latency_edges_ms\":[]}\n";

    /// 300 requests a second on each arm, of which so many of the canary's are bad.
    fn recording(seconds: u64, bad: u64) -> String {
        let mut text = HEADER.to_owned();
        for t in 0..seconds {
            for (arm, bad) in [("canary", bad), ("baseline", u64::from(t % 3 == 0))] {
                text += &format!(
                    "{{\"t\":{t},\"arm\":\"{arm}\",\"instance\":\"{arm}-1\",\"requests\":300,\"bad\":{bad}}}\n"
                );
            }
        }
        text
    }

    fn judge(text: &str, args: &[&str]) -> (anyhow::Result<Exit>, String) {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Parser {
            #[command(flatten)]
            args: JudgeArgs,
        }
        let args = ["judge", "-"].iter().chain(args);
        let parsed = Parser::parse_from(args).args;
        let mut out = Vec::new();
        let exit = run(&parsed, &mut text.as_bytes(), &mut out);
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_exit_code_is_the_verdict() {
        let (exit, out) = judge(&recording(600, 0), &[]);
        assert_eq!(exit.unwrap(), Exit::Done, "{out}");
        let (exit, out) = judge(&recording(60, 30), &[]);
        assert_eq!(exit.unwrap(), Exit::RolledBack, "{out}");
        assert!(out.contains("fail: errors: 10 % against"), "{out}");
        let (exit, out) = judge(&recording(2, 0), &[]);
        assert_eq!(exit.unwrap(), Exit::Waiting, "{out}");
        let (exit, _) = judge(HEADER, &[]);
        assert_eq!(exit.unwrap(), Exit::Waiting, "no data is never a pass");
    }

    #[test]
    fn programs_get_a_line_at_every_change_and_a_last_one() {
        let (_, out) = judge(&recording(60, 30), &["--output", "ndjson"]);
        let lines: Vec<serde_json::Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let (last, changes) = lines.split_last().unwrap();
        assert_eq!(last["final"], true);
        assert_eq!(
            (&last["verdict"], &last["sli"]),
            (&"fail".into(), &"errors".into())
        );
        assert!(changes.iter().all(|line| line.get("final").is_none()));
        assert!(
            changes
                .windows(2)
                .all(|pair| pair[0]["verdict"] != pair[1]["verdict"])
        );
    }

    #[test]
    fn bad_input_is_told_with_its_line_and_code_2() {
        let long = format!("{HEADER}{}", "x".repeat(3 * MAX_LINE_BYTES));
        let no_text = "\u{fffd}\n";
        for (text, told) in [
            ("", "is empty"),
            ("hello\n", "line 1"),
            (no_text, "line 1"),
            (&format!("{HEADER}{{\"t\":1}}\n"), "line 2"),
            (&long, "line 2"),
        ] {
            let (exit, _) = judge(text, &[]);
            let error = exit.unwrap_err();
            assert_eq!(Exit::of_error(&error), Exit::Usage);
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn the_manifests_slos_and_a_history_are_judged_by() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let service = write(
            "airboss.yaml",
            "apiVersion: airboss/v1\nkind: Service\nmetadata: { name: checkout }\nspec:\n  target:\n    process: { command: [x, \"{port}\"], listen: \"127.0.0.1:8080\" }\n  slos:\n    - { name: availability, objective: 99.9%, bad: \"status >= 500\" }\n",
        );
        let history = write("history", &recording(100, 0));
        let (exit, out) = judge(
            &recording(60, 30),
            &["--service", &service, "--history", &history],
        );
        assert_eq!(exit.unwrap(), Exit::RolledBack);
        assert!(out.contains("availability: 10 % against"), "{out}");
        let (exit, _) = judge(HEADER, &["--history", "/nonexistent/history"]);
        assert_eq!(Exit::of_error(&exit.unwrap_err()), Exit::Usage);
    }
}
