//! A lane's seconds, for those who record them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use airboss_model::RolloutId;
use airboss_model::traffic::Counts;
use airboss_telemetry::Judged;
use tokio::sync::broadcast;

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
const WAITING_MAX: usize = 120;

/// Where a lane's seconds can be followed. The places for waiting ones are made for the first reader:
/// most lanes never have one.
#[derive(Default)]
pub(crate) struct Seconds(OnceLock<broadcast::Sender<Arc<Second>>>);

impl Seconds {
    /// Every second from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<Second>> {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(WAITING_MAX));
        sender.subscribe()
    }

    /// Those who follow; None where nobody does.
    pub(crate) fn readers(&self) -> Option<&broadcast::Sender<Arc<Second>>> {
        self.0.get().filter(|sender| sender.receiver_count() > 0)
    }
}
