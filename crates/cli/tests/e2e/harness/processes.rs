//! What the system knows about processes.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

fn all() -> impl Iterator<Item = (u32, PathBuf)> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// Processes, zombies left out, that were started for something in this folder.
pub fn of_folder(folder: &Path) -> Vec<(u32, String)> {
    let name = folder.as_os_str().as_encoded_bytes().to_vec();
    let holds = |bytes: &[u8]| bytes.windows(name.len()).any(|part| part == name);
    all()
        .filter(|(pid, _)| *pid != std::process::id())
        .filter_map(|(pid, path)| {
            let command = fs::read(path.join("cmdline")).ok()?;
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            let mine = !command.is_empty() && (holds(&command) || holds(&environment));
            mine.then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
        })
        .collect()
}

/// The process that `airboss up` runs as its `serve` or `agent`.
pub fn part(folder: &Path, verb: &str) -> Option<u32> {
    of_folder(folder)
        .into_iter()
        .find(|(_, command)| command.split(' ').nth(1) == Some(verb))
        .map(|(pid, _)| pid)
}

/// Sends a signal to a process of the test's own. False where it is gone.
pub fn signal(pid: u32, signal: Signal) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| kill_process(pid, signal).is_ok())
}
