//! The agent's side of the HTTP conversation with the controller.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::Digest;
use ed25519_dalek::SigningKey;
use futures_util::{Stream, StreamExt};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use super::identity::{
    ANSWER_HEADER, Greeting, Identity, JoinToken, Joined, Shown, answer_text, is_signed, public_of,
    sign_request,
};
use super::protocol::{DesiredSet, LogAnswer, Report, ReportAck};

/// Most bytes of a JSON answer (16 MiB).
const MAX_ANSWER: usize = 16 << 20;
/// A controller that does not take a connection in this time is away.
const CONNECT: Duration = Duration::from_secs(2);
/// A stretch without any byte after which a transfer has failed.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a greeting, or joining, may take.
const GREETING: Duration = Duration::from_secs(10);
/// The header that says that a session is not known, or not any more.
pub const SESSION_UNKNOWN: &str = "airboss-session-unknown";

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
    /// 401 or 403 to an agent with a key of its own.
    #[error("the controller at {controller} refuses this agent: {why}")]
    Refused {
        /// Its address.
        controller: String,
        /// What it said.
        why: String,
    },
    /// An answer without the installation's signature.
    #[error(
        "the answer to {request} from {controller} is not signed by the installation that this agent joined: another server answers there, or somebody stands between. Nothing of it is believed"
    )]
    Stranger {
        /// Its address.
        controller: String,
        /// Method and path.
        request: String,
    },
    /// The file with the agent's key is damaged.
    #[error(
        "the agent's identity cannot be used: its keys are no keys. Restore its file from a backup, or join again"
    )]
    Identity,
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

/// How an agent proves who it is.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// By a token that it shares with the controller.
    Token(String),
    /// By a key of its own.
    Own(Arc<Keys>),
}

/// The keys of an agent that has joined.
pub(super) struct Keys {
    agent: String,
    own: SigningKey,
    installation: [u8; 32],
}

impl std::fmt::Debug for Keys {
    /// Without the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

impl Proof {
    /// By the key of an identity.
    pub fn own(identity: &Identity) -> Result<Self, ClientError> {
        let (own, installation) = identity.keys().ok_or(ClientError::Identity)?;
        Ok(Self::Own(Arc::new(Keys {
            agent: identity.agent.clone(),
            own,
            installation,
        })))
    }
}

/// Talks to one controller.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    controller: String,
    proof: Proof,
    /// The session that the controller drew last, and the number of the newest request in it.
    session: Arc<Mutex<Option<(String, u64)>>>,
}

/// An answer, and what its signature is over, where it has to have one.
struct Answer {
    response: Response,
    to: Option<String>,
}

impl Client {
    pub fn new(controller: &str, proof: Proof, ca: Option<&Path>) -> Result<Self, ClientError> {
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
            proof,
            session: Arc::default(),
        })
    }

    /// One for each controller.
    pub fn each(
        controllers: &[String],
        proof: &Proof,
        ca: Option<&Path>,
    ) -> Result<Vec<Self>, ClientError> {
        let clients = controllers
            .iter()
            .map(|one| Self::new(one, proof.clone(), ca));
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
            .unwrap_or_else(|_| Err(self.silent()))?
            .response;
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

    async fn send(&self, request: RequestBuilder, named: String) -> Result<Answer, ClientError> {
        let keys = match &self.proof {
            Proof::Token(token) => {
                let sent = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
                let response = sent
                    .send()
                    .await
                    .map_err(|error| self.unreachable(&error))?;
                return self.succeeded(response, named, None).await;
            }
            Proof::Own(keys) => keys,
        };
        let mut again = true;
        loop {
            let (session, number) = self.in_session(keys).await?;
            let shown = Shown {
                agent: keys.agent.clone(),
                session: session.clone(),
                number,
                signature: String::new(),
            };
            let (response, to) = self.send_signed(&request, keys, shown).await?;
            let unknown = response.status() == StatusCode::UNAUTHORIZED
                && response.headers().contains_key(SESSION_UNKNOWN);
            if !(unknown && again) {
                return self.succeeded(response, named, Some(to)).await;
            }
            // The controller was started anew, or drew another session for this agent.
            again = false;
            let mut known = self.session.lock().await;
            known.take_if(|(known, _)| *known == session);
        }
    }

    /// Signs a request and sends it; its answer, with what that has to be signed over.
    async fn send_signed(
        &self,
        request: &RequestBuilder,
        keys: &Keys,
        shown: Shown,
    ) -> Result<(Response, String), ClientError> {
        let copy = request.try_clone().map(RequestBuilder::build);
        let mut request = match copy {
            Some(built) => built.map_err(|error| self.unreachable(&error))?,
            None => return Err(ClientError::Nobody),
        };
        let url = request.url();
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let body = request.body().and_then(reqwest::Body::as_bytes);
        let body = body.unwrap_or_default();
        let shown = sign_request(&keys.own, shown, request.method().as_str(), &path, body);
        let value = header::HeaderValue::from_str(&shown.to_header());
        let value = value.map_err(|_| ClientError::Identity)?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
        let response = self.http.execute(request).await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        Ok((response, shown.signature))
    }

    /// The session with the controller and the next number in it; a greeting where there is none.
    async fn in_session(&self, keys: &Keys) -> Result<(String, u64), ClientError> {
        let mut known = self.session.lock().await;
        let (session, number) = match &mut *known {
            Some(known) => known,
            none => none.insert((self.greet(keys).await?, 0)),
        };
        *number += 1;
        Ok((session.clone(), *number))
    }

    async fn greet(&self, keys: &Keys) -> Result<String, ClientError> {
        let (path, word) = ("/agent/v1/hello", uuid::Uuid::new_v4().simple().to_string());
        let request = self
            .http
            .get(self.url(path))
            .query(&[("agent", keys.agent.as_str()), ("word", &word)])
            .timeout(GREETING);
        let sent = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let named = format!("GET {path}");
        let answer = self.succeeded(sent, named.clone(), Some(word)).await?;
        let greeting: Greeting = self.believed(answer, named, &keys.installation).await?;
        Ok(greeting.session)
    }

    /// The answer, where its status says that it is one.
    async fn succeeded(
        &self,
        response: Response,
        named: String,
        to: Option<String>,
    ) -> Result<Answer, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(Answer { response, to });
        }
        let text = read_up_to(response, 4096).await.unwrap_or_default();
        let text: String = String::from_utf8_lossy(&text).chars().take(300).collect();
        let controller = self.controller.clone();
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        Err(match (refused, to) {
            (true, None) => ClientError::Token { controller },
            (true, Some(_)) => ClientError::Refused {
                controller,
                why: message(&text).unwrap_or(text),
            },
            (false, _) => ClientError::Status {
                controller,
                status,
                request: named,
                text,
            },
        })
    }

    async fn json<T: DeserializeOwned>(
        &self,
        answer: Answer,
        request: String,
    ) -> Result<T, ClientError> {
        match &self.proof {
            Proof::Own(keys) => self.believed(answer, request, &keys.installation).await,
            Proof::Token(_) => self.read(answer.response, &request).await?.1,
        }
    }

    /// An answer that the installation signed.
    async fn believed<T: DeserializeOwned>(
        &self,
        answer: Answer,
        request: String,
        installation: &[u8; 32],
    ) -> Result<T, ClientError> {
        let signature = answer.response.headers().get(ANSWER_HEADER).cloned();
        let (bytes, read) = self.read(answer.response, &request).await?;
        let text = answer_text(answer.to.as_deref().unwrap_or_default(), &bytes);
        let signature = signature.as_ref().and_then(|value| value.to_str().ok());
        if !signature.is_some_and(|signature| is_signed(installation, &text, signature)) {
            return Err(ClientError::Stranger {
                controller: self.controller.clone(),
                request,
            });
        }
        read
    }

    /// An answer's bytes, and what they say.
    #[allow(
        clippy::type_complexity,
        reason = "read by two callers a few lines above"
    )]
    async fn read<T: DeserializeOwned>(
        &self,
        response: Response,
        request: &str,
    ) -> Result<(Vec<u8>, Result<T, ClientError>), ClientError> {
        let unreadable = |why: String| ClientError::Unreadable {
            controller: self.controller.clone(),
            request: request.to_owned(),
            why,
        };
        let bytes = read_up_to(response, MAX_ANSWER + 1)
            .await
            .map_err(|error| self.unreachable(&error))?;
        if bytes.len() > MAX_ANSWER {
            return Err(unreadable("it is larger than 16 MiB".to_owned()));
        }
        let read = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()));
        Ok((bytes, read))
    }
}

/// Lets an agent with the public half of `seed` in by a join token. The controller is believed
/// where it signs its answer with the key that the token names.
///
/// # Errors
/// Where the controller does not answer, refuses the token, or is another one.
pub async fn join(
    token: &JoinToken,
    seed: &[u8; 32],
    controllers: Vec<String>,
    ca: Option<&Path>,
) -> Result<Identity, ClientError> {
    let controller = controllers.first().ok_or(ClientError::Nobody)?;
    let client = Client::new(controller, Proof::Token(String::new()), ca)?;
    let asked = token.request(&public_of(seed));
    let path = "/agent/v1/join";
    let request = client.http.post(client.url(path)).json(&asked);
    let sent = request.timeout(GREETING).send().await;
    let response = sent.map_err(|error| client.unreachable(&error))?;
    let named = format!("POST {path}");
    let answer = client
        .succeeded(response, named.clone(), Some(asked.signature))
        .await?;
    let joined: Joined = client.believed(answer, named, &token.installation).await?;
    Ok(Identity::new(
        &joined,
        seed,
        &token.installation,
        controllers,
    ))
}

/// What a problem of the API says to people.
fn message(text: &str) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(problem.get("message")?.as_str()?.to_owned())
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
