//! One instance as the splitter knows it: requests on their way, counts, idle connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use airboss_model::ArmId;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::Notify;

use crate::body::RequestBody;
use crate::kinds::Names;
use crate::measure::{InstanceCounts, Tally};
use crate::options::UPSTREAM_IDLE;

/// A connection to an instance, ready for a request.
pub(crate) type Sender = SendRequest<RequestBody>;

/// Lives as long as a table names it or a request uses it.
#[derive(Debug)]
pub(crate) struct InstanceState {
    pub(crate) arm: ArmId,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// One for each worker, so that workers do not wait for each other.
    shards: Box<[Shard]>,
    in_flight: AtomicU64,
    /// How many callers await the drain; spares the hot path the notification.
    waiting: AtomicUsize,
    empty: Notify,
    /// No table names it any more: connections are not kept.
    retired: AtomicBool,
}

/// A worker's own part, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    tally: Tally,
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl InstanceState {
    pub(crate) fn new(arm: ArmId, name: String, address: SocketAddr, workers: usize) -> Self {
        Self {
            arm,
            name,
            address,
            shards: (0..workers).map(|_| Shard::default()).collect(),
            in_flight: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            empty: Notify::new(),
            retired: AtomicBool::new(false),
        }
    }

    /// Users' requests now in the instance.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// A worker's counts.
    pub(crate) fn tally(&self, worker: usize) -> &Tally {
        &self.shards[worker].tally
    }

    /// What all workers counted since the last call.
    pub(crate) fn take_counts(&self, names: &Names) -> InstanceCounts {
        let mut sum = InstanceCounts::empty(self.arm.clone(), self.name.clone());
        for shard in &self.shards {
            shard.tally.drain_into(&mut sum, names);
        }
        sum
    }

    /// Resolves once no user's request is in the instance.
    pub(crate) async fn drained(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _leaves = Leave(&self.waiting);
        loop {
            let notified = self.empty.notified();
            tokio::pin!(notified);
            // Registered before the look, so that an end in between is not missed.
            notified.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// The connection used last that is still open and was used within `within`.
    pub(crate) fn take_idle(&self, worker: usize, within: Duration) -> Option<Sender> {
        let mut idle = self.idle(worker);
        while let Some(newest) = idle.pop_back() {
            if newest.sender.is_closed() {
                continue;
            }
            if newest.since.elapsed() > within {
                // The rest is older still.
                idle.push_back(newest);
                return None;
            }
            return Some(newest.sender);
        }
        None
    }

    /// Keeps a connection for later requests; closes the oldest beyond `most`.
    pub(crate) fn put_idle(&self, worker: usize, sender: Sender, most: usize) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle(worker);
        // Under the lock: `retire` sets the mark before it empties the pool.
        if self.retired.load(Ordering::SeqCst) {
            return;
        }
        idle.push_back(Idle {
            sender,
            since: Instant::now(),
        });
        if idle.len() > most {
            idle.pop_front();
        }
    }

    /// Closes connections that idled too long or that the instance closed.
    pub(crate) fn prune_idle(&self, worker: usize) {
        self.idle(worker)
            .retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < UPSTREAM_IDLE);
    }

    /// Called when a table no longer names the instance, or names it again.
    pub(crate) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Ordering::SeqCst);
        if retired {
            for worker in 0..self.shards.len() {
                self.idle(worker).clear();
            }
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    fn idle(&self, worker: usize) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.shards[worker]
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

struct Leave<'a>(&'a AtomicUsize);
impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A user's request in an instance; the instance is not drained before it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<InstanceState>);

impl Ticket {
    pub(crate) fn new(instance: Arc<InstanceState>) -> Self {
        instance.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(instance)
    }
    pub(crate) fn instance(&self) -> &Arc<InstanceState> {
        &self.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.empty.notify_waiters();
        }
    }
}
