//! How the system and a supervisor tell a process to stop.

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// Ctrl-C and SIGTERM.
pub struct Stop {
    interrupt: Stream,
    terminate: Stream,
}

impl Stop {
    /// Listens from now on.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    /// Resolves when the process shall stop.
    pub async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Has the system end this process when its supervisor dies, so that a new one can take over.
/// What it supervises itself lives on.
pub fn die_with(supervisor: u32) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot follow the supervisor's life")?;
    let parent = rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(|pid| pid.get().unsigned_abs());
    anyhow::ensure!(
        parent == Some(supervisor),
        "the supervisor (process {supervisor}) is gone already"
    );
    Ok(())
}
