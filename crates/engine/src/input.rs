//! What the engine is told, and what it asks for.

use std::sync::Arc;

use airboss_judge::Assessment;
use airboss_model::evidence::ItemVerdict;
use airboss_model::manifest::Service;
use airboss_model::target::Desired;
use airboss_model::{Digest, LaneId, ReleaseId, RolloutId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::lane::Seen;

/// One fact. It is recorded together with what was decided on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "input")]
pub enum Input {
    /// A person or another program asks for something.
    Command {
        /// What is asked.
        command: Command,
        /// Who asks.
        by: String,
    },
    /// The target's report changed.
    Observed {
        /// What matters of it.
        seen: Seen,
    },
    /// The target has been silent.
    TargetLost {
        /// Its last report.
        last_seen: Timestamp,
    },
    /// The judge's verdict on the rollout in progress changed.
    Assessed {
        /// The rollout.
        rollout: RolloutId,
        /// The step that was judged.
        step: usize,
        /// What the judge says.
        assessment: Arc<Assessment>,
    },
    /// The evidence that a rollout requires was looked at.
    Evidence {
        /// The rollout.
        rollout: RolloutId,
        /// How each required item stands.
        items: Vec<ItemVerdict>,
    },
    /// A time that [`crate::next_deadline`] named has come.
    Clock,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Roll a release out.
    Ship(Request),
    /// Hold a rollout: no further step. It is still judged and still rolled back.
    Pause {
        /// The rollout in progress.
        rollout: RolloutId,
    },
    /// Go on.
    Resume {
        /// The rollout in progress.
        rollout: RolloutId,
    },
    /// Take the next step without waiting for its evidence.
    Promote {
        /// The rollout in progress.
        rollout: RolloutId,
        /// Go to 100 % at once.
        full: bool,
    },
    /// Return to stable and end the rollout; a waiting one is taken out of the queue.
    Abort {
        /// The rollout.
        rollout: RolloutId,
        /// Go to 0 % at once even where stable has not the capacity.
        force: bool,
        /// Why.
        reason: String,
    },
    /// Return to an earlier version. While a rollout is in progress, this is its abort.
    Rollback {
        /// The id of the rollout that carries it.
        rollout: RolloutId,
        /// Which release; the one before the present where None.
        to: Option<ReleaseId>,
        /// Why.
        reason: String,
    },
}

/// A rollout that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its id.
    pub rollout: RolloutId,
    /// What is rolled out.
    pub release: ReleaseId,
    /// The content.
    pub digest: Digest,
    /// The manifest to do it by.
    pub service: Arc<Service>,
    /// Who asked.
    pub by: String,
    /// When it was asked.
    pub at: Timestamp,
    /// True for a return to an earlier version.
    #[serde(default)]
    pub is_return: bool,
    /// Why it is to go slower than its manifest says, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<String>,
    /// How the evidence that the manifest requires stood when it was looked at last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<ItemVerdict>,
}

/// The engine's answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// It is done, or will be.
    Accepted {
        /// The rollout concerned.
        rollout: RolloutId,
        /// One line for people.
        message: String,
    },
    /// It is not done.
    Refused {
        /// Why, for programs.
        refusal: Refusal,
        /// Why and what to do next, for people.
        message: String,
    },
}

/// Why a command is refused, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The environment has a rollout in progress and its policy is `reject`.
    Busy,
    /// No such rollout is in progress or waiting here.
    NotInProgress,
    /// The rollout is not in a phase where this makes sense.
    WrongPhase,
    /// There is no earlier version to return to.
    NothingToReturnTo,
    /// Evidence that the manifest requires does not hold.
    Evidence,
}

/// What shall be done after the commit. Repeating an effect does no harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "effect")]
pub enum Effect {
    /// Make this true. A newer generation replaces it.
    Apply {
        /// What shall be true.
        desired: Desired,
    },
    /// Put on record, signed, that an artifact had the evidence that was required of it.
    Vouch {
        /// What was let through.
        release: ReleaseId,
        /// Its content.
        digest: Digest,
        /// Where to.
        lane: LaneId,
        /// The items, all of which passed.
        items: Vec<ItemVerdict>,
        /// When it was decided.
        at: Timestamp,
    },
    /// Tell people.
    Notify {
        /// How urgent it is.
        urgency: Urgency,
        /// One line.
        text: String,
    },
}

/// How soon a person shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Now: wake someone.
    Page,
    /// In working hours.
    Ticket,
    /// For information.
    Note,
}
