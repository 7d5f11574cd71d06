//! Recordings: one JSON object a line, judged by the same code as live traffic.
//!
//! The first line is `{"airboss":"recording/v1","latency_edges_ms":[5,10,20]}`, then one line per
//! second and instance:
//! `{"t":12,"arm":"baseline","instance":"b1","requests":400,"bad":1,"latency":[[0,310],[1,90]]}`.
//! Counts are increments of that second. Bucket 0 lies below the first edge. Unknown fields are
//! ignored, blank lines too.
//!
//! That is all a recording needs. One that says more is judged the more exactly: see [`Row`] for
//! the steps of a rollout, further SLIs and the mix of requests, and [`Mark`] for where a rollout
//! begins and ends. `airboss record` writes all of it, so that a rollout is judged again to the
//! very words of the live judge.
//!
//! What happens with bad input:
//!
//! | input | outcome |
//! |---|---|
//! | nothing, no header, another version | error |
//! | a line that is no JSON object, a missing field, an unknown arm | error with its line |
//! | negative, fractional, NaN, infinite or absurd numbers, more bad than requests, unknown bucket, a weight that is no share | error with its line |
//! | rows up to 5 s out of order | put in order |
//! | rows further out of order, one instance twice in a second, edges that change | error with its line |
//! | no rows, one arm only, an SLI without data | `not_enough_data` |
//! | a gap | `not_enough_data` while it lasts; evidence stays |
//! | very many instances | judged; beyond 64 an arm's instances share numbers for the search of a sick one |
//! | a file of any length | read once, six seconds of it in memory and at most two million rows; of a history the newest hour |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Assessment, Calibration, Config, ConfigError, Rate, Verdict};

mod history;
mod player;
mod reader;

pub use history::{HISTORY_ROWS_MAX, HISTORY_SECONDS, History, errors};
pub use player::{Player, judge_lines};
pub use reader::{MAX_LINE_BYTES, MAX_ROWS_PER_SECOND, MAX_ROWS_WAITING, REORDER_SECONDS};

/// The version this module reads.
pub const VERSION: &str = "recording/v1";

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
    /// The rollout that is judged, where the recording tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
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

/// Written as it must be in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The new version.
    Canary,
    /// Stable.
    Baseline,
}

/// One instance's second. Everything behind `latency` may be left out.
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
    /// How many of them were bad, by the first ratio SLI.
    pub bad: u64,
    /// (bucket, count) pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<(u32, u64)>,
    /// Bad requests by the name of the ratio SLI, where there are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bads: BTreeMap<String, u64>,
    /// The same for SLIs that count some of the requests only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub of: BTreeMap<String, Rate>,
    /// Levels by the name of the gauge: 0 or more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, f64>,
    /// Events of this second by the name of the SLI.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<String, u64>,
    /// Requests by route, to compare what the two versions are asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, u64>,
    /// Requests by cohort of users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cohorts: BTreeMap<String, u64>,
    /// The new version's share in the step that is judged. Another one begins a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Its share in the step behind; none behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_weight: Option<f64>,
    /// The share that the splitter worked by; without it the split is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<f64>,
    /// True where there was no baseline to compare with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
}

/// A line between the rows that says what they belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "airboss")]
pub enum Mark {
    /// From this second on, a rollout is judged anew; what came before was stable alone.
    Rollout {
        /// The second.
        t: u64,
        /// The rollout's id.
        id: String,
        /// When its second 0 was.
        start: u64,
        /// The shares of its steps, which a history is to be calibrated for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights: Vec<f64>,
        /// What it was judged by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config: Option<Box<Config>>,
        /// What each SLI measures, in words of the writer: only where they are alike can a rollout be
        /// judged by another's rules.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        measures: BTreeMap<String, String>,
        /// What the judge knew of the service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<Box<Calibration>>,
    },
    /// From this second on nothing is judged.
    RolloutEnd {
        /// The second.
        t: u64,
    },
    /// The source of the measurements did not answer in this second.
    Silence {
        /// The second.
        t: u64,
        /// What it said instead.
        why: String,
    },
}

impl Mark {
    fn t(&self) -> u64 {
        match self {
            Self::Rollout { t, .. } | Self::RolloutEnd { t } | Self::Silence { t, .. } => *t,
        }
    }
}

/// The first line of a recording with these edges.
pub fn header(latency_edges_ms: &[f64]) -> String {
    serde_json::json!({ "airboss": VERSION, "latency_edges_ms": latency_edges_ms }).to_string()
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
        rollout: None,
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
