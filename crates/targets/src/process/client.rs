//! The agent's side of the HTTP conversation with the controller.

use std::path::Path;
use std::time::Duration;

use airboss_model::Digest;
use futures_util::{Stream, StreamExt};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;

use super::protocol::{DesiredSet, LogAnswer, Report, ReportAck};

/// Most bytes of a JSON answer (16 MiB).
const MAX_ANSWER: usize = 16 << 20;
/// A controller that does not take a connection in this time is away.
const CONNECT: Duration = Duration::from_secs(2);
/// A stretch without any byte after which a transfer has failed.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a request to the controller failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No answer.
    #[error("the controller at {controller} does not answer: {why}; it is tried again by itself")]
    Unreachable {
        /// Its address.
        controller: String,
        /// What the network said.
        why: String,
    },
    /// 401 or 403.
    #[error(
        "the controller at {controller} refuses this agent's token: give the agent the token that `airboss serve` made"
    )]
    Token {
        /// Its address.
        controller: String,
    },
    /// Any other status than success.
    #[error("the controller at {controller} answered {status} to {request}: {text}")]
    Status {
        /// Its address.
        controller: String,
        /// The answer's status.
        status: StatusCode,
        /// Method and path.
        request: String,
        /// The answer's first 300 characters.
        text: String,
    },
    /// An answer that cannot be read.
    #[error(
        "the controller at {controller} answered {request} with something unreadable ({why}); do both run the same version?"
    )]
    Unreadable {
        /// Its address.
        controller: String,
        /// Method and path.
        request: String,
        /// What is wrong with it.
        why: String,
    },
    /// The agent was given no address.
    #[error("no controller is known: name one with --controller")]
    Nobody,
}

/// Tells an HTTP client which certificates to trust for `url`: those in the PEM file `ca` and no
/// others, else the system's. For an address without TLS none are read, which would take a while.
///
/// # Errors
/// Where the file cannot be read or holds no certificate; the text says so.
pub fn trusting(
    builder: reqwest::ClientBuilder,
    url: &str,
    ca: Option<&Path>,
) -> Result<reqwest::ClientBuilder, String> {
    let certificates = match ca {
        _ if !url.starts_with("https:") => Vec::new(),
        None => return Ok(builder),
        Some(file) => std::fs::read(file)
            .map_err(|error| error.to_string())
            .and_then(|pem| {
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
            })
            .and_then(|found| {
                if found.is_empty() {
                    return Err("it has no CERTIFICATE section".to_owned());
                }
                Ok(found)
            })
            .map_err(|why| {
                format!(
                    "the certificates in {} cannot be used: {why}",
                    file.display()
                )
            })?,
    };
    Ok(builder.tls_certs_only(certificates))
}

/// Talks to one controller.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    controller: String,
    token: String,
}

impl Client {
    pub fn new(controller: &str, token: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let controller = controller.trim_end_matches('/').to_owned();
        let http = trusting(reqwest::Client::builder(), &controller, ca)
            .map_err(|why| ClientError::Unreachable {
                controller: controller.clone(),
                why,
            })?
            // The controller is an address of ours; a proxy of the environment is for others.
            .no_proxy()
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ClientError::Unreachable {
                controller: controller.clone(),
                why: reasons(&error),
            })?;
        Ok(Self {
            http,
            controller,
            token: token.to_owned(),
        })
    }

    /// One for each controller.
    pub fn each(
        controllers: &[String],
        token: &str,
        ca: Option<&Path>,
    ) -> Result<Vec<Self>, ClientError> {
        let clients = controllers.iter().map(|one| Self::new(one, token, ca));
        clients.collect()
    }

    /// What shall be true, as soon as there is a version above `after`, or after `wait`.
    pub async fn desired(
        &self,
        agent: &str,
        after: u64,
        wait: Duration,
    ) -> Result<DesiredSet, ClientError> {
        let path = "/agent/v1/desired";
        let request = self
            .http
            .get(self.url(path))
            .query(&[
                ("agent", agent),
                ("after", &after.to_string()),
                ("wait_ms", &wait.as_millis().to_string()),
            ])
            .timeout(wait + Duration::from_secs(5));
        let answer = self.send(request, format!("GET {path}")).await?;
        self.json(answer, format!("GET {path}")).await
    }

    /// Hands in a report.
    pub async fn report(
        &self,
        report: &Report,
        timeout: Duration,
    ) -> Result<ReportAck, ClientError> {
        let path = "/agent/v1/report";
        let request = self.http.post(self.url(path)).json(report).timeout(timeout);
        let answer = self.send(request, format!("POST {path}")).await?;
        self.json(answer, format!("POST {path}")).await
    }

    /// Answers a request for log lines.
    pub async fn logs(&self, id: &str, answer: &LogAnswer) -> Result<(), ClientError> {
        let path = "/agent/v1/logs";
        let mut url = self.url(path);
        // The id is the controller's; anything but plain characters is percent-encoded.
        url.push('/');
        url.push_str(&super::environment::percent(id));
        let request = self
            .http
            .post(url)
            .json(answer)
            .timeout(Duration::from_secs(10));
        self.send(request, format!("POST {path}/{id}"))
            .await
            .map(|_| ())
    }

    /// The bytes of an archive.
    pub async fn blob(
        &self,
        digest: Digest,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, ClientError>> + Unpin, ClientError> {
        let path = format!("/agent/v1/blobs/{digest}");
        let request = self.http.get(self.url(&path)).timeout(MAX_TRANSFER);
        let answer = tokio::time::timeout(SILENCE, self.send(request, format!("GET {path}")))
            .await
            .unwrap_or_else(|_| Err(self.silent()))?;
        let this = self.clone();
        let stream = futures_util::stream::unfold(
            Some((Box::pin(answer.bytes_stream()), this)),
            |state| async move {
                let (mut stream, this) = state?;
                match tokio::time::timeout(SILENCE, stream.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(chunk))) => Some((Ok(chunk.into()), Some((stream, this)))),
                    Ok(Some(Err(error))) => Some((Err(this.unreachable(&error)), None)),
                    Err(_) => Some((Err(this.silent()), None)),
                }
            },
        );
        Ok(Box::pin(stream))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.controller)
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            controller: self.controller.clone(),
            why: reasons(error),
        }
    }

    fn silent(&self) -> ClientError {
        ClientError::Unreachable {
            controller: self.controller.clone(),
            why: format!("no byte for {} s", SILENCE.as_secs()),
        }
    }

    async fn send(&self, request: RequestBuilder, named: String) -> Result<Response, ClientError> {
        let answer = request
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(ClientError::Token {
                controller: self.controller.clone(),
            });
        }
        let text = read_up_to(answer, 4096).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).chars().take(300).collect();
        Err(ClientError::Status {
            controller: self.controller.clone(),
            status,
            request: named,
            text,
        })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        answer: Response,
        request: String,
    ) -> Result<T, ClientError> {
        let unreadable = |why: String| ClientError::Unreadable {
            controller: self.controller.clone(),
            request: request.clone(),
            why,
        };
        let bytes = read_up_to(answer, MAX_ANSWER + 1)
            .await
            .map_err(|error| self.unreachable(&error))?;
        if bytes.len() > MAX_ANSWER {
            return Err(unreadable("it is larger than 16 MiB".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
    }
}

/// The longest that the transfer of one archive may take.
const MAX_TRANSFER: Duration = Duration::from_secs(3600);

async fn read_up_to(answer: Response, most: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut bytes = Vec::new();
    let mut stream = Box::pin(answer.bytes_stream());
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() >= most {
            break;
        }
    }
    Ok(bytes)
}

/// The whole chain of causes without the address, which the caller names; never the token.
fn reasons(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timed out".to_owned()
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut source = std::error::Error::source(error);
    let mut last = None;
    while let Some(cause) = source {
        last = Some(cause.to_string());
        source = cause.source();
    }
    if let Some(last) = last.filter(|last| *last != text) {
        text = format!("{text} ({last})");
    }
    text
}
