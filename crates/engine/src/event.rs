//! What happened: the record that states are folded from.

use airboss_judge::{Assessment, Verdict};
use airboss_model::evidence::ItemVerdict;
use airboss_model::manifest::Then;
use airboss_model::target::Desired;
use airboss_model::traffic::Weight;
use airboss_model::{RolloutId, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::gate;
use crate::input::Request;
use crate::lane::Seen;
use crate::plan::Plan;

/// Something that happened, with the time that it was decided at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A rollout was accepted; it waits for its turn.
    Requested {
        /// What was asked for.
        request: Request,
        /// True where it goes before all that wait.
        first_in_line: bool,
    },
    /// A waiting rollout ended without having been started.
    Withdrawn {
        /// Which.
        rollout: RolloutId,
        /// How it ended.
        outcome: Outcome,
        /// Why.
        reason: String,
    },
    /// The evidence that a rollout requires stands otherwise.
    EvidenceChanged {
        /// Which.
        rollout: RolloutId,
        /// How each item stands now.
        items: Vec<ItemVerdict>,
        /// When it was looked at.
        at: Timestamp,
    },
    /// A rollout left the queue and began.
    Started {
        /// Which.
        rollout: RolloutId,
        /// What it will do.
        plan: Plan,
        /// When.
        at: Timestamp,
    },
    /// The target's report changed.
    Observed {
        /// What matters of it.
        seen: Seen,
    },
    /// The target went silent.
    TargetLost {
        /// Its last report.
        since: Timestamp,
    },
    /// The target shall look otherwise.
    DesiredChanged {
        /// How.
        desired: Desired,
    },
    /// The instances that a step needs are ready and its weight is set.
    StepShifting {
        /// The step, from 0.
        step: usize,
        /// Its weight.
        weight: Weight,
        /// How long the instances took.
        ready_took: Span,
        /// When.
        at: Timestamp,
    },
    /// The data plane confirmed a step's weight.
    StepConfirmed {
        /// The step.
        step: usize,
        /// Its weight.
        weight: Weight,
        /// How long the confirmation took.
        took: Span,
        /// When.
        at: Timestamp,
    },
    /// The data plane no longer shows the weight of the step that is observed.
    StepUnconfirmed {
        /// The step.
        step: usize,
        /// The weight that it shall have.
        weight: Weight,
        /// The weight that the data plane shows; None where it shows no routing at all.
        seen: Option<Weight>,
        /// When.
        at: Timestamp,
    },
    /// The judge's verdict changed.
    VerdictChanged {
        /// The step that it is about.
        step: usize,
        /// Everything the judge says.
        assessment: Assessment,
    },
    /// A step's deadline passed and its policy is to hold.
    DeadlineHeld {
        /// The step.
        step: usize,
        /// One line.
        reason: String,
    },
    /// A step is over; the next one begins.
    StepPassed {
        /// The step that is over.
        step: usize,
        /// The step that begins.
        next: usize,
        /// Who or what decided.
        by: PassedBy,
        /// One line.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The target does not follow.
    Stalled {
        /// What it was asked and does not do.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// A person holds the rollout.
    Paused {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// A person lets it go on.
    Resumed {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// The way back to stable began.
    RollbackStarted {
        /// Who or what started it.
        cause: Cause,
        /// Why, in one line.
        reason: String,
        /// The share that stable can not take yet.
        weight: Weight,
        /// Extra stable instances asked for.
        surge: u32,
        /// When.
        at: Timestamp,
    },
    /// Stable can take more, or more was asked of it.
    RollbackStaged {
        /// The share that stable can not take yet.
        weight: Weight,
        /// Extra stable instances asked for.
        surge: u32,
    },
    /// The target was asked again.
    RollbackRetried {
        /// How often by now.
        retries: u32,
        /// When.
        at: Timestamp,
    },
    /// The data plane confirmed 0 %.
    ReturnedToStable {
        /// From the decision to the confirmation.
        took: Span,
        /// When.
        at: Timestamp,
    },
    /// The new version is stable.
    Promoted {
        /// One line.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The rollout is over.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why, in one line.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// Who or what ended a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum PassedBy {
    /// The judge's proof.
    Evidence,
    /// The plan: the step needs no proof and its time is over.
    Plan,
    /// The policy for a deadline without proof.
    Policy,
    /// A person.
    Person {
        /// Who.
        name: String,
    },
}

/// Who or what started a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum Cause {
    /// The judge's verdict `fail`.
    Judge,
    /// A person.
    Person {
        /// Who.
        name: String,
        /// Whether stable's capacity is to be ignored.
        force: bool,
    },
    /// The instances of the new version do not start or do not stay up.
    Instances,
    /// No controller renewed the exposure.
    Lease,
    /// The policy for a deadline without proof.
    Deadline,
    /// A newer rollout takes its place.
    Superseded {
        /// Which.
        by: RolloutId,
    },
}

/// How a rollout ended. Each one ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It serves all users.
    Shipped,
    /// It was exposed to users and taken back by evidence, lease or policy.
    RolledBack,
    /// A person ended it.
    Aborted,
    /// A newer one took its place.
    Superseded,
    /// It never became ready, or failed with nothing to return to.
    Failed,
}

impl Outcome {
    /// The word in output, API and store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }
}

impl Event {
    /// The kind in store and API, such as `step_passed`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Withdrawn { .. } => "withdrawn",
            Self::EvidenceChanged { .. } => "evidence_changed",
            Self::Started { .. } => "started",
            Self::Observed { .. } => "observed",
            Self::TargetLost { .. } => "target_lost",
            Self::DesiredChanged { .. } => "desired_changed",
            Self::StepShifting { .. } => "step_shifting",
            Self::StepConfirmed { .. } => "step_confirmed",
            Self::StepUnconfirmed { .. } => "step_unconfirmed",
            Self::VerdictChanged { .. } => "verdict_changed",
            Self::DeadlineHeld { .. } => "deadline_held",
            Self::StepPassed { .. } => "step_passed",
            Self::Stalled { .. } => "stalled",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::RollbackStarted { .. } => "rollback_started",
            Self::RollbackStaged { .. } => "rollback_staged",
            Self::RollbackRetried { .. } => "rollback_retried",
            Self::ReturnedToStable { .. } => "returned_to_stable",
            Self::Promoted { .. } => "promoted",
            Self::Ended { .. } => "ended",
        }
    }

    /// One line for people.
    pub fn message(&self) -> String {
        match self {
            Self::Requested { request, .. } => format!(
                "{} of {} asked for by {}",
                request.rollout, request.release, request.by
            ),
            Self::Withdrawn {
                rollout,
                outcome,
                reason,
            } => format!("{rollout} {}", outcome_message(*outcome, reason)),
            Self::EvidenceChanged { items, .. } => gate::message(items),
            Self::Started { plan, .. } => {
                let steps: Vec<String> = plan
                    .steps
                    .iter()
                    .map(|step| step.weight.to_string())
                    .collect();
                let note = plan
                    .note
                    .as_ref()
                    .map(|note| format!(" ({note})"))
                    .unwrap_or_default();
                format!("started: {} {}{note}", plan.strategy, steps.join(" → "))
            }
            Self::Observed { seen } => observed_message(seen),
            Self::TargetLost { since } => format!(
                "the target has been silent since {since}; until it reports nothing moves, and an exposure ends by its lease"
            ),
            Self::DesiredChanged { desired } => desired_message(desired),
            Self::StepShifting {
                weight, ready_took, ..
            } => format!("instances ready after {ready_took}; weight set to {weight}"),
            Self::StepConfirmed { weight, took, .. } => {
                format!("weight {weight} confirmed by the data plane in {took}")
            }
            Self::StepUnconfirmed { weight, seen, .. } => format!(
                "the data plane no longer confirms {weight}, it shows {}; the step's time stands still until it does",
                seen.map_or("nothing".to_owned(), |seen| seen.to_string())
            ),
            Self::VerdictChanged { assessment, .. } => format!(
                "verdict {}: {}",
                verdict_word(assessment.verdict),
                assessment.reason
            ),
            Self::StepPassed { step, reason, .. } => format!("step {} is over: {reason}", step + 1),
            Self::Promoted { reason, .. } => format!("now stable: {reason}"),
            Self::DeadlineHeld { reason, .. } | Self::Stalled { reason, .. } => reason.clone(),
            Self::Paused { by, .. } => format!("paused by {by}"),
            Self::Resumed { by, .. } => format!("resumed by {by}"),
            Self::RollbackStarted { reason, weight, .. } if *weight == Weight::ZERO => {
                format!("rolling back: {reason}")
            }
            Self::RollbackStarted { reason, weight, .. } => format!(
                "rolling back: {reason}; {weight} stays on the new version until stable has the capacity"
            ),
            Self::RollbackStaged { weight, surge, .. } => {
                format!("rolling back: down to {weight}, extra stable instances asked for: {surge}")
            }
            Self::RollbackRetried { retries, .. } => {
                format!("rolling back: the target was asked again (attempt {retries})")
            }
            Self::ReturnedToStable { took, .. } => {
                format!("back on stable: the data plane confirmed 0% {took} after the decision")
            }
            Self::Ended {
                outcome, reason, ..
            } => outcome_message(*outcome, reason),
        }
    }
}

fn verdict_word(verdict: Verdict) -> String {
    verdict.as_str().replace('_', " ")
}

fn outcome_message(outcome: Outcome, reason: &str) -> String {
    let word = outcome.as_str().replace('_', " ");
    if reason.starts_with(&word) {
        reason.to_owned()
    } else {
        format!("{word}: {reason}")
    }
}

fn observed_message(seen: &Seen) -> String {
    let mut parts: Vec<String> = seen
        .arms
        .iter()
        .map(|(arm, seen)| match &seen.failed {
            Some(failed) => format!(
                "{arm} failed: {}",
                failed.lines().next().unwrap_or_default()
            ),
            None => format!("{arm} {} of {} ready", seen.ready, seen.present),
        })
        .collect();
    if let Some(traffic) = &seen.traffic {
        parts.push(match (&traffic.canary, &traffic.stable) {
            (Some(canary), _) => format!("{canary} has {}", traffic.canary_weight),
            (None, Some(stable)) => format!("all traffic on {stable}"),
            (None, None) => "no version has traffic".to_owned(),
        });
        if let Some(at) = traffic.lease_expired_at {
            parts.push(format!("the exposure lease ran out at {at}"));
        }
    }
    parts.extend(seen.problems.iter().cloned());
    if parts.is_empty() {
        parts.push("no instances".to_owned());
    }
    format!("target: {}", parts.join(", "))
}

fn desired_message(desired: &Desired) -> String {
    let arms: Vec<String> = desired
        .arms
        .iter()
        .map(|arm| format!("{} × {}", arm.instances, arm.arm))
        .collect();
    let share = match (&desired.traffic.canary, &desired.traffic.stable) {
        (Some(canary), _) => format!("{} to {canary}", desired.traffic.canary_weight),
        (None, Some(stable)) => format!("all traffic to {stable}"),
        (None, None) => "no traffic".to_owned(),
    };
    let arms = if arms.is_empty() {
        "no instances".to_owned()
    } else {
        arms.join(", ")
    };
    format!(
        "asked of the target (generation {}): {arms}; {share}",
        desired.generation
    )
}

/// What a deadline without proof leads to, in words.
pub(crate) fn then_word(then: Then) -> &'static str {
    match then {
        Then::Hold => "hold",
        Then::Promote => "promote",
        Then::Rollback => "roll back",
    }
}
