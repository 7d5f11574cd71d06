//! A lane's seconds, for those who record them.

use std::collections::BTreeMap;

use airboss_model::RolloutId;
use airboss_model::traffic::Counts;
use airboss_telemetry::Judged;

/// What both arms of a lane did in one second, by instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Second {
    /// The rollout that was judged by it, and how.
    pub judged: Option<(RolloutId, Judged)>,
    /// The new version. None where there is none on trial.
    pub canary: Option<BTreeMap<String, Counts>>,
    /// The version that serves. None where there is none, or it had no requests.
    pub baseline: Option<BTreeMap<String, Counts>>,
}

/// Seconds that wait for a slow reader at the most; it misses what is older.
pub(crate) const WAITING_MAX: usize = 120;
