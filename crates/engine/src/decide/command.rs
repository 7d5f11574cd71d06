//! What people ask for.

use airboss_model::manifest::WhenBusy;
use airboss_model::{ReleaseId, RolloutId};

use super::Turn;
use crate::event::{Cause, Event, Outcome, PassedBy};
use crate::gate::told;
use crate::input::{Answer, Command, Refusal, Request, Urgency};
use crate::lane::{Phase, process};
use crate::plan::Plan;
use crate::timer::may_take_all;

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
        if self.is_known(id) {
            return accepted(id, format!("{id} was asked for already"));
        }
        let Some(active) = self.active() else {
            let message = if self.is_stable(request) {
                self.nothing_to_change(request)
            } else {
                match self.blocked(request) {
                    Some(lacking) => self.waits_for_evidence(request, &lacking),
                    None => format!("{id} starts"),
                }
            };
            self.enqueue(request);
            return accepted(id, message);
        };
        let active_id = active.id().clone();
        let draining = matches!(active.phase, Phase::Draining { .. });
        let going_back = matches!(active.phase, Phase::RollingBack { .. });
        let serves_alone = active.exposed && self.lane.stable.is_none() && !going_back;
        let or_end_it = if draining || going_back {
            String::new()
        } else {
            format!(", or end it with `airboss abort {active_id}`")
        };
        if active.request.digest == request.digest
            && process(&active.request.service) == process(&request.service)
            && !going_back
        {
            return refused(
                Refusal::Busy,
                format!(
                    "{active_id} rolls out the same content already: follow it with `airboss watch {active_id}`{or_end_it}"
                ),
            );
        }
        let when_busy = request.service.spec.rollout.when_busy;
        // A return always proceeds: nothing that is shipped takes its place.
        if active.request.is_return && !going_back && !draining && when_busy != WhenBusy::Reject {
            let message = format!(
                "{id} waits for {active_id}, which returns to {}",
                active.request.release
            );
            self.enqueue(request);
            return accepted(id, message);
        }
        // A return to what is stable is a rollback, and a rollback always proceeds.
        if self.is_stable(request) {
            self.enqueue(request);
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
        match when_busy {
            WhenBusy::Reject => refused(
                Refusal::Busy,
                format!(
                    "{active_id} is in progress and `when_busy` is `reject`: wait for it{or_end_it}"
                ),
            ),
            WhenBusy::Queue => {
                self.enqueue(request);
                accepted(id, format!("{id} waits for {active_id}"))
            }
            WhenBusy::Supersede => {
                self.enqueue(request);
                // Taking the first version down for the second would leave users with none.
                if serves_alone {
                    return accepted(
                        id,
                        format!(
                            "{id} starts once {active_id} is stable: there is no other version to serve until then"
                        ),
                    );
                }
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

    /// Says that a request is blocked, to who asks and to who looks after it.
    fn waits_for_evidence(&mut self, request: &Request, lacking: &str) -> String {
        let id = &request.rollout;
        self.notify(
            Urgency::Ticket,
            format!(
                "{id} of {} waits for its evidence: {lacking}",
                request.release
            ),
        );
        // Each item with what to do about it goes to who asks beside this.
        format!("{id} waits for its evidence and starts by itself once it is there")
    }

    /// Puts a request in line; older ones that wait are superseded by it, but only a return
    /// supersedes a return.
    fn enqueue(&mut self, request: &Request) {
        let waiting: Vec<RolloutId> = self
            .lane
            .queue
            .iter()
            .filter(|older| request.is_return || !older.is_return)
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
            first_in_line: request.is_return,
        });
    }

    /// True where a rollout or an arm has this id already: a command that was sent twice.
    fn is_known(&self, id: &RolloutId) -> bool {
        let lane = &self.lane;
        self.active().is_some_and(|active| active.id() == id)
            || lane.queue.iter().any(|waiting| waiting.rollout == *id)
            || lane
                .stable
                .iter()
                .chain(&lane.earlier)
                .any(|deployed| deployed.arm == *id)
    }

    /// Why a request for what is stable already changes nothing.
    pub(super) fn nothing_to_change(&self, request: &Request) -> String {
        match &self.lane.stable {
            Some(stable) if stable.release != request.release => format!(
                "{} has the content of {}, which is stable: nothing to change",
                request.release, stable.release
            ),
            _ => format!("{} is stable already: nothing to change", request.release),
        }
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
        if active.phase.step().is_none() {
            return wrong_phase(
                rollout,
                active.phase.name(),
                "there is nothing to go on with",
            );
        }
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
        let step = match active.phase {
            Phase::Observing { step, .. } => step,
            // Only the evidence keeps a prepared step from its weight: a person may insist.
            Phase::Preparing { step, .. } if step > 0 && active.growth_held() => step - 1,
            _ => {
                let why = match active.phase {
                    Phase::RollingBack { .. } => "it is on its way back; ship the release again",
                    Phase::Draining { .. } => "it serves all users already",
                    _ => "a step can be ended once its weight is confirmed",
                };
                return wrong_phase(rollout, active.phase.name(), why);
            }
        };
        let shaken = active.shaken();
        if !shaken.is_empty() {
            return refused(
                Refusal::Evidence,
                format!(
                    "the evidence of {} holds no longer: {}. It goes on by itself once it does; `airboss abort {rollout}` ends it",
                    active.request.release,
                    told(&shaken)
                ),
            );
        }
        let judged = active.verdict.as_ref().filter(|note| note.step == step);
        let verdict = judged.map_or("not judged yet".to_owned(), |note| note.reason.clone());
        let last = active.plan.steps.len().saturating_sub(1);
        let next = if full { last } else { step + 1 };
        if active.plan.is_last(step) {
            if !self.lane.follows() || !may_take_all(&self.lane, active, step) {
                let why = format!(
                    "the old version stays until the data plane confirms 100% (it shows {}) and {} instances of the new one are ready ({} are)",
                    self.shown(),
                    active.needed(step),
                    self.lane.seen_arm(rollout).ready
                );
                return wrong_phase(rollout, active.phase.name(), &why);
            }
            let reason = format!("{by} ended the last step; the evidence then: {verdict}");
            self.emit(Event::Promoted {
                reason,
                at: self.now,
            });
            return accepted(rollout, format!("{rollout} serves all users"));
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
        let reason = because(&format!("aborted by {by}"), reason);
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
                let message = if self.lane.stable.is_some() {
                    format!("{rollout} is taken back")
                } else {
                    format!(
                        "{rollout} is taken down; it is the first version, so none is left to serve"
                    )
                };
                accepted(rollout, message)
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
        if self.is_known(rollout) {
            return accepted(rollout, format!("{rollout} was asked for already"));
        }
        let draining = self
            .active()
            .is_some_and(|active| matches!(active.phase, Phase::Draining { .. }));
        if let Some(active) = self.active().filter(|_| !draining) {
            let id = active.id().clone();
            let release = active.request.release.clone();
            let going_back = matches!(active.phase, Phase::RollingBack { .. });
            // Asked for twice: the second time must not take the first one back.
            if active.request.is_return && !going_back && to.is_none_or(|to| *to == release) {
                return accepted(&id, format!("{id} returns to {release} already"));
            }
            if to.is_none() {
                return self.abort(&id, false, reason, by);
            }
        }
        if let Some(to) = to
            && let Some(stable) = self.lane.stable.clone()
            && stable.release == *to
        {
            return match self.active().filter(|_| !draining) {
                Some(active) => {
                    let id = active.id().clone();
                    self.abort(&id, false, reason, by)
                }
                None => accepted(
                    &stable.arm,
                    format!("{to} is stable already: nothing to change"),
                ),
            };
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
        if !draining {
            let why = because(&format!("{by} returns to {}", target.release), reason);
            let by = rollout.clone();
            self.roll_back(Cause::Superseded { by }, why, false);
        }
        let request = Request {
            rollout: rollout.clone(),
            release: target.release.clone(),
            digest: target.digest,
            service: target.service.clone(),
            by: by.to_owned(),
            at: self.now,
            is_return: true,
            slow: None,
            evidence: Vec::new(),
        };
        self.enqueue(&request);
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
        let waiting = self.lane.queue.iter().find(|it| it.rollout == *rollout);
        if let Some(lacking) = waiting.and_then(|request| self.blocked(request)) {
            return refused(
                Refusal::Evidence,
                format!(
                    "{rollout} has not started: it waits for its evidence and starts by itself once it is there: {lacking}"
                ),
            );
        }
        let now = match (self.active(), shipped) {
            (_, true) => format!("{rollout} has shipped. {}", self.offer_of_a_return()),
            (Some(active), false) => format!("{rollout} is not in progress; {} is", active.id()),
            (None, false) => format!(
                "{rollout} is not in progress; no rollout of {} is",
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
        let plan = Plan::of(&strategy);
        match &request.slow {
            Some(why) => plan.slowed(why),
            None => plan,
        }
    }
}

/// What was done, with the reason that a person gave, where they gave one.
fn because(what: &str, reason: &str) -> String {
    match reason {
        "" => what.to_owned(),
        reason => format!("{what}: {reason}"),
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
