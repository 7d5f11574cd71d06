//! What a target is asked to make true, and what it reports back.
//!
//! The two never mix: [`Desired`] is written by the engine only, [`Observed`] by the target
//! only, and no step completes on a value that the data plane has not confirmed.

use serde::{Deserialize, Serialize};

use crate::manifest::ProcessTarget;
use crate::metrics::Series;
use crate::route::RoutePattern;
use crate::traffic::{NAMED_ROUTES_MAX, Weight};
use crate::{ArmId, Digest, LaneId, ReleaseId, Span, Timestamp};

/// Everything a target must make true for one lane. It is complete and idempotent: applying
/// it twice, or applying only the newest of several, gives the same result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// Which service in which environment.
    pub lane: LaneId,
    /// Grows by one with every change. A target refuses a generation below the one it has.
    pub generation: u64,
    /// The claim of the controller that asks, set as it hands this over; 0 in what is recorded. It
    /// grows each time that a lane changes hands: a target obeys nobody whose claim is below the
    /// highest that it has heard of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// The arms that shall run; an arm that is not named shall be drained and stopped.
    pub arms: Vec<DesiredArm>,
    /// How traffic shall be divided.
    pub traffic: DesiredTraffic,
    /// How long the exposure of a canary may last without a renewal by a controller.
    pub exposure_lease: Span,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One set of equal instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredArm {
    /// The rollout that brought this arm up; it keeps the name when promoted.
    pub arm: ArmId,
    /// What runs in it.
    pub release: ReleaseId,
    /// The content, checked before every start.
    pub digest: Digest,
    /// How many instances shall be ready.
    pub instances: u32,
    /// How an instance is started, probed and stopped.
    pub process: ProcessTarget,
}

/// How requests are divided between the arms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DesiredTraffic {
    /// The arm that serves users by default. None before the first deployment.
    pub stable: Option<ArmId>,
    /// The arm on trial.
    pub canary: Option<ArmId>,
    /// The canary's share of requests.
    pub canary_weight: Weight,
    /// The share of stable's requests that is copied to the canary, answers thrown away.
    pub mirror: Weight,
    /// What the splitter tells apart when it counts.
    #[serde(default)]
    pub measure: Measure,
}

/// What is measured: what the splitter tells apart when it counts, and what instances are asked for.
/// Whatever is said here, every version is measured alike.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Measure {
    /// Routes with a place of their own, those that SLOs are about first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RoutePattern>,
    /// The request header whose value is a user's cohort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<String>,
    /// Series to read off each instance's own page of metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Series>,
}

impl Measure {
    /// What both tell apart; the first one's routes go before the other's.
    pub fn and(mut self, other: Self) -> Self {
        for route in other.routes {
            if !self.routes.contains(&route) && self.routes.len() < NAMED_ROUTES_MAX {
                self.routes.push(route);
            }
        }
        for series in other.metrics {
            if !self.metrics.contains(&series) {
                self.metrics.push(series);
            }
        }
        self.cohort = self.cohort.or(other.cohort);
        self
    }
}

/// What a target sees of one lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Which lane.
    pub lane: LaneId,
    /// The newest generation of [`Desired`] that the target has taken in.
    pub generation: u64,
    /// The highest epoch of [`Desired`] that the target has heard of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// What the data plane does now. None where there is no splitter yet.
    pub traffic: Option<ObservedTraffic>,
    /// Instances, by arm.
    pub arms: Vec<ObservedArm>,
    /// Why the target cannot do what is asked, in one line each; empty where it can.
    pub problems: Vec<String>,
    /// When the target looked.
    pub at: Timestamp,
}

impl Observed {
    /// The instances of one arm.
    pub fn arm(&self, arm: &ArmId) -> Option<&ObservedArm> {
        self.arms.iter().find(|seen| seen.arm == *arm)
    }
    /// How many instances of an arm are ready.
    pub fn ready(&self, arm: &ArmId) -> u32 {
        self.arm(arm).map_or(0, ObservedArm::ready)
    }
}

/// The routing table that the splitter works by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedTraffic {
    /// The generation it was made from.
    pub generation: u64,
    /// Where users go by default.
    pub stable: Option<ArmId>,
    /// The arm on trial.
    pub canary: Option<ArmId>,
    /// The canary's share in force.
    pub canary_weight: Weight,
    /// Set where the exposure lease ran out and the agent returned traffic to stable by itself.
    pub lease_expired_at: Option<Timestamp>,
}

/// One arm as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedArm {
    /// Which arm.
    pub arm: ArmId,
    /// Its instances, by number.
    pub instances: Vec<ObservedInstance>,
    /// Set where the arm can never become ready (artifact damaged, command missing, crash
    /// loop, not ready in time): what happened, why, and the last lines of its log.
    pub failed: Option<String>,
}

impl ObservedArm {
    /// How many instances are ready for traffic.
    pub fn ready(&self) -> u32 {
        let ready = self
            .instances
            .iter()
            .filter(|i| i.state == InstanceState::Ready)
            .count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }
}

/// One instance as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedInstance {
    /// Its name, such as `checkout-7.0`.
    pub name: String,
    /// Where it is in its life.
    pub state: InstanceState,
    /// The process id while one runs.
    pub pid: Option<u32>,
    /// The address that it listens on.
    pub address: Option<String>,
    /// Starts after the first.
    pub restarts: u32,
    /// The newest thing that went wrong, if anything did.
    pub last_error: Option<String>,
}

/// The life of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Started, not yet healthy.
    Starting,
    /// Healthy; the splitter may send requests.
    Ready,
    /// Was healthy, now is not.
    Unready,
    /// Ended by itself; waits to be started again.
    Crashed,
    /// Takes no new requests and finishes those it has.
    Draining,
    /// Gone.
    Stopped,
}
