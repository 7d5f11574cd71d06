//! What the agent remembers over its own death: `state.json`, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use airboss_model::Timestamp;
use airboss_model::target::{Desired, DesiredArm, DesiredTraffic, InstanceState};
use serde::{Deserialize, Serialize};

use super::agent::AgentError;

/// The format that this version writes and reads.
const FORMAT: u32 = 1;

/// Everything that a successor needs to go on as if nothing had happened.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    /// The agent's id.
    pub agent: String,
    /// The kernel's boot in which the processes below ran.
    pub kernel_boot: String,
    pub lanes: Vec<LaneRecord>,
}

/// One lane.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaneRecord {
    /// The newest that was taken in; a lower generation is refused from then on.
    pub desired: Desired,
    pub applied: Option<Applied>,
    /// When the exposure lease ends, by the wall clock; written in steps of a quarter of the
    /// lease, always early rather than late.
    pub lease_until: Option<Timestamp>,
    pub arms: Vec<ArmRecord>,
}

/// The division of traffic in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    /// The generation it was made from.
    pub generation: u64,
    pub traffic: DesiredTraffic,
    /// Set where the agent returned traffic to stable by itself.
    pub lease_expired: Option<Expired>,
}

/// An exposure that nobody watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Expired {
    pub at: Timestamp,
    /// Only a generation above this one may expose again.
    pub generation: u64,
}

/// One arm that runs or drains.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ArmRecord {
    pub spec: DesiredArm,
    pub proven: bool,
    pub instances: Vec<InstanceRecord>,
}

/// One instance.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InstanceRecord {
    pub index: u32,
    pub pid: Option<u32>,
    pub started: Option<u64>,
    pub port: Option<u16>,
    pub restarts: u32,
    pub state: InstanceState,
    pub ever_ready: bool,
    pub last_error: Option<String>,
    pub failed: Option<String>,
}

impl State {
    pub fn new(agent: String, kernel_boot: String, lanes: Vec<LaneRecord>) -> Self {
        Self {
            format: FORMAT,
            agent,
            kernel_boot,
            lanes,
        }
    }
}

/// The file, and what was last written to it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    written: Vec<u8>,
}

impl Journal {
    /// Reads the state; None where there is no file yet. A file that cannot be understood is an
    /// error: starting empty would forget running instances.
    pub fn open(folder: &Path) -> Result<(Self, Option<State>), AgentError> {
        let path = folder.join("state.json");
        let damaged = |why: String| AgentError::JournalDamaged {
            path: path.clone(),
            why,
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(damaged(error.to_string())),
        };
        let journal = Self {
            path: path.clone(),
            written: Vec::new(),
        };
        if bytes.is_empty() && !path.exists() {
            return Ok((journal, None));
        }
        let state: State =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if state.format != FORMAT {
            return Err(damaged(format!(
                "it has format {}, this version reads format {FORMAT}",
                state.format
            )));
        }
        Ok((journal, Some(state)))
    }

    /// Writes the state where it differs from what was written last.
    pub async fn save(&mut self, state: &State) -> Result<(), String> {
        let fail = |error: io::Error| {
            format!(
                "cannot write the agent's state to {}: {error}{}; a restart of the agent would forget the newest changes",
                self.path.display(),
                super::artifact::hint(&error)
            )
        };
        let bytes =
            serde_json::to_vec_pretty(state).map_err(|error| fail(io::Error::other(error)))?;
        if bytes == self.written {
            return Ok(());
        }
        let (path, content) = (self.path.clone(), bytes.clone());
        tokio::task::spawn_blocking(move || replace(&path, &content))
            .await
            .map_err(|error| fail(io::Error::other(error)))?
            .map_err(fail)?;
        self.written = bytes;
        Ok(())
    }
}

/// Replaces a file so that a crash leaves the old or the new content.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let tmp = path.with_extension("tmp");
    let mut file: File = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&tmp)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(&tmp, path)
}
