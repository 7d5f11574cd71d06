//! The handle by which a caller owns a splitter.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use airboss_model::ArmId;
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::instance::InstanceState;
use crate::kinds::Book;
use crate::measure::Measured;
use crate::options::{BACKLOG, Options};
use crate::table::{Instance, InvalidTable, Routes, RoutingTable};
use crate::worker::{self, Setup};

/// Why a splitter could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken, foreign, not permitted or not an address.
    #[error("the splitter cannot listen on `{listen}`: {source}{}", hint(source))]
    Listen {
        /// The address asked for.
        listen: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gave no thread or no poller.
    #[error("the splitter cannot start its worker threads: {0}")]
    Workers(#[source] std::io::Error),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program has the port: stop it, or choose another `listen` address"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher port"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "; the host has no such address: use one of its own, or 127.0.0.1"
        }
        _ => "",
    }
}

/// What handle and workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) routes: ArcSwap<Routes>,
    /// Every instance that a table names, and those that are still in use.
    instances: Mutex<Arc<Vec<Arc<InstanceState>>>>,
    pub(crate) connections: AtomicUsize,
    /// Connections of each worker.
    pub(crate) loads: Vec<AtomicUsize>,
    pub(crate) mirroring: AtomicUsize,
    pub(crate) book: Book,
    pub(crate) unrouted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) mirror_dropped: AtomicU64,
}

impl Shared {
    /// A snapshot; the lock is held for its duration only.
    pub(crate) fn instances(&self) -> Arc<Vec<Arc<InstanceState>>> {
        self.lock_instances().clone()
    }
    fn lock_instances(&self) -> MutexGuard<'_, Arc<Vec<Arc<InstanceState>>>> {
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where workers are in their life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Finishing { until: Instant },
    Stopped,
}

/// Divides a service's requests between the instances of its arms.
///
/// It owns its threads and needs no runtime of the caller's; all methods may be called from
/// any thread. Dropping it ends every connection at once; [`shutdown`](Self::shutdown) lets
/// requests finish first.
#[derive(Debug)]
pub struct Splitter {
    shared: Arc<Shared>,
    listener: TcpListener,
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    /// Closed when the last worker has ended.
    alive: tokio::sync::Mutex<mpsc::Receiver<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Splitter {
    /// Listens on `HOST:PORT` (port 0: any) with an empty table: every request is answered
    /// 503 until [`apply`](Self::apply) is called.
    ///
    /// # Errors
    /// The address cannot be listened on, or the system gives no threads; the text names the
    /// address and what to do.
    pub fn bind(listen: &str, options: Options) -> Result<Self, BindError> {
        let listener = TcpListener::bind(listen).map_err(|source| BindError::Listen {
            listen: listen.to_owned(),
            source,
        })?;
        Self::from_listener(listener, options)
    }

    /// Serves a socket that listens already, such as one inherited from a supervisor.
    ///
    /// # Errors
    /// The socket is of no use, or the system gives no threads.
    pub fn from_listener(listener: TcpListener, options: Options) -> Result<Self, BindError> {
        let unusable = |source| BindError::Listen {
            listen: "the inherited socket".to_owned(),
            source,
        };
        let address = listener.local_addr().map_err(unusable)?;
        listener.set_nonblocking(true).map_err(unusable)?;
        // On a socket that listens already this only sets the length of the queue.
        rustix::net::listen(&listener, BACKLOG).map_err(|error| unusable(error.into()))?;
        let to_accept = listener.try_clone().map_err(unusable)?;

        let count = options.workers.max(1);
        let options = Options {
            workers: count,
            max_head_bytes: options.max_head_bytes.max(8_192),
            ..options
        };
        let book = Book::default();
        let empty = Routes::compile(RoutingTable::default(), &book, |arm, instance| {
            state_of(arm, instance, count)
        });
        let Ok(empty) = empty else {
            // A table without a name cannot have an invalid one.
            return Err(unusable(std::io::ErrorKind::InvalidInput.into()));
        };
        let shared = Arc::new(Shared {
            options,
            routes: ArcSwap::from_pointee(empty),
            instances: Mutex::default(),
            connections: AtomicUsize::new(0),
            loads: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            mirroring: AtomicUsize::new(0),
            book,
            unrouted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            mirror_dropped: AtomicU64::new(0),
        });
        let (phase, _) = watch::channel(Phase::Running);
        let (alive_sender, alive) = mpsc::channel(1);
        let mut splitter = Self {
            shared,
            listener,
            address,
            phase,
            alive: tokio::sync::Mutex::new(alive),
            threads: Vec::with_capacity(count),
        };
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let mut acceptor = Some((to_accept, senders));
        let cores = if splitter.shared.options.pin_workers {
            worker::cores_for(count)
        } else {
            Vec::new()
        };
        for (index, connections) in receivers.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(BindError::Workers)?;
            let setup = Setup {
                shared: splitter.shared.clone(),
                index,
                connections,
                acceptor: acceptor.take(),
                phase: splitter.phase.subscribe(),
            };
            let alive = alive_sender.clone();
            let core = cores.get(index).copied();
            let thread = std::thread::Builder::new()
                .name(format!("splitter-{index}"))
                .spawn(move || {
                    if let Some(core) = core {
                        worker::stay_on(core);
                    }
                    worker::run(setup, &runtime);
                    drop(alive);
                })
                .map_err(BindError::Workers)?;
            splitter.threads.push(thread);
        }
        Ok(splitter)
    }

    /// The address that it listens on, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The listening socket, to hand on to a successor before a shutdown.
    pub fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Puts a table in force, whole and at once: every request that starts after this returns
    /// follows it, on old connections too. Requests on their way finish where they are.
    ///
    /// # Errors
    /// The table contradicts itself; the one before stays in force.
    pub fn apply(&self, table: RoutingTable) -> Result<(), InvalidTable> {
        // Held until the end: tables come into force one after the other.
        let mut known = self.shared.lock_instances();
        let mut named: Vec<Arc<InstanceState>> = Vec::new();
        let workers = self.shared.options.workers;
        let routes = Routes::compile(table, &self.shared.book, |arm, instance| {
            let state = known
                .iter()
                .find(|state| {
                    state.arm == *arm
                        && state.name == instance.name
                        && state.address == instance.address
                })
                .cloned()
                .unwrap_or_else(|| state_of(arm, instance, workers));
            named.push(state.clone());
            state
        })?;
        for state in &named {
            state.set_retired(false);
        }
        self.shared.routes.store(Arc::new(routes));
        let mut all = named;
        let named_count = all.len();
        for state in known.iter() {
            if !all[..named_count]
                .iter()
                .any(|kept| Arc::ptr_eq(kept, state))
            {
                state.set_retired(true);
                all.push(state.clone());
            }
        }
        *known = Arc::new(all);
        Ok(())
    }

    /// The table in force.
    pub fn table(&self) -> Arc<RoutingTable> {
        self.shared.routes.load().table.clone()
    }

    /// What was counted since the last call. Meant to be called several times a second by
    /// one collector: what one caller takes, another does not see.
    pub fn take_counts(&self) -> Measured {
        let mut known = self.shared.lock_instances();
        let mut measured = Measured {
            instances: Vec::new(),
            unrouted: self.shared.unrouted.swap(0, Ordering::Relaxed),
            rejected: self.shared.rejected.swap(0, Ordering::Relaxed),
            mirror_dropped: self.shared.mirror_dropped.swap(0, Ordering::Relaxed),
        };
        let names = self.shared.book.names();
        let mut left = Vec::with_capacity(known.len());
        for state in known.iter() {
            // Nobody but this list holds it: no request can add to it after the look.
            let ended = state.is_retired() && Arc::strong_count(state) == 1;
            let counts = state.take_counts(&names);
            if !counts.is_empty() {
                measured.instances.push(counts);
            }
            if !ended {
                left.push(state.clone());
            }
        }
        if left.len() < known.len() {
            *known = Arc::new(left);
        }
        measured
    }

    /// Users' requests and tunnels that are now in an arm, those in instances that the table
    /// no longer names included.
    pub fn in_flight(&self, arm: &ArmId) -> u64 {
        self.of_arm(arm).map(|state| state.in_flight()).sum()
    }

    /// The same for one instance, whatever addresses it has had.
    pub fn instance_in_flight(&self, arm: &ArmId, instance: &str) -> u64 {
        self.of_arm(arm)
            .filter(|state| state.name == instance)
            .map(|state| state.in_flight())
            .sum()
    }

    /// Resolves once no user's request is in the arm. Take the arm out of the table first,
    /// and bound the wait: a tunnel or a long answer may last.
    pub async fn drained(&self, arm: &ArmId) {
        for state in self.of_arm(arm).collect::<Vec<_>>() {
            state.drained().await;
        }
    }

    /// The same for one instance, whatever addresses it has had.
    pub async fn instance_drained(&self, arm: &ArmId, instance: &str) {
        let all: Vec<_> = self
            .of_arm(arm)
            .filter(|state| state.name == instance)
            .collect();
        for state in all {
            state.drained().await;
        }
    }

    /// Client connections now open.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Stops accepting, lets requests finish for at most `grace`, then closes what is left.
    /// The listening socket itself stays open until the splitter is dropped, for a successor
    /// to take over.
    pub async fn shutdown(&self, grace: Duration) {
        let now = Instant::now();
        let until = now.checked_add(grace).unwrap_or(now);
        self.phase.send_replace(Phase::Finishing { until });
        // Nobody sends: this waits for the last worker to drop its end.
        self.alive.lock().await.recv().await;
    }

    fn of_arm(&self, arm: &ArmId) -> impl Iterator<Item = Arc<InstanceState>> {
        let all: Vec<_> = self
            .shared
            .instances()
            .iter()
            .filter(|state| state.arm == *arm)
            .cloned()
            .collect();
        all.into_iter()
    }
}

impl Drop for Splitter {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Stopped);
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so on its own.
            let _ = thread.join();
        }
    }
}

fn state_of(arm: &ArmId, instance: &Instance, workers: usize) -> Arc<InstanceState> {
    Arc::new(InstanceState::new(
        arm.clone(),
        instance.name.clone(),
        instance.address,
        workers,
    ))
}
