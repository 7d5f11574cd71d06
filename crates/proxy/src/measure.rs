//! What the splitter counted, by instance.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use airboss_model::ArmId;
use airboss_model::traffic::{Counts, RouteCounts, latency};

use crate::kinds::Names;

/// Everything counted since the last call of [`Splitter::take_counts`](crate::Splitter::take_counts).
///
/// A request is counted once, for the instance that was the last to be tried, when its answer
/// has ended (an upgraded connection or an event stream: when it begins). Its latency reaches
/// from the request's head to the response's head, retries included, so that neither the size
/// of an answer nor a slow reader counts against the instance. An answer that the instance
/// breaks off counts as unanswered with status 502, though its head had another one. A client
/// that leaves before its answer has ended counts under `given_up` only.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// Instances with something to tell, those taken out of the table since then included.
    pub instances: Vec<InstanceCounts>,
    /// Requests answered 503 because no arm that they may go to had a ready instance.
    pub unrouted: u64,
    /// Refused before routing: malformed (400), head too large (431) or too slow (408), a
    /// method that is not served (405), connections beyond the limit (503).
    pub rejected: u64,
    /// Copies that the mirror share asked for and that were not sent: too many at one time,
    /// no ready canary, or a body too large or of unknown length.
    pub mirror_dropped: u64,
}

/// What one instance did since the last look.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceCounts {
    /// The arm it belongs to.
    pub arm: ArmId,
    /// Its name.
    pub instance: String,
    /// Users' requests.
    pub counts: Counts,
    /// Of `counts.requests`, those that the force header sent here. Leave them out when
    /// computing the share of an arm; their outcomes are users' outcomes all the same.
    pub forced: u64,
    /// Of `counts.requests`, those that belonged to the other arm, which had no ready instance.
    pub diverted: u64,
    /// Attempts that failed here unnoticed: the request was sent anew, here or elsewhere.
    pub retried: u64,
    /// Copies of stable's requests, whose answers nobody saw; never in `counts`.
    pub mirrored: Counts,
}

/// Why a request went where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// By weight.
    Share,
    /// By the force header.
    Forced,
    /// Its own arm had no ready instance.
    Diverted,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered with this status.
    Answered(u16),
    /// The instance failed to answer; the client was sent this status.
    Unanswered(u16),
    /// The client left.
    GivenUp,
}

impl Outcome {
    /// The status that the client was sent, where it was there to the end.
    fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status) | Self::Unanswered(status) => Some(status),
            Self::GivenUp => None,
        }
    }
}

/// One worker's counts of one instance; only that worker and the collector touch it.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Tallied>);

#[derive(Debug, Default)]
pub(crate) struct Tallied {
    pub(crate) counts: Counts,
    pub(crate) forced: u64,
    pub(crate) diverted: u64,
    pub(crate) retried: u64,
    pub(crate) mirrored: Counts,
    routes: BTreeMap<u16, RouteCounts>,
    cohorts: BTreeMap<u16, u64>,
}

/// What a request asked for, by number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) route: u16,
    /// A named route keeps its latency too.
    pub(crate) named: bool,
    pub(crate) cohort: Option<u16>,
}

impl Tally {
    fn with<R>(&self, change: impl FnOnce(&mut Tallied) -> R) -> R {
        // Counts stay sound after a panic elsewhere: each change is a plain addition.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a user's request. `micros`: request head to response head.
    pub(crate) fn user(&self, outcome: Outcome, micros: u64, cause: Cause, place: Place) {
        self.with(|tallied| {
            count(&mut tallied.counts, outcome, micros);
            if let Some(status) = outcome.status() {
                let drawn = u64::from(cause == Cause::Share);
                let route = tallied.routes.entry(place.route).or_default();
                route.drawn += drawn;
                *route.by_status.entry(status).or_default() += 1;
                if place.named {
                    *route.latency.entry(latency::bucket(micros)).or_default() += 1;
                }
                if let Some(cohort) = place.cohort {
                    *tallied.cohorts.entry(cohort).or_default() += drawn;
                }
                match cause {
                    Cause::Share => {}
                    Cause::Forced => tallied.forced += 1,
                    Cause::Diverted => tallied.diverted += 1,
                }
            }
        });
    }

    /// Counts a mirrored request.
    pub(crate) fn mirrored(&self, outcome: Outcome, micros: u64) {
        self.with(|tallied| count(&mut tallied.mirrored, outcome, micros));
    }

    /// Counts an attempt that was repeated.
    pub(crate) fn retried(&self) {
        self.with(|tallied| tallied.retried += 1);
    }

    /// Adds what was counted to `sum` and starts from zero.
    pub(crate) fn drain_into(&self, sum: &mut InstanceCounts, names: &Names) {
        let taken = self.with(std::mem::take);
        for (number, counts) in taken.routes {
            let route = sum.counts.routes.entry(names.route(number).to_owned());
            route.or_default().add(&counts);
        }
        for (number, count) in taken.cohorts {
            let cohort = sum.counts.cohorts.entry(names.cohort(number).to_owned());
            *cohort.or_default() += count;
        }
        sum.counts.add(&taken.counts);
        sum.forced += taken.forced;
        sum.diverted += taken.diverted;
        sum.retried += taken.retried;
        sum.mirrored.add(&taken.mirrored);
    }
}

impl InstanceCounts {
    pub(crate) fn empty(arm: ArmId, instance: String) -> Self {
        Self {
            arm,
            instance,
            counts: Counts::default(),
            forced: 0,
            diverted: 0,
            retried: 0,
            mirrored: Counts::default(),
        }
    }

    /// True where nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.mirrored.is_empty() && self.retried == 0
    }
}

fn count(counts: &mut Counts, outcome: Outcome, micros: u64) {
    let status = match outcome {
        Outcome::GivenUp => {
            counts.given_up += 1;
            return;
        }
        Outcome::Answered(status) => status,
        Outcome::Unanswered(status) => {
            counts.unanswered += 1;
            status
        }
    };
    counts.requests += 1;
    *counts.by_status.entry(status).or_default() += 1;
    *counts.latency.entry(latency::bucket(micros)).or_default() += 1;
}
