//! A lane at work: everything that can happen to it comes through one loop, one at a time.

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Answer, Input, Lane, Request, Seen, differ, next_deadline};
use airboss_judge::Assessment;
use airboss_model::target::Observed;
use airboss_model::time::since;
use airboss_model::{LaneId, Timestamp};
use airboss_store::{InboxEntry, StoreError};
use airboss_telemetry::Recent;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::Clock;
use crate::history::{History, Learnt};
use crate::judging::{Judging, arms};
use crate::second::{Second, Seconds};
use crate::turn::{Held, Turned, backoff};

/// How long an agent may be silent before its lanes are told.
pub const AGENT_LOST_AFTER: Duration = Duration::from_secs(5);

/// Seconds after which evidence is looked at although nobody said that it changed: another
/// controller may have taken it in, and a scan grows old.
const WEIGH_EVERY: u32 = 5;

/// How often a store that goes on failing is logged.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A lane as readers see it, made anew after every change and every second.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was made.
    pub at: Timestamp,
    /// The committed state.
    pub lane: Arc<Lane>,
    /// The target's newest report, whole.
    pub observed: Option<Arc<Observed>>,
    /// What the judge said last about the rollout in progress.
    pub assessment: Option<Arc<Assessment>>,
    /// The last ten seconds of traffic.
    pub recent: Recent,
    /// What the lane's own traffic taught; None before the first second of it.
    pub learnt: Option<Arc<Learnt>>,
}

/// Reaches a lane's loop from outside.
pub(crate) struct LaneHandle {
    /// Wakes it to look into its inbox.
    pub(crate) wake: Arc<Notify>,
    /// What readers see.
    pub(crate) snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Each second, for those who record.
    pub(crate) seconds: Arc<Seconds>,
    pub(crate) task: tokio::task::JoinHandle<()>,
}

/// Where a lane's loop reports what it did.
pub(crate) trait Listener: Send + Sync + 'static {
    /// A command was decided.
    fn answered(&self, entry: &InboxEntry, answer: &Answer);
    /// There are events up to this number.
    fn happened(&self, last_event: u64);
    /// Whether this process's claims have not run out.
    fn holds(&self, now: Timestamp) -> bool;
}

pub(crate) fn spawn(held: Held, clock: Clock, listener: Arc<dyn Listener>) -> LaneHandle {
    let wake = Arc::new(Notify::new());
    let observed = held.hub().follow(&held.lane.id);
    let first = Snapshot {
        at: clock.now(),
        lane: Arc::clone(&held.lane),
        observed: None,
        assessment: None,
        recent: Recent::default(),
        learnt: None,
    };
    let seconds = Arc::new(Seconds::default());
    let (sender, snapshot) = watch::channel(Arc::new(first));
    let worker = Worker {
        held,
        clock,
        listener,
        observed,
        snapshot: sender,
        judging: None,
        recent: Recent::default(),
        history: None,
        seconds: Arc::clone(&seconds),
        failures: 0,
        told: None,
        unweighed: 0,
    };
    let task = tokio::spawn(worker.run(Arc::clone(&wake)));
    // Commands may have been waiting since before the claim.
    wake.notify_one();
    LaneHandle {
        wake,
        snapshot,
        seconds,
        task,
    }
}

struct Worker {
    held: Held,
    clock: Clock,
    listener: Arc<dyn Listener>,
    observed: watch::Receiver<Option<Arc<Observed>>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    judging: Option<Judging>,
    recent: Recent,
    history: Option<History>,
    seconds: Arc<Seconds>,
    failures: u32,
    /// When a failure was logged last.
    told: Option<Instant>,
    /// Seconds since the evidence of what is open was looked at.
    unweighed: u32,
}

/// What woke the loop.
enum Woken {
    Inbox,
    Observed,
    Deadline,
    Second,
}

impl Worker {
    async fn run(mut self, wake: Arc<Notify>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = next_deadline(&self.held.lane).map(|at| self.clock.instant(at));
            let woken = tokio::select! {
                // People first, then what the target says; a rollback never waits for a timer.
                biased;
                () = wake.notified() => Woken::Inbox,
                Ok(()) = self.observed.changed() => Woken::Observed,
                () = sleep_until(deadline) => Woken::Deadline,
                _ = second.tick() => Woken::Second,
            };
            // Boxed: a lane spends its life waiting above, and there are many lanes.
            let done = match woken {
                Woken::Inbox => Box::pin(self.inbox()).await,
                Woken::Observed => Box::pin(self.observe()).await,
                Woken::Deadline => Box::pin(self.turn(&Input::Clock, None)).await.map(drop),
                Woken::Second => Box::pin(self.second()).await,
            };
            match done {
                // Only a whole second shows that all is well: a look into an empty inbox writes nothing.
                Ok(()) if matches!(woken, Woken::Second) => self.failures = 0,
                Ok(()) => {}
                Err(StoreError::Fenced { .. }) => {
                    tracing::warn!(lane = %self.held.lane.id, "another controller owns this lane now");
                    return;
                }
                Err(error) => {
                    self.failures += 1;
                    if self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        self.told = Some(Instant::now());
                        tracing::error!(lane = %self.held.lane.id, failures = self.failures, %error, "the store does not answer; the lane holds and tries again");
                    }
                    tokio::time::sleep(backoff(self.failures)).await;
                    // Whatever was not written is found again: the inbox is durable, the report is
                    // the target's whole state, and timers follow from the state.
                    wake.notify_one();
                    self.observed.mark_changed();
                }
            }
            self.publish();
        }
    }

    async fn turn(
        &mut self,
        input: &Input,
        entry: Option<&InboxEntry>,
    ) -> Result<Turned, StoreError> {
        let turned = self.held.turn(input, entry, self.clock.now()).await?;
        if let Some(last) = turned.last_event {
            self.listener.happened(last);
        }
        Ok(turned)
    }

    async fn inbox(&mut self) -> Result<(), StoreError> {
        loop {
            let entries = self.held.store().inbox(&self.held.lane.id, 100).await?;
            if entries.is_empty() {
                return self.weigh().await;
            }
            for entry in entries {
                let input: Input = match serde_json::from_value(entry.body.clone()) {
                    Ok(input) => input,
                    Err(error) => {
                        return Err(StoreError::Unavailable {
                            what: "read a command",
                            source: Box::new(error),
                        });
                    }
                };
                let turned = self.turn(&input, Some(&entry)).await?;
                if let Some(answer) = turned.answer {
                    self.listener.answered(&entry, &answer);
                }
            }
        }
    }

    /// Looks at the evidence that open rollouts require.
    async fn weigh(&mut self) -> Result<(), StoreError> {
        self.unweighed = 0;
        let open: Vec<Request> = self.held.lane.weighed().cloned().collect();
        let evidence = Arc::clone(self.held.evidence());
        for request in open {
            let Request {
                digest, release, ..
            } = &request;
            let required = &request.service.spec.rollout.require;
            let now = self.clock.now();
            let items = evidence.weigh(digest, release, required, now).await?;
            if differ(&request.evidence, &items) {
                let input = Input::Evidence {
                    rollout: request.rollout,
                    items,
                };
                self.turn(&input, None).await?;
            }
        }
        Ok(())
    }

    async fn observe(&mut self) -> Result<(), StoreError> {
        let observed = self.observed.borrow_and_update().clone();
        let Some(observed) = observed else {
            return Ok(());
        };
        self.held.heard_of(observed.epoch).await?;
        let seen = Seen::from(&*observed);
        self.turn(&Input::Observed { seen }, None).await.map(drop)
    }

    async fn second(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let hub = Arc::clone(self.held.hub());
        let last_seen = hub.last_seen(&self.held.lane.id);
        if self.held.lane.target_lost.is_none()
            && self.held.lane.desired.is_some()
            && since(last_seen, now) > AGENT_LOST_AFTER
        {
            self.turn(&Input::TargetLost { last_seen }, None).await?;
        }
        self.unweighed += 1;
        if self.unweighed >= WEIGH_EVERY {
            self.weigh().await?;
        }
        let traffic = hub.take_traffic(&self.held.lane.id);
        self.recent.push(traffic.sums());
        self.learn(&traffic, now).await?;
        self.judge(&traffic, now).await?;
        self.record(&traffic);
        // Whoever may have lost the lane to another must not keep its canary exposed.
        if self.listener.holds(now) {
            hub.turned(&self.held.lane.id, now);
        }
        Ok(())
    }

    async fn learn(
        &mut self,
        traffic: &crate::hub::LaneTraffic,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let store = Arc::clone(self.held.store());
        let history = match &mut self.history {
            Some(history) => history,
            none => none.insert(History::load(&self.held.lane.id, &*store).await?),
        };
        let notes = history.observe(&self.held.lane, traffic, now);
        for note in notes.unwrap_or_else(|error| {
            tracing::error!(lane = %self.held.lane.id, %error, "what was learnt cannot be written");
            Vec::new()
        }) {
            // Nothing waits for a note, and the next one says all that this one would have.
            if let Err(error) = store.put_note(&note).await {
                tracing::warn!(lane = %self.held.lane.id, topic = note.topic, %error, "what was learnt is not kept this time");
            }
        }
        Ok(())
    }

    /// Hands the second to those who record it, where there are any.
    fn record(&self, traffic: &crate::hub::LaneTraffic) {
        let Some(readers) = self.seconds.readers() else {
            return;
        };
        let lane = &self.held.lane;
        let judged = self.judging.as_ref().and_then(|judging| {
            let rollout = lane
                .active
                .as_ref()
                .filter(|it| it.id() == judging.rollout())?;
            Some((rollout, judging.judged()?))
        });
        let second = match judged {
            None if traffic.reports == 0 => return,
            Some((rollout, judged)) => {
                let (canary, baseline) = arms(lane, rollout, traffic);
                Second {
                    judged: Some((rollout.id().clone(), judged.clone())),
                    canary: Some(canary),
                    baseline: Some(baseline),
                }
            }
            None => Second {
                judged: None,
                canary: None,
                baseline: lane
                    .stable
                    .as_ref()
                    .and_then(|stable| traffic.arms.get(&stable.arm).cloned()),
            },
        };
        // The last reader may have gone away this moment.
        let _ = readers.send(Arc::new(second));
    }

    async fn judge(
        &mut self,
        traffic: &crate::hub::LaneTraffic,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(rollout) = self
            .held
            .lane
            .active
            .as_ref()
            .filter(|rollout| rollout.exposed)
        else {
            self.judging = None;
            return Ok(());
        };
        let store = Arc::clone(self.held.store());
        let judging = match &mut self.judging {
            Some(judging) if judging.rollout() == rollout.id() => judging,
            other => {
                let history = self
                    .history
                    .as_ref()
                    .and_then(|history| history.calibration(&rollout.request.service));
                other.insert(Judging::resume(rollout, &*store, history).await?)
            }
        };
        let observed = judging
            .observe(&self.held.lane, self.held.epoch, traffic, now, &*store)
            .await;
        let observed = match observed {
            Ok(observed) => observed,
            Err(error) => {
                // The row may have been kept though its answer was lost: the record decides.
                self.judging = None;
                return Err(error);
            }
        };
        if let Some((step, assessment)) = observed {
            let input = Input::Assessed {
                rollout: judging.rollout().clone(),
                step,
                assessment,
            };
            self.turn(&input, None).await?;
        }
        Ok(())
    }

    fn publish(&self) {
        self.snapshot.send_replace(Arc::new(Snapshot {
            at: self.clock.now(),
            lane: Arc::clone(&self.held.lane),
            observed: self.observed.borrow().clone(),
            assessment: self
                .judging
                .as_ref()
                .and_then(|judging| judging.assessment().cloned()),
            recent: self.recent.clone(),
            learnt: self
                .history
                .as_ref()
                .and_then(|history| history.learnt().cloned()),
        }));
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The lane that a snapshot is of.
impl Snapshot {
    /// Its id.
    pub fn id(&self) -> &LaneId {
        &self.lane.id
    }
}
