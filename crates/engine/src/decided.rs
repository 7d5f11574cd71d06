//! Who or what stands behind an event, for explanations and audits.

use std::fmt;

use airboss_model::RolloutId;

use crate::event::{Cause, Event, PassedBy};

/// Who or what decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// A person, or a program that asked in its own name.
    Person(String),
    /// A part of Airboss: `evidence`, `plan`, `policy`, `data plane`, `instances`, `lease`.
    Part(&'static str),
    /// A newer rollout.
    Rollout(RolloutId),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => f.write_str(name),
            Self::Part(name) => f.write_str(name),
            Self::Rollout(id) => id.fmt(f),
        }
    }
}

impl Event {
    /// Who or what decided this, and whether the judge's numbers mattered; None where nothing was
    /// decided.
    pub fn decided_by(&self) -> Option<(By, bool)> {
        let part = |name| Some((By::Part(name), false));
        let judged = |name| Some((By::Part(name), true));
        let person = |name: &String| By::Person(name.clone());
        match self {
            Self::Requested { request, .. } => Some((person(&request.by), false)),
            Self::EvidenceChanged { .. } => part("evidence"),
            Self::Started { .. } | Self::Withdrawn { .. } | Self::Ended { .. } => part("plan"),
            Self::StepConfirmed { .. } | Self::ReturnedToStable { .. } => part("data plane"),
            Self::StepPassed { by, .. } => match by {
                PassedBy::Evidence => judged("evidence"),
                PassedBy::Plan => part("plan"),
                PassedBy::Policy => judged("policy"),
                PassedBy::Person { name } => Some((person(name), true)),
            },
            Self::RollbackStarted { cause, .. } => match cause {
                Cause::Judge => judged("evidence"),
                Cause::Person { name, .. } => Some((person(name), false)),
                Cause::Instances => part("instances"),
                Cause::Lease => part("lease"),
                Cause::Deadline => judged("policy"),
                Cause::Superseded { by } => Some((By::Rollout(by.clone()), false)),
            },
            Self::VerdictChanged { .. } => judged("evidence"),
            Self::DeadlineHeld { .. } => judged("policy"),
            Self::Stalled { .. } | Self::StepUnconfirmed { .. } => part("data plane"),
            Self::Paused { by, .. } | Self::Resumed { by, .. } => Some((person(by), false)),
            Self::Promoted { .. } => part("plan"),
            Self::TargetLost { .. } => part("agent"),
            Self::Observed { .. }
            | Self::DesiredChanged { .. }
            | Self::StepShifting { .. }
            | Self::RollbackStaged { .. }
            | Self::RollbackRetried { .. } => None,
        }
    }
}
