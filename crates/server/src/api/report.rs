//! What became of a service's releases.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which part of the past.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PastQuery {
    /// The newest so many rollouts; 20 where nothing is said, 100 at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// How releases went through their gates, and what they changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// Days that it is about, up to now.
    pub days: u32,
    /// Rollouts of them that ended, those left out that nobody judged: returns, withdrawn and aborted ones, and
    /// those whose instances never became ready.
    pub judged: u32,
    /// Those that served everybody, each step passed by evidence.
    pub by_evidence: u32,
    /// Those that served everybody, some step passed by a person or by the policy for its deadline.
    pub by_others: u32,
    /// Those that were taken back by the judge, or for want of proof at a deadline.
    pub taken_back: u32,
    /// `by_evidence` of `judged`, 0 to 1. None where none was judged.
    pub pass_rate: Option<f64>,
    /// What the gates do not see of the usual requests, in one line each. A pass says nothing of it.
    pub blind_spots: Vec<String>,
    /// What the newest releases changed, newest first.
    pub changes: Vec<ChangeView>,
}

/// What a release changed in one SLO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangeView {
    /// The rollout.
    pub rollout: String,
    /// When it had shipped.
    pub at: String,
    /// The SLO.
    pub slo: String,
    /// The share of bad requests of the day before. None without requests.
    pub before: Option<f64>,
    /// Of the day behind it, as far as it is over.
    pub after: Option<f64>,
    /// What earlier weeks at the same hours, and the day before, let expect of `after`.
    pub expected: Option<f64>,
    /// `unchanged`, `worse`, `better` or `unknown`.
    pub change: String,
}
