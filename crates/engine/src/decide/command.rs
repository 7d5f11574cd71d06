//! What people ask for.

use airboss_model::manifest::WhenBusy;
use airboss_model::{ReleaseId, RolloutId};

use super::Turn;
use crate::event::{Cause, Event, Outcome, PassedBy};
use crate::input::{Answer, Command, Refusal, Request};
use crate::lane::{Phase, process};
use crate::plan::Plan;

impl Turn {
    pub(super) fn command(&mut self, command: &Command, by: &str) -> Answer {
        match command {
            Command::Ship(request) => self.ship(request),
            Command::Pause { rollout } => self.pause(rollout, by),
            Command::Resume { rollout } => self.resume(rollout, by),
            Command::Promote { rollout, full } => self.promote(rollout, *full, by),
            Command::Abort {
                rollout,
                force,
                reason,
            } => self.abort(rollout, *force, reason, by),
            Command::Rollback {
                rollout,
                to,
                reason,
            } => self.rollback(rollout, to.as_ref(), reason, by),
        }
    }

    fn ship(&mut self, request: &Request) -> Answer {
        let id = &request.rollout;
        let Some(active) = self.active() else {
            self.enqueue(request, false);
            return accepted(id, format!("{} starts", request.rollout));
        };
        let active_id = active.id().clone();
        let draining = matches!(active.phase, Phase::Draining { .. });
        if active.request.digest == request.digest
            && process(&active.request.service) == process(&request.service)
            && !matches!(active.phase, Phase::RollingBack { .. })
        {
            return refused(
                Refusal::Busy,
                format!(
                    "{active_id} rolls out the same content already; follow it with `airboss watch {active_id}`"
                ),
            );
        }
        // A return to what is stable is a rollback, and a rollback always proceeds.
        if self.is_stable(request) {
            self.enqueue(request, true);
            let reason = format!(
                "{} returns to {}, which is stable",
                request.by, request.release
            );
            self.roll_back(Cause::Superseded { by: id.clone() }, reason, false);
            return accepted(
                id,
                format!(
                    "{active_id} is taken back; {} is stable again once that is confirmed",
                    request.release
                ),
            );
        }
        match request.service.spec.rollout.when_busy {
            WhenBusy::Reject => refused(
                Refusal::Busy,
                format!(
                    "{active_id} is in progress and `when_busy` is `reject`; wait for it, or end it with `airboss abort {active_id}`"
                ),
            ),
            WhenBusy::Queue => {
                self.enqueue(request, false);
                accepted(id, format!("{id} waits for {active_id}"))
            }
            WhenBusy::Supersede => {
                self.enqueue(request, false);
                if draining {
                    return accepted(
                        id,
                        format!("{id} starts once {active_id} has drained the old version"),
                    );
                }
                let reason = format!("{id} of {} takes its place", request.release);
                self.roll_back(Cause::Superseded { by: id.clone() }, reason, false);
                accepted(
                    id,
                    format!("{active_id} is taken back first; {id} starts once that is confirmed"),
                )
            }
        }
    }

    /// Puts a request in line; older ones that wait are superseded by it.
    fn enqueue(&mut self, request: &Request, first_in_line: bool) {
        let waiting: Vec<RolloutId> = self
            .lane
            .queue
            .iter()
            .map(|older| older.rollout.clone())
            .collect();
        for rollout in waiting {
            let reason = format!(
                "{} of {} by {} is newer",
                request.rollout, request.release, request.by
            );
            self.emit(Event::Withdrawn {
                rollout,
                outcome: Outcome::Superseded,
                reason,
            });
        }
        self.emit(Event::Requested {
            request: request.clone(),
            first_in_line,
        });
    }

    pub(super) fn is_stable(&self, request: &Request) -> bool {
        self.lane.stable.as_ref().is_some_and(|stable| {
            stable.digest == request.digest && process(&stable.service) == process(&request.service)
        })
    }

    fn pause(&mut self, rollout: &RolloutId, by: &str) -> Answer {
        let Some(active) = self.active().filter(|active| active.id() == rollout) else {
            return self.not_in_progress(rollout);
        };
        if active.phase.step().is_none() {
            return wrong_phase(rollout, active.phase.name(), "it cannot be held any more");
        }
        if let Some(paused) = &active.paused {
            return accepted(
                rollout,
                format!("{rollout} is paused already, by {}", paused.by),
            );
        }
        self.emit(Event::Paused {
            by: by.to_owned(),
            at: self.now,
        });
        accepted(
            rollout,
            format!(
                "{rollout} takes no further step; it is still judged, and still taken back if it fails"
            ),
        )
    }

    fn resume(&mut self, rollout: &RolloutId, by: &str) -> Answer {
        let Some(active) = self.active().filter(|active| active.id() == rollout) else {
            return self.not_in_progress(rollout);
        };
        if active.paused.is_none() {
            return accepted(rollout, format!("{rollout} is not paused"));
        }
        self.emit(Event::Resumed {
            by: by.to_owned(),
            at: self.now,
        });
        accepted(rollout, format!("{rollout} goes on"))
    }

    fn promote(&mut self, rollout: &RolloutId, full: bool, by: &str) -> Answer {
        let Some(active) = self.active().filter(|active| active.id() == rollout) else {
            return self.not_in_progress(rollout);
        };
        let Phase::Observing { step, .. } = active.phase else {
            return wrong_phase(
                rollout,
                active.phase.name(),
                "a step can be ended once its weight is confirmed",
            );
        };
        let judged = active.verdict.as_ref().filter(|note| note.step == step);
        let verdict = judged.map_or("not judged yet".to_owned(), |note| note.reason.clone());
        let last = active.plan.steps.len() - 1;
        let next = if full { last } else { step + 1 };
        if active.plan.is_last(step) {
            let reason = format!("{by} ended the last step; the evidence then: {verdict}");
            self.emit(Event::Promoted {
                reason,
                at: self.now,
            });
            return accepted(
                rollout,
                format!("{rollout} serves all users; the old version is drained"),
            );
        }
        let weight = active.plan.weight(next);
        let reason =
            format!("{by} went on to {weight} without waiting; the evidence then: {verdict}");
        self.emit(Event::StepPassed {
            step,
            next,
            by: PassedBy::Person {
                name: by.to_owned(),
            },
            reason,
            at: self.now,
        });
        accepted(rollout, format!("{rollout} goes on to {weight}"))
    }

    fn abort(&mut self, rollout: &RolloutId, force: bool, reason: &str, by: &str) -> Answer {
        let reason = if reason.is_empty() {
            format!("aborted by {by}")
        } else {
            format!("aborted by {by}: {reason}")
        };
        if self
            .lane
            .queue
            .iter()
            .any(|waiting| waiting.rollout == *rollout)
        {
            self.emit(Event::Withdrawn {
                rollout: rollout.clone(),
                outcome: Outcome::Aborted,
                reason,
            });
            return accepted(rollout, format!("{rollout} is taken out of the queue"));
        }
        let Some(active) = self.active().filter(|active| active.id() == rollout) else {
            return self.not_in_progress(rollout);
        };
        match &active.phase {
            Phase::Draining { .. } => {
                let offer = self.offer_of_a_return();
                wrong_phase(
                    rollout,
                    "draining",
                    &format!("it serves all users and the old version is on its way out. {offer}"),
                )
            }
            Phase::RollingBack { .. } if !force => {
                accepted(rollout, format!("{rollout} is on its way back already"))
            }
            _ => {
                self.roll_back(
                    Cause::Person {
                        name: by.to_owned(),
                        force,
                    },
                    reason,
                    force,
                );
                accepted(rollout, format!("{rollout} is taken back"))
            }
        }
    }

    fn rollback(
        &mut self,
        rollout: &RolloutId,
        to: Option<&ReleaseId>,
        reason: &str,
        by: &str,
    ) -> Answer {
        let draining = self
            .active()
            .is_some_and(|active| matches!(active.phase, Phase::Draining { .. }));
        if let Some(active) = self.active().filter(|_| !draining && to.is_none()) {
            let id = active.id().clone();
            return self.abort(&id, false, reason, by);
        }
        let found = match to {
            None => self.lane.earlier.front(),
            Some(release) => self
                .lane
                .earlier
                .iter()
                .find(|earlier| earlier.release == *release),
        };
        let Some(target) = found.cloned() else {
            let known: Vec<&str> = self
                .lane
                .earlier
                .iter()
                .map(|earlier| earlier.release.as_str())
                .collect();
            let message = match (to, known.is_empty()) {
                (_, true) => format!("{} has no earlier version to return to", self.lane.id),
                (Some(release), _) => format!(
                    "{release} never served {}; earlier versions: {}",
                    self.lane.id,
                    known.join(", ")
                ),
                (None, _) => format!("{} has no earlier version to return to", self.lane.id),
            };
            return refused(Refusal::NothingToReturnTo, message);
        };
        if let Some(active) = self.active().filter(|_| !draining) {
            let why = format!("{by} returns to {}", target.release);
            let _ = active;
            self.roll_back(
                Cause::Superseded {
                    by: rollout.clone(),
                },
                why,
                false,
            );
        }
        let request = Request {
            rollout: rollout.clone(),
            release: target.release.clone(),
            digest: target.digest,
            service: target.service.clone(),
            by: by.to_owned(),
            at: self.now,
            is_return: true,
        };
        self.enqueue(&request, true);
        accepted(
            rollout,
            format!(
                "{rollout} returns to {}; its instances took {} to become ready the last time",
                target.release, target.ready_took
            ),
        )
    }

    fn offer_of_a_return(&self) -> String {
        match self.lane.earlier.front() {
            Some(earlier) => format!(
                "`airboss rollback {}` returns to {}; its instances took {} to become ready the last time",
                self.lane.id.service(),
                earlier.release,
                earlier.ready_took
            ),
            None => "There is no earlier version to return to".to_owned(),
        }
    }

    fn not_in_progress(&self, rollout: &RolloutId) -> Answer {
        let shipped = self
            .lane
            .stable
            .as_ref()
            .is_some_and(|stable| stable.arm == *rollout);
        let now = match (self.active(), shipped) {
            (_, true) => format!("{rollout} has shipped. {}", self.offer_of_a_return()),
            (Some(active), false) => format!("{rollout} is not in progress; {} is", active.id()),
            (None, false) => format!(
                "{rollout} is not in progress, and nothing is in {}",
                self.lane.id
            ),
        };
        refused(Refusal::NotInProgress, now)
    }
}

/// The plan that a request starts with.
pub(super) fn plan_of(request: &Request, has_stable: bool) -> Plan {
    let strategy = request.service.spec.rollout.strategy();
    if !has_stable {
        Plan::first(&strategy)
    } else if request.is_return {
        Plan::return_to_earlier()
    } else {
        Plan::of(&strategy)
    }
}

fn accepted(rollout: &RolloutId, message: String) -> Answer {
    Answer::Accepted {
        rollout: rollout.clone(),
        message,
    }
}

fn refused(refusal: Refusal, message: String) -> Answer {
    Answer::Refused { refusal, message }
}

fn wrong_phase(rollout: &RolloutId, phase: &str, why: &str) -> Answer {
    refused(
        Refusal::WrongPhase,
        format!("{rollout} is {}: {why}", phase.replace('_', " ")),
    )
}
