//! The routing table: what a caller writes, and the form in which requests read it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::ArmId;
use airboss_model::manifest::Sticky;
use airboss_model::route::RoutePattern;
use airboss_model::target::Measure;
use airboss_model::traffic::Weight;
use http::header::{COOKIE, HeaderMap, HeaderName};

use crate::division::{Bucket, Chance};
use crate::instance::InstanceState;
use crate::kinds::Book;
use crate::measure::Cause;

/// How requests are divided. The default is empty: every request is answered 503.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingTable {
    /// The caller's count of changes. It is carried, never compared.
    pub generation: u64,
    /// The arm that serves users by default.
    pub stable: Option<ArmId>,
    /// The arm on trial.
    pub canary: Option<ArmId>,
    /// The canary's share of requests. At 0 % the canary never gets a user's request, save by
    /// the force header, not even where stable has no ready instance.
    pub canary_weight: Weight,
    /// The share of stable's requests that is copied to the canary, answers thrown away.
    pub mirror: Weight,
    /// The arms with their instances. An arm that is named above and missing here has none.
    pub arms: Vec<Arm>,
    /// Keeps one user on one arm.
    pub sticky: Option<Sticky>,
    /// A request header whose value `canary` or `stable` forces the arm. It means nothing
    /// where there is no such arm; where that arm has no ready instance the answer is 503.
    pub force_header: Option<String>,
    /// How long an instance may take from the end of the request to the head of its response
    /// before the client is answered 504.
    pub response_timeout: Duration,
    /// What to tell apart when counting.
    pub measure: Measure,
}

impl Default for RoutingTable {
    fn default() -> Self {
        Self {
            generation: 0,
            stable: None,
            canary: None,
            canary_weight: Weight::ZERO,
            mirror: Weight::ZERO,
            arms: Vec::new(),
            sticky: None,
            force_header: None,
            response_timeout: Duration::from_secs(30),
            measure: Measure::default(),
        }
    }
}

/// A set of equal instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// Its identity; also the salt that decides which users meet a canary first.
    pub id: ArmId,
    /// Its instances.
    pub instances: Vec<Instance>,
}

/// One instance. Arm, name and address together are its identity over several tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name, unique in the arm.
    pub name: String,
    /// Where it listens for HTTP/1.1.
    pub address: SocketAddr,
    /// Whether it may be sent new requests. Those that it has are finished either way.
    pub ready: bool,
}

/// Why a routing table was refused; the one in force before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTable {
    /// Two arms have the same id.
    #[error("the routing table names arm `{0}` twice")]
    DuplicateArm(ArmId),
    /// Two instances of an arm have the same name.
    #[error("the routing table names instance `{instance}` of arm `{arm}` twice")]
    DuplicateInstance {
        /// The arm.
        arm: ArmId,
        /// The instance's name.
        instance: String,
    },
    /// Stable and canary are the same arm.
    #[error("arm `{0}` cannot be stable and canary at the same time")]
    SameArm(ArmId),
    /// Not a header's or cookie's name.
    #[error("`{text}` is not a name for a {what}: use letters, digits and `-`")]
    Name {
        /// What it was to name.
        what: &'static str,
        /// The offending text.
        text: String,
    },
}

/// One of the two arms that take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Stable,
    Canary,
}

/// A table in the form that requests read: names parsed, ready instances resolved.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) table: Arc<RoutingTable>,
    stable: Vec<Arc<InstanceState>>,
    canary: Vec<Arc<InstanceState>>,
    sticky: Option<StickyBy>,
    force: Option<HeaderName>,
    /// Routes with a number of their own, the most precise first.
    pub(crate) named: Vec<(RoutePattern, u16)>,
    cohort: Option<HeaderName>,
}

#[derive(Debug)]
enum StickyBy {
    Cookie(String),
    Header(HeaderName),
}

/// Where one request goes.
#[derive(Debug)]
pub(crate) struct Decision {
    pub(crate) side: Side,
    pub(crate) cause: Cause,
    /// The identity to give to a user who has none yet.
    pub(crate) new_identity: Option<String>,
}

/// Why a request can go nowhere, in words for the client.
pub(crate) type Unroutable = &'static str;

impl Routes {
    /// Checks `table`; `resolve` gives the state of an instance, old or new.
    pub(crate) fn compile(
        table: RoutingTable,
        book: &Book,
        mut resolve: impl FnMut(&ArmId, &Instance) -> Arc<InstanceState>,
    ) -> Result<Self, InvalidTable> {
        check(&table)?;
        let header = |what, text: &str| {
            HeaderName::try_from(text).map_err(|_| InvalidTable::Name {
                what,
                text: text.to_owned(),
            })
        };
        let sticky = match &table.sticky {
            None => None,
            Some(Sticky::Header(name)) => Some(StickyBy::Header(header("header", name)?)),
            // A cookie's name is a token, as a header's is; its case matters.
            Some(Sticky::Cookie(name)) => {
                header("cookie", name)?;
                Some(StickyBy::Cookie(name.clone()))
            }
        };
        let force = match &table.force_header {
            None => None,
            Some(name) => Some(header("header", name)?),
        };
        let cohort = match &table.measure.cohort {
            None => None,
            Some(name) => Some(header("header", name)?),
        };
        let mut named = table.measure.routes.clone();
        named.sort_by_key(|pattern| std::cmp::Reverse(pattern.precision()));
        let named = named.into_iter().map(|pattern| {
            let number = book.named(&pattern);
            (pattern, number)
        });
        let named = named.collect();
        let (mut stable, mut canary) = (Vec::new(), Vec::new());
        for arm in &table.arms {
            for instance in &arm.instances {
                let state = resolve(&arm.id, instance);
                if !instance.ready {
                    continue;
                }
                if table.stable.as_ref() == Some(&arm.id) {
                    stable.push(state);
                } else if table.canary.as_ref() == Some(&arm.id) {
                    canary.push(state);
                }
            }
        }
        Ok(Self {
            table: Arc::new(table),
            stable,
            canary,
            sticky,
            force,
            named,
            cohort,
        })
    }

    /// The ready instances of a side.
    pub(crate) fn ready(&self, side: Side) -> &[Arc<InstanceState>] {
        match side {
            Side::Stable => &self.stable,
            Side::Canary => &self.canary,
        }
    }

    /// The cohort of whoever sends these headers, where cohorts are told apart.
    pub(crate) fn cohort<'a>(&self, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let name = self.cohort.as_ref()?;
        Some(headers.get(name).map_or(b"none", |value| value.as_bytes()))
    }

    /// The header that a splitter's cookie travels in, with its name.
    pub(crate) fn cookie_name(&self) -> Option<&str> {
        match &self.sticky {
            Some(StickyBy::Cookie(name)) => Some(name),
            _ => None,
        }
    }

    /// Decides where a request goes.
    pub(crate) fn decide(
        &self,
        headers: &HeaderMap,
        chance: &mut Chance,
    ) -> Result<Decision, Unroutable> {
        if let Some(side) = self.forced(headers) {
            return if self.ready(side).is_empty() {
                Err("The arm that the request asks for has no ready instance.")
            } else {
                Ok(Decision {
                    side,
                    cause: Cause::Forced,
                    new_identity: None,
                })
            };
        }
        let (drawn, new_identity) = self.draw(headers, chance);
        let may_divert = match drawn {
            Side::Canary => true,
            Side::Stable => self.table.canary_weight > Weight::ZERO,
        };
        let other = match drawn {
            Side::Canary => Side::Stable,
            Side::Stable => Side::Canary,
        };
        let (side, cause) = if !self.ready(drawn).is_empty() {
            (drawn, Cause::Share)
        } else if may_divert && !self.ready(other).is_empty() {
            (other, Cause::Diverted)
        } else {
            return Err("No instance of the service is ready.");
        };
        Ok(Decision {
            side,
            cause,
            new_identity,
        })
    }

    /// Whether to copy a request that goes to stable.
    pub(crate) fn wants_copy(&self, chance: &mut Chance) -> bool {
        self.table.mirror > Weight::ZERO
            && self.table.canary.is_some()
            && chance.bucket().is_within(self.table.mirror)
    }

    fn forced(&self, headers: &HeaderMap) -> Option<Side> {
        let value = headers.get(self.force.as_ref()?)?.as_bytes();
        if value.eq_ignore_ascii_case(b"canary") && self.table.canary.is_some() {
            Some(Side::Canary)
        } else if value.eq_ignore_ascii_case(b"stable") && self.table.stable.is_some() {
            Some(Side::Stable)
        } else {
            None
        }
    }

    fn draw(&self, headers: &HeaderMap, chance: &mut Chance) -> (Side, Option<String>) {
        let weight = self.table.canary_weight;
        let Some(canary) = &self.table.canary else {
            return (Side::Stable, None);
        };
        if weight == Weight::ZERO {
            return (Side::Stable, None);
        }
        if weight == Weight::FULL {
            return (Side::Canary, None);
        }
        let of_user = |identity: &[u8]| Bucket::of_user(canary.as_str(), identity);
        let mut new_identity = None;
        let bucket = match &self.sticky {
            None => chance.bucket(),
            Some(StickyBy::Header(name)) => match headers.get(name) {
                Some(value) => of_user(value.as_bytes()),
                None => chance.bucket(),
            },
            Some(StickyBy::Cookie(name)) => match cookie(headers, name) {
                Some(value) => of_user(value),
                None => {
                    let identity = chance.identity();
                    let bucket = of_user(identity.as_bytes());
                    new_identity = Some(identity);
                    bucket
                }
            },
        };
        let side = if bucket.is_within(weight) {
            Side::Canary
        } else {
            Side::Stable
        };
        (side, new_identity)
    }
}

fn check(table: &RoutingTable) -> Result<(), InvalidTable> {
    if let (Some(stable), Some(canary)) = (&table.stable, &table.canary)
        && stable == canary
    {
        return Err(InvalidTable::SameArm(stable.clone()));
    }
    let mut arms = HashSet::new();
    for arm in &table.arms {
        if !arms.insert(&arm.id) {
            return Err(InvalidTable::DuplicateArm(arm.id.clone()));
        }
        let mut names = HashSet::new();
        for instance in &arm.instances {
            if !names.insert(&instance.name) {
                return Err(InvalidTable::DuplicateInstance {
                    arm: arm.id.clone(),
                    instance: instance.name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// The value of a cookie in the request, where it is not empty.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b';'))
        .find_map(|pair| {
            let at = pair.iter().position(|b| *b == b'=')?;
            let (key, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
            (key == name.as_bytes() && !value.is_empty()).then_some(value)
        })
}
