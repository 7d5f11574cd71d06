//! What a rollout's required evidence allows.
//!
//! The engine gets each item's verdict as an input and keeps it with the request. Nothing of a
//! rollout starts before every item passes. Once it runs, an item that no longer holds keeps it
//! from growing; age alone does not, since what was young enough at the start is no worse now.
//! Returns to earlier versions ask for nothing.

use std::collections::BTreeSet;

use airboss_model::Timestamp;
use airboss_model::evidence::{ItemState, ItemVerdict, Requirement};

use crate::input::Request;
use crate::lane::{Lane, Rollout};

/// An item that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is required.
    pub item: Requirement,
    /// How it stands.
    pub state: ItemState,
    /// Why, in one sentence.
    pub reason: String,
    /// What to run or to do about it.
    pub remedy: Option<String>,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&words(self.item, self.state, &self.reason))
    }
}

impl Request {
    /// How an item stands at `now`; what was never looked at is missing.
    fn item(&self, item: Requirement, now: Timestamp) -> Lack {
        let Some(verdict) = self.evidence.iter().find(|it| it.item == item) else {
            return Lack {
                item,
                state: ItemState::Missing,
                reason: "it is being looked up".to_owned(),
                remedy: None,
            };
        };
        let aged = verdict.passed() && verdict.good_until.is_some_and(|end| end <= now);
        Lack {
            item,
            state: if aged {
                ItemState::Stale
            } else {
                verdict.state
            },
            reason: if aged {
                "it has passed its age".to_owned()
            } else {
                verdict.reason.clone()
            },
            remedy: verdict.remedy.clone(),
        }
    }

    /// The items that do not pass at `now`, in the manifest's order.
    fn open_items(&self, now: Timestamp) -> impl Iterator<Item = Lack> {
        let required: &[Requirement] = match self.is_return {
            true => &[],
            false => &self.service.spec.rollout.require,
        };
        required
            .iter()
            .map(move |item| self.item(*item, now))
            .filter(|lack| lack.state != ItemState::Passed)
    }
}

impl Lane {
    /// What keeps a waiting request from starting at `now`; empty where nothing does. Content
    /// that served here before is not kept out by the age of its scan.
    pub fn lacking(&self, request: &Request, now: Timestamp) -> Vec<Lack> {
        let served = self.served(request);
        request
            .open_items(now)
            .filter(|lack| !(served && lack.state == ItemState::Stale))
            .collect()
    }

    /// Why a request starts although an item is too old.
    pub(crate) fn forgiven(&self, request: &Request, now: Timestamp) -> Option<String> {
        let stale: Vec<&str> = request
            .open_items(now)
            .filter(|lack| lack.state == ItemState::Stale)
            .map(|lack| lack.item.name())
            .collect();
        (self.served(request) && !stale.is_empty()).then(|| {
            format!(
                "this content served here before, so it goes although stale: {}",
                stale.join(", ")
            )
        })
    }

    fn served(&self, request: &Request) -> bool {
        self.stable
            .iter()
            .chain(&self.earlier)
            .any(|deployed| deployed.digest == request.digest)
    }

    /// A request that waits or is on its way to users, by its rollout.
    pub(crate) fn open_request(&self, rollout: &airboss_model::RolloutId) -> Option<&Request> {
        let active = self
            .active
            .as_ref()
            .filter(|active| active.phase.step().is_some())
            .map(|active| &active.request);
        self.queue
            .iter()
            .chain(active)
            .find(|request| request.rollout == *rollout)
    }

    /// Requests whose evidence matters: those that wait or are on their way to users, and
    /// require any.
    pub fn weighed(&self) -> impl Iterator<Item = &Request> {
        let active = self
            .active
            .as_ref()
            .filter(|active| active.phase.step().is_some())
            .map(|active| &active.request);
        self.queue.iter().chain(active).filter(|request| {
            !request.is_return && !request.service.spec.rollout.require.is_empty()
        })
    }
}

impl Rollout {
    /// The items that no longer hold, of a rollout that started with them; their age is no
    /// matter.
    pub fn shaken(&self) -> Vec<Lack> {
        self.request
            .open_items(self.started_at)
            .filter(|lack| lack.state != ItemState::Stale)
            .collect()
    }
}

/// True where two looks at the same items differ in more than their words.
pub fn differ(before: &[ItemVerdict], after: &[ItemVerdict]) -> bool {
    let matter = |it: &ItemVerdict| {
        let rests_on: BTreeSet<_> = it.rests_on.iter().copied().collect();
        (it.item, it.state, it.good_until, rests_on)
    };
    before.len() != after.len()
        || before
            .iter()
            .zip(after)
            .any(|(a, b)| matter(a) != matter(b))
}

/// Such as `tests (missing): no test result is known`.
fn words(item: Requirement, state: ItemState, reason: &str) -> String {
    let state = state.as_str().replace('_', " ");
    format!("{} ({state}): {reason}", item.name())
}

/// Open items in one line.
pub(crate) fn told(lacking: &[Lack]) -> String {
    let words: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    words.join("; ")
}

/// Items in one line: what is there, or what is not.
pub(crate) fn message(items: &[ItemVerdict]) -> String {
    let open: Vec<String> = items
        .iter()
        .filter(|it| !it.passed())
        .map(|it| words(it.item, it.state, &it.reason))
        .collect();
    if open.is_empty() {
        let names: Vec<&str> = items.iter().map(|it| it.item.name()).collect();
        format!("the evidence is complete: {}", names.join(", "))
    } else {
        format!("evidence: {}", open.join("; "))
    }
}
