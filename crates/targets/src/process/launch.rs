//! Starts an instance's process, or says in words why that cannot work.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::LaneId;
use airboss_model::target::DesiredArm;
use tokio::process::Command;

use super::artifact::{ArtifactStore, Prepared, hint};
use super::child::{OWNER, Process};
use super::environment::Identity;
use super::logs::Logs;
use super::ports::{Ports, free};

/// What all instances of an agent share.
pub(super) struct Site {
    /// The agent's folder, absolute.
    pub root: PathBuf,
    pub artifacts: ArtifactStore,
    pub logs: Logs,
    pub ports: Ports,
    /// Asks instances for their metrics.
    pub pages: reqwest::Client,
    /// From SIGTERM to SIGKILL.
    pub term_grace: Duration,
    /// Wait before the first restart; it doubles up to `backoff_most`.
    pub backoff_first: Duration,
    pub backoff_most: Duration,
}

impl Site {
    /// The folder of an instance's own, kept over restarts.
    pub fn work(&self, instance: &str) -> PathBuf {
        self.root.join("run").join(instance)
    }
}

/// Why an instance could not be started.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// Worth another try without anybody changing the release.
    Later(String),
    /// The same will happen each time.
    Never(String),
}

/// Starts one process of an instance; `port` is the one it had, if it had one. Another
/// `attempt` looks for a new port elsewhere.
pub(super) async fn launch(
    site: &Arc<Site>,
    lane: &LaneId,
    arm: &DesiredArm,
    instance: &str,
    port: &mut Option<u16>,
    attempt: u32,
) -> Result<Process, NotStarted> {
    let prepared = site.artifacts.prepare(arm.digest).await.map_err(|error| {
        if error.is_transient() {
            NotStarted::Later(error.to_string())
        } else {
            NotStarted::Never(error.to_string())
        }
    })?;
    if let Some(taken) = port.take_if(|port| !free(*port)) {
        site.ports.release(taken);
    }
    let number = match *port {
        Some(number) => number,
        None => *port.insert(site.ports.take(instance, attempt).ok_or_else(|| {
            NotStarted::Later("no port is free in the agent's range for instances".to_owned())
        })?),
    };
    let work = site.work(instance);
    let disk = |doing: &str, path: &Path, error: io::Error| {
        NotStarted::Later(format!(
            "cannot {doing} {}: {error}{}",
            path.display(),
            hint(&error)
        ))
    };
    fs::create_dir_all(&work).map_err(|error| disk("create", &work, error))?;
    let log = site.logs.path(instance);
    let out = site
        .logs
        .append(instance)
        .map_err(|error| disk("open", &log, error))?;
    let err = out.try_clone().map_err(|error| disk("open", &log, error))?;
    let identity = Identity {
        lane,
        arm,
        instance,
        port: number,
        work: &work,
    };
    let variables = identity.variables().map_err(NotStarted::Never)?;
    let argument = |text: &String| fill(text, &prepared, number, instance, arm.release.version());
    let words: Vec<String> = arm.process.command.iter().map(argument).collect();
    let Some((program, arguments)) = words.split_first() else {
        return Err(NotStarted::Never(
            "the manifest's command is empty".to_owned(),
        ));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&prepared.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::from(out))
        .stderr(Stdio::from(err))
        // Signals to the agent's terminal, and the agent's death, are not the instance's.
        .process_group(0)
        .kill_on_drop(false);
    for (name, _) in std::env::vars_os() {
        // The agent's own settings, its token among them, are nobody else's business.
        if name.to_string_lossy().starts_with("AIRBOSS_") {
            command.env_remove(name);
        }
    }
    command.envs(variables).env(OWNER, &site.root);
    command
        .spawn()
        .and_then(Process::own)
        .map_err(|error| refused(program, &prepared.folder, &error))
}

/// The address at which an instance is probed and reached.
pub(super) fn address(port: u16) -> std::net::SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Fills in a word of the command. `{artifact}` in front of a `/` is always the folder; alone it
/// is the file where a file was packed alone. One pass: a value is never filled in again.
fn fill(text: &str, prepared: &Prepared, port: u16, instance: &str, version: &str) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        let file = prepared.file.as_deref().unwrap_or(&prepared.folder);
        let artifact = if rest.starts_with("{artifact}/") {
            &prepared.folder
        } else {
            file
        };
        let port = port.to_string();
        let artifact = artifact.to_string_lossy();
        let known = [
            ("{artifact}", &*artifact),
            ("{port}", &port),
            ("{instance}", instance),
            ("{version}", version),
        ];
        match known.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

fn refused(program: &str, folder: &Path, error: &io::Error) -> NotStarted {
    // A word with a slash is a path, seen from the artifact's folder; others are looked up.
    let path = folder.join(program);
    let is_path = program.contains('/');
    let meta = fs::metadata(&path);
    let shown = if is_path {
        path.display().to_string()
    } else {
        format!("`{program}`")
    };
    match (error.kind(), meta) {
        (io::ErrorKind::NotFound, Err(_)) if is_path => NotStarted::Never(format!(
            "cannot start {shown}: there is no such file; look at the manifest's `command` and at what was shipped"
        )),
        (io::ErrorKind::NotFound, Ok(_)) if is_path => NotStarted::Never(format!(
            "cannot start {shown}: the file is there, but the interpreter (or loader) that it names is not on this host"
        )),
        (io::ErrorKind::NotFound, _) => NotStarted::Never(format!(
            "cannot start {shown}: no such program in the agent's PATH; install it, or write `{{artifact}}/{program}` for one that was shipped"
        )),
        (io::ErrorKind::PermissionDenied, Ok(meta)) if is_path && meta.is_dir() => {
            NotStarted::Never(format!(
                "cannot start {shown}: it is a folder; name the program in it"
            ))
        }
        (io::ErrorKind::PermissionDenied, Ok(meta))
            if is_path && meta.permissions().mode() & 0o111 == 0 =>
        {
            NotStarted::Never(format!(
                "cannot start {shown}: permission denied, the file is not executable; `chmod +x` it before it is shipped"
            ))
        }
        (io::ErrorKind::PermissionDenied, _) => NotStarted::Never(format!(
            "cannot start {shown}: permission denied; check who may execute it, and that its file system is not mounted noexec"
        )),
        (io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput, _) => {
            NotStarted::Never(format!("cannot start {shown}: {error}"))
        }
        // No ErrorKind is stable for it.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            NotStarted::Never(format!(
                "cannot start {shown}: wrong format; it is no program for {}-{} and has no `#!` line",
                std::env::consts::ARCH,
                std::env::consts::OS
            ))
        }
        _ => NotStarted::Later(format!("cannot start {shown}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_filled_in_once_and_unknown_braces_stay() {
        let alone = Prepared {
            folder: "/a".into(),
            file: Some("/a/app".into()),
        };
        let of = |text| fill(text, &alone, 80, "{port}", "1.0");
        assert_eq!(of("{artifact}"), "/a/app");
        assert_eq!(of("{artifact}/app"), "/a/app");
        assert_eq!(of("--x={instance}:{port}"), "--x={port}:80");
        assert_eq!(of("{other} {version"), "{other} {version");
    }
}
