//! One process of an instance: started by this agent, or found running by it.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;

/// How often an adopted process is looked for: it is no child of ours, and waiting for the
/// kernel's word would need code that this workspace forbids.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that leads its own group, so that it lives on when the agent dies.
#[derive(Debug)]
pub(super) struct Process {
    pub pid: u32,
    /// Kernel ticks from boot to its start: with the pid, its identity.
    pub started: u64,
    how: How,
}

#[derive(Debug)]
enum How {
    Own(Child),
    Adopted,
}

impl Process {
    /// Wraps a child that was just started.
    pub fn own(child: Child) -> io::Result<Self> {
        let gone = || io::Error::other("the process ended at once");
        let pid = child.id().ok_or_else(gone)?;
        Ok(Self {
            pid,
            // A child that ended already is a zombie until it is waited for; `ended` tells.
            started: started_at(pid).unwrap_or(0),
            how: How::Own(child),
        })
    }

    /// Finds a process of an earlier agent again. None where it is gone or is another one.
    pub fn adopt(pid: u32, started: u64) -> Option<Self> {
        (started_at(pid)? == started).then_some(Self {
            pid,
            started,
            how: How::Adopted,
        })
    }

    /// Waits for the end and says how it ended. May be dropped and called again.
    pub async fn ended(&mut self) -> String {
        match &mut self.how {
            How::Own(child) => match child.wait().await {
                Ok(status) => describe(status),
                Err(error) => format!("its end could not be read: {error}"),
            },
            How::Adopted => {
                while started_at(self.pid) == Some(self.started) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                "ended (its status is not known: an earlier agent had started it)".to_owned()
            }
        }
    }

    /// Asks the whole group to end.
    pub fn terminate(&self) {
        signal(self.pid, Signal::TERM);
    }

    /// Ends the whole group, or what is left of it.
    pub fn kill(&self) {
        signal(self.pid, Signal::KILL);
    }
}

fn signal(group: u32, signal: Signal) {
    let pid = i32::try_from(group).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid
        // No such group: it is gone, which is what was wanted.
        && let Err(error) = kill_process_group(pid, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(group, %error, "cannot signal a process group");
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Kernel ticks from boot to a process's start (field 22 of proc(5) stat). None where there is
/// no such process, or only its zombie.
pub(super) fn started_at(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the fields behind it start with the third.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Names the data folder in each instance's environment, so that an instance which was started
/// in the moment before the agent died, and is in no journal, is found.
pub(super) const OWNER: &str = "AIRBOSS_AGENT_DATA";

/// Ends processes that an earlier agent of this folder started for instances which were not
/// found again: it died before it wrote them down, or they outlived their instance's leader.
/// What belongs to an adopted instance, whatever group it is in, is left alone.
pub(super) fn end_strays(data: &Path, adopted: impl Fn(&str) -> bool) -> Vec<u32> {
    let mark = format!("{OWNER}={}", data.display());
    let mut ended = Vec::new();
    for item in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = item.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(environment) = fs::read(item.path().join("environ")) else {
            continue;
        };
        let mut variables = environment.split(|byte| *byte == 0);
        let instance = variables
            .clone()
            .find_map(|variable| variable.strip_prefix(b"AIRBOSS_INSTANCE="));
        let (Some(instance), true) = (instance, variables.any(|found| found == mark.as_bytes()))
        else {
            continue;
        };
        let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
        if let Some(process) = process
            && !adopted(&String::from_utf8_lossy(instance))
        {
            match kill_process(process, Signal::KILL) {
                Ok(()) => ended.push(pid),
                Err(error) => tracing::warn!(pid, %error, "cannot end a stray process"),
            }
        }
    }
    ended
}
