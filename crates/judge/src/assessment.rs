//! What the judge says after a tick, in numbers and in words.

use serde::{Deserialize, Serialize};

use crate::coverage::Representativeness;

/// The verdict of one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The release is beyond its margin: roll back.
    Fail,
    /// This step's harm is proven to be within its budget: advance.
    Pass,
    /// The data is sound and does not decide yet: hold.
    Undecided,
    /// There is no data, or too little, or an SLI of the manifest has none.
    NotEnoughData,
    /// The source of the measurements does not answer.
    SourceDown,
    /// Both arms suffer: something outside the release.
    External,
    /// The canary's share of requests is far from its weight: the split is at fault.
    Misrouted,
    /// One instance fails, the others do not: replace it.
    InstanceFault,
    /// The canary gets other requests than stable: what it proves says little about users.
    Unrepresentative,
}

impl Verdict {
    /// The word used in output, ledger and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pass => "pass",
            Self::Undecided => "undecided",
            Self::NotEnoughData => "not_enough_data",
            Self::SourceDown => "source_down",
            Self::External => "external",
            Self::Misrouted => "misrouted",
            Self::InstanceFault => "instance_fault",
            Self::Unrepresentative => "unrepresentative",
        }
    }
}

/// Bad requests of all requests. No requests is no rate, never a rate of zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rate {
    /// Bad requests.
    pub bad: u64,
    /// All requests.
    pub requests: u64,
}

impl Rate {
    /// The ratio, where there were requests.
    pub fn ratio(self) -> Option<f64> {
        (self.requests > 0).then(|| self.bad as f64 / self.requests as f64)
    }
}

/// One SLI's part in a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SliAssessment {
    /// The SLI's name in the manifest.
    pub name: String,
    /// This SLI's own verdict.
    pub verdict: Verdict,
    /// Whether a step needs this SLI's proof to pass.
    pub critical: bool,
    /// It only speaks: whatever it says, nothing is taken back or held for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advisory: bool,
    /// The canary since the start of the rollout.
    pub canary: Rate,
    /// Stable in the same seconds. None where there is no baseline.
    pub baseline: Option<Rate>,
    /// The bad ratio up to which the canary is within its margin, at the baseline's rate.
    pub bound: f64,
    /// Natural logarithm of the evidence that the canary is beyond its margin.
    pub log_e: f64,
    /// Natural logarithm of the evidence that this step's harm is within its budget.
    pub log_pass: f64,
    /// The `log_e` that fails the release by this SLI alone, where it has an alpha of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_at: Option<f64>,
    /// The `log_pass` that this SLI needs, where it has a beta of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_at: Option<f64>,
    /// The newest half minute's levels of both versions, of a gauge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<[f64; 2]>,
    /// One line for people.
    pub reason: String,
}

/// Everything the judge says after a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// The verdict over all SLIs.
    pub verdict: Verdict,
    /// Natural logarithm of the evidence against the release, over all SLIs.
    pub log_e: f64,
    /// The release fails at this `log_e`: ln(1/alpha).
    pub fail_at: f64,
    /// An SLI passes its step at this `log_pass`: ln(1/beta).
    pub pass_at: f64,
    /// Evidence has reached the square root of what fails a release: grow no further.
    pub hold_growth: bool,
    /// Each SLI of the manifest, in its order.
    pub slis: Vec<SliAssessment>,
    /// How like stable's requests the canary's are, where the source tells requests apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Representativeness>,
    /// Seconds with data of both arms in this step.
    pub ticks: u64,
    /// Expected seconds until a verdict at the present rate of requests, where it can be told.
    pub seconds_to_verdict: Option<f64>,
    /// One line for people: what was seen, the odds, the limit.
    pub reason: String,
}
