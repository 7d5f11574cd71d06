//! The engine at work: claim, decide, commit, perform.
//!
//! * **Is for**: one loop a lane ([`lane`]) that feeds the engine with commands, reports,
//!   verdicts and timers; the agents' meeting point ([`hub`]); claims and their renewal.
//! * **Must never**: hold a lock or a transaction across I/O, act before the commit, or keep
//!   anything in memory that a crash may not take.
//! * **Start reading** at [`Runtime::submit`], the way of a command; then `turn`, the
//!   one transaction of every decision.

pub mod clock;
pub mod evidence;
pub mod history;
pub mod hub;
pub mod judging;
pub mod lane;
#[cfg(test)]
mod make;
mod neighbours;
mod project;
pub mod roster;
mod second;
pub mod setting;
mod turn;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airboss_engine::{Answer, Input};
use airboss_judge::Explanation;
use airboss_model::time::after;
use airboss_model::{LaneId, RolloutId, Timestamp};
use airboss_store::{InboxEntry, LaneRow, NewInboxEntry, Store, StoreError};
use tokio::sync::{Notify, broadcast, oneshot, watch};

pub use clock::Clock;
pub use evidence::Evidence;
pub use history::Learnt;
pub use hub::{Hub, HubError, LaneTraffic};
pub use lane::Snapshot;
pub use second::Second;

use crate::evidence::Keys;
use crate::lane::{LaneHandle, Listener};
use crate::neighbours::Neighbours;
use crate::roster::Roster;
use crate::turn::Held;

/// How long a claim lasts without a renewal: the longest that a lane of a dead controller waits
/// for another, but for [`RENEW_EVERY`].
pub const CLAIM: Duration = Duration::from_secs(6);

/// How often claims are renewed, and lanes without an owner looked for.
const RENEW_EVERY: Duration = Duration::from_millis(1_500);

/// Most lanes taken over in one round; the next round follows at once where there are more.
const CLAIM_AT_ONCE: u32 = 1_000;

/// How long a command waits for its decision before the caller is told that it goes on without.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked which agents there are: a revoked agent is refused by every controller
/// after so long.
pub const AGENTS_EVERY: Duration = Duration::from_millis(1_500);

/// How often it is looked whether trust is another.
const TRUST_EVERY: Duration = Duration::from_secs(2);

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It was not accepted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is accepted and will be decided; the answer is not there yet.
    #[error(
        "the command is accepted and not decided after {0:?}; it will be carried out. Follow it with `airboss status`"
    )]
    Undecided(Duration),
}

/// The controller: every lane that this process owns, at work.
pub struct Runtime {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    evidence: Arc<Evidence>,
    clock: Clock,
    owner: String,
    shared: Arc<Shared>,
}

/// What lanes and callers share. Locks are held for a map operation only.
struct Shared {
    lanes: Mutex<BTreeMap<LaneId, LaneHandle>>,
    /// When our claims run out.
    claimed_until: Mutex<Timestamp>,
    neighbours: Neighbours,
    waiting: Mutex<BTreeMap<String, Vec<oneshot::Sender<Answer>>>>,
    last_event: watch::Sender<u64>,
    look: Notify,
}

impl Listener for Shared {
    fn answered(&self, entry: &InboxEntry, answer: &Answer) {
        for waiting in lock(&self.waiting).remove(&entry.key).unwrap_or_default() {
            // A caller that went away does not need the answer.
            let _ = waiting.send(answer.clone());
        }
    }
    fn happened(&self, last_event: u64) {
        self.last_event.send_if_modified(|last| {
            let newer = last_event > *last;
            *last = last_event.max(*last);
            newer
        });
    }
    fn holds(&self, now: Timestamp) -> bool {
        now < *lock(&self.claimed_until)
    }
}

/// Waits for the answer to a command; nothing of it is left where it stops waiting.
struct Waiter<'a> {
    shared: &'a Shared,
    key: &'a str,
    answer: oneshot::Receiver<Answer>,
}

impl<'a> Waiter<'a> {
    fn new(shared: &'a Shared, key: &'a str) -> Self {
        let (send, answer) = oneshot::channel();
        lock(&shared.waiting)
            .entry(key.to_owned())
            .or_default()
            .push(send);
        Self {
            shared,
            key,
            answer,
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.answer.close();
        let mut waiting = lock(&self.shared.waiting);
        if let Some(others) = waiting.get_mut(self.key) {
            others.retain(|it| !it.is_closed());
            if others.is_empty() {
                waiting.remove(self.key);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding the lock leaves a whole map behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runtime {
    /// Starts to claim lanes and to work on them. `owner` differs for each process.
    pub async fn start(
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        keys: Arc<dyn Keys>,
        clock: Clock,
        owner: String,
    ) -> Result<Arc<Self>, StoreError> {
        let last_event = store.last_event().await?;
        let runtime = Arc::new(Self {
            evidence: Arc::new(Evidence::new(Arc::clone(&store), keys)),
            store,
            hub,
            owner,
            shared: Arc::new(Shared {
                lanes: Mutex::default(),
                claimed_until: Mutex::new(clock.now()),
                neighbours: Neighbours::default(),
                waiting: Mutex::default(),
                last_event: watch::Sender::new(last_event),
                look: Notify::new(),
            }),
            clock,
        });
        let more = runtime.renew_and_claim().await?;
        tokio::spawn(Arc::clone(&runtime).keep(more));
        if let Some(hints) = runtime.store.hints() {
            runtime.meet_neighbours().await?;
            tokio::spawn(Arc::clone(&runtime).look_around(hints));
        }
        tokio::spawn(Arc::clone(&runtime).keep_checked());
        Ok(runtime)
    }

    /// Claims what needs an owner and renews what is owned, until the process ends.
    async fn keep(self: Arc<Self>, mut more: bool) {
        let mut failures = 0;
        let mut drifted = false;
        loop {
            let pause = match failures {
                0 if more => Duration::ZERO,
                0 => RENEW_EVERY,
                failures => turn::backoff(failures),
            };
            tokio::select! {
                biased;
                () = self.shared.look.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            match self.renew_and_claim().await {
                Ok(full) => {
                    failures = 0;
                    more = full;
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(%error, "the store does not answer; claims are not renewed");
                }
            }
            match self.clock.drift() {
                Some(apart) if !drifted => {
                    drifted = true;
                    tracing::warn!(
                        ?apart,
                        "the system's clock jumped; durations are not affected, times are printed by the clock of the start"
                    );
                }
                Some(_) => {}
                None => drifted = false,
            }
        }
    }

    /// Checks the signatures of every document again whenever trust is another, from the start on,
    /// and when one that was dated ahead comes to count.
    async fn keep_checked(self: Arc<Self>) {
        let mut checked_by = None;
        loop {
            let trust = self.evidence.keys().trust();
            let now = self.clock.now();
            if checked_by.as_ref() != Some(&trust) || self.evidence.is_due(now) {
                let sealed = self.evidence.record_trust(&self.owner, &trust, now).await;
                if let Err(error) = &sealed {
                    tracing::error!(%error, "it is not sealed whose signatures are believed; trying once more");
                }
                match self.evidence.check_again(now).await {
                    Ok(changed) => {
                        checked_by = sealed.is_ok().then_some(trust);
                        if !changed.is_empty() {
                            self.evidence_changed();
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "signatures are not checked again; trying once more");
                        checked_by = None;
                    }
                }
            }
            tokio::time::sleep(TRUST_EVERY).await;
        }
    }

    /// The evidence of artifacts.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Has every lane look at the evidence of what waits and of what is on its way.
    pub fn evidence_changed(&self) {
        for handle in lock(&self.shared.lanes).values() {
            handle.wake.notify_one();
        }
    }

    /// Reads anew which agents there are and what they carry.
    ///
    /// # Errors
    /// Where the store does not answer; then what was known stands.
    pub async fn read_agents(&self) -> Result<(), StoreError> {
        let rows = self.store.agents().await?;
        self.hub.know(Roster::of(&rows));
        Ok(())
    }

    /// Reads it now and then, as another controller may have invited or revoked one, until the
    /// process ends.
    pub async fn keep_agents(self: Arc<Self>) {
        loop {
            tokio::time::sleep(AGENTS_EVERY).await;
            if let Err(error) = self.read_agents().await {
                tracing::warn!(%error, "which agents there are is not known anew; what was known stands");
            }
        }
    }

    /// True where there may be more to claim than one round takes.
    async fn renew_and_claim(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let owned = self
            .store
            .renew(&self.owner, after(now, CLAIM), now)
            .await?;
        let mut amiss: Vec<LaneId> = Vec::new();
        {
            let lanes = lock(&self.shared.lanes);
            // Whose claim ran out while the store was away, or whose loop stopped.
            amiss.extend(lanes.iter().filter_map(|(lane, handle)| {
                let sound = owned.contains(lane) && !handle.task.is_finished();
                (!sound).then(|| lane.clone())
            }));
            // What was claimed and never reached, as its answer was lost.
            amiss.extend(owned.into_iter().filter(|lane| !lanes.contains_key(lane)));
        }
        // In one order: worlds are played again from their seeds.
        amiss.sort();
        for lane in amiss {
            // Until it is known that another has it, it is shown, and its loop goes on: it can write
            // nothing that a newer claim forbids.
            let claimed = self
                .store
                .claim_lane(&lane, &self.owner, after(now, CLAIM), now)
                .await?;
            match claimed {
                Some(row) => self.take_over(row).await?,
                None => self.give_up(&lane).await?,
            }
        }
        // A loop whose lane is in doubt lets its canary's exposure run out.
        *lock(&self.shared.claimed_until) = after(now, CLAIM);
        self.claim_lanes().await
    }

    /// Another controller has it.
    async fn give_up(&self, lane: &LaneId) -> Result<(), StoreError> {
        let row = match self.store.hints() {
            Some(_) => self.store.lane(lane).await?,
            None => None,
        };
        if let Some(handle) = lock(&self.shared.lanes).remove(lane) {
            handle.task.abort();
        }
        if let Some(row) = row {
            self.meet(row);
        }
        Ok(())
    }

    async fn claim_lanes(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let rows = self
            .store
            .claim(&self.owner, after(now, CLAIM), now, CLAIM_AT_ONCE)
            .await?;
        let full = rows.len() >= CLAIM_AT_ONCE as usize;
        for row in rows {
            self.take_over(row).await?;
        }
        Ok(full)
    }

    async fn take_over(&self, row: LaneRow) -> Result<(), StoreError> {
        let id = row.lane.clone();
        let evidence = Arc::clone(&self.evidence);
        let held = Held::take_over(
            row,
            Arc::clone(&self.store),
            Arc::clone(&self.hub),
            evidence,
        )
        .await?;
        let listener = Arc::clone(&self.shared) as Arc<dyn Listener>;
        let handle = lane::spawn(held, self.clock.clone(), listener);
        self.shared.neighbours.forget(&id);
        if let Some(old) = lock(&self.shared.lanes).insert(id, handle) {
            old.task.abort();
        }
        Ok(())
    }

    /// Accepts a command durably and waits for the engine's answer. The same `key` again is the
    /// same command: it is carried out once and answered alike.
    pub async fn submit(
        &self,
        lane: LaneId,
        key: String,
        input: Input,
    ) -> Result<Answer, SubmitError> {
        let body = serde_json::to_value(&input).map_err(|error| StoreError::Unavailable {
            what: "write a command",
            source: Box::new(error),
        })?;
        let mut waiter = Waiter::new(&self.shared, &key);
        let entry = NewInboxEntry {
            lane: lane.clone(),
            key: key.clone(),
            body,
            at: self.clock.now(),
        };
        let entry = self.store.enqueue(&entry).await;
        // Where the answer was lost, the command may be there.
        self.look_at(&lane);
        if let Some(answer) = entry?.answer {
            return answered(answer);
        }
        if let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_WITHIN, &mut waiter.answer).await {
            return Ok(answer);
        }
        // Another controller may have decided it.
        match self
            .store
            .inbox_entry(&key)
            .await?
            .and_then(|entry| entry.answer)
        {
            Some(answer) => answered(answer),
            None => Err(SubmitError::Undecided(ANSWER_WITHIN)),
        }
    }

    /// Has the lane's loop look into its inbox, or claims the lane where nobody owns it.
    fn look_at(&self, lane: &LaneId) {
        match lock(&self.shared.lanes).get(lane) {
            Some(handle) => handle.wake.notify_one(),
            None => self.shared.look.notify_one(),
        }
    }

    /// What readers see of a lane. None where there is no such lane.
    pub fn snapshot(&self, lane: &LaneId) -> Option<Arc<Snapshot>> {
        Some(self.follow(lane)?.borrow().clone())
    }

    /// Follows what readers see of a lane. It ends where the lane changes hands.
    pub fn follow(&self, lane: &LaneId) -> Option<watch::Receiver<Arc<Snapshot>>> {
        let own = lock(&self.shared.lanes)
            .get(lane)
            .map(|handle| handle.snapshot.clone());
        own.or_else(|| self.shared.neighbours.follow(lane))
    }

    /// Follows the seconds of a lane, each as it ends. None where this process does not own it.
    pub fn seconds(&self, lane: &LaneId) -> Option<broadcast::Receiver<Arc<Second>>> {
        lock(&self.shared.lanes)
            .get(lane)
            .map(|handle| handle.seconds.follow())
    }

    /// The judge's whole computation for a rollout as it stood last, from its record. None where
    /// nothing was judged.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn computation(
        &self,
        rollout: &RolloutId,
    ) -> Result<Option<Explanation>, StoreError> {
        judging::computation(rollout, &*self.store).await
    }

    /// Every lane, by name.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let mut all: Vec<_> = lock(&self.shared.lanes)
            .values()
            .map(|handle| handle.snapshot.borrow().clone())
            .collect();
        all.extend(self.shared.neighbours.snapshots());
        // Ours come first, and a lane may just have become ours.
        let mut known = HashSet::new();
        all.retain(|snapshot| known.insert(snapshot.id().clone()));
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// Follows the number of the newest event.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.shared.last_event.subscribe()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The agents' meeting point.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Stops all work and gives the lanes back, so that another controller can go on at once.
    pub async fn stop(&self) -> Result<(), StoreError> {
        for handle in std::mem::take(&mut *lock(&self.shared.lanes)).into_values() {
            handle.task.abort();
        }
        self.store.release_claims(&self.owner).await
    }
}

fn answered(answer: serde_json::Value) -> Result<Answer, SubmitError> {
    serde_json::from_value(answer).map_err(|error| {
        SubmitError::Store(StoreError::Unavailable {
            what: "read an answer",
            source: Box::new(error),
        })
    })
}
