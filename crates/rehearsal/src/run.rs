//! One rollout from its start to its end, on a clock that jumps from one event to the next.

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{
    Command, Decision, Effect, Event, Input, Lane, Outcome, Request, Seen, decide, next_deadline,
};
use airboss_judge::{Calibration, Verdict};
use airboss_model::manifest::Service;
use airboss_model::time::{after, since};
use airboss_model::{ArmId, Digest, LaneId, Span, Timestamp};
use airboss_runtime::hub::LaneTraffic;
use airboss_runtime::judging::Judging;
use serde::Serialize;

use crate::fault::{Fault, FaultKind};
use crate::host::{Host, Nature};
use crate::traffic::{Answers, Traffic};
use crate::usual::{Pace, Usual};

/// A rollout that takes longer than this on the simulated clock is left as it is.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Events that one run handles at the most, so that no fault of ours goes on forever.
const EVENTS_MAX: usize = 2_000_000;
/// Reports of an agent in one second.
const REPORTS: u32 = 4;

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It serves all users.
    Shipped,
    /// It was taken back.
    TakenBack,
    /// It never became ready.
    Failed,
    /// It waits for evidence that this traffic does not give, and a person has to decide.
    Held,
}

/// Something that happened, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// Since the rollout began.
    pub at: Span,
    /// The event's kind, such as `step_passed`.
    pub kind: &'static str,
    /// One line.
    pub message: String,
}

/// One rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// From its start to its end.
    pub took: Span,
    /// From the fault's begin, with users on the version, to the decision to take it back.
    pub detected: Option<Span>,
    /// From that decision to the confirmation of 0 %.
    pub returned: Option<Span>,
    /// Requests that the new version was sent while the fault lasted; all it was sent where
    /// there is none.
    pub exposed: u64,
    /// Of these, those that did not get an answer with a status below 400.
    pub failed: u64,
    /// What happened, in order.
    pub moments: Vec<Moment>,
}

/// What every run begins with: a version that serves all users, and what its traffic taught.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub lane: Arc<Lane>,
    pub host: Host,
    pub now: Timestamp,
    pub calibration: Option<Calibration>,
}

/// What is played.
#[derive(Debug, Clone)]
pub(crate) struct Play<'a> {
    pub service: &'a Service,
    pub usual: &'a Usual,
    pub fault: Option<Fault>,
    /// The new version answers as the recorded one did.
    pub as_recorded: bool,
}

/// A lane, its host and its users at one moment.
pub(crate) struct Scene<'a> {
    pub stage: Stage,
    pub traffic: Traffic,
    pace: &'a [Pace],
    /// Which second of the recording comes next.
    place: usize,
    counted: LaneTraffic,
    pub events: Vec<(Timestamp, Event)>,
    judging: Option<Judging>,
    /// The arm whose requests are counted, with all it had and those that failed.
    met: (ArmId, u64, u64),
}

/// The release number `number` of a service; contents differ.
pub(crate) fn request(
    service: &Service,
    lane: &LaneId,
    number: u8,
    now: Timestamp,
) -> Result<Request, String> {
    let name = lane.service();
    Ok(Request {
        rollout: format!("{name}-{number}")
            .parse()
            .map_err(|error| format!("{error}"))?,
        release: format!("{name}@{number}")
            .parse()
            .map_err(|error| format!("{error}"))?,
        digest: content(number),
        service: Arc::new(service.clone()),
        by: "rehearsal".to_owned(),
        at: now,
        is_return: false,
        slow: None,
        evidence: Vec::new(),
    })
}

pub(crate) fn content(number: u8) -> Digest {
    Digest::from_sha256([number; 32])
}

impl<'a> Scene<'a> {
    pub fn new(stage: Stage, traffic: Traffic, usual: &'a Usual, place: usize, arm: ArmId) -> Self {
        Self {
            met: (arm, 0, 0),
            stage,
            traffic,
            pace: &usual.pace,
            place,
            counted: LaneTraffic::default(),
            events: Vec::new(),
            judging: None,
        }
    }

    pub fn ship(&mut self, request: Request) {
        self.decide(&Input::Command {
            by: request.by.clone(),
            command: Command::Ship(request),
        });
    }

    fn decide(&mut self, input: &Input) {
        let now = self.stage.now;
        let Decision {
            events,
            lane,
            effects,
            ..
        } = decide(&self.stage.lane, input, now);
        self.stage.lane = lane;
        self.events
            .extend(events.into_iter().map(|event| (now, event)));
        for effect in effects {
            if let Effect::Apply { desired } = effect {
                self.stage.host.take_in(&desired, now);
            }
        }
        self.look();
    }

    /// Tells the lane what the host looks like, until that is no news.
    fn look(&mut self) {
        let Some(observed) = self.stage.host.observe(&self.stage.lane.id, self.stage.now) else {
            return;
        };
        let seen = Seen::from(&observed);
        if self.stage.lane.seen.as_ref() != Some(&seen) {
            self.decide(&Input::Observed { seen });
        }
    }

    /// Goes on to the next thing that happens, at the latest to the end of this second.
    pub fn go_on(&mut self) -> Result<(), String> {
        let now = self.stage.now;
        let second = next_second(now);
        let deadline = next_deadline(&self.stage.lane);
        let next = [deadline, self.stage.host.next_change()]
            .into_iter()
            .flatten()
            .fold(second, Timestamp::min)
            .max(now);
        self.pass(since(now, next));
        self.stage.now = next;
        self.stage.host.advance(next);
        self.look();
        if deadline.is_some_and(|at| at <= next) {
            self.decide(&Input::Clock);
        }
        if next == second {
            self.second()?;
        }
        Ok(())
    }

    fn pass(&mut self, span: Duration) {
        if let Some(second) = self.pace.get(self.place % self.pace.len().max(1)) {
            self.traffic.rate = second.requests;
            self.traffic.usual.statuses.clone_from(&second.statuses);
        }
        let routes = self.stage.host.routes(&self.stage.lane.id);
        for (arm, instances) in self.traffic.pass(span.as_secs_f64(), &routes) {
            let met = arm == self.met.0;
            let sums = self.counted.arms.entry(arm).or_default();
            for (name, counts) in instances {
                if met {
                    self.met.1 += counts.requests;
                    self.met.2 += counts.by_status.range(400..).map(|(_, n)| n).sum::<u64>();
                }
                sums.entry(name).or_default().add(&counts);
            }
        }
    }

    /// What the lane's second is to the real controller: a renewal, and the judge.
    fn second(&mut self) -> Result<(), String> {
        self.place += 1;
        self.stage.host.renew(&self.stage.lane.id, self.stage.now);
        if self
            .stage
            .lane
            .active
            .as_ref()
            .is_none_or(|rollout| !rollout.exposed)
        {
            self.judging = None;
            return Ok(());
        }
        let traffic = self.take();
        self.judge(&traffic)
    }

    /// What was counted since it was taken last.
    pub fn take(&mut self) -> LaneTraffic {
        self.counted.reports = REPORTS;
        std::mem::take(&mut self.counted)
    }

    fn judge(&mut self, traffic: &LaneTraffic) -> Result<(), String> {
        let Some(rollout) = &self.stage.lane.active else {
            return Ok(());
        };
        let judging = match &mut self.judging {
            Some(judging) if judging.rollout() == rollout.id() => judging,
            other => {
                let known = self.stage.calibration.clone();
                let fresh = Judging::replay(rollout, None, Vec::new(), known);
                other.insert(fresh.map_err(|error| error.to_string())?)
            }
        };
        let heard = judging
            .hear(&self.stage.lane, traffic, self.stage.now)
            .map_err(|error| error.to_string())?;
        if let Some(heard) = heard {
            let (step, assessment) = judging.accept(heard);
            let input = Input::Assessed {
                rollout: judging.rollout().clone(),
                step,
                assessment,
            };
            self.decide(&input);
        }
        Ok(())
    }
}

/// The end of the second that `now` lies in.
fn next_second(now: Timestamp) -> Timestamp {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    after(whole, Duration::from_secs(1))
}

/// Plays one rollout to its end.
pub(crate) fn run(
    stage: &Stage,
    play: &Play<'_>,
    traffic: Traffic,
    place: usize,
) -> Result<Run, String> {
    let began = stage.now;
    let shipped = request(play.service, &stage.lane.id, 2, began)?;
    let digest = shipped.digest;
    let mut scene = Scene::new(
        stage.clone(),
        traffic,
        play.usual,
        place,
        shipped.rollout.clone(),
    );
    let sound = match &play.usual.canary {
        Some(recorded) if play.as_recorded => recorded.clone(),
        _ => play.usual.answers.clone(),
    };
    let changed = play.as_recorded && play.usual.canary.is_some();
    if changed {
        scene.traffic.others.insert(digest, sound.clone());
    }
    if play
        .fault
        .is_some_and(|fault| fault.kind == FaultKind::NeverReady)
    {
        let never = Nature {
            never_ready: true,
            crashes_from: None,
        };
        scene.stage.host.natures.insert(digest, never);
    }
    scene.ship(shipped);
    let mut watch = Watch::new(play.fault);
    for _ in 0..EVENTS_MAX {
        watch.look(&mut scene, &sound, digest);
        if watch.is_over(&scene) || since(began, scene.stage.now) > LONGEST {
            break;
        }
        scene.go_on()?;
    }
    Ok(watch.finish(&scene, began))
}

/// Reads a run's figures off its events.
struct Watch {
    fault: Option<Fault>,
    /// How many events were read.
    read: usize,
    /// When the fault begins; None before the first users.
    onset: Option<Timestamp>,
    begun: bool,
    decided: Option<Timestamp>,
    returned: Option<Timestamp>,
    ending: Option<Ending>,
    /// What the new version had when the fault began.
    before: (u64, u64),
}

impl Watch {
    fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            read: 0,
            onset: None,
            begun: false,
            decided: None,
            returned: None,
            ending: None,
            before: (0, 0),
        }
    }

    fn look(&mut self, scene: &mut Scene<'_>, sound: &Answers, digest: Digest) {
        for (at, event) in &scene.events[self.read..] {
            match event {
                Event::StepShifting { step: 0, .. } => {
                    let after_users = self.fault.map_or(Duration::ZERO, |fault| fault.after.0);
                    self.onset = Some(after(*at, after_users));
                }
                Event::RollbackStarted { .. } => self.decided = Some(*at),
                Event::ReturnedToStable { .. } => self.returned = Some(*at),
                Event::DeadlineHeld { .. } => self.ending = Some(Ending::Held),
                Event::Ended { outcome, .. } => {
                    self.ending = Some(match outcome {
                        Outcome::Shipped => Ending::Shipped,
                        Outcome::Failed => Ending::Failed,
                        Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded => {
                            Ending::TakenBack
                        }
                    });
                }
                _ => {}
            }
        }
        self.read = scene.events.len();
        if !self.begun
            && let (Some(fault), Some(onset)) = (self.fault, self.onset)
            && onset <= scene.stage.now
        {
            self.begun = true;
            self.before = (scene.met.1, scene.met.2);
            begin(fault, scene, sound, digest);
        }
    }

    fn is_over(&self, scene: &Scene<'_>) -> bool {
        self.ending == Some(Ending::Held)
            || (self.ending.is_some() && scene.stage.lane.active.is_none())
    }

    fn finish(self, scene: &Scene<'_>, began: Timestamp) -> Run {
        let span = |from: Timestamp, to: Timestamp| {
            Span::millis(u64::try_from(since(from, to).as_millis()).unwrap_or(u64::MAX))
        };
        let onset = self.onset.unwrap_or(began);
        Run {
            ending: self.ending.unwrap_or(Ending::Held),
            took: span(began, scene.stage.now),
            detected: self.decided.map(|at| span(onset, at)),
            returned: self
                .decided
                .and_then(|decided| Some(span(decided, self.returned?))),
            exposed: scene.met.1 - self.before.0,
            failed: scene.met.2 - self.before.1,
            moments: scene
                .events
                .iter()
                .filter(|(_, event)| is_worth_telling(event))
                .map(|(at, event)| Moment {
                    at: span(began, *at),
                    kind: event.kind(),
                    message: event.message(),
                })
                .collect(),
        }
    }
}

fn begin(fault: Fault, scene: &mut Scene<'_>, sound: &Answers, digest: Digest) {
    let sound = sound.clone();
    let answers = match fault.kind {
        FaultKind::Errors(share) => sound.with_status(500, share),
        FaultKind::Later(by) => {
            let by = u64::try_from(by.0.as_micros()).unwrap_or(u64::MAX);
            sound.with_latency(|micros| micros.saturating_add(by))
        }
        FaultKind::Slower(times) => sound.with_latency(|micros| (micros as f64 * times) as u64),
        FaultKind::Crash => {
            let crashing = Nature {
                never_ready: false,
                crashes_from: Some(scene.stage.now),
            };
            scene.stage.host.natures.insert(digest, crashing);
            sound
        }
        FaultKind::NeverReady => sound,
    };
    scene.traffic.others.insert(digest, answers);
}

/// Reports of the target, what is asked of it, and a verdict that the rollback repeats say little
/// that the others do not.
fn is_worth_telling(event: &Event) -> bool {
    match event {
        Event::Requested { .. } | Event::Observed { .. } | Event::DesiredChanged { .. } => false,
        Event::VerdictChanged { assessment, .. } => assessment.verdict != Verdict::Fail,
        _ => true,
    }
}
