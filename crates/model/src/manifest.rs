//! The manifest: what a person writes into `airboss.yaml`.
//!
//! The types here are plain data. [`parse`] reads them from a file with everything that is
//! wrong in it, [`schema`] tells editors about them, [`template`] writes a first one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod access;
mod decode;
mod diagnostic;
mod guardrail;
mod read;
mod rules;
mod schema;
mod secrets;
mod slo;
mod template;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use guardrail::{Better, Bound, Guardrail, InvalidBound, Measured, Unit};
pub use read::{BYTES_MAX, Document, FINDINGS_MAX, Resource, parse, parse_bytes};
pub use rules::{
    ENTRIES_MAX, GUARDRAILS_MAX, INSTANCES_MAX, KEEP_MAX, PLACEHOLDERS, SLOS_MAX, STEPS_MAX,
};
pub use schema::schema;
pub use secrets::is_secret_name;
pub use slo::{
    Chance, Edge, InvalidChance, InvalidEdge, InvalidObjective, Judging, Objective, Slo, SloMargin,
};
pub use template::{Detected, SCHEMA_FILE, template};

/// The version of the format, behind `apiVersion:`.
pub const API_VERSION: &str = "airboss/v1";
/// What a document may describe, behind `kind:`.
pub const KINDS: &[&str] = &["Service"];

use crate::evidence::Requirement;
use crate::route::RoutePattern;
use crate::target::Measure;
use crate::traffic::Weight;
use crate::{ServiceName, Span};

/// A service: who owns it, how it runs, what its users were promised, how releases reach them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name, owner and importance.
    pub metadata: Metadata,
    /// Everything else.
    pub spec: ServiceSpec,
}

impl Service {
    /// What is measured for it: the routes of its SLOs, then the others it names; the series of its guardrails.
    pub fn measure(&self) -> Measure {
        let slos = self.spec.slos.iter().flat_map(|slo| &slo.routes);
        let mut routes: Vec<RoutePattern> = Vec::new();
        for route in slos.chain(&self.spec.requests.routes) {
            if !routes.contains(route) && routes.len() < crate::traffic::NAMED_ROUTES_MAX {
                routes.push(route.clone());
            }
        }
        let mut metrics = Vec::new();
        for series in self.spec.guardrails.iter().flat_map(Guardrail::series) {
            if !metrics.contains(series) {
                metrics.push(series.clone());
            }
        }
        Measure {
            routes,
            cohort: self.spec.requests.cohort.clone(),
            metrics,
        }
    }
}

/// Name, owner and importance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// A DNS label, unique in the installation.
    pub name: ServiceName,
    /// The team that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How much it matters.
    #[serde(default)]
    pub tier: Tier,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How much a service matters to the business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Users notice within minutes; someone is paged.
    Critical,
    /// The usual.
    #[default]
    Standard,
    /// Internal or best-effort.
    Low,
}

/// How a service runs, what its users were promised, how releases reach them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Where and how instances run.
    pub target: Target,
    /// What users were promised.
    #[serde(default)]
    pub slos: Vec<Slo>,
    /// Metrics of the instances themselves that a release must not make worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub guardrails: Vec<Guardrail>,
    /// How sure verdicts must be.
    #[serde(default, skip_serializing_if = "Judging::is_default")]
    pub judge: Judging,
    /// How requests are told apart.
    #[serde(default, skip_serializing_if = "Requests::is_default")]
    pub requests: Requests,
    /// How a release reaches users.
    #[serde(default)]
    pub rollout: RolloutSpec,
    /// How long the content of releases is kept.
    #[serde(default, skip_serializing_if = "Retention::is_default")]
    pub retention: Retention,
}

/// How long the content of a service's releases is kept. What runs anywhere, waits, or can be
/// returned to is kept in any case, and so is what either rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The newest so many releases are kept.
    #[serde(default = "ten")]
    #[schemars(range(max = 500))]
    pub keep_last: u32,
    /// Releases are kept this long after they were made.
    #[serde(default = "thirty_days")]
    pub keep_for: Span,
}

impl Retention {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep_last: ten(),
            keep_for: thirty_days(),
        }
    }
}

/// How requests are told apart, to see what no SLO covers and whether a new version is tried by
/// the requests that users send. Routes are found by themselves, ids in paths collapsed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Routes that cannot be guessed, such as `/products/{slug}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub routes: Vec<RoutePattern>,
    /// A request header whose value is the user's cohort, such as `x-plan`: few values, no names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<String>,
    /// What happens while the new version gets other requests than stable: what it proves then
    /// says little about users.
    #[serde(default)]
    pub when_unlike: WhenUnlike,
}

impl Requests {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens while the new version gets other requests than stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnlike {
    /// The step waits.
    #[default]
    Hold,
    /// It is said, and the step goes on.
    Warn,
}

/// Where and how instances run. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// Processes on a host with an agent, behind the built-in splitter.
    Process(ProcessTarget),
}

/// Processes on a host with an agent, behind the built-in splitter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessTarget {
    /// Program and arguments. `{artifact}` is the unpacked artifact's folder (or the file),
    /// `{port}` the instance's port, `{instance}` its name, `{version}` the release's version.
    #[schemars(length(min = 1, max = 256))]
    pub command: Vec<String>,
    /// Instances at full size.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000))]
    pub instances: u32,
    /// The address that users connect to, `HOST:PORT`.
    #[schemars(extend("pattern" = r"^.+:\d{1,5}$", "examples" = ["127.0.0.1:8080", "0.0.0.0:8080"]))]
    pub listen: String,
    /// Extra environment. A value is literal or a reference (`env:NAME`, `file:PATH`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = { "type": ["string", "number", "boolean"] }))]
    pub env: BTreeMap<String, String>,
    /// How to tell that an instance is ready.
    #[serde(default)]
    pub health: Health,
    /// How long an instance may finish its requests after it was taken out of traffic.
    #[serde(default = "ten_seconds")]
    pub drain: Span,
    /// Keeps one user on one version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// A request header whose value `canary` or `stable` forces the arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_header: Option<String>,
    /// How long an instance may take to answer before the splitter answers 504.
    #[serde(default = "thirty_seconds")]
    pub response_timeout: Span,
    /// Where an instance publishes its metrics, for guardrails.
    #[serde(default = "metrics_page", skip_serializing_if = "is_metrics_page")]
    #[schemars(extend("pattern" = "^/"))]
    pub metrics: String,
}

fn metrics_page() -> String {
    "/metrics".to_owned()
}

fn is_metrics_page(path: &String) -> bool {
    *path == metrics_page()
}

/// How to tell that an instance is ready: a GET that answers 2xx or 3xx, or, without `http`,
/// a TCP connection that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Path to GET, such as `/healthz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^/", "examples" = ["/healthz"]))]
    pub http: Option<String>,
    /// Not ready this long after its start: the arm failed.
    #[serde(default = "ten_seconds")]
    pub ready_within: Span,
    /// Time between two probes of a ready instance.
    #[serde(default = "one_second")]
    pub every: Span,
    /// Probes that must fail in a row before a ready instance is taken out of traffic.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub failures: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            http: None,
            ready_within: ten_seconds(),
            every: one_second(),
            failures: three(),
        }
    }
}

/// What identifies a user. Exactly one field is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sticky {
    /// The value of this cookie; the splitter sets one where a request has none.
    Cookie(String),
    /// The value of this request header; requests without it are divided by chance.
    Header(String),
}

/// How a release reaches users: at most one of the strategies, canary where none is named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    /// A growing share of requests, judged at every step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// A second full set of instances, swapped at once, kept for a swap back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreen>,
    /// All at once, as soon as the new instances are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_at_once: Option<AllAtOnce>,
    /// Evidence about the artifact that must be there before anything starts, such as
    /// `[signed, tests, scan: { max: high, age: 7d }]`. Returns to earlier versions never wait for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub require: Vec<Requirement>,
    /// What a new release does while a rollout runs.
    #[serde(default)]
    pub when_busy: WhenBusy,
    /// What a new release does while the error budget of one of its SLOs is spent.
    #[serde(default)]
    pub when_spent: WhenSpent,
    /// What a new release does while less than a quarter of an error budget is left.
    #[serde(default)]
    pub when_low: WhenLow,
    /// Without a renewal by a controller for this long, the agent returns traffic to stable.
    #[serde(default = "one_minute")]
    pub exposure_lease: Span,
}

impl Default for RolloutSpec {
    fn default() -> Self {
        Self {
            canary: None,
            blue_green: None,
            all_at_once: None,
            require: Vec::new(),
            when_busy: WhenBusy::default(),
            when_spent: WhenSpent::default(),
            when_low: WhenLow::default(),
            exposure_lease: one_minute(),
        }
    }
}

/// The strategy that a [`RolloutSpec`] means, after validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A growing share of requests, judged at every step.
    Canary(Canary),
    /// A second full set, swapped at once.
    BlueGreen(BlueGreen),
    /// All at once.
    AllAtOnce(AllAtOnce),
}

impl RolloutSpec {
    /// The strategy; a canary with default steps where none is named.
    pub fn strategy(&self) -> Strategy {
        if let Some(blue_green) = &self.blue_green {
            Strategy::BlueGreen(blue_green.clone())
        } else if let Some(all_at_once) = &self.all_at_once {
            Strategy::AllAtOnce(all_at_once.clone())
        } else {
            Strategy::Canary(self.canary.clone().unwrap_or_default())
        }
    }
}

/// A growing share of requests, judged at every step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Shares in growing order; the last one is `100%`.
    #[serde(default = "default_steps")]
    #[schemars(length(min = 1, max = 50))]
    pub steps: Vec<Weight>,
    /// How long a step lasts.
    #[serde(default)]
    pub bake: Bake,
    /// The longest that one step may wait for its evidence.
    #[serde(default = "twenty_minutes")]
    pub at_most: Span,
    /// What happens when a step has waited that long. Evidence is never assumed: the record
    /// says that the policy decided.
    #[serde(default)]
    pub then: Then,
    /// The share of stable's requests that is also copied to the canary while both serve; the answers to copies are thrown away.
    #[serde(default, skip_serializing_if = "weight_is_zero")]
    pub mirror: Weight,
    /// How long the new version is watched at 100 % before the old one is drained.
    #[serde(default = "ten_seconds")]
    pub hold_old: Span,
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            steps: default_steps(),
            bake: Bake::Auto,
            at_most: twenty_minutes(),
            then: Then::Hold,
            mirror: Weight::ZERO,
            hold_old: ten_seconds(),
        }
    }
}

/// How long a step lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^(auto|(\d+(ms|s|m|h|d))+)$", "examples" = ["auto", "5m"]))]
pub enum Bake {
    /// Until the evidence suffices.
    #[default]
    Auto,
    /// At least this long, and until the evidence suffices.
    AtLeast(Span),
}

impl TryFrom<String> for Bake {
    type Error = InvalidBake;
    fn try_from(text: String) -> Result<Self, InvalidBake> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse()
            .map(Self::AtLeast)
            .map_err(|_| InvalidBake { text })
    }
}
impl From<Bake> for String {
    fn from(bake: Bake) -> String {
        match bake {
            Bake::Auto => "auto".to_owned(),
            Bake::AtLeast(span) => span.to_string(),
        }
    }
}

/// Why a text is not a bake time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a bake time: write `auto` (until the evidence suffices) or a span such as `5m` (at least that long)"
)]
pub struct InvalidBake {
    /// The offending text.
    pub text: String,
}

/// What happens when a step's evidence has not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Keep the exposure, tell people, go on judging.
    #[default]
    Hold,
    /// Go to the next step.
    Promote,
    /// Return to stable.
    Rollback,
}

/// A second full set of instances, swapped at once, kept for a swap back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlueGreen {
    /// How long the old set stays up behind the new one, watched for a swap back.
    #[serde(default = "one_minute")]
    pub keep: Span,
}

/// All at once, as soon as the new instances are ready; the old ones are drained right away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllAtOnce {}

/// What a new release does while a rollout runs in its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// Waits; of several that wait, only the newest starts.
    #[default]
    Queue,
    /// Returns the running canary to stable, confirmed, then starts.
    Supersede,
    /// Is refused.
    Reject,
}

/// What a new release does while an SLO's error budget of 30 days is spent. Fixes and returns to
/// earlier versions always go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenSpent {
    /// Goes, with a warning to who ships it.
    #[default]
    Warn,
    /// Is refused, unless it is declared to be a fix.
    Refuse,
}

/// What a new release does while less than a quarter of an SLO's error budget is left. Fixes and
/// returns to earlier versions always go as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenLow {
    /// Goes as planned.
    #[default]
    Go,
    /// Goes slower: with a step between every two, and half the harm that each step may do.
    Slow,
}

fn one() -> u32 {
    1
}
fn three() -> u32 {
    3
}
fn one_second() -> Span {
    Span::secs(1)
}
fn ten() -> u32 {
    10
}
fn thirty_days() -> Span {
    Span::secs(30 * 24 * 3_600)
}
fn ten_seconds() -> Span {
    Span::secs(10)
}
fn thirty_seconds() -> Span {
    Span::secs(30)
}
fn one_minute() -> Span {
    Span::secs(60)
}
fn twenty_minutes() -> Span {
    Span::secs(20 * 60)
}
fn default_steps() -> Vec<Weight> {
    [100, 1_000, 5_000, 10_000]
        .map(Weight::from_basis_points)
        .to_vec()
}
fn weight_is_zero(weight: &Weight) -> bool {
    *weight == Weight::ZERO
}
