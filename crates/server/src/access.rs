//! Who may ask for what.
//!
//! Every request but `GET /healthz` and signed events ([`crate::webhook`]) shows a token: the installation's own, which lies in the data
//! folder and may do everything, or one that an administrator made, with scopes, an end and a
//! name. A token's text is kept nowhere; the store has its SHA-256. Agents of other hosts sign
//! their requests instead ([`crate::door`]).

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use airboss_model::{Digest, Timestamp};
use airboss_store::TokenRow;
use airboss_targets::process::identity::Shown;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::{DefaultKeyedRateLimiter, Quota};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, ResponseBuilder};

use crate::door;
use crate::problem::Failure;
use crate::{Here, Site};

/// Requests a second that one token may make, and as many again at once. Beyond it the answer is
/// 429 with `Retry-After`.
pub const REQUESTS_PER_SECOND: u32 = 1_000;
/// Requests a second with a wrong token or none that are looked at, of all callers together.
const STRANGERS_PER_SECOND: u32 = 50;
/// How a token's text begins, so that scanners for leaked secrets find it.
const PREFIX: &str = "airboss_";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// See everything but secrets.
    Read,
    /// Ship, steer and take back; includes `read`.
    Ship,
    /// Give and refuse approvals; includes `read`.
    Approve,
    /// Everything that people do, tokens and retention among it.
    Admin,
    /// What an agent does: take desired states, report, fetch artifacts.
    Agent,
}

impl Scope {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Ship,
        Self::Approve,
        Self::Admin,
        Self::Agent,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Ship => "ship",
            Self::Approve => "approve",
            Self::Admin => "admin",
            Self::Agent => "agent",
        }
    }

    /// True where whoever has `self` may do what needs `needed`.
    pub fn includes(self, needed: Self) -> bool {
        match self {
            Self::Admin => needed != Self::Agent,
            Self::Ship | Self::Approve => needed == self || needed == Self::Read,
            Self::Read | Self::Agent => needed == self,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope; there are read, ship, approve, admin and agent")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == word)
            .ok_or_else(|| UnknownScope(word.to_owned()))
    }
}

/// Paths that are an administrator's alone.
const ADMINISTRATION: [&str; 2] = ["/api/v1/tokens", "/api/v1/retention"];
/// Paths that others read and only an administrator changes.
const ADMINISTERED: [&str; 2] = ["/api/v1/agents", "/api/v1/log/retention"];

/// The scope that a request needs. What is not known to need less needs `ship` to change
/// something; the OpenAPI document says the same of each operation, from here.
pub fn needed(method: &Method, path: &str) -> Scope {
    let is_under = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if is_under("/agent/v1") {
        Scope::Agent
    } else if ADMINISTRATION.into_iter().any(is_under)
        || ADMINISTERED.into_iter().any(is_under) && method != Method::GET
    {
        Scope::Admin
    } else if method == Method::GET || method == Method::HEAD {
        Scope::Read
    } else {
        Scope::Ship
    }
}

/// Writes into the API's document which scope each operation needs and how it says no to who may
/// not, asks too often, or cannot be answered now.
pub fn describe(document: &mut OpenApi) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "The installation's token, or one that was made with `airboss token create`",
        ))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("token", SecurityScheme::Http(scheme));
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            let scope = needed(&method, path).as_str();
            operation.security = Some(vec![SecurityRequirement::new("token", [scope])]);
            for (status, when) in REFUSALS {
                let schema = Ref::from_schema_name("Problem");
                let answer = ResponseBuilder::new()
                    .description(when)
                    .content("application/json", Content::new(Some(schema)))
                    .build();
                operation
                    .responses
                    .responses
                    .entry(status.to_owned())
                    .or_insert_with(|| answer.into());
            }
        }
    }
}

/// What any operation may answer instead of what was asked for.
const REFUSALS: [(&str, &str); 8] = [
    ("400", "the request cannot be read"),
    ("401", "no token, or one that is of no use"),
    ("403", "the token does not allow this"),
    ("408", "the request did not come in whole in time"),
    ("413", "the request is too large"),
    ("415", "the body is not of the type that is taken here"),
    ("422", "the request can be read and makes no sense"),
    ("429", "too many requests with this token"),
];

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Whoever reads the data folder.
    Installation,
    /// The holder of a token that was made.
    Token {
        /// The token's id.
        id: String,
        /// The name that the record shows.
        name: String,
        /// What it allows.
        scopes: Vec<Scope>,
    },
    /// An agent with a key of its own.
    Agent {
        /// Its id.
        id: String,
    },
}

impl Caller {
    /// Whether this caller may do what needs `needed`.
    pub fn may(&self, needed: Scope) -> bool {
        match self {
            Self::Installation => true,
            Self::Token { scopes, .. } => scopes.iter().any(|scope| scope.includes(needed)),
            Self::Agent { .. } => needed == Scope::Agent,
        }
    }

    /// Who asked, as the record shows it. The holder of a token may act for somebody and then both
    /// are named: a token's name cannot be given up.
    pub fn on_record(&self, by: &str) -> String {
        match self {
            Self::Token { name, .. } if by.trim() == name => name.clone(),
            Self::Token { name, .. } => format!("{} with token {name}", by.trim()),
            Self::Installation => by.to_owned(),
            Self::Agent { id } => format!("agent {id}"),
        }
    }

    /// Who holds the token, where nobody said for whom it is used.
    pub fn holder(&self) -> String {
        match self {
            Self::Token { name, .. } => name.clone(),
            Self::Installation => "the holder of the installation's own token".to_owned(),
            Self::Agent { id } => format!("agent {id}"),
        }
    }

    /// The key that this caller's requests are counted under.
    fn key(&self) -> &str {
        match self {
            Self::Installation => "",
            Self::Token { id, .. } | Self::Agent { id } => id,
        }
    }
}

/// How many requests callers may make.
#[derive(Debug)]
pub struct Limits {
    callers: DefaultKeyedRateLimiter<String>,
    strangers: governor::DefaultDirectRateLimiter,
}

impl Default for Limits {
    fn default() -> Self {
        let quota =
            |per_second| Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Self {
            callers: DefaultKeyedRateLimiter::keyed(quota(REQUESTS_PER_SECOND)),
            strangers: governor::DefaultDirectRateLimiter::direct(quota(STRANGERS_PER_SECOND)),
        }
    }
}

impl Limits {
    /// Whether a caller may ask once more now.
    pub(crate) fn allows(&self, key: &str) -> bool {
        self.callers.check_key(&key.to_owned()).is_ok()
    }
    /// Whether somebody who can prove nothing is looked at once more now.
    pub(crate) fn allows_stranger(&self) -> bool {
        self.strangers.check().is_ok()
    }
}

/// A new token's text and what is kept of it.
pub fn mint(random: &[u8; 32]) -> (String, Digest) {
    let mut text = String::from(PREFIX);
    for byte in random {
        text += &format!("{byte:02x}");
    }
    let secret = hash(&text);
    (text, secret)
}

fn hash(text: &str) -> Digest {
    Digest::from_sha256(Sha256::digest(text.as_bytes()).into())
}

/// Lets in who shows a token that allows what is asked.
pub async fn authorize(State(site): Here, mut request: Request, next: Next) -> Response {
    let needed = needed(request.method(), request.uri().path());
    if needed == Scope::Agent
        && let Some(shown) = authorization(&request).and_then(Shown::parse)
    {
        return door::enter(&site, shown, request, next).await;
    }
    let caller = match identify(&site, shown(&request)).await {
        Ok(caller) => caller,
        Err(failure) => {
            // Guessing is slowed down for everybody who guesses, and for nobody else.
            return match site.limits.allows_stranger() {
                true => failure.into_response(),
                false => Failure::too_many("requests without a valid token").into_response(),
            };
        }
    };
    if !site.limits.allows(caller.key()) {
        return Failure::too_many("requests with this token").into_response();
    }
    if !caller.may(needed) {
        return Failure::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("this needs a token with the scope `{needed}`; an administrator makes one with `airboss token create NAME --scope {needed}`"),
        )
        .into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The token that a request shows.
fn shown(request: &Request) -> Option<String> {
    let token = authorization(request)?.strip_prefix("Bearer ")?;
    Some(token.to_owned())
}

fn authorization(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?;
    value.to_str().ok()
}

async fn identify(site: &Site, shown: Option<String>) -> Result<Caller, Failure> {
    let refuse = |why: &str| Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", why);
    let shown = shown.ok_or_else(|| {
            refuse("send a token as `Authorization: Bearer TOKEN`; the installation's lies in the data folder's file `token`")
    })?;
    if same(shown.as_bytes(), site.token.as_bytes()) {
        return Ok(Caller::Installation);
    }
    let unknown = || {
        refuse(
            "the token is not known here; the installation's lies in the data folder's file `token`, others come from `airboss token create`",
        )
    };
    if !shown.starts_with(PREFIX) {
        return Err(unknown());
    }
    let row = site.runtime.store().token(&hash(&shown)).await?;
    let row = row.ok_or_else(unknown)?;
    if let Some(why) = over(&row, site.runtime.clock().now()) {
        return Err(refuse(&why));
    }
    Ok(Caller::Token {
        scopes: scopes(&row),
        id: row.id,
        name: row.name,
    })
}

/// Why a token is of no use any more.
pub fn over(row: &TokenRow, now: Timestamp) -> Option<String> {
    if let Some(at) = row.revoked_at {
        return Some(format!("the token {} was revoked at {at}", row.id));
    }
    let end = row.expires_at.filter(|end| *end <= now)?;
    Some(format!(
        "the token {} expired at {end}; `airboss token create` makes a new one",
        row.id
    ))
}

/// A token's scopes. A word of a newer Airboss allows nothing here.
pub fn scopes(row: &TokenRow) -> Vec<Scope> {
    row.scopes
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Compares in a time that does not tell how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::{Caller, Failure, Limits, REQUESTS_PER_SECOND, Scope, mint, needed};
    use axum::http::{Method, header};
    use axum::response::IntoResponse as _;

    #[test]
    fn what_changes_something_needs_more_than_reading() {
        let table = [
            (Method::GET, "/api/v1/lanes", Scope::Read),
            (Method::POST, "/api/v1/rollouts", Scope::Ship),
            (Method::DELETE, "/api/v1/nowhere", Scope::Ship),
            (Method::GET, "/api/v1/tokens", Scope::Admin),
            (Method::POST, "/api/v1/tokens/t1/revoke", Scope::Admin),
            (Method::POST, "/api/v1/retention", Scope::Admin),
            (Method::POST, "/api/v1/log/retention", Scope::Admin),
            (Method::GET, "/api/v1/log/retention", Scope::Read),
            (Method::GET, "/api/v1/tokensible", Scope::Read),
            (Method::GET, "/agent/v1/desired", Scope::Agent),
            (Method::GET, "/api/v1/agents", Scope::Read),
            (Method::POST, "/api/v1/agents", Scope::Admin),
            (Method::POST, "/api/v1/agents/web/revoke", Scope::Admin),
        ];
        for (method, path, scope) in table {
            assert_eq!(needed(&method, path), scope, "{method} {path}");
        }
    }

    #[test]
    fn no_scope_includes_what_it_does_not_say() {
        use Scope::{Admin, Agent, Approve, Read, Ship};
        let includes = [
            (Read, vec![Read]),
            (Ship, vec![Read, Ship]),
            (Approve, vec![Read, Approve]),
            (Admin, vec![Read, Ship, Approve, Admin]),
            (Agent, vec![Agent]),
        ];
        for (scope, expected) in includes {
            let all: Vec<_> = Scope::ALL
                .into_iter()
                .filter(|needed| scope.includes(*needed))
                .collect();
            assert_eq!(all, expected, "{scope}");
        }
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_ask_again_and_others_are_not() {
        let limits = Limits::default();
        // So many take far less than the seconds that would allow them all.
        let most = 100 * REQUESTS_PER_SECOND;
        assert!((0..most).any(|_| !limits.allows("ci")));
        assert!(limits.allows("another"));
        let refused = Failure::too_many("requests with this token").into_response();
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    }

    #[test]
    fn a_tokens_name_cannot_be_given_up() {
        let ci = Caller::Token {
            id: "t".to_owned(),
            name: "ci".to_owned(),
            scopes: vec![Scope::Ship],
        };
        assert_eq!(ci.on_record("ci"), "ci");
        assert_eq!(ci.on_record("ann"), "ann with token ci");
        assert_eq!(Caller::Installation.on_record("ann"), "ann");
    }

    #[test]
    fn a_tokens_text_is_not_what_is_kept() {
        let (text, secret) = mint(&[7; 32]);
        assert!(text.starts_with("airboss_0707"), "{text}");
        assert!(!secret.to_string().contains("0707"));
    }
}
