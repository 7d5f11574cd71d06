//! Every timer, derived from the state: a restart loses none.

use std::time::Duration;

use airboss_judge::Verdict;
use airboss_model::Timestamp;
use airboss_model::time::after;

use crate::lane::{Lane, Phase, Rollout, process};

/// How long a data plane may take to confirm a weight before people are told.
pub const ROUTER_DEADLINE: Duration = Duration::from_secs(10);

/// What instances get on top of their `ready_within`, for fetching and unpacking.
pub(crate) const PREPARE_GRACE: Duration = Duration::from_secs(60);

/// What a drain gets on top of its `drain`, for ending processes.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(15);

/// The longest wait between two attempts to have a rollback followed.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// When to send [`crate::Input::Clock`] next, if nothing else comes before. The time may have
/// passed already.
pub fn next_deadline(lane: &Lane) -> Option<Timestamp> {
    let rollout = lane.active.as_ref()?;
    match &rollout.phase {
        Phase::Preparing { .. } => prepare_deadline(rollout),
        Phase::Shifting { since, .. } => rollout
            .stalled_since
            .is_none()
            .then(|| after(*since, ROUTER_DEADLINE)),
        Phase::Observing { .. } => observe_deadline(rollout),
        Phase::Draining { .. }
        | Phase::RollingBack {
            returned_at: Some(_),
            ..
        } => drain_deadline(rollout),
        Phase::RollingBack { .. } => retry_at(rollout),
    }
}

/// When the instances of a step are too late. None while paused.
pub(crate) fn prepare_deadline(rollout: &Rollout) -> Option<Timestamp> {
    let Phase::Preparing { since, .. } = rollout.phase else {
        return None;
    };
    let ready_within = process(&rollout.request.service).health.ready_within.0;
    rollout
        .paused
        .is_none()
        .then(|| after(since, ready_within + PREPARE_GRACE))
}

fn observe_deadline(rollout: &Rollout) -> Option<Timestamp> {
    let Phase::Observing {
        step,
        since,
        deadline_passed,
    } = rollout.phase
    else {
        return None;
    };
    let plan = rollout.plan.steps.get(step)?;
    if rollout.paused.is_some() {
        return None;
    }
    let proven = rollout
        .verdict
        .as_ref()
        .is_some_and(|note| note.step == step && note.verdict == Verdict::Pass);
    let may_pass = (!plan.needs_pass || proven).then(|| after(since, plan.at_least.0));
    let too_late = plan
        .at_most
        .filter(|_| !deadline_passed)
        .map(|span| after(since, span.0));
    may_pass.into_iter().chain(too_late).min()
}

/// When to stop waiting for an arm to be gone.
pub(crate) fn drain_deadline(rollout: &Rollout) -> Option<Timestamp> {
    let since = match rollout.phase {
        Phase::Draining { since, .. } => since,
        Phase::RollingBack {
            returned_at: Some(at),
            ..
        } => at,
        _ => return None,
    };
    Some(after(
        since,
        process(&rollout.request.service).drain.0 + DRAIN_GRACE,
    ))
}

/// When to ask the target again: after 2, 4, 8 … seconds, at most every minute.
pub(crate) fn retry_at(rollout: &Rollout) -> Option<Timestamp> {
    let Phase::RollingBack {
        asked_at,
        retries,
        returned_at: None,
        ..
    } = rollout.phase
    else {
        return None;
    };
    let wait =
        Duration::from_secs(2_u64.saturating_pow(retries.saturating_add(1).min(6))).min(RETRY_MAX);
    Some(after(asked_at, wait))
}
