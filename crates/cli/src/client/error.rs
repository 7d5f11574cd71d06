//! What can go wrong between client and server, in words that say what to do.

use airboss_server::api::views::Problem;
use reqwest::{Response, StatusCode};

use super::{ANSWER_TIMEOUT, Client};

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no Airboss answers at {url}: {why}\n  \
         start one with `airboss up`, or name another with --server URL or $AIRBOSS_SERVER"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the system said.
        why: String,
    },
    /// The connection broke before the answer was complete.
    #[error(
        "the connection to {url} broke before the answer was complete: {why}\n  \
         what was asked for may have happened: look with `airboss status`"
    )]
    Broken {
        /// The server.
        url: String,
        /// What the system said.
        why: String,
    },
    /// The server answers, with a problem.
    #[error("{}", told(problem, token_hint))]
    Problem {
        /// The HTTP status.
        status: u16,
        /// What it says.
        problem: Problem,
        /// What to do about the token, where that is the problem.
        token_hint: Option<String>,
    },
    /// Something answers that does not speak as Airboss does.
    #[error(
        "{url} is not understood: {why}\n  \
         see whether an Airboss of the same version listens there: `airboss doctor`"
    )]
    NotUnderstood {
        /// Who answered.
        url: String,
        /// What is odd.
        why: String,
    },
    /// Something on this side, before anything was sent.
    #[error("{why}")]
    Setup {
        /// What happened.
        why: String,
    },
}

fn told(problem: &Problem, token_hint: &Option<String>) -> String {
    let mut text = problem.message.clone();
    for detail in problem.details.iter().chain(token_hint) {
        for line in detail.lines() {
            text += "\n  ";
            text += line;
        }
    }
    text
}

impl ClientError {
    /// True where the same request may succeed when the server is back.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Problem { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// True where the server knows nothing of that name.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Problem { problem, .. } if problem.code == "not_found")
    }

    /// True where the server can make nothing of what it was handed, and said why.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Problem { problem, .. } if ["invalid", "too_large"].contains(&problem.code.as_str()))
    }
}

impl Client {
    /// The error behind a request that got no answer.
    pub(super) fn failed(&self, error: &reqwest::Error) -> ClientError {
        let url = self.url().to_owned();
        if error.is_builder() {
            return ClientError::Setup {
                why: format!("cannot use {url} as a server's address: {}", root(error)),
            };
        }
        if error.is_connect() {
            return ClientError::Unreachable {
                url,
                why: root(error),
            };
        }
        if error.is_timeout() {
            return self.slow();
        }
        ClientError::Broken {
            url,
            why: root(error),
        }
    }

    pub(super) fn slow(&self) -> ClientError {
        ClientError::Broken {
            url: self.url().to_owned(),
            why: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()),
        }
    }

    /// The answer, if it is one of success.
    pub(super) async fn checked(&self, answer: Response) -> Result<Response, ClientError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = answer.bytes().await.unwrap_or_default();
        let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) else {
            return Err(ClientError::NotUnderstood {
                url: self.url().to_owned(),
                why: format!("it answers {status} without saying why"),
            });
        };
        let token_hint =
            (status == StatusCode::UNAUTHORIZED).then(|| match &self.server().token_from {
                Some(from) => format!("the token came from {from}"),
                None => "no token was sent: set $AIRBOSS_TOKEN to the text of the file `token` in \
                         the server's data folder"
                    .to_owned(),
            });
        Err(ClientError::Problem {
            status: status.as_u16(),
            problem,
            token_hint,
        })
    }
}

/// The innermost cause: the outer ones only repeat the address.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if let Some(io) = cause.downcast_ref::<std::io::Error>()
        && io.kind() == std::io::ErrorKind::ConnectionRefused
    {
        return "connection refused".to_owned();
    }
    cause.to_string()
}
