//! Every timer, derived from the state: a restart loses none.

use std::time::Duration;

use airboss_judge::Verdict;
use airboss_model::time::{after, since};
use airboss_model::{Span, Timestamp};

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
        Phase::Preparing { step, .. } => {
            // With enough instances only a person or evidence holds it, and no time ends that.
            let enough = lane.seen_arm(rollout.id()).ready >= rollout.needed(*step);
            prepare_deadline(rollout).filter(|_| !enough)
        }
        Phase::Shifting { since, .. } => stall_deadline(rollout, *since),
        Phase::Observing { .. } => observe_deadline(lane, rollout),
        // Stalled: only the target's confirmation ends it.
        Phase::Draining { .. } if rollout.stalled_since.is_some() => None,
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
        .then(|| after(since, ready_within.saturating_add(PREPARE_GRACE)))
}

/// When people are told that a weight asked for at `asked` is not confirmed. None once they were.
pub(crate) fn stall_deadline(rollout: &Rollout, asked: Timestamp) -> Option<Timestamp> {
    rollout
        .stalled_since
        .is_none()
        .then(|| after(asked, ROUTER_DEADLINE))
}

fn observe_deadline(lane: &Lane, rollout: &Rollout) -> Option<Timestamp> {
    let Phase::Observing {
        step,
        since,
        deadline_passed,
    } = rollout.phase
    else {
        return None;
    };
    let plan = rollout.plan.steps.get(step)?;
    let stall = rollout
        .unconfirmed_since
        .and_then(|lost| stall_deadline(rollout, lost));
    let end = may_end(lane, rollout, step).then(|| match may_take_all(lane, rollout, step) {
        true => after(since, plan.at_least.0),
        false => replace_deadline(rollout, since, plan.at_least),
    });
    let too_late = plan
        .at_most
        .filter(|_| {
            !deadline_passed && rollout.paused.is_none() && rollout.unconfirmed_since.is_none()
        })
        .map(|span| after(since, span.0));
    stall.into_iter().chain(end).chain(too_late).min()
}

/// True where the step that is observed may end as soon as its least time is over.
pub(crate) fn may_end(lane: &Lane, rollout: &Rollout, step: usize) -> bool {
    let proven = rollout
        .verdict
        .as_ref()
        .is_some_and(|note| note.step == step && note.verdict == Verdict::Pass)
        && !rollout.growth_held();
    let needs_pass = rollout
        .plan
        .steps
        .get(step)
        .is_none_or(|plan| plan.needs_pass);
    rollout.paused.is_none()
        && lane.follows()
        && (proven || !needs_pass)
        && rollout.shaken().is_empty()
}

/// True but for a last step whose instances are not all ready: the old version stays until the
/// new one can take its place.
pub(crate) fn may_take_all(lane: &Lane, rollout: &Rollout, step: usize) -> bool {
    !rollout.plan.is_last(step) || lane.seen_arm(rollout.id()).ready >= rollout.needed(step)
}

/// When the instances of a last step are given up.
pub(crate) fn replace_deadline(rollout: &Rollout, since: Timestamp, at_least: Span) -> Timestamp {
    let ready_within = process(&rollout.request.service).health.ready_within.0;
    let span = at_least
        .0
        .saturating_add(ready_within)
        .saturating_add(PREPARE_GRACE);
    after(since, span)
}

/// The time between two points in whole milliseconds, as the record keeps it.
pub(crate) fn elapsed(from: Timestamp, to: Timestamp) -> Span {
    let millis = since(from, to).as_millis();
    Span::millis(u64::try_from(millis).unwrap_or(u64::MAX))
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
        process(&rollout.request.service)
            .drain
            .0
            .saturating_add(DRAIN_GRACE),
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
