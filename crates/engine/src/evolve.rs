//! Folding an event into the state. It takes every event as a fact and refuses none, so that
//! a record written by older code can always be replayed.

use airboss_model::time::{after, since};
use airboss_model::traffic::Weight;
use airboss_model::{Span, Timestamp};

use crate::event::{Event, Outcome};
use crate::lane::{Deployed, EARLIER_MAX, Lane, Paused, Phase, Rollout, VerdictNote};

/// The lane after an event.
pub fn evolve(mut lane: Lane, event: &Event) -> Lane {
    match event {
        Event::Requested {
            request,
            first_in_line,
        } => {
            if *first_in_line {
                lane.queue.push_front(request.clone());
            } else {
                lane.queue.push_back(request.clone());
            }
        }
        Event::Withdrawn { rollout, .. } => {
            lane.queue.retain(|waiting| waiting.rollout != *rollout)
        }
        Event::Started { rollout, plan, at } => {
            if let Some(place) = lane
                .queue
                .iter()
                .position(|waiting| waiting.rollout == *rollout)
                && let Some(request) = lane.queue.remove(place)
            {
                lane.active = Some(Rollout {
                    request,
                    plan: plan.clone(),
                    started_at: *at,
                    phase: Phase::Preparing {
                        step: 0,
                        since: *at,
                    },
                    paused: None,
                    verdict: None,
                    stalled_since: None,
                    ready_took: Span::secs(0),
                    exposed: false,
                });
            }
        }
        Event::Observed { seen } => {
            lane.seen = Some(seen.clone());
            lane.target_lost = None;
        }
        Event::TargetLost { since } => lane.target_lost = Some(*since),
        Event::DesiredChanged { desired } => lane.desired = Some(desired.clone()),
        Event::Promoted { at, .. } => promote(&mut lane, *at),
        Event::Ended { outcome, .. } => {
            lane.active = None;
            // A service that was taken down with nothing behind it is no longer wanted.
            if *outcome != Outcome::Shipped && lane.stable.is_none() && lane.queue.is_empty() {
                lane.seen = lane.seen.filter(|seen| !seen.arms.is_empty());
            }
        }
        _ => {
            if let Some(rollout) = &mut lane.active {
                evolve_rollout(rollout, event);
            }
        }
    }
    lane
}

fn evolve_rollout(rollout: &mut Rollout, event: &Event) {
    match event {
        Event::StepShifting {
            step,
            ready_took,
            at,
            ..
        } => {
            if *step == 0 {
                rollout.ready_took = *ready_took;
            }
            rollout.exposed = true;
            rollout.phase = Phase::Shifting {
                step: *step,
                since: *at,
            };
        }
        Event::StepConfirmed { step, at, .. } => {
            rollout.stalled_since = None;
            rollout.phase = Phase::Observing {
                step: *step,
                since: *at,
                deadline_passed: false,
            };
        }
        Event::VerdictChanged { step, assessment } => {
            rollout.verdict = Some(VerdictNote {
                step: *step,
                verdict: assessment.verdict,
                reason: assessment.reason.clone(),
                hold_growth: assessment.hold_growth,
            });
        }
        Event::DeadlineHeld { .. } => {
            if let Phase::Observing {
                deadline_passed, ..
            } = &mut rollout.phase
            {
                *deadline_passed = true;
            }
        }
        Event::StepPassed { next, at, .. } => {
            rollout.paused = None;
            rollout.phase = Phase::Preparing {
                step: *next,
                since: *at,
            };
        }
        Event::Stalled { at, .. } => rollout.stalled_since = Some(*at),
        Event::Paused { by, at } => {
            rollout.paused = Some(Paused {
                by: by.clone(),
                at: *at,
            })
        }
        Event::Resumed { at, .. } => {
            if let Some(paused) = rollout.paused.take() {
                let held = since(paused.at, *at);
                match &mut rollout.phase {
                    Phase::Preparing { since, .. } | Phase::Observing { since, .. } => {
                        *since = after(*since, held)
                    }
                    _ => {}
                }
            }
        }
        Event::RollbackStarted {
            cause,
            reason,
            weight,
            surge,
            at,
        } => {
            rollout.stalled_since = None;
            rollout.phase = Phase::RollingBack {
                cause: cause.clone(),
                reason: reason.clone(),
                since: *at,
                weight: *weight,
                surge: *surge,
                // Nobody can be on a version that never had a share.
                returned_at: (!rollout.exposed).then_some(*at),
                retries: 0,
                asked_at: *at,
            };
        }
        Event::RollbackStaged {
            weight: to,
            surge: more,
            ..
        } => {
            if let Phase::RollingBack { weight, surge, .. } = &mut rollout.phase {
                *weight = *to;
                *surge = *more;
            }
        }
        Event::RollbackRetried { retries: count, at } => {
            if let Phase::RollingBack {
                retries,
                asked_at,
                since,
                ..
            } = &mut rollout.phase
            {
                *retries = *count;
                *asked_at = *at;
                rollout.stalled_since = Some(*since);
            }
        }
        Event::ReturnedToStable { at, .. } => {
            if let Phase::RollingBack {
                returned_at,
                weight,
                ..
            } = &mut rollout.phase
            {
                *returned_at = Some(*at);
                *weight = Weight::ZERO;
            }
            rollout.stalled_since = None;
        }
        _ => {}
    }
}

fn promote(lane: &mut Lane, at: Timestamp) {
    let Some(rollout) = &mut lane.active else {
        return;
    };
    let request = &rollout.request;
    let new = Deployed {
        arm: request.rollout.clone(),
        release: request.release.clone(),
        digest: request.digest,
        service: request.service.clone(),
        since: at,
        ready_took: rollout.ready_took,
    };
    // A return leaves a version behind that nobody shall come back to by `rollback`.
    let is_return = request.is_return;
    lane.earlier.retain(|earlier| earlier.digest != new.digest);
    let old = lane.stable.replace(new);
    rollout.phase = Phase::Draining {
        old: old.as_ref().map(|old| old.arm.clone()),
        since: at,
    };
    if let Some(old) = old
        && !is_return
    {
        lane.earlier.push_front(old);
        lane.earlier.truncate(EARLIER_MAX);
    }
}
