//! What is learnt from outside: what the target reports, what the judge says, and how the
//! artifact's evidence stands.

use airboss_judge::{Assessment, Verdict};
use airboss_model::evidence::ItemVerdict;
use airboss_model::{RolloutId, Timestamp};

use super::Turn;
use crate::event::{Cause, Event, Outcome};
use crate::gate::{differ, told};
use crate::input::Urgency;
use crate::lane::{Phase, Seen};

/// Restarts after which a version with no ready instance is given up.
const CRASHES: u32 = 3;

impl Turn {
    pub(super) fn observed(&mut self, seen: &Seen) {
        if self.lane.seen.as_ref() == Some(seen) && self.lane.target_lost.is_none() {
            return;
        }
        self.emit(Event::Observed { seen: seen.clone() });
        self.overtake();
        self.take_back_what_cannot_serve();
    }

    /// A target that has a newer generation than ours (the store came back from a backup)
    /// would refuse everything: what is wanted gets a generation above it.
    fn overtake(&mut self) {
        if let Some(desired) = &self.lane.desired
            && self.lane.seen_generation() > desired.generation
        {
            self.ask(desired.clone());
        }
    }

    /// A canary that does not start, does not stay up, or was taken out of traffic by its agent.
    fn take_back_what_cannot_serve(&mut self) {
        let Some(rollout) = self.active() else { return };
        if matches!(
            rollout.phase,
            Phase::RollingBack { .. } | Phase::Draining { .. }
        ) {
            return;
        }
        let id = rollout.id().clone();
        let arm = self.lane.seen_arm(&id);
        let lease = self.lane.seen_traffic().and_then(|traffic| {
            (traffic.canary.as_ref() == Some(&id))
                .then_some(traffic.lease_expired_at)
                .flatten()
        });
        if let Some(failed) = arm.failed {
            self.roll_back(Cause::Instances, failed, false);
        } else if let Some(at) = lease.filter(|_| rollout.exposed) {
            let lease = rollout.request.service.spec.rollout.exposure_lease;
            let reason = format!(
                "no controller renewed the exposure for {lease}; the agent returned traffic to stable by itself at {at}"
            );
            self.roll_back(Cause::Lease, reason, false);
        } else if rollout.exposed && arm.ready == 0 && arm.restarts >= CRASHES {
            let reason = format!(
                "its instances crashed {} times and none is ready",
                arm.restarts
            );
            self.roll_back(Cause::Instances, reason, false);
        }
    }

    pub(super) fn target_lost(&mut self, last_seen: Timestamp) {
        if self.lane.target_lost.is_none() {
            self.emit(Event::TargetLost { since: last_seen });
            if self.lane.active.is_some() {
                let text = format!(
                    "the agent of {} has been silent since {last_seen}; its exposure lease decides",
                    self.lane.id
                );
                self.notify(Urgency::Page, text);
            }
        }
    }

    /// How a rollout's required evidence stands now: the latest look wins.
    pub(super) fn evidence(&mut self, rollout: &RolloutId, items: &[ItemVerdict]) {
        let Some(request) = self.lane.open_request(rollout) else {
            return;
        };
        if request.is_return || !differ(&request.evidence, items) {
            return;
        }
        let release = request.release.clone();
        let before = self.standing(rollout);
        self.emit(Event::EvidenceChanged {
            rollout: rollout.clone(),
            items: items.to_vec(),
            at: self.now,
        });
        let now = self.standing(rollout);
        if let Some(lacking) = now.filter(|now| before.as_ref() != Some(now)) {
            let what = match self.active().is_some_and(|active| active.id() == rollout) {
                true => "holds: its evidence holds no longer",
                false => "waits for its evidence",
            };
            let text = format!("{rollout} of {release} {what}: {lacking}");
            self.notify(Urgency::Ticket, text);
        }
    }

    /// What stands in a rollout's way, in one line.
    fn standing(&self, rollout: &RolloutId) -> Option<String> {
        match self.active().filter(|active| active.id() == rollout) {
            Some(active) => Some(active.shaken())
                .filter(|lacking| !lacking.is_empty())
                .map(|lacking| told(&lacking)),
            None => self.blocked(self.lane.open_request(rollout)?),
        }
    }

    pub(super) fn assessed(&mut self, rollout: &RolloutId, step: usize, said: &Assessment) {
        let Some(active) = self.active().filter(|active| active.id() == rollout) else {
            return;
        };
        let Some(current) = active.phase.step().filter(|_| active.exposed) else {
            return;
        };
        let assessment = finite(said);
        let confirmed = matches!(active.phase, Phase::Observing { .. });
        let matters = match assessment.verdict {
            // The evidence against a release gathers over all its steps: it is never too late,
            // and users are exposed while the next step's instances still come up.
            Verdict::Fail => step <= current,
            // Nothing is proven about a weight before it is in force.
            Verdict::Pass => step == current && confirmed,
            _ => step == current || (!confirmed && step < current),
        };
        let news = active.verdict.as_ref().is_none_or(|note| {
            (note.step, note.verdict, note.hold_growth)
                != (step, assessment.verdict, assessment.hold_growth)
        });
        if !matters || !news {
            return;
        }
        let (verdict, reason) = (assessment.verdict, assessment.reason.clone());
        self.emit(Event::VerdictChanged { step, assessment });
        match verdict {
            Verdict::Fail if self.lane.stable.is_some() => {
                self.roll_back(Cause::Judge, reason, false);
            }
            Verdict::Fail => self.keep_failed_first(&reason),
            Verdict::External
            | Verdict::Misrouted
            | Verdict::InstanceFault
            | Verdict::Unrepresentative
            | Verdict::SourceDown => {
                self.notify(Urgency::Ticket, format!("{rollout} holds: {reason}"));
            }
            Verdict::Pass | Verdict::Undecided | Verdict::NotEnoughData => {}
        }
    }

    /// The first deployment of a service misses its objectives: there is nothing to return to,
    /// and no service at all would be worse.
    fn keep_failed_first(&mut self, why: &str) {
        let reason = format!(
            "first deployment misses its objectives and there is no version to return to, so it keeps serving: {why}"
        );
        self.notify(Urgency::Page, reason.clone());
        self.emit(Event::Promoted {
            reason: reason.clone(),
            at: self.now,
        });
        self.emit(Event::Ended {
            outcome: Outcome::Failed,
            reason,
            at: self.now,
        });
    }
}

/// The assessment in numbers that a record can hold: NaN becomes 0, infinity the largest number.
/// NaN proves nothing, so a `pass` beside one becomes "not enough data".
fn finite(said: &Assessment) -> Assessment {
    let mut sound = said.clone();
    let mut broken = false;
    let sli_numbers = sound.slis.iter_mut().flat_map(|sli| {
        let own = sli.fail_at.iter_mut().chain(&mut sli.pass_at);
        let own = own.chain(sli.levels.iter_mut().flatten());
        [&mut sli.bound, &mut sli.log_e, &mut sli.log_pass]
            .into_iter()
            .chain(own)
    });
    let numbers = [&mut sound.log_e, &mut sound.fail_at, &mut sound.pass_at];
    for number in numbers.into_iter().chain(sli_numbers) {
        if !number.is_finite() {
            broken |= number.is_nan();
            *number = if number.is_nan() {
                0.0
            } else {
                number.clamp(f64::MIN, f64::MAX)
            };
        }
    }
    sound.seconds_to_verdict = sound.seconds_to_verdict.filter(|s| s.is_finite());
    if broken && sound.verdict == Verdict::Pass {
        sound.verdict = Verdict::NotEnoughData;
        sound.reason = format!(
            "the judge's numbers are not numbers, which proves nothing; it said: {}",
            said.reason
        );
    }
    sound
}
