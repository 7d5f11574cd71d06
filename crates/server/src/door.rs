//! Agents at the door: who comes with a key of its own, and answers that it can believe.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use airboss_model::Digest;
use airboss_runtime::roster::Member;
use airboss_targets::process::SESSION_UNKNOWN;
use airboss_targets::process::identity::{
    ANSWER_HEADER, Greeting, JoinRequest, Joined, Shown, answer_text, hex, is_signed, request_text,
    unhex,
};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::{DefaultDirectRateLimiter, Quota};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::access::Caller;
use crate::problem::{Failure, Result};
use crate::{Here, REPORT_MAX, Site};

/// Greetings and join requests a second, of all hosts together.
const STRANGERS_PER_SECOND: u32 = 50;
/// Sessions of one agent that were drawn and not used yet; an older one is forgotten.
const OFFERED_MAX: usize = 8;
/// Longest word that a greeting may bring, in bytes.
const WORD_MAX: usize = 100;
/// The largest answer that is signed, in bytes: an agent's desired set and some.
const ANSWER_MAX: usize = 64 << 20;

/// What is remembered of agents that come and go.
#[derive(Debug)]
pub struct Door {
    agents: Mutex<HashMap<String, Sessions>>,
    strangers: DefaultDirectRateLimiter,
}

impl Default for Door {
    fn default() -> Self {
        let most = NonZeroU32::new(STRANGERS_PER_SECOND).unwrap_or(NonZeroU32::MIN);
        Self {
            agents: Mutex::default(),
            strangers: DefaultDirectRateLimiter::direct(Quota::per_second(most)),
        }
    }
}

/// One agent's sessions: one is in use, the first signed request in another one replaces it. So nobody
/// ends a session who has not the agent's key.
#[derive(Debug, Default)]
struct Sessions {
    current: Option<(String, Numbers)>,
    offered: VecDeque<String>,
}

/// Numbers that were seen in a session: requests may overtake each other a little, and none
/// counts twice.
#[derive(Debug, Default)]
struct Numbers {
    highest: u64,
    /// The highest one and the 63 below it, a bit each.
    seen: u64,
}

impl Numbers {
    fn take(&mut self, number: u64) -> bool {
        if let Some(ahead) = number.checked_sub(self.highest).filter(|it| *it > 0) {
            self.seen = match u32::try_from(ahead) {
                Ok(ahead) if ahead < u64::BITS => self.seen << ahead,
                _ => 0,
            } | 1;
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        let bit = match u32::try_from(behind) {
            Ok(behind) if behind < u64::BITS => 1 << behind,
            _ => return false,
        };
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

/// What becomes of a signed request.
#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    Yes,
    SessionUnknown,
    Repeated,
}

impl Door {
    /// Draws a session for an agent; `known` says who else is known.
    fn offer(&self, agent: &str, known: impl Fn(&str) -> bool) -> String {
        let session = uuid::Uuid::new_v4().simple().to_string();
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.retain(|agent, _| known(agent));
        let offered = &mut agents.entry(agent.to_owned()).or_default().offered;
        offered.push_back(session.clone());
        if offered.len() > OFFERED_MAX {
            offered.pop_front();
        }
        session
    }

    fn admit(&self, shown: &Shown) -> Admitted {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sessions) = agents.get_mut(&shown.agent) else {
            return Admitted::SessionUnknown;
        };
        let offered = sessions.offered.iter().position(|it| *it == shown.session);
        if let Some(at) = offered {
            sessions.offered.drain(..=at);
            sessions.current = Some((shown.session.clone(), Numbers::default()));
        }
        match &mut sessions.current {
            Some((session, numbers)) if *session == shown.session => {
                match numbers.take(shown.number) {
                    true => Admitted::Yes,
                    false => Admitted::Repeated,
                }
            }
            _ => Admitted::SessionUnknown,
        }
    }

    fn check_stranger(&self) -> Result<()> {
        let checked = self.strangers.check();
        checked.map_err(|_| Failure::too_many("greetings"))
    }
}

fn refuse(why: impl Into<String>) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", why)
}

/// The agent with its key, where it has joined and is not revoked.
fn member(site: &Site, agent: &str) -> Result<(Member, [u8; 32])> {
    let roster = site.runtime.hub().roster();
    let member = roster.member(agent);
    let key = member.and_then(|member| unhex(member.public_key.as_deref()?));
    match (member, key) {
        (Some(member), Some(key)) => Ok((member.clone(), key)),
        _ => Err(refuse(
            "this agent is not known here, or was revoked: `airboss agent list` tells; a new join token comes from `airboss agent token`",
        )),
    }
}

/// Lets in an agent that signed its request, and signs what it is answered.
pub(crate) async fn enter(
    site: &Arc<Site>,
    shown: Shown,
    request: Request,
    next: Next,
) -> Response {
    match admitted(site, &shown, request).await {
        Ok(request) => {
            // Whoever receives an archive compares it with its digest.
            let is_archive = request.uri().path().starts_with("/agent/v1/blobs/");
            let response = next.run(request).await;
            match is_archive {
                true => response,
                false => signed(site, &shown.signature, response).await,
            }
        }
        Err(refused) => match site.door.strangers.check() {
            Ok(()) => refused,
            Err(_) => Failure::too_many("requests that are refused").into_response(),
        },
    }
}

async fn admitted(
    site: &Arc<Site>,
    shown: &Shown,
    request: Request,
) -> std::result::Result<Request, Response> {
    let fail = |failure: Failure| failure.into_response();
    let (_, key) = member(site, &shown.agent).map_err(fail)?;
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, REPORT_MAX).await.map_err(|error| {
        let why = format!("the request is not read: {error}");
        fail(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            why,
        ))
    })?;
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let text = request_text(shown, parts.method.as_str(), path, &bytes);
    if !is_signed(&key, &text, &shown.signature) {
        let why = "the request is not signed by this agent's key; nothing between agent and server may change what they say";
        return Err(fail(refuse(why)));
    }
    match site.door.admit(shown) {
        Admitted::Yes => {}
        Admitted::Repeated => return Err(fail(refuse("the request was made before"))),
        Admitted::SessionUnknown => {
            let mut response = fail(refuse("the session is not known here; greet again"));
            let value = HeaderValue::from_static("1");
            response.headers_mut().insert(SESSION_UNKNOWN, value);
            return Err(response);
        }
    }
    let mut request = Request::from_parts(parts, Body::from(bytes));
    request.extensions_mut().insert(Caller::Agent {
        id: shown.agent.clone(),
    });
    Ok(request)
}

/// An answer with the installation's signature.
async fn signed(site: &Site, to: &str, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, ANSWER_MAX).await else {
        tracing::error!(
            most = ANSWER_MAX,
            "an answer to an agent is too large to be signed"
        );
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let signature = hex(&site.log_key.sign_plain(&answer_text(to, &bytes)));
    // Hexadecimal digits are a header's value.
    if let Ok(value) = HeaderValue::from_str(&signature) {
        parts.headers.insert(ANSWER_HEADER, value);
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[derive(Deserialize)]
pub(crate) struct Hello {
    agent: String,
    word: String,
}

/// Draws a session for an agent.
pub(crate) async fn hello(State(site): Here, Query(hello): Query<Hello>) -> Result<Response> {
    site.door.check_stranger()?;
    if hello.word.len() > WORD_MAX {
        return Err(Failure::invalid(format!(
            "`word` has more than {WORD_MAX} bytes"
        )));
    }
    member(&site, &hello.agent)?;
    let roster = site.runtime.hub().roster();
    let known = |agent: &str| roster.member(agent).is_some();
    let session = site.door.offer(&hello.agent, known);
    let answer = Json(Greeting { session }).into_response();
    Ok(signed(&site, &hello.word, answer).await)
}

/// Lets an agent in by a join token, once.
pub(crate) async fn join(State(site): Here, Json(request): Json<JoinRequest>) -> Result<Response> {
    site.door.check_stranger()?;
    let invite = request
        .invite()
        .ok_or_else(|| refuse("the request is not signed by the join token that it names"))?;
    let invite = Digest::from_sha256(Sha256::digest(invite).into());
    let now = site.runtime.clock().now();
    let joined = site.runtime.store().join_agent(&invite, &request.key, now);
    let agent = joined.await?.map_err(|why| {
        let why = format!("{why}; `airboss agent token NAME` makes a new one");
        Failure::new(StatusCode::FORBIDDEN, "forbidden", why)
    })?;
    site.runtime.read_agents().await?;
    tracing::info!(
        agent = agent.id,
        name = agent.name,
        carries = agent.carries,
        "an agent joined"
    );
    let answer = Json(Joined {
        agent: agent.id,
        name: agent.name,
        carries: agent
            .carries
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    });
    Ok(signed(&site, &request.signature, answer.into_response()).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(session: &str, number: u64) -> Shown {
        Shown {
            agent: "a".to_owned(),
            session: session.to_owned(),
            number,
            signature: String::new(),
        }
    }

    #[test]
    fn a_number_counts_once_and_may_be_overtaken_a_little() {
        let mut numbers = Numbers::default();
        let table = [
            (1, true),
            (1, false),
            (3, true),
            (2, true),
            (2, false),
            (66, true),
            (3, false),
            (4, true),
            (2, false),
            (1 << 40, true),
            (66, false),
        ];
        for (number, fresh) in table {
            assert_eq!(numbers.take(number), fresh, "{number}");
        }
    }

    #[test]
    fn a_session_ends_only_where_its_agent_uses_another() {
        let door = Door::default();
        assert_eq!(door.admit(&shown("x", 1)), Admitted::SessionUnknown);
        let one = door.offer("a", |_| true);
        assert_eq!(door.admit(&shown(&one, 1)), Admitted::Yes);
        // Anybody can greet.
        let mut last = String::new();
        for _ in 0..100 {
            last = door.offer("a", |_| true);
        }
        assert_eq!(door.admit(&shown(&one, 2)), Admitted::Yes);
        assert_eq!(door.admit(&shown(&last, 1)), Admitted::Yes);
        assert_eq!(door.admit(&shown(&one, 3)), Admitted::SessionUnknown);
        assert_eq!(door.admit(&shown(&last, 1)), Admitted::Repeated);
        // A revoked agent leaves nothing behind.
        door.offer("b", |agent| agent == "b");
        assert_eq!(door.admit(&shown(&last, 2)), Admitted::SessionUnknown);
    }
}
