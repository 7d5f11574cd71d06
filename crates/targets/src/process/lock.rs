//! One agent works in a folder at a time.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::agent::AgentError;

/// How long a predecessor that was killed a moment ago may take to be gone. A child of its that
/// has not yet become another program holds its files for as long.
const PATIENCE: Duration = Duration::from_secs(1);

/// The agent's folder, locked until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// Absolute.
    pub folder: PathBuf,
    file: File,
}

impl Lock {
    /// Makes the folder `agent` below `data` where it is missing, and locks it.
    pub async fn take(data: &Path) -> Result<Self, AgentError> {
        let path = data.join("agent");
        let fail = |source| AgentError::Folder {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&path).map_err(fail)?;
        let folder = path.canonicalize().map_err(fail)?;
        let file = File::create(folder.join("lock")).map_err(fail)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { folder, file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(TryLockError::WouldBlock) => return Err(AgentError::Busy { path: folder }),
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child that still has a copy of the file.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "cannot unlock the agent's folder");
        }
    }
}
