//! Folding an event into the state. It takes every event as a fact and refuses none, so that
//! a record written by older code can always be replayed.

use airboss_model::time::{after, since};
use airboss_model::traffic::Weight;
use airboss_model::{Span, Timestamp};

use crate::event::{Event, PassedBy};
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
        Event::EvidenceChanged { rollout, items, .. } => {
            let active = lane.active.as_mut().map(|active| &mut active.request);
            for request in lane.queue.iter_mut().chain(active) {
                if request.rollout == *rollout {
                    request.evidence.clone_from(items);
                }
            }
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
                    share: Weight::ZERO,
                    unconfirmed_since: None,
                    insisted: false,
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
        Event::Ended { .. } => lane.active = None,
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
            weight,
            ready_took,
            at,
        } => {
            rollout.share = *weight;
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
            rollout.insisted = false;
            let lost = rollout.unconfirmed_since.take();
            match (&mut rollout.phase, lost) {
                // The step goes on where it was: the time without its weight does not count.
                (Phase::Observing { since, .. }, Some(lost)) => *since = held(*since, lost, *at),
                (phase, _) => {
                    *phase = Phase::Observing {
                        step: *step,
                        since: *at,
                        deadline_passed: false,
                    };
                }
            }
        }
        Event::StepUnconfirmed { at, .. } => rollout.unconfirmed_since = Some(*at),
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
        Event::StepPassed { next, by, at, .. } => {
            rollout.paused = None;
            rollout.stalled_since = None;
            rollout.unconfirmed_since = None;
            rollout.insisted = matches!(by, PassedBy::Person { .. });
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
            if let Some(paused) = rollout.paused.take()
                && let Phase::Preparing { since, .. } | Phase::Observing { since, .. } =
                    &mut rollout.phase
            {
                *since = held(*since, paused.at, *at);
            }
        }
        Event::RollbackStarted {
            cause,
            reason,
            weight,
            surge,
            at,
        } => {
            rollout.paused = None;
            rollout.stalled_since = None;
            rollout.unconfirmed_since = None;
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

/// A start moved on by the time from `from` to `to`, of which only what lies behind the start
/// counts; never behind `to`.
fn held(start: Timestamp, from: Timestamp, to: Timestamp) -> Timestamp {
    after(start, since(from.max(start), to)).min(to.max(start))
}

fn promote(lane: &mut Lane, at: Timestamp) {
    let Some(rollout) = &mut lane.active else {
        return;
    };
    rollout.paused = None;
    rollout.stalled_since = None;
    rollout.unconfirmed_since = None;
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
