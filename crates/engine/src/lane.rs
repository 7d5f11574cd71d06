//! The state of one service in one environment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use airboss_judge::Verdict;
use airboss_model::manifest::{ProcessTarget, Service, Target};
use airboss_model::target::{Desired, Observed, ObservedTraffic};
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, Digest, LaneId, ReleaseId, RolloutId, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::event::Cause;
use crate::input::Request;
use crate::plan::Plan;

/// How many earlier versions a lane remembers, to return to.
pub const EARLIER_MAX: usize = 10;

/// One service in one environment: what serves, what is on trial, what waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// Which service and environment.
    pub id: LaneId,
    /// The version that serves users.
    pub stable: Option<Deployed>,
    /// Versions that served before, newest first, at most [`EARLIER_MAX`].
    pub earlier: VecDeque<Deployed>,
    /// The rollout in progress.
    pub active: Option<Rollout>,
    /// Rollouts that wait for their turn, in order.
    pub queue: VecDeque<Request>,
    /// What the target was asked to make true last.
    pub desired: Option<Desired>,
    /// What the target reported last.
    pub seen: Option<Seen>,
    /// Since when the target is silent.
    pub target_lost: Option<Timestamp>,
}

impl Lane {
    /// A lane where nothing was ever deployed.
    pub fn new(id: LaneId) -> Self {
        Self {
            id,
            stable: None,
            earlier: VecDeque::new(),
            active: None,
            queue: VecDeque::new(),
            desired: None,
            seen: None,
            target_lost: None,
        }
    }

    /// True where the engine may have something to do without being asked.
    pub fn has_work(&self) -> bool {
        self.active.is_some() || !self.queue.is_empty() || self.stable.is_some()
    }

    /// True where the data plane has confirmed the desired traffic.
    pub fn traffic_confirmed(&self) -> bool {
        let (Some(desired), Some(seen)) = (&self.desired, self.seen_traffic()) else {
            return false;
        };
        seen.generation >= desired.generation
            && seen.canary_weight == desired.traffic.canary_weight
            && seen.canary == desired.traffic.canary
            && seen.stable == desired.traffic.stable
    }

    /// True where the target is heard and works by the desired traffic: no step ends and
    /// nothing is drained without it.
    pub fn follows(&self) -> bool {
        self.target_lost.is_none() && self.traffic_confirmed()
    }

    /// The newest generation that the target is known to have.
    pub(crate) fn seen_generation(&self) -> u64 {
        let traffic = self.seen_traffic().map_or(0, |traffic| traffic.generation);
        let seen = self.seen.as_ref().map_or(0, |seen| seen.generation);
        // No target counts this far: such a number is a fault and must not use up ours.
        match seen.max(traffic) {
            absurd if absurd > u64::MAX / 2 => 0,
            generation => generation,
        }
    }

    /// The routing table that the data plane works by, as far as it is known.
    pub fn seen_traffic(&self) -> Option<&ObservedTraffic> {
        self.seen.as_ref()?.traffic.as_ref()
    }

    /// What was seen of an arm last.
    pub fn seen_arm(&self, arm: &ArmId) -> SeenArm {
        self.seen
            .as_ref()
            .and_then(|seen| seen.arms.get(arm))
            .cloned()
            .unwrap_or_default()
    }
}

/// A version that serves, or served, all users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// The rollout that brought it; the arm has its name.
    pub arm: ArmId,
    /// The release.
    pub release: ReleaseId,
    /// The content.
    pub digest: Digest,
    /// The manifest that it came with.
    pub service: Arc<Service>,
    /// Since when it serves all users.
    pub since: Timestamp,
    /// How long its instances took to become ready: what a return to it would take.
    pub ready_took: Span,
}

/// How instances of this service run.
pub(crate) fn process(service: &Service) -> &ProcessTarget {
    match &service.spec.target {
        Target::Process(process) => process,
    }
}

/// A rollout in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// What was asked for.
    pub request: Request,
    /// What it will do.
    pub plan: Plan,
    /// When it started.
    pub started_at: Timestamp,
    /// Where it is.
    pub phase: Phase,
    /// Set while a person holds it.
    pub paused: Option<Paused>,
    /// The judge's newest verdict.
    pub verdict: Option<VerdictNote>,
    /// Since when the target has failed to follow; None while it follows.
    pub stalled_since: Option<Timestamp>,
    /// How long its first instances took to become ready.
    pub ready_took: Span,
    /// True once users may have met it.
    pub exposed: bool,
    /// The share that was set last on the way up: what the next step's preparation keeps.
    #[serde(default)]
    pub share: Weight,
    /// Since when the data plane no longer shows the weight of the step that is observed.
    #[serde(default)]
    pub unconfirmed_since: Option<Timestamp>,
    /// True while a step is prepared and shifted that a person asked for without waiting for
    /// the evidence of the one before.
    #[serde(default)]
    pub insisted: bool,
}

impl Rollout {
    /// The rollout's id.
    pub fn id(&self) -> &RolloutId {
        &self.request.rollout
    }
    /// The instances of the new version that a step needs.
    pub(crate) fn needed(&self, step: usize) -> u32 {
        let full = process(&self.request.service).instances;
        self.plan.weight(step).of_instances(full).max(1)
    }
    /// True where the evidence forbids to grow the exposure and no person insisted.
    pub(crate) fn growth_held(&self) -> bool {
        !self.insisted && self.verdict.as_ref().is_some_and(|note| note.hold_growth)
    }
    /// The phase's name for readers: `paused` where a person holds it.
    pub fn phase_name(&self) -> &'static str {
        if self.paused.is_some() && self.phase.step().is_some() {
            "paused"
        } else {
            self.phase.name()
        }
    }
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Phase {
    /// The instances that a step needs come up; traffic is as before the step.
    Preparing {
        /// The step, from 0.
        step: usize,
        /// Since when.
        since: Timestamp,
    },
    /// The step's weight is set and not yet confirmed by the data plane.
    Shifting {
        /// The step, from 0.
        step: usize,
        /// Since when.
        since: Timestamp,
    },
    /// The step's weight is in force; evidence gathers.
    Observing {
        /// The step, from 0.
        step: usize,
        /// When the weight was confirmed; moved on by the time spent paused.
        since: Timestamp,
        /// Whether the step's deadline was met by its policy `hold`.
        deadline_passed: bool,
    },
    /// Promoted: the new version is stable, the old one is drained.
    Draining {
        /// The arm that goes away.
        old: Option<ArmId>,
        /// Since when.
        since: Timestamp,
    },
    /// On the way back to stable.
    RollingBack {
        /// Who or what started it.
        cause: Cause,
        /// Why, in one line.
        reason: String,
        /// Since when.
        since: Timestamp,
        /// The canary's share that stable can not yet take; 0 % wherever stable has the capacity.
        weight: Weight,
        /// Extra stable instances asked for.
        surge: u32,
        /// When the data plane confirmed 0 %.
        returned_at: Option<Timestamp>,
        /// How often the target was asked again.
        retries: u32,
        /// When it was asked last.
        asked_at: Timestamp,
    },
}

impl Phase {
    /// The phase's name in output, API and store.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Preparing { .. } => "preparing",
            Self::Shifting { .. } => "shifting",
            Self::Observing { .. } => "observing",
            Self::Draining { .. } => "draining",
            Self::RollingBack { .. } => "rolling_back",
        }
    }
    /// The step, where the phase belongs to one.
    pub fn step(&self) -> Option<usize> {
        match self {
            Self::Preparing { step, .. }
            | Self::Shifting { step, .. }
            | Self::Observing { step, .. } => Some(*step),
            Self::Draining { .. } | Self::RollingBack { .. } => None,
        }
    }
}

/// Who holds a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// The person.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

/// The judge's newest verdict, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerdictNote {
    /// The step that it is about.
    pub step: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// One line for people.
    pub reason: String,
    /// Whether the evidence forbids to grow the exposure.
    pub hold_growth: bool,
}

/// What decisions rest on of a target's report; a report that says the same is no input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Seen {
    /// The newest generation that the target took in.
    pub generation: u64,
    /// The routing table in force.
    pub traffic: Option<ObservedTraffic>,
    /// The arms that have instances.
    pub arms: BTreeMap<ArmId, SeenArm>,
    /// Why the target cannot do what is asked.
    pub problems: Vec<String>,
}

/// What decisions rest on of one arm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeenArm {
    /// Instances ready for traffic.
    pub ready: u32,
    /// Instances that exist, in whatever state but stopped.
    pub present: u32,
    /// Starts after the first, over all instances.
    pub restarts: u32,
    /// Why the arm can never become ready.
    pub failed: Option<String>,
}

impl From<&Observed> for Seen {
    fn from(observed: &Observed) -> Self {
        use airboss_model::target::InstanceState::Stopped;
        let arms = observed
            .arms
            .iter()
            .map(|arm| {
                let present = arm.instances.iter().filter(|i| i.state != Stopped).count();
                let seen = SeenArm {
                    ready: arm.ready(),
                    present: u32::try_from(present).unwrap_or(u32::MAX),
                    restarts: arm
                        .instances
                        .iter()
                        .map(|i| i.restarts)
                        .fold(0, u32::saturating_add),
                    failed: arm.failed.clone(),
                };
                (arm.arm.clone(), seen)
            })
            .collect();
        Self {
            generation: observed.generation,
            traffic: observed.traffic.clone(),
            arms,
            problems: observed.problems.clone(),
        }
    }
}
