//! Recordings: one JSON object a line, judged by the same code as live traffic.
//!
//! The first line is `{"airboss":"recording/v1","latency_edges_ms":[5,10,20]}`, then one line per
//! second and instance:
//! `{"t":12,"arm":"baseline","instance":"b1","requests":400,"bad":1,"latency":[[0,310],[1,90]]}`.
//! Counts are increments of that second. Bucket 0 lies below the first edge. Unknown fields are
//! ignored, blank lines too.
//!
//! What happens with bad input:
//!
//! | input | outcome |
//! |---|---|
//! | nothing, no header, another version | error |
//! | a line that is no JSON object, a missing field, an unknown arm | error with its line |
//! | negative, fractional, NaN, infinite or absurd numbers, more bad than requests, unknown bucket | error with its line |
//! | rows up to 5 s out of order | put in order |
//! | rows further out of order, one instance twice in a second, edges that change | error with its line |
//! | no rows, one arm only, an SLI without data | `not_enough_data` |
//! | a gap | `not_enough_data` while it lasts; evidence stays |
//! | very many instances | judged; beyond 64 an arm's instances share numbers for the search of a sick one |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ArmTick, Assessment, Calibration, Calibrator, Config, ConfigError, InstanceTick, Judge, Sample,
    SliKind, Tick, Verdict, config::Better, judge::Silence, tick::MAX_REQUESTS_PER_TICK,
};

/// The version this module reads.
pub const VERSION: &str = "recording/v1";
/// Rows may be this many seconds out of order.
pub const REORDER_SECONDS: u64 = 5;
/// A second may have at most this many rows.
pub const MAX_ROWS_PER_SECOND: usize = 2_000_000;
/// A line may have at most this many bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Why a recording cannot be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecordingError {
    /// There is not a single line.
    #[error(
        "the recording is empty; its first line must be {{\"airboss\":\"{VERSION}\",\"latency_edges_ms\":[…]}}"
    )]
    Empty,
    /// A line cannot be read or cannot be true.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The SLIs, margins or edges cannot be judged by.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// History and recording were cut into different latency buckets.
    #[error(
        "the history's latency_edges_ms differ from the recording's; record both with the same edges"
    )]
    OtherEdges,
}

/// One line of output: a change of verdict, or the last word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictLine {
    /// Seconds, as in the recording.
    pub t: u64,
    /// The verdict from here on.
    pub verdict: Verdict,
    /// The SLI that the verdict rests on, where it is one.
    pub sli: Option<String>,
    /// Natural logarithm of the evidence against the release.
    pub log_e: f64,
    /// Natural logarithm of the weakest critical SLI's proof that the step is within its budget.
    pub step_pass: f64,
    /// One line for people.
    pub reason: String,
    /// Set on the last line.
    #[serde(rename = "final", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
}

#[derive(Deserialize)]
struct Header {
    airboss: String,
    #[serde(default)]
    latency_edges_ms: Vec<f64>,
}

/// Written as it must be in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The new version.
    Canary,
    /// Stable.
    Baseline,
}

/// One instance's second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Seconds since any fixed moment.
    pub t: u64,
    /// Which version.
    pub arm: Arm,
    /// The instance's name.
    pub instance: String,
    /// Requests it answered.
    pub requests: u64,
    /// How many of them were bad.
    pub bad: u64,
    /// (bucket, count) pairs.
    #[serde(default)]
    pub latency: Vec<(u32, u64)>,
}

/// The first line of a recording with these edges.
pub fn header(latency_edges_ms: &[f64]) -> String {
    serde_json::json!({ "airboss": VERSION, "latency_edges_ms": latency_edges_ms }).to_string()
}

type Second = BTreeMap<(Arm, String), Row>;

/// Reads lines into whole seconds, in order.
#[derive(Debug, Clone, Default)]
struct Reader {
    line: usize,
    edges: Option<Vec<f64>>,
    pending: BTreeMap<u64, Second>,
    released: Option<u64>,
}

impl Reader {
    fn wrong(&self, problem: impl Into<String>) -> RecordingError {
        RecordingError::Line {
            line: self.line,
            problem: problem.into(),
        }
    }

    /// Takes a line; returns the seconds that are complete now.
    fn read(&mut self, line: &str) -> Result<Vec<(u64, Second)>, RecordingError> {
        self.line += 1;
        if line.len() > MAX_LINE_BYTES {
            return Err(self.wrong(format!(
                "{} bytes long; at most {MAX_LINE_BYTES} are read",
                line.len()
            )));
        }
        // A byte order mark is what some editors leave behind.
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            return Ok(Vec::new());
        }
        if self.edges.is_none() || line.contains("\"airboss\"") {
            self.read_header(line)?;
            return Ok(Vec::new());
        }
        let row: Row = serde_json::from_str(line).map_err(|error| self.wrong(error.to_string()))?;
        self.check(&row)?;
        let rows = self.pending.entry(row.t).or_default();
        if rows.len() >= MAX_ROWS_PER_SECOND {
            return Err(self.wrong(format!(
                "second {} has more than {MAX_ROWS_PER_SECOND} rows",
                row.t
            )));
        }
        let (t, key) = (row.t, (row.arm, row.instance.clone()));
        if rows.insert(key, row).is_some() {
            return Err(self.wrong(format!("this instance already reported second {t}")));
        }
        let newest = self
            .pending
            .last_key_value()
            .map_or(t, |(newest, _)| *newest);
        Ok(self.release(newest.saturating_sub(REORDER_SECONDS)))
    }

    fn read_header(&mut self, line: &str) -> Result<(), RecordingError> {
        let header: Header = serde_json::from_str(line).map_err(|error| {
            self.wrong(format!("no header: {error}; expected {{\"airboss\":\"{VERSION}\",\"latency_edges_ms\":[…]}}"))
        })?;
        if header.airboss != VERSION {
            return Err(self.wrong(format!(
                "version `{}` is not known, only `{VERSION}`",
                header.airboss
            )));
        }
        match &self.edges {
            Some(edges) if *edges != header.latency_edges_ms => {
                Err(self.wrong("latency_edges_ms change here; judge the two parts one by one"))
            }
            Some(_) => Ok(()),
            None => {
                self.edges = Some(header.latency_edges_ms);
                Ok(())
            }
        }
    }

    fn check(&self, row: &Row) -> Result<(), RecordingError> {
        if self.released.is_some_and(|released| row.t <= released) {
            return Err(self.wrong(format!(
                "second {} comes more than {REORDER_SECONDS} s late; sort the recording by t",
                row.t
            )));
        }
        if row.requests > MAX_REQUESTS_PER_TICK {
            return Err(self.wrong(format!(
                "{} requests in one second cannot be true",
                row.requests
            )));
        }
        if row.bad > row.requests {
            return Err(self.wrong(format!("{} of {} requests are bad", row.bad, row.requests)));
        }
        let buckets = self.edges.as_ref().map_or(0, Vec::len);
        for (bucket, count) in &row.latency {
            if *bucket as usize > buckets {
                return Err(self.wrong(format!(
                    "bucket {bucket} does not exist; {buckets} edges make buckets 0 to {buckets}"
                )));
            }
            if *count > MAX_REQUESTS_PER_TICK {
                return Err(self.wrong(format!(
                    "{count} requests in one bucket and second cannot be true"
                )));
            }
        }
        Ok(())
    }

    /// The seconds before `until`, in order.
    fn release(&mut self, until: u64) -> Vec<(u64, Second)> {
        let later = self.pending.split_off(&until);
        let done: Vec<(u64, Second)> = std::mem::replace(&mut self.pending, later)
            .into_iter()
            .collect();
        if let Some((t, _)) = done.last() {
            self.released = Some(*t);
        }
        done
    }

    fn rest(&mut self) -> Vec<(u64, Second)> {
        std::mem::take(&mut self.pending).into_iter().collect()
    }
}

/// A past recording of the service, from which the judge learns levels, shapes and clumps. Rows of
/// the canary are ignored.
#[derive(Debug, Clone, Default)]
pub struct History {
    edges: Vec<f64>,
    seconds: Vec<(u64, Second)>,
}

impl History {
    /// Reads a recording.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn read<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Result<Self, RecordingError> {
        let mut reader = Reader::default();
        let mut seconds = Vec::new();
        for line in lines {
            seconds.extend(reader.read(line.as_ref())?);
        }
        seconds.extend(reader.rest());
        let edges = reader.edges.ok_or(RecordingError::Empty)?;
        Ok(Self { edges, seconds })
    }

    /// What it says about releases that are judged by `config` at these canary weights.
    ///
    /// # Errors
    /// A config that cannot be judged by.
    pub fn calibrate(&self, config: &Config, weights: &[f64]) -> Result<Calibration, ConfigError> {
        let slot = bad_slot(config);
        let mut calibrator = Calibrator::new(config.clone(), weights)?;
        for (t, second) in &self.seconds {
            calibrator.observe(*t, &arm(second, Arm::Baseline, slot));
        }
        Ok(calibrator.finish())
    }
}

/// The SLI that a row's `bad` belongs to: the first ratio where lower is better.
fn bad_slot(config: &Config) -> Option<usize> {
    config.slis.iter().position(|sli| {
        sli.kind
            == SliKind::Ratio {
                better: Better::Lower,
            }
    })
}

fn arm(second: &Second, wanted: Arm, slot: Option<usize>) -> ArmTick {
    let rows = second.values().filter(|row| row.arm == wanted).map(|row| {
        let mut samples = vec![Sample::Missing; slot.map_or(0, |slot| slot + 1)];
        if let Some(sample) = samples.last_mut() {
            *sample = Sample::Count(row.bad);
        }
        InstanceTick {
            instance: row.instance.clone(),
            requests: row.requests,
            samples,
            latency: row.latency.clone(),
        }
    });
    ArmTick {
        instances: rows.collect(),
    }
}

/// Judges a recording line by line.
#[derive(Debug, Clone, Default)]
pub struct Player {
    config: Option<Config>,
    history: Option<History>,
    reader: Reader,
    judge: Option<Judge>,
    slot: Option<usize>,
    last_t: u64,
    last_data: Option<u64>,
    verdict: Option<Verdict>,
}

impl Player {
    /// A player. Without a config, errors and latency are judged with every default; a config's
    /// latency edges are replaced by the recording's.
    pub fn new(config: Option<Config>, history: Option<History>) -> Self {
        Self {
            config,
            history,
            ..Self::default()
        }
    }

    /// Takes one line; returns the changes of verdict that it brings.
    ///
    /// # Errors
    /// What is wrong, and in which line. The recording cannot be judged any further.
    pub fn line(&mut self, line: &str) -> Result<Vec<VerdictLine>, RecordingError> {
        let had_header = self.reader.edges.is_some();
        let seconds = self.reader.read(line)?;
        if !had_header && self.reader.edges.is_some() {
            self.config()?.validate()?;
        }
        self.judge_seconds(seconds)
    }

    /// The recording ends: the last changes of verdict and the final line.
    ///
    /// # Errors
    /// A recording without a header.
    pub fn finish(mut self) -> Result<Vec<VerdictLine>, RecordingError> {
        if self.reader.edges.is_none() {
            return Err(RecordingError::Empty);
        }
        let seconds = self.reader.rest();
        let mut lines = self.judge_seconds(seconds)?;
        let assessment = match &self.judge {
            Some(judge) => judge.assess(),
            None => Judge::new(self.config()?)?.assess(),
        };
        lines.push(VerdictLine {
            is_final: true,
            ..verdict_line(self.last_t, &assessment)
        });
        Ok(lines)
    }

    /// The judge, once there were rows: for everything else it can say.
    pub fn judge(&self) -> Option<&Judge> {
        self.judge.as_ref()
    }

    fn config(&self) -> Result<Config, RecordingError> {
        let edges = self.reader.edges.clone().unwrap_or_default();
        Ok(match &self.config {
            Some(config) => Config {
                latency_edges_ms: edges,
                ..config.clone()
            },
            None => Config::errors_and_latency(edges),
        })
    }

    fn judge_seconds(
        &mut self,
        seconds: Vec<(u64, Second)>,
    ) -> Result<Vec<VerdictLine>, RecordingError> {
        let mut lines = Vec::new();
        for (t, second) in seconds {
            let canary = arm(&second, Arm::Canary, self.slot);
            let share = canary.requests() as f64
                / second.values().map(|row| row.requests as f64).sum::<f64>();
            if self.judge.is_none() {
                self.begin(share)?;
            }
            let tick = Tick {
                t,
                weight: None,
                canary: arm(&second, Arm::Canary, self.slot),
                baseline: Some(arm(&second, Arm::Baseline, self.slot)),
            };
            let Some(judge) = &mut self.judge else {
                continue;
            };
            let stale = judge.config().stale_after;
            if let Some(last) = self
                .last_data
                .filter(|last| t.saturating_sub(*last) > stale)
            {
                let silent = judge.silence(last.saturating_add(stale), Silence::NoData);
                lines.extend(self.changed(last.saturating_add(stale), &silent));
            }
            let Some(judge) = &mut self.judge else {
                continue;
            };
            let assessment = judge.observe(&tick);
            self.last_data = Some(t);
            self.last_t = t;
            lines.extend(self.changed(t, &assessment));
        }
        Ok(lines)
    }

    /// The first second tells the canary's share, which the calibration is made for.
    fn begin(&mut self, share: f64) -> Result<(), RecordingError> {
        let config = self.config()?;
        self.slot = bad_slot(&config);
        let weight = if share > 0.0 && share < 1.0 {
            share
        } else {
            0.1
        };
        let mut judge = match &self.history {
            Some(history) if history.edges != config.latency_edges_ms => {
                return Err(RecordingError::OtherEdges);
            }
            Some(history) => {
                Judge::with_history(config.clone(), &history.calibrate(&config, &[weight])?)?
            }
            None => Judge::new(config)?,
        };
        judge.start_step(weight, None)?;
        self.judge = Some(judge);
        Ok(())
    }

    fn changed(&mut self, t: u64, assessment: &Assessment) -> Option<VerdictLine> {
        if self.verdict == Some(assessment.verdict) {
            return None;
        }
        self.verdict = Some(assessment.verdict);
        Some(verdict_line(t, assessment))
    }
}

/// What an assessment at `t` looks like as a line.
pub fn verdict_line(t: u64, assessment: &Assessment) -> VerdictLine {
    let critical = assessment.slis.iter().filter(|sli| sli.critical);
    let weakest = critical
        .map(|sli| sli.log_pass)
        .fold(f64::INFINITY, f64::min);
    let telling = assessment
        .slis
        .iter()
        .filter(|sli| sli.verdict == assessment.verdict);
    VerdictLine {
        t,
        verdict: assessment.verdict,
        sli: telling
            .max_by(|a, b| a.log_e.total_cmp(&b.log_e))
            .map(|sli| sli.name.clone()),
        log_e: assessment.log_e,
        step_pass: if weakest.is_finite() { weakest } else { 0.0 },
        reason: assessment.reason.clone(),
        is_final: false,
    }
}

/// Judges a whole recording. Every item is a line of output; the last one is final, or an error.
pub fn judge_lines<L: AsRef<str>>(
    lines: impl IntoIterator<Item = L>,
    config: Option<Config>,
    history: Option<History>,
) -> Result<Vec<VerdictLine>, RecordingError> {
    let mut player = Player::new(config, history);
    let mut output = Vec::new();
    for line in lines {
        output.extend(player.line(line.as_ref())?);
    }
    output.extend(player.finish()?);
    Ok(output)
}
