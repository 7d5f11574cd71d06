//! The threads that carry traffic. Each runs its connections, their instances' connections
//! and its counts alone, so that the hot path crosses no core.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::answers;
use crate::client::{self, ClientState, Order};
use crate::division::Chance;
use crate::instance::InstanceState;
use crate::kinds::Seen;
use crate::options::take_place;
use crate::splitter::{Phase, Shared};

/// Connections over the limit that may be told so at one time; further ones are just closed.
const TELL_AT_MOST: usize = 256;

/// What one thread knows.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    pub(crate) chance: RefCell<Chance>,
    pub(crate) seen: Seen,
    /// The time of the last sweep: good enough for timeouts, and free.
    pub(crate) now: Cell<Instant>,
    clients: RefCell<Vec<Weak<ClientState>>>,
}

/// A connection on its way from the accepting worker to its own, counted until it ends.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    place: Place,
}

/// A place among the connections of the splitter and of one worker.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    worker: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::SeqCst);
        self.shared.loads[self.worker].fetch_sub(1, Ordering::SeqCst);
    }
}

impl Worker {
    /// Chooses the less busy of two instances drawn at random.
    pub(crate) fn pick(&self, ready: &[Arc<InstanceState>]) -> Option<Arc<InstanceState>> {
        let chosen = match ready {
            [] => return None,
            [only] => only,
            many => {
                let mut chance = self.chance.borrow_mut();
                let first = chance.below(many.len());
                let mut second = chance.below(many.len() - 1);
                second += usize::from(second >= first);
                if many[second].in_flight() < many[first].in_flight() {
                    &many[second]
                } else {
                    &many[first]
                }
            }
        };
        Some(Arc::clone(chosen))
    }

    /// Counts a request or connection that was refused before routing.
    pub(crate) fn reject(&self) {
        self.shared.rejected.fetch_add(1, Ordering::Relaxed);
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.now.set(now);
        let options = &self.shared.options;
        self.clients.borrow_mut().retain(|client| {
            let Some(client) = client.upgrade() else {
                return false;
            };
            client.sweep(now, options.header_timeout, options.idle_timeout);
            true
        });
        for instance in self.shared.instances().iter() {
            instance.prune_idle(self.index);
        }
    }

    fn take_over(self: &Rc<Self>, accepted: Accepted) {
        match TcpStream::from_std(accepted.stream) {
            Ok(stream) => self.start(stream, accepted.peer, accepted.place),
            Err(error) => tracing::warn!(%error, "a connection could not change threads"),
        }
    }

    fn start(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client left before it was served");
            return;
        }
        let client = Rc::new(ClientState::new(peer, Instant::now()));
        self.clients.borrow_mut().push(Rc::downgrade(&client));
        let worker = self.clone();
        tokio::task::spawn_local(async move {
            let _place = place;
            client::run(worker, client, stream).await;
        });
    }
}

/// What a worker's thread is given.
pub(crate) struct Setup {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    pub(crate) connections: mpsc::UnboundedReceiver<Accepted>,
    /// The first worker accepts and hands on; one sender for each worker.
    pub(crate) acceptor: Option<(TcpListener, Vec<mpsc::UnboundedSender<Accepted>>)>,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// Runs a worker on this thread until the splitter stops.
pub(crate) fn run(setup: Setup, runtime: &tokio::runtime::Runtime) {
    let local = tokio::task::LocalSet::new();
    local.block_on(runtime, async move {
        let Setup {
            shared,
            index,
            mut connections,
            acceptor,
            mut phase,
        } = setup;
        let worker = Rc::new(Worker {
            shared,
            index,
            chance: RefCell::new(Chance::seeded_by_system()),
            seen: Seen::default(),
            now: Cell::new(Instant::now()),
            clients: RefCell::new(Vec::new()),
        });
        let accepting = acceptor.map(|(listener, workers)| {
            tokio::task::spawn_local(accept(worker.clone(), listener, workers))
        });
        let options = &worker.shared.options;
        let every = options.header_timeout.min(options.idle_timeout) / 10;
        let every = every.clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut sweep = tokio::time::interval(every);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let deadline = loop {
            tokio::select! {
                Some(accepted) = connections.recv() => worker.take_over(accepted),
                _ = sweep.tick() => worker.sweep(),
                changed = phase.changed() => match (*phase.borrow(), changed) {
                    (Phase::Running, Ok(())) => {}
                    (Phase::Finishing { until }, Ok(())) => break until,
                    (Phase::Stopped, _) | (_, Err(_)) => return,
                },
            }
        };
        if let Some(accepting) = accepting {
            accepting.abort();
        }
        finish(&worker, connections, phase, deadline).await;
    });
}

/// Ends connections as they fall idle, until none is left or the time is up.
async fn finish(
    worker: &Rc<Worker>,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    mut phase: watch::Receiver<Phase>,
    deadline: Instant,
) {
    let mut look = tokio::time::interval(Duration::from_millis(10));
    let load = &worker.shared.loads[worker.index];
    while load.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
        tokio::select! {
            Some(accepted) = connections.recv() => worker.take_over(accepted),
            _ = look.tick() => {}
            _ = phase.changed() => if *phase.borrow() == Phase::Stopped { return },
        }
        // Again and again: a connection that came last may have missed the first call.
        for client in worker.clients.borrow().iter().filter_map(Weak::upgrade) {
            client.tell(Order::Finish);
        }
    }
}

async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
) {
    let shared = worker.shared.clone();
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the splitter cannot watch its socket and serves nobody");
            return;
        }
    };
    let telling = Arc::new(AtomicUsize::new(0));
    let mut failing = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => {
                failing = false;
                accepted
            }
            Err(error) if is_the_clients(&error) => continue,
            Err(error) => {
                // Most likely out of file descriptors: others have to close first.
                if !failing {
                    tracing::warn!(%error, "the splitter cannot accept connections and keeps trying; raise the limit of open files if it names that");
                }
                failing = true;
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if !take_place(&shared.connections, shared.options.max_connections) {
            worker.reject();
            refuse(stream, &telling);
            continue;
        }
        let index = least(&shared.loads);
        shared.loads[index].fetch_add(1, Ordering::SeqCst);
        let place = Place {
            shared: shared.clone(),
            worker: index,
        };
        if index == worker.index {
            worker.start(stream, peer, place);
        } else if let Ok(stream) = stream.into_std() {
            // Where the worker has ended, so has the splitter; the connection closes.
            let _ = workers[index].send(Accepted {
                stream,
                peer,
                place,
            });
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn least(loads: &[AtomicUsize]) -> usize {
    let load = |index: &usize| loads[*index].load(Ordering::SeqCst);
    (0..loads.len()).min_by_key(load).unwrap_or(0)
}

/// Tells a client that there are too many.
fn refuse(stream: TcpStream, telling: &Arc<AtomicUsize>) {
    if !take_place(telling, TELL_AT_MOST) {
        return;
    }
    let telling = telling.clone();
    tokio::task::spawn_local(async move {
        let text = "Too many connections. Please try again in a moment.";
        let answer = answers::raw("503 Service Unavailable", "retry-after: 1\r\n", text);
        if stream.writable().await.is_ok() && stream.try_write(&answer).is_ok() {
            client::linger(stream).await;
        }
        telling.fetch_sub(1, Ordering::Relaxed);
    });
}

/// The cores for `workers` threads to stay on: those that this process may use if there is
/// exactly one for each, else none.
pub(crate) fn cores_for(workers: usize) -> Vec<usize> {
    #[cfg(target_os = "linux")]
    if workers > 1
        && let Ok(allowed) = rustix::thread::sched_getaffinity(None)
        && usize::try_from(allowed.count()) == Ok(workers)
    {
        return (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|core| allowed.is_set(*core))
            .collect();
    }
    Vec::new()
}

/// Keeps this thread on a core. It works elsewhere as well, so a refusal is only noted.
pub(crate) fn stay_on(core: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut cores = rustix::thread::CpuSet::new();
        cores.set(core);
        if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
            tracing::debug!(%error, core, "a splitter's thread may not stay on its core");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}
