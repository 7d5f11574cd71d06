//! What agent and controller say to each other, JSON over HTTP: with the installation's token as
//! `Authorization: Bearer …`, or signed by both as [`identity`](super::identity) says.
//!
//! | request | answer | when |
//! |---|---|---|
//! | `GET /agent/v1/desired?agent=ID&after=VERSION&wait_ms=N` | [`DesiredSet`] | always under way: the controller answers as soon as it has a version above `after`, or after `wait_ms` with what it has |
//! | `POST /agent/v1/report` [`Report`] | [`ReportAck`] | at least 4 times a second, and at once after something was applied or changed |
//! | `GET /agent/v1/blobs/DIGEST` | the archive's bytes | when an arm needs an artifact that is not here |
//! | `POST /agent/v1/join` [`JoinRequest`](super::identity::JoinRequest) | [`Joined`](super::identity::Joined) | once, with a join token |
//! | `GET /agent/v1/hello?agent=ID&word=W` | [`Greeting`](super::identity::Greeting) | before the first signed request, and when the session is not known any more |
//! | `POST /agent/v1/logs/ID` [`LogAnswer`] | nothing | when the desired set asks for logs |

use airboss_model::target::{Desired, Observed};
use airboss_model::traffic::Counts;
use airboss_model::{ArmId, LaneId, Timestamp};
use serde::{Deserialize, Serialize};

/// Everything that shall be true on one agent's host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredSet {
    /// Grows with every change; it starts anew with the controller, see `incarnation`.
    pub version: u64,
    /// Differs after each start of the controller; versions compare within one only.
    pub incarnation: String,
    /// One entry a lane. A lane that is not named is left as it is: only an entry without arms
    /// stops a service.
    pub lanes: Vec<Desired>,
    /// Log lines that a person asked for.
    #[serde(default)]
    pub log_requests: Vec<LogRequest>,
}

/// Asks for the last lines of an arm's logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// Names the request; the answer carries it.
    pub id: String,
    /// Which lane.
    pub lane: LaneId,
    /// Which arm; all of the lane's where None.
    pub arm: Option<ArmId>,
    /// How many lines at the most, of each instance.
    pub lines: u32,
}

/// The answer to a [`LogRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogAnswer {
    /// Lines, oldest first within an instance.
    pub lines: Vec<LogLine>,
    /// Why there are none, where that is so.
    pub problem: Option<String>,
}

/// One line that an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The instance, such as `checkout-7.0`.
    pub instance: String,
    /// The line without its end.
    pub text: String,
}

/// What the agent saw since its last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The agent's id, made at its first start.
    pub agent: String,
    /// Differs after each start of the agent.
    pub boot: String,
    /// Grows by one with each report of this boot; a report that is repeated after a lost
    /// answer has the same number and is counted once.
    pub number: u64,
    /// The product's version that the agent runs.
    pub version: String,
    /// When it was sent, by the agent's clock.
    pub sent_at: Timestamp,
    /// Each lane as it is, whole.
    pub observed: Vec<Observed>,
    /// Requests since the last report.
    pub traffic: Vec<TrafficIncrement>,
    /// Milliseconds that `traffic` covers, by the agent's monotonic clock.
    pub covers_ms: u64,
}

/// What was measured of one instance since the last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrafficIncrement {
    /// Which lane.
    pub lane: LaneId,
    /// Which arm.
    pub arm: ArmId,
    /// Which instance.
    pub instance: String,
    /// What was counted.
    pub counts: Counts,
    /// What was counted on mirrored copies, never part of `counts`.
    #[serde(default)]
    pub mirrored: Counts,
}

/// The controller's answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAck {
    /// Lanes that a controller watches: for the lane's `exposure_lease` from now on an exposure
    /// may last, or begin.
    pub renewed: Vec<LaneId>,
    /// The newest version of the desired set, so that an agent notices a missed one.
    pub version: u64,
    /// As in [`DesiredSet`].
    pub incarnation: String,
}
