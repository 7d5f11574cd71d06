//! What an agent is told when it is started.

use std::collections::HashMap;
use std::fmt;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::Timestamp;
use airboss_proxy::Options;

use super::identity::Identity;

/// Tells the wall-clock time. Durations are measured with the monotonic clock, never with this.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What an agent is told when it is started. [`AgentConfig::new`] sets the defaults.
pub struct AgentConfig {
    /// The folder whose subfolder `agent` is the agent's own.
    pub data_dir: PathBuf,
    /// The controllers' addresses, such as `http://127.0.0.1:4180`. Each is told everything; whose
    /// claim on a lane is the newest is obeyed.
    pub controllers: Vec<String>,
    /// The token that agent and controller share; not used by an agent with an identity.
    pub token: String,
    /// Who the agent is, where it has joined with a key of its own.
    pub identity: Option<Identity>,
    /// The PEM file with the certificates to trust for an `https` controller; the system's where
    /// there is none.
    pub ca: Option<PathBuf>,
    /// The wall clock.
    pub clock: Clock,
    /// Longest time between two reports (200 ms).
    pub report_every: Duration,
    /// How long the controller may hold a question for news (20 s).
    pub poll_wait: Duration,
    /// From SIGTERM to SIGKILL (5 s).
    pub term_grace: Duration,
    /// Wait before the first restart of an instance (100 ms); it doubles with each.
    pub backoff_first: Duration,
    /// Longest wait before a restart (30 s).
    pub backoff_most: Duration,
    /// Loopback ports for instances (20000 to 29999).
    pub ports: RangeInclusive<u16>,
    /// Artifacts that no arm needs any more and that stay on disk nonetheless (5).
    pub spare_artifacts: usize,
    /// The splitters' settings.
    pub splitter: Options,
    /// Listening sockets that a supervisor opened, by the manifest's `listen`. They stay open
    /// over the agent's death, so that connections wait instead of being refused.
    pub listeners: HashMap<String, TcpListener>,
}

impl AgentConfig {
    /// An agent with default limits.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        controllers: Vec<String>,
        token: impl Into<String>,
        clock: Clock,
    ) -> Self {
        Self {
            data_dir: data_dir.into(),
            controllers,
            token: token.into(),
            identity: None,
            ca: None,
            clock,
            report_every: Duration::from_millis(200),
            poll_wait: Duration::from_secs(20),
            term_grace: Duration::from_secs(5),
            backoff_first: Duration::from_millis(100),
            backoff_most: Duration::from_secs(30),
            ports: 20_000..=29_999,
            spare_artifacts: 5,
            splitter: Options::default(),
            listeners: HashMap::new(),
        }
    }
}

impl fmt::Debug for AgentConfig {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig")
            .field("data_dir", &self.data_dir)
            .field("controllers", &self.controllers)
            .finish_non_exhaustive()
    }
}

/// What happens to the instances when the agent is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// They go on; the next agent adopts them.
    LeaveRunning,
    /// Requests in flight are finished, then all instances end. The next agent starts them
    /// again, as the desired state still names them.
    StopInstances,
}
