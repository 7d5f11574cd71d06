//! What clients read.
//!
//! Times are RFC 3339 in UTC. Shares and rates are ratios from 0 to 1 unless a name says percent.
//! Weights are texts such as `10%`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::evidence::ItemView;

/// An answer that is not the wanted one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// For programs: `invalid`, `not_found`, `busy`, `wrong_phase`, `nothing_to_return_to`,
    /// `not_in_progress`, `version_pinned`, `budget_spent`, `evidence`, `unauthorized`, `forbidden`,
    /// `too_many_requests`, `unavailable`, `too_large`, `kept`.
    pub code: String,
    /// What happened, why, and what to do next.
    pub message: String,
    /// Further lines, such as a manifest's mistakes with their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// A command was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The rollout concerned.
    pub rollout: String,
    /// One line for people.
    pub message: String,
    /// Things to know that do not stand in the way, such as a manifest's warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A rollout in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// Such as `checkout-7`.
    pub id: String,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The version.
    pub version: String,
    /// The content.
    pub digest: String,
    /// `queued`, `blocked`, `preparing`, `shifting`, `observing`, `paused`, `rolling_back`, `draining` or `ended`.
    pub phase: String,
    /// `shipped`, `rolled_back`, `aborted`, `superseded` or `failed`, once ended.
    pub outcome: Option<String>,
    /// The newest thing to know, in one line.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// When it was asked for.
    pub created_at: String,
    /// When its row last changed.
    pub updated_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
}

/// A page of rollouts, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutList {
    /// The page.
    pub rollouts: Vec<RolloutView>,
    /// `before` of the next page; absent on the last one.
    pub next: Option<String>,
}

/// One service in one environment, whole: what `status` and `watch` draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LaneView {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The server's clock when this was drawn.
    pub now: String,
    /// The address that users connect to.
    pub listen: Option<String>,
    /// The version that serves users.
    pub stable: Option<VersionView>,
    /// The rollout in progress.
    pub rollout: Option<ProgressView>,
    /// Rollouts that wait, in order.
    pub queue: Vec<QueuedView>,
    /// The sets of instances that exist or shall exist, stable first.
    pub arms: Vec<ArmView>,
    /// The division of traffic.
    pub traffic: TrafficView,
    /// The agent that carries it out.
    pub agent: AgentView,
    /// What the target cannot do, in one line each.
    pub problems: Vec<String>,
    /// Registries' tags that were moved since what serves was made of them, in one line each, as
    /// far as somebody looked. Not in the live stream.
    #[serde(default)]
    pub moved_tags: Vec<String>,
    /// How much of each SLO's error budget is left; empty before the first second of traffic.
    #[serde(default)]
    pub budgets: Vec<BudgetView>,
    /// What the SLOs of the version that serves do not see of the usual requests, in one line each.
    #[serde(default)]
    pub blind_spots: Vec<String>,
    /// The number of the newest event in the installation, to follow from.
    pub last_event: u64,
}

/// An SLO's error budget over the last 30 days. The requests of every version spend it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BudgetView {
    /// The SLO's name.
    pub slo: String,
    /// The promised share of good requests.
    pub objective: f64,
    /// What is left of the budget: 1 for all of it, below 0 where it is overspent.
    pub left: f64,
    /// How fast it was spent of late; at rate 1 it lasts exactly 30 days.
    pub burn_rates: Vec<BurnRateView>,
    /// Seconds until it is spent at the last hour's rate. None while it is not being spent.
    pub seconds_to_exhaustion: Option<f64>,
    /// The alerts of the SRE workbook that it sets off, such as `page: 14.4 over 1h and 5m`.
    pub alerts: Vec<String>,
}

/// How fast a budget was spent over a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BurnRateView {
    /// Such as `5m`.
    pub window: String,
    /// None without requests.
    pub rate: Option<f64>,
}

/// What a service's history says of its SLOs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SloList {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// Usual requests a second. None before any were seen.
    pub requests_per_second: Option<f64>,
    /// Usual share of bad requests by SLO.
    pub usual: std::collections::BTreeMap<String, f64>,
    /// Seconds of the stable version's history that the next rollout is judged with; from 900 on
    /// the judge knows how clumped errors come.
    pub history_seconds: u64,
    /// Each SLO.
    pub slos: Vec<SloAdviceView>,
    /// How often each route was asked for in the last days, the older half as much.
    #[serde(default)]
    pub routes: std::collections::BTreeMap<String, u64>,
    /// What the SLOs of the version that serves do not see of that, in one line each.
    #[serde(default)]
    pub blind_spots: Vec<String>,
}

/// What the history says of one SLO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SloAdviceView {
    /// The SLO's name.
    pub slo: String,
    /// The promised share of good requests.
    pub objective: f64,
    /// `good`, `not_reachable`, `too_loose` or `unknown`.
    pub fit: String,
    /// Requests of the last 30 days.
    pub requests: u64,
    /// Of them, bad ones.
    pub bad: u64,
    /// The objective that the history would keep. None with fewer than 1,000 requests.
    pub proposed: Option<f64>,
    /// Why, in one line.
    pub reason: String,
}

/// A version that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// The rollout that brought it.
    pub rollout: String,
    /// The version.
    pub version: String,
    /// The content.
    pub digest: String,
    /// Since when it serves all users.
    pub since: String,
}

/// A rollout that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuedView {
    /// The rollout.
    pub rollout: String,
    /// Its version.
    pub version: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: String,
    /// The evidence that it requires; it starts once all of it passes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ItemView>,
    /// True where the evidence keeps it from starting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blocked: bool,
}

/// A rollout in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// The rollout.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its content.
    pub digest: String,
    /// Who asked for it.
    pub by: String,
    /// When it started.
    pub started_at: String,
    /// `canary`, `blue_green`, `all_at_once` or `rollback`.
    pub strategy: String,
    /// Why the plan differs from the manifest's, where it does.
    pub note: Option<String>,
    /// `preparing`, `shifting`, `observing`, `paused`, `rolling_back` or `draining`.
    pub phase: String,
    /// Since when.
    pub phase_since: String,
    /// Who holds it, where someone does.
    pub paused_by: Option<String>,
    /// Why it is on its way back, where it is.
    pub rollback_reason: Option<String>,
    /// Since when the target has not followed, where that is so.
    pub stalled_since: Option<String>,
    /// The steps.
    pub steps: Vec<StepView>,
    /// The evidence that it requires.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ItemView>,
    /// Why it takes no further step, where its evidence holds no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by_evidence: Option<String>,
    /// What the judge says about the present step.
    pub verdict: Option<VerdictView>,
    /// What will be decided next by itself.
    pub next: Option<NextView>,
    /// What each step below 100 % may expect of the service's usual traffic, in one line each;
    /// empty where no traffic was seen before, or no evidence is waited for.
    #[serde(default)]
    pub forecast: Vec<String>,
}

/// A step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// The new version's share.
    pub weight: String,
    /// `done`, `now`, `ahead` or `not_reached`.
    pub state: String,
}

/// What will be decided next by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextView {
    /// When at the latest.
    pub at: String,
    /// What, in a few words.
    pub what: String,
}

/// The judge's verdict on the present step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerdictView {
    /// `fail`, `pass`, `undecided`, `not_enough_data`, `source_down`, `external`, `misrouted`,
    /// `instance_fault` or `unrepresentative`.
    pub verdict: String,
    /// One line for people.
    pub reason: String,
    /// Odds against the release being within its margins, as N : 1.
    pub odds: f64,
    /// The odds at which it is rolled back.
    pub fail_at_odds: f64,
    /// Expected seconds until a verdict, where it can be told.
    pub seconds_to_verdict: Option<f64>,
    /// Seconds with data of both arms in this step.
    pub ticks: u64,
    /// Each SLI.
    pub gates: Vec<GateView>,
    /// How like stable's requests the new version's are. None where requests are not told apart.
    #[serde(default)]
    pub mix: Option<MixView>,
}

/// How like stable's requests the new version's are, in this step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MixView {
    /// 1 for the same mix of routes and cohorts, 0 for disjoint ones; None with too few requests.
    pub score: Option<f64>,
    /// `alike`, `unlike` or `unknown`.
    pub verdict: String,
    /// What stable serves and the new version has not been asked for.
    pub unseen: Vec<String>,
    /// One line for people.
    pub reason: String,
}

/// One SLI's gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateView {
    /// The SLI's name.
    pub name: String,
    /// Its own verdict.
    pub verdict: String,
    /// The canary's bad ratio. None where it had no requests.
    pub value: Option<f64>,
    /// Stable's bad ratio in the same seconds.
    pub baseline: Option<f64>,
    /// The bad ratio up to which the canary is within its margin.
    pub bound: f64,
    /// The canary's requests.
    pub samples: u64,
    /// The canary's bad requests.
    pub bad: u64,
    /// Odds against being within the margin, as N : 1.
    pub odds: f64,
    /// Odds for this step's harm being within its budget, as N : 1.
    pub pass_odds: f64,
    /// The odds that a step needs.
    pub pass_at_odds: f64,
    /// The odds at which the release is taken back by this SLI alone, where it has a chance of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_at_odds: Option<f64>,
    /// A gauge's newest level in the new version, in the metric's unit; `value` then is None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<f64>,
    /// The same of stable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_level: Option<f64>,
    /// Whether a step needs this SLI's proof.
    pub critical: bool,
    /// It only speaks: nothing is taken back or held for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advisory: bool,
    /// One line for people.
    pub reason: String,
}

/// A set of equal instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArmView {
    /// The rollout that brought it.
    pub arm: String,
    /// `stable`, `canary` or `draining`.
    pub role: String,
    /// The version.
    pub version: Option<String>,
    /// Instances asked for.
    pub wanted: u32,
    /// Instances ready.
    pub ready: u32,
    /// Each instance.
    pub instances: Vec<InstanceView>,
    /// Why it can never become ready.
    pub failed: Option<String>,
    /// What was measured on it in the last ten seconds.
    pub recent: Option<RecentView>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// Such as `checkout-7.0`.
    pub name: String,
    /// `starting`, `ready`, `unready`, `crashed`, `draining` or `stopped`.
    pub state: String,
    /// The process id.
    pub pid: Option<u32>,
    /// Where it listens.
    pub address: Option<String>,
    /// Starts after the first.
    pub restarts: u32,
    /// The newest thing that went wrong.
    pub last_error: Option<String>,
}

/// Measurements of the last ten seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecentView {
    /// Requests a second.
    pub requests_per_second: f64,
    /// The share of answers with status 500 and above.
    pub error_ratio: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
}

/// The division of traffic: what was set and what is, never mixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrafficView {
    /// The canary's share that was asked for.
    pub set: String,
    /// The share that the data plane works by. None while it is not known.
    pub observed: Option<String>,
    /// The share of requests that the canary really had in the last ten seconds.
    pub measured: Option<f64>,
    /// True where set and observed agree on the newest generation.
    pub confirmed: bool,
    /// The generation that was asked for.
    pub generation: u64,
    /// When the agent returned traffic to stable by itself, where it did.
    pub lease_expired_at: Option<String>,
}

/// The agent behind a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentView {
    /// Its id. None where none has ever reported.
    pub id: Option<String>,
    /// Its name, where it has a key of its own; told before its first report, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version of Airboss.
    pub version: Option<String>,
    /// Its last report.
    pub last_seen: Option<String>,
    /// Since when it has been silent, where it is.
    pub lost_since: Option<String>,
    /// What goes on without it and what does not, where it does not report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
}

/// Every lane, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LaneList {
    /// The lanes.
    pub lanes: Vec<LaneView>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its number in the installation, from 1, without gaps.
    pub number: u64,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The rollout that it belongs to.
    pub rollout: Option<String>,
    /// When it was decided.
    pub at: String,
    /// Its kind, such as `step_passed`.
    pub kind: String,
    /// One line for people.
    pub message: String,
    /// The whole of it.
    #[schema(value_type = Object)]
    pub body: serde_json::Value,
}

/// Events in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventList {
    /// The events.
    pub events: Vec<EventView>,
}

/// Why a rollout went as it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The rollout.
    pub rollout: RolloutView,
    /// How it stands or ended, in a sentence.
    pub summary: String,
    /// The required evidence that keeps it from starting or from its next step, with what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<ItemView>,
    /// The decisions, in order.
    pub decisions: Vec<DecisionView>,
    /// The judge's whole computation as it stood last: every test with its evidence, its margin
    /// and its share of the error. None where nothing was judged.
    #[serde(default)]
    pub computation: Option<String>,
    /// What no SLO sees of the usual requests, while the rollout is in progress.
    #[serde(default)]
    pub blind_spots: Vec<String>,
}

/// One decision and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecisionView {
    /// The event's number.
    pub number: u64,
    /// When.
    pub at: String,
    /// What was decided, in one line.
    pub what: String,
    /// Who or what decided: `evidence`, `plan`, `policy`, `lease`, `instances` or a person's name.
    pub by: String,
    /// The judge's numbers at that moment, where they mattered.
    pub verdict: Option<VerdictView>,
}

/// What instances wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogView {
    /// Lines, oldest first within an instance.
    pub lines: Vec<LogLineView>,
    /// Why there are none, where that is so.
    pub problem: Option<String>,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLineView {
    /// The instance.
    pub instance: String,
    /// The line.
    pub text: String,
}

/// The installation: what `doctor` reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SystemView {
    /// The server's version.
    pub version: String,
    /// The server's clock.
    pub now: String,
    /// The data folder.
    pub data_dir: String,
    /// The store's kind and place.
    pub store: String,
    /// Findings of the store's check; empty where it is sound.
    pub store_findings: Vec<String>,
    /// Free bytes where the data is kept.
    pub free_bytes: Option<u64>,
    /// The agents.
    pub agents: Vec<AgentView>,
    /// Services known.
    pub services: u64,
    /// Rollouts in progress.
    pub in_progress: u64,
    /// Warnings, in one line each.
    pub warnings: Vec<String>,
}
