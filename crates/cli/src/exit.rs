//! Exit codes: one for each way that a command can end.

use std::process::ExitCode;

use airboss_server::api::views::RolloutView;

use crate::client::ClientError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; with `--watch`, the release serves all users; `judge` says pass.
    Done = 0,
    /// Airboss could not be reached, a disk failed, or another error outside the request.
    Error = 1,
    /// The command line or the manifest is wrong, or names something that does not exist.
    Usage = 2,
    /// The release was taken back; `judge` says fail; `audit` or `artifact drift` found a change.
    RolledBack = 3,
    /// The server understood the command and refuses it.
    Refused = 4,
    /// `--timeout` passed while the rollout was still waiting or in progress; `judge` has no verdict.
    Waiting = 5,
    /// The release never became ready.
    Failed = 6,
    /// A person ended the rollout, or a newer one took its place.
    Ended = 7,
    /// Ctrl-C; the rollout goes on.
    Interrupted = 130,
}

/// The list for help and documentation: code and meaning.
pub const MEANINGS: [(Exit, &str); 9] = [
    (
        Exit::Done,
        "done; with --watch: shipped, it serves all users; judge: pass",
    ),
    (
        Exit::Error,
        "error: no server, no network, no disk, or a fault of Airboss",
    ),
    (
        Exit::Usage,
        "wrong command line or manifest, or something named that does not exist",
    ),
    (
        Exit::RolledBack,
        "rolled back: the release was exposed and taken back; judge: fail; audit, artifact drift: changed",
    ),
    (
        Exit::Refused,
        "refused: the server understood and says no, and why",
    ),
    (
        Exit::Waiting,
        "still waiting: --timeout passed while queued or in progress; judge: no verdict",
    ),
    (Exit::Failed, "failed: the release never became ready"),
    (
        Exit::Ended,
        "aborted by a person, or superseded by a newer release",
    ),
    (Exit::Interrupted, "Ctrl-C; the rollout goes on without you"),
];

/// The list as text, one line each.
pub fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in MEANINGS {
        text += &format!("  {:>3}  {meaning}\n", exit as u8);
    }
    text
}

impl Exit {
    /// The code for a rollout that has ended. One that has not is [`Exit::Waiting`].
    pub fn of(rollout: &RolloutView) -> Self {
        match rollout.outcome.as_deref() {
            Some("shipped") => Self::Done,
            Some("rolled_back") => Self::RolledBack,
            Some("failed") => Self::Failed,
            Some("aborted" | "superseded") => Self::Ended,
            Some(_) => Self::Error,
            None => Self::Waiting,
        }
    }

    /// The code for an error.
    pub fn of_error(error: &anyhow::Error) -> Self {
        if error.is::<UsageError>() {
            return Self::Usage;
        }
        match error.downcast_ref::<ClientError>() {
            Some(ClientError::Problem { problem, .. }) => match problem.code.as_str() {
                "invalid" | "not_found" => Self::Usage,
                "unavailable" => Self::Error,
                _ => Self::Refused,
            },
            _ => Self::Error,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The command line or a file that it names is wrong: what, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
