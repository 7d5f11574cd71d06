//! The life of one instance: started, probed, restarted, drained, stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airboss_model::target::{DesiredArm, InstanceState};
use airboss_model::{ArmId, LaneId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::child::Process;
use super::health::probe;
use super::launch::{NotStarted, Site, address, launch};
use super::router::Router;

/// Crashes of an instance that was never ready after which its arm has failed.
const CRASH_LOOP: u32 = 3;
/// Lines of the log in a failure's text.
const LAST_LINES: usize = 20;
/// An instance that was ready this long starts again at the shortest wait.
const STEADY: Duration = Duration::from_secs(10);
/// Time between two probes while starting: short at first, as most programs start fast.
const EAGER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
const PATIENT: Duration = Duration::from_millis(50);
/// Time between two looks at the size of a log.
const LOOK_AT_LOG: Duration = Duration::from_secs(5);

/// What the lane wants of an instance.
#[derive(Clone, Default)]
pub(super) enum Goal {
    /// Run for ever.
    #[default]
    Run,
    /// It is in no routing table any more: finish what is in flight there, then end.
    Drain(Vec<Arc<Router>>),
}

/// What is known about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub state: InstanceState,
    pub pid: Option<u32>,
    /// With `pid`, the process's identity.
    pub started: Option<u64>,
    pub port: Option<u16>,
    /// Starts after the first.
    pub restarts: u32,
    pub last_error: Option<String>,
    pub ever_ready: bool,
    /// It can never become ready, and why.
    pub failed: Option<String>,
    /// Why it cannot start now; it is tried again.
    pub problem: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: InstanceState::Starting,
            pid: None,
            started: None,
            port: None,
            restarts: 0,
            last_error: None,
            ever_ready: false,
            failed: None,
            problem: None,
        }
    }
}

/// What an instance tells the agent.
#[derive(Debug)]
pub(super) struct News {
    pub lane: LaneId,
    pub arm: ArmId,
    pub index: u32,
    pub status: Status,
}

/// Looks after one instance until it is drained.
pub(super) struct Supervisor {
    pub site: Arc<Site>,
    pub lane: LaneId,
    pub index: u32,
    pub name: String,
    /// True once all instances of the arm were ready together: from then on it has shown that
    /// it can run, and a crash is answered with restarts for ever.
    pub proven: Arc<AtomicBool>,
    pub arm: watch::Receiver<Arc<DesiredArm>>,
    pub news: mpsc::Sender<News>,
    pub status: Status,
}

enum End {
    /// The process ended by itself, or was ended as it was not ready in time.
    Died(String),
    Drain(Vec<Arc<Router>>),
}

impl Supervisor {
    /// Runs until the goal is [`Goal::Drain`] and the process is gone.
    pub async fn run(mut self, adopted: Option<Process>, mut goal: watch::Receiver<Goal>) {
        let mut process = adopted;
        let (mut failures, mut crashes) = (0_u32, 0_u32);
        let mut first_start = None;
        loop {
            let mut running = match process.take() {
                Some(running) => running,
                None => {
                    let started = tokio::select! {
                        biased;
                        _ = drain(&mut goal) => return self.stopped().await,
                        started = self.start() => started,
                    };
                    match started {
                        Ok(running) => running,
                        Err(not_started) => {
                            failures += 1;
                            let again = self.not_started(not_started);
                            self.tell().await;
                            let wait = async {
                                if !again {
                                    std::future::pending::<()>().await;
                                }
                                sleep(self.backoff(failures)).await;
                            };
                            tokio::select! {
                                _ = drain(&mut goal) => return self.stopped().await,
                                () = wait => continue,
                            }
                        }
                    }
                }
            };
            self.tell().await;
            let first = *first_start.get_or_insert_with(Instant::now);
            let mut steady_since = None;
            match self
                .attend(&mut running, &mut goal, &mut steady_since)
                .await
            {
                End::Drain(routers) => return self.drain(running, routers).await,
                End::Died(how) => {
                    // Whatever it started must not keep its port or its files.
                    running.kill();
                    drop(running);
                    if steady_since.is_some_and(|since: Instant| since.elapsed() >= STEADY) {
                        failures = 0;
                    }
                    failures += 1;
                    crashes += 1;
                    let again = self.died(how, crashes, first.elapsed());
                    self.tell().await;
                    let wait = async {
                        if !again {
                            std::future::pending::<()>().await;
                        }
                        sleep(self.backoff(failures)).await;
                    };
                    tokio::select! {
                        _ = drain(&mut goal) => return self.stopped().await,
                        () = wait => self.status.restarts += 1,
                    }
                }
            }
        }
    }

    fn hopeless(&self) -> bool {
        !self.status.ever_ready && !self.proven.load(Ordering::Relaxed)
    }

    fn backoff(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        self.site
            .backoff_first
            .saturating_mul(doubled)
            .min(self.site.backoff_most)
    }

    async fn start(&mut self) -> Result<Process, NotStarted> {
        let arm = Arc::clone(&self.arm.borrow());
        let started = launch(
            &self.site,
            &self.lane,
            &arm,
            &self.name,
            &mut self.status.port,
            self.status.restarts,
        )
        .await?;
        self.status.state = InstanceState::Starting;
        self.status.pid = Some(started.pid);
        self.status.started = Some(started.started);
        self.status.problem = None;
        self.status.failed = None;
        Ok(started)
    }

    /// True where it is to be tried again.
    fn not_started(&mut self, why: NotStarted) -> bool {
        self.status.pid = None;
        self.status.started = None;
        match why {
            NotStarted::Later(why) => {
                tracing::warn!(
                    instance = self.name,
                    why,
                    "not started, will be tried again"
                );
                self.status.last_error = Some(why.clone());
                self.status.problem = Some(format!("{}: {why}", self.name));
                true
            }
            NotStarted::Never(why) => {
                tracing::warn!(instance = self.name, why, "not started");
                self.status.state = InstanceState::Crashed;
                self.status.last_error = Some(why.clone());
                self.status.failed = Some(why);
                // An arm that serves users is worth another try: someone may repair the host.
                !self.hopeless()
            }
        }
    }

    /// True where it is to be started again.
    fn died(&mut self, how: String, crashes: u32, since_first: Duration) -> bool {
        let within = self.arm.borrow().process.health.ready_within.0;
        tracing::warn!(instance = self.name, how, "instance died");
        if self.status.state == InstanceState::Starting
            && let Some(port) = self.status.port.take()
        {
            // Perhaps it could not listen there: remains of old connections hold a port against
            // programs that do not ask to reuse it.
            self.site.ports.release(port);
        }
        self.status.state = InstanceState::Crashed;
        self.status.pid = None;
        self.status.started = None;
        self.status.last_error = Some(format!("{} {how}", self.name));
        if !self.hopeless() || (crashes < CRASH_LOOP && since_first < within) {
            return true;
        }
        let times = match crashes {
            1 => "once".to_owned(),
            n => format!("{n} times"),
        };
        let log = self.site.logs.path(&self.name);
        let tail = match self.site.logs.tail(&self.name, LAST_LINES) {
            Ok(lines) if lines.is_empty() => format!("It wrote nothing to {}.", log.display()),
            Ok(lines) => format!(
                "The last lines of its log ({}):\n{}",
                log.display(),
                lines.join("\n")
            ),
            Err(error) => format!("Its log {} cannot be read: {error}.", log.display()),
        };
        self.status.failed = Some(format!(
            "{} was started {times} and never became ready; last, it {how}. {tail}",
            self.name
        ));
        false
    }

    /// Probes a running process until it ends or is to be drained.
    async fn attend(
        &mut self,
        running: &mut Process,
        goal: &mut watch::Receiver<Goal>,
        steady_since: &mut Option<Instant>,
    ) -> End {
        let began = Instant::now();
        let Some(at) = self.status.port.map(address) else {
            return End::Died("has no port".to_owned());
        };
        let (mut bad, mut looked_at_log) = (0, began);
        // A running process that was adopted is looked at right away.
        let mut pause = match self.status.state {
            InstanceState::Starting => EAGER.0,
            _ => Duration::ZERO,
        };
        loop {
            let health = self.arm.borrow().process.health.clone();
            let result = tokio::select! {
                biased;
                how = running.ended() => return End::Died(how),
                routers = drain(goal) => return End::Drain(routers),
                result = async { sleep(pause).await; probe(at, &health).await } => result,
            };
            let before = self.status.state;
            match (result, before) {
                (Ok(()), _) => {
                    bad = 0;
                    self.status.state = InstanceState::Ready;
                    self.status.ever_ready = true;
                    self.status.failed = None;
                    steady_since.get_or_insert_with(Instant::now);
                }
                (Err(why), InstanceState::Starting) => {
                    if began.elapsed() >= health.ready_within.0 {
                        return self
                            .too_slow(running, &health.ready_within.to_string(), &why)
                            .await;
                    }
                }
                (Err(why), InstanceState::Ready) => {
                    bad += 1;
                    if bad >= health.failures.max(1) {
                        self.status.state = InstanceState::Unready;
                        self.status.last_error = Some(why);
                        *steady_since = None;
                    }
                }
                (Err(_), _) => {}
            }
            pause = match self.status.state {
                InstanceState::Starting if began.elapsed() < EAGER.1 => EAGER.0,
                InstanceState::Starting => PATIENT,
                _ => health.every.0.max(PATIENT),
            };
            if self.status.state != before {
                self.tell().await;
            }
            if looked_at_log.elapsed() >= LOOK_AT_LOG {
                looked_at_log = Instant::now();
                self.rotate_log().await;
            }
        }
    }

    async fn too_slow(&self, running: &mut Process, within: &str, why: &str) -> End {
        self.end(running).await;
        End::Died(format!(
            "was not ready within {within} and was ended (last probe: {why})"
        ))
    }

    async fn rotate_log(&self) {
        let (site, name) = (Arc::clone(&self.site), self.name.clone());
        let done = tokio::task::spawn_blocking(move || site.logs.rotate(&name)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(instance = self.name, %error, "cannot rotate the log");
        }
    }

    /// SIGTERM to the group, then SIGKILL to what is left.
    async fn end(&self, running: &mut Process) {
        running.terminate();
        if timeout(self.site.term_grace, running.ended())
            .await
            .is_err()
        {
            tracing::warn!(instance = self.name, "did not end on SIGTERM; is killed");
            running.kill();
            running.ended().await;
        }
        running.kill();
    }

    async fn drain(mut self, mut running: Process, routers: Vec<Arc<Router>>) {
        self.status.state = InstanceState::Draining;
        self.tell().await;
        let (arm, most) = {
            let arm = self.arm.borrow();
            (arm.arm.clone(), arm.process.drain.0)
        };
        let in_flight = futures_util::future::join_all(
            routers
                .iter()
                .map(|router| router.instance_drained(&arm, &self.name)),
        );
        tokio::select! {
            biased;
            _ = running.ended() => {}
            done = timeout(most, in_flight) => {
                if done.is_err() {
                    tracing::warn!(
                        instance = self.name,
                        "still had requests at the end of its drain time"
                    );
                }
            }
        }
        self.end(&mut running).await;
        self.stopped().await;
    }

    async fn stopped(mut self) {
        if let Some(port) = self.status.port.take() {
            self.site.ports.release(port);
        }
        let work = self.site.work(&self.name);
        if let Err(error) = std::fs::remove_dir_all(&work)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(instance = self.name, %error, "cannot remove its work folder");
        }
        self.status.state = InstanceState::Stopped;
        self.status.pid = None;
        self.status.started = None;
        self.status.problem = None;
        self.tell().await;
    }

    async fn tell(&self) {
        let news = News {
            lane: self.lane.clone(),
            arm: self.arm.borrow().arm.clone(),
            index: self.index,
            status: self.status.clone(),
        };
        // Nobody listens where the agent ends; the process lives on.
        let _ = self.news.send(news).await;
    }
}

/// Waits until the instance is to be drained.
async fn drain(goal: &mut watch::Receiver<Goal>) -> Vec<Arc<Router>> {
    loop {
        if let Goal::Drain(routers) = &*goal.borrow_and_update() {
            return routers.clone();
        }
        if goal.changed().await.is_err() {
            // The agent is gone; nobody wants anything any more.
            return std::future::pending().await;
        }
    }
}
