//! `airboss rehearse`: a release and a fault on a simulated clock.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;

use airboss_model::manifest::{self, Resource, Service};
use airboss_rehearsal::{Fault, Habits, RUNS_MAX, Setting, Usual, rehearse};
use anyhow::Context as _;

use super::{MANIFEST, manifest_path, rate, read_manifest};
use crate::args::OutputArgs;
use crate::exit::{Exit, UsageError};
use crate::render::{self, harmless};
use crate::terminal::Console;

/// Plays releases of a service on a simulated clock, before you ship.
///
/// The manifest is yours, the fault is what you choose, decisions and verdicts are made by the code
/// that makes them live. Half of the runs have the fault, half are sound. It tells how soon the
/// fault is found, how many requests meet it, how often a sound release would be taken back by
/// mistake, and how long a sound release takes. Nothing is started and no server is asked.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Faults:
  errors 3%          so many requests more are answered with 500
  latency +200ms     every answer takes so much longer
  latency x3         every answer takes so many times as long
  crash              every instance ends, however often it is started again
  never ready        no instance becomes ready
Each may begin later: `errors 3% after 2m`, counted from the first user.

Without --traffic the service is taken to use half of what its SLOs allow. A recording gives its own
rates, errors and latencies; one that holds a rollout is played with that new version's behaviour
where no fault is named. For example:
  airboss rehearse --rate 50/s --fault 'errors 3%'
  airboss record shop --for 10m -o monday.ndjson && airboss rehearse --traffic monday.ndjson --fault 'latency x2'")]
pub struct RehearseArgs {
    /// The manifest, or the folder that it is in
    #[arg(value_name = "FILE", default_value = MANIFEST)]
    pub file: PathBuf,
    /// The service, where the manifest holds several
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// What goes wrong with the new version, such as 'errors 3%' [default: nothing]
    #[arg(long, value_name = "FAULT")]
    pub fault: Option<Fault>,
    /// The service's usual traffic, such as 50/s
    #[arg(long, value_name = "REQUESTS/s", value_parser = rate, required_unless_present = "traffic", conflicts_with = "traffic")]
    pub rate: Option<f64>,
    /// Its usual traffic as `airboss record` wrote it
    #[arg(long, value_name = "RECORDING")]
    pub traffic: Option<PathBuf>,
    /// Runs with the fault, and as many without it
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(RUNS_MAX)))]
    pub runs: u32,
    /// The same seed gives the same figures
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Largest recording that is read.
const RECORDING_MAX: u64 = 1 << 30;

/// Rehearses; `progress` tells on `err` how far it is.
///
/// # Errors
/// Where a file cannot be read or is not what it should be, or an answer cannot be written.
pub fn run(
    args: &RehearseArgs,
    console: &mut Console,
    err: &mut (dyn Write + Send),
    progress: bool,
) -> anyhow::Result<Exit> {
    let service = service(args)?;
    let usual = match (&args.traffic, args.rate) {
        (Some(path), _) => recorded(&service, path)?,
        (None, rate) => Usual::assumed(&service, rate.unwrap_or_default()),
    };
    let setting = Setting {
        as_recorded: args.fault.is_none() && usual.canary.is_some(),
        service,
        usual,
        fault: args.fault,
        habits: Habits::default(),
        runs: args.runs,
        seed: args.seed,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let err = Mutex::new(err);
    let told = rehearse(&setting, threads, &|done, total| {
        // A hundred lines are enough for whoever waits.
        if progress && (done.is_multiple_of((total / 100).max(1)) || done == total) {
            let mut err = err.lock().unwrap_or_else(PoisonError::into_inner);
            // Where nobody can be told, nobody waits.
            let _ = write!(err, "\rrehearsing: {done} of {total} releases");
            let _ = err.flush();
        }
    });
    if progress {
        let mut err = err.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write!(err, "\r\x1b[K");
        let _ = err.flush();
    }
    let told = told?;
    if args.output.is_json() {
        serde_json::to_writer_pretty(&mut *console, &told)?;
        console.text("")?;
    } else {
        console.lines(&render::rehearsal(&setting, &told))?;
    }
    Ok(Exit::Done)
}

/// The service of the manifest, or the one that was named.
fn service(args: &RehearseArgs) -> anyhow::Result<Service> {
    let path = manifest_path(&args.file);
    let bytes = read_manifest(&path, &mut io::empty())?;
    let name = path.display().to_string();
    let documents = manifest::parse_bytes(&name, &bytes).map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        UsageError(findings.join("\n"))
    })?;
    let mut services: Vec<Service> = documents
        .into_iter()
        .map(|document| {
            let Resource::Service(service) = document.resource;
            *service
        })
        .filter(|service| {
            let asked = args.service.as_deref();
            asked.is_none_or(|asked| service.metadata.name.as_str() == asked)
        })
        .collect();
    match (services.pop(), services.len(), &args.service) {
        (Some(only), 0, _) => Ok(only),
        (None, _, Some(asked)) => {
            Err(UsageError(format!("{name} holds no service `{}`", harmless(asked))).into())
        }
        _ => Err(UsageError(format!(
            "{name} does not hold exactly one service; name one with --service"
        ))
        .into()),
    }
}

fn recorded(service: &Service, path: &Path) -> anyhow::Result<Usual> {
    let shown = path.display();
    let open = || {
        UsageError(format!(
            "cannot open the recording {shown}; `airboss record SERVICE` makes one"
        ))
    };
    let size = fs::metadata(path).with_context(open)?.len();
    if size > RECORDING_MAX {
        return Err(UsageError(format!(
            "{shown} has {size} bytes; a recording of at most {RECORDING_MAX} is rehearsed with: record for a shorter time"
        ))
        .into());
    }
    let text = fs::read(path).with_context(open)?;
    let text = String::from_utf8_lossy(&text);
    Usual::recorded(service, text.lines())
        .map_err(|error| UsageError(format!("{shown}: {}", harmless(&error.to_string()))).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const MANIFEST_TEXT: &str = "apiVersion: airboss/v1\nkind: Service\nmetadata: { name: shop }\nspec:\n  target:\n    process: { command: [x, \"{port}\"], listen: \"127.0.0.1:8080\", instances: 4 }\n  slos:\n    - { name: availability, objective: 99%, bad: \"status >= 500\" }\n  rollout:\n    canary: { steps: [10%, 50%, 100%] }\n";

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);
    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn played(files: &[(&str, &str)], words: &[&str]) -> anyhow::Result<String> {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Parser {
            #[command(flatten)]
            args: RehearseArgs,
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let manifest = folder.path().join(MANIFEST).display().to_string();
        let words = words.iter().map(|word| match word.strip_prefix('@') {
            Some(file) => folder.path().join(file).display().to_string(),
            None => (*word).to_owned(),
        });
        let words = ["rehearse".to_owned(), manifest].into_iter().chain(words);
        let args = Parser::try_parse_from(words)?.args;
        let page = Page::default();
        let mut console = Console::of(Box::new(page.clone()));
        run(&args, &mut console, &mut io::sink(), false)?;
        let bytes = page.0.lock().unwrap().clone();
        Ok(String::from_utf8(bytes)?)
    }

    #[test]
    fn a_team_sees_how_soon_a_fault_is_found_and_what_a_sound_release_takes() {
        let words = ["--rate", "200/s", "--fault", "errors 5%", "--runs", "10"];
        let text = played(&[(MANIFEST, MANIFEST_TEXT)], &words).unwrap();
        insta::assert_snapshot!("rehearsal", text);
    }

    #[test]
    fn traffic_that_gives_no_proof_is_told_with_what_happens_then() {
        let words = ["--rate", "0.05/s", "--runs", "2"];
        let text = played(&[(MANIFEST, MANIFEST_TEXT)], &words).unwrap();
        insta::assert_snapshot!("rehearsal_quiet", text);
    }

    #[test]
    fn programs_get_the_same_figures_as_json() {
        let words = [
            "--rate", "200", "--fault", "crash", "--runs", "2", "-o", "json",
        ];
        let text = played(&[(MANIFEST, MANIFEST_TEXT)], &words).unwrap();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["faulty"]["taken_back"], 2, "{text}");
        assert_eq!(told["sound"]["runs"], 2);
    }

    #[test]
    fn a_recording_is_played_with_its_own_new_version() {
        let mut text = "{\"airboss\":\"recording/v1\",\"latency_edges_ms\":[]}\n".to_owned();
        for t in 0..120 {
            for (arm, requests, bad) in [("baseline", 270, 0), ("canary", 30, 9)] {
                text += &format!(
                    "{{\"t\":{t},\"arm\":\"{arm}\",\"instance\":\"{arm}\",\"requests\":{requests},\"bad\":{bad}}}\n"
                );
            }
        }
        let files = [(MANIFEST, MANIFEST_TEXT), ("monday", &text)];
        let told = played(&files, &["--traffic", "@monday", "--runs", "4"]).unwrap();
        assert!(told.contains("the recorded release"), "{told}");
        assert!(told.contains("taken back in 4 of 4 runs"), "{told}");
    }

    #[test]
    fn what_cannot_be_played_is_told_with_what_to_write() {
        let files = [(MANIFEST, MANIFEST_TEXT), ("bad", "hello\n")];
        for (words, told) in [
            (vec!["--fault", "errors"], "`errors 3%`"),
            (vec![], "--rate"),
            (
                vec!["--rate", "1/s", "--service", "till"],
                "no service `till`",
            ),
            (vec!["--traffic", "@bad"], "line 1"),
            (vec!["--traffic", "@none"], "airboss record"),
        ] {
            let error = format!("{:#}", played(&files, &words).unwrap_err());
            assert!(error.contains(told), "{error}");
        }
    }
}
