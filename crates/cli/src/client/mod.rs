//! The client of `/api/v1`: one method for each thing that a verb needs.

mod error;
pub mod follow;
mod known;
mod lanes;
mod log;
mod sse;

use std::time::Duration;

use airboss_server::api::agents::{AgentList, HostAgent, InvitedAgent, NewAgent, RevokeAgent};
use airboss_server::api::deliveries::{DeliveryList, DeliveryQuery};
use airboss_server::api::requests::{
    ActionRequest, EventQuery, LogQuery, RollbackRequest, RolloutQuery, ShipRequest,
};
use airboss_server::api::tokens::{MadeToken, NewToken, TokenList, TokenView};
use airboss_server::api::trace::{Trace, TraceQuery};
use airboss_server::api::views::{
    Accepted, EventList, Explanation, LaneList, LogView, RolloutList, RolloutView, SystemView,
};
use airboss_targets::process::trusting;
use reqwest::{Method, RequestBuilder, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::bytes::Bytes;

pub use error::ClientError;
pub use sse::{Parser, SseEvent, TooLong};

use crate::home::{Server, Whereabouts};

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take; uploads and live streams have no such bound.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long retention may take: it removes one archive, or one lane's words, after the other.
const RETENTION_TIMEOUT: Duration = Duration::from_secs(600);
/// How often a release is asked for when its answer is lost; its key makes it one release.
const SHIP_ATTEMPTS: u32 = 3;

/// What a person does to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Hold it.
    Pause,
    /// Let it go on.
    Resume,
    /// End the present step, or all of them.
    Promote,
    /// Take it back.
    Abort,
}

impl Action {
    /// The word in paths and output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Abort => "abort",
        }
    }
}

/// A server's client. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Server,
}

impl Client {
    /// A client of one server. It connects with the first request.
    ///
    /// # Errors
    /// Where the HTTP client cannot be set up.
    pub fn new(server: Server) -> Result<Self, ClientError> {
        let builder = trusting(
            reqwest::Client::builder(),
            &server.url,
            server.ca.as_deref(),
        )
        .map_err(|why| ClientError::Setup { why })?;
        let http = builder
            .connect_timeout(CONNECT_TIMEOUT)
            // A server's address is exact: neither a proxy nor a redirect may see the token.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("airboss/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Setup {
                why: error.to_string(),
            })?;
        Ok(Self { http, server })
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.server.url
    }

    /// The server that this client talks to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// This client for the server as it is known now: a restarted one may have a new address.
    #[must_use]
    pub fn rediscovered(&self, places: &Whereabouts) -> Self {
        Self {
            http: self.http.clone(),
            server: places.server().unwrap_or_else(|_| self.server.clone()),
        }
    }

    /// Every lane.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn lanes(&self) -> Result<LaneList, ClientError> {
        self.json(self.get("/api/v1/lanes")).await
    }

    /// Rollouts, newest first.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn rollouts(&self, query: &RolloutQuery) -> Result<RolloutList, ClientError> {
        self.json(self.get("/api/v1/rollouts").query(query)).await
    }

    /// One rollout.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where there is none.
    pub async fn rollout(&self, id: &str) -> Result<RolloutView, ClientError> {
        self.json(self.get(&format!("/api/v1/rollouts/{}", segment(id))))
            .await
    }

    /// What happened in a rollout, behind event `after`.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn events(&self, id: &str, after: Option<u64>) -> Result<EventList, ClientError> {
        let query = EventQuery {
            after,
            ..EventQuery::default()
        };
        let path = format!("/api/v1/rollouts/{}/events", segment(id));
        self.json(self.get(&path).query(&query)).await
    }

    /// Why a rollout went as it did.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn explain(&self, id: &str) -> Result<Explanation, ClientError> {
        self.json(self.get(&format!("/api/v1/rollouts/{}/explain", segment(id))))
            .await
    }

    /// The last lines that a rollout's instances wrote.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn logs(&self, id: &str, lines: u32) -> Result<LogView, ClientError> {
        let path = format!("/api/v1/rollouts/{}/logs", segment(id));
        let query = LogQuery { lines: Some(lines) };
        self.json(self.get(&path).query(&query)).await
    }

    /// The installation.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn system(&self) -> Result<SystemView, ClientError> {
        self.json(self.get("/api/v1/system")).await
    }

    /// Makes a token.
    ///
    /// # Errors
    /// As [`ClientError`]; code `forbidden` for who is no administrator.
    pub async fn create_token(&self, request: &NewToken) -> Result<MadeToken, ClientError> {
        self.json(self.post("/api/v1/tokens").json(request)).await
    }

    /// Every token, newest first.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn tokens(&self) -> Result<TokenList, ClientError> {
        self.json(self.get("/api/v1/tokens")).await
    }

    /// Makes a token useless.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where there is none of that id.
    pub async fn revoke_token(&self, id: &str) -> Result<TokenView, ClientError> {
        let path = format!("/api/v1/tokens/{}/revoke", segment(id));
        self.json(self.post(&path)).await
    }

    /// Events that others pushed.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<DeliveryList, ClientError> {
        self.json(self.get("/api/v1/deliveries").query(query)).await
    }

    /// Invites an agent.
    ///
    /// # Errors
    /// As [`ClientError`]; code `forbidden` for who is no administrator, `conflict` where it would
    /// carry what runs elsewhere.
    pub async fn invite_agent(&self, request: &NewAgent) -> Result<InvitedAgent, ClientError> {
        self.json(self.post("/api/v1/agents").json(request)).await
    }

    /// Every agent.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn agents(&self) -> Result<AgentList, ClientError> {
        self.json(self.get("/api/v1/agents")).await
    }

    /// Revokes an agent by its name or id.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where there is none.
    pub async fn revoke_agent(
        &self,
        name: &str,
        request: &RevokeAgent,
    ) -> Result<HostAgent, ClientError> {
        let path = format!("/api/v1/agents/{}/revoke", segment(name));
        self.json(self.post(&path).json(request)).await
    }

    /// Everything linked to something.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where nothing is recorded of it.
    pub async fn trace(&self, query: &TraceQuery) -> Result<Trace, ClientError> {
        self.json(self.get("/api/v1/trace").query(query)).await
    }

    /// Does something to a rollout.
    ///
    /// # Errors
    /// As [`ClientError`]; code `wrong_phase` or `not_in_progress` where it cannot be done now.
    pub async fn act(
        &self,
        id: &str,
        action: Action,
        request: &ActionRequest,
    ) -> Result<Accepted, ClientError> {
        let path = format!("/api/v1/rollouts/{}/{}", segment(id), action.as_str());
        self.json(self.post(&path).json(request)).await
    }

    /// Returns a service to an earlier version.
    ///
    /// # Errors
    /// As [`ClientError`]; code `nothing_to_return_to` where there is none.
    pub async fn rollback(
        &self,
        service: &str,
        request: &RollbackRequest,
    ) -> Result<Accepted, ClientError> {
        let path = format!("/api/v1/services/{}/rollback", segment(service));
        self.json(self.post(&path).json(request)).await
    }

    /// Ships a release. `key` makes it one release however often it is sent.
    ///
    /// # Errors
    /// As [`ClientError`]; code `invalid` with the manifest's mistakes as details.
    pub async fn ship(&self, request: &ShipRequest, key: &str) -> Result<Accepted, ClientError> {
        let mut attempt = 1;
        loop {
            let send = self
                .post("/api/v1/rollouts")
                .header("Idempotency-Key", key)
                .json(request);
            match self.json(send).await {
                Err(ClientError::Broken { .. }) if attempt < SHIP_ATTEMPTS => attempt += 1,
                answer => return answer,
            }
        }
    }

    /// Opens a live stream. `after` is the number of the last event that was seen.
    async fn stream(
        &self,
        path: &str,
        query: &EventQuery,
        after: Option<u64>,
    ) -> Result<Response, ClientError> {
        let mut request = self
            .authorised(self.http.request(Method::GET, self.at(path)))
            .query(query)
            .header(header::ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, request.send())
            .await
            .map_err(|_| self.slow())?
            .map_err(|error| self.failed(&error))?;
        self.checked(answer).await
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }
    fn get(&self, path: &str) -> RequestBuilder {
        self.authorised(self.http.get(self.at(path)))
            .timeout(ANSWER_TIMEOUT)
    }
    fn post(&self, path: &str) -> RequestBuilder {
        self.authorised(self.http.post(self.at(path)))
            .timeout(ANSWER_TIMEOUT)
    }
    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.server.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            self.strange(&format!("its answer does not read as expected: {error}"))
        })
    }

    async fn text(&self, request: RequestBuilder) -> Result<String, ClientError> {
        String::from_utf8(self.bytes(request).await?.to_vec())
            .map_err(|_| self.strange("its answer is no text"))
    }

    async fn bytes(&self, request: RequestBuilder) -> Result<Bytes, ClientError> {
        let answer = request.send().await.map_err(|error| self.failed(&error))?;
        let answer = self.checked(answer).await?;
        answer.bytes().await.map_err(|error| self.failed(&error))
    }

    fn strange(&self, why: &str) -> ClientError {
        ClientError::NotUnderstood {
            url: self.server.url.clone(),
            why: why.to_owned(),
        }
    }
}

/// A path's part with everything escaped that would end it.
fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'@' | b'+' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Writes a value as JSON: over several lines, for people and `jq` alike.
///
/// # Errors
/// Where the value cannot be written as JSON.
pub fn pretty(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value)
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_name_can_never_leave_its_place_in_a_path() {
        assert_eq!(segment("checkout-7"), "checkout-7");
        assert_eq!(segment("../system?x#y"), "..%2Fsystem%3Fx%23y");
        assert_eq!(segment("é"), "%C3%A9");
    }
}
