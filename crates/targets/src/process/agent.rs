//! The agent's loop: takes in what shall be true, moves every lane towards it, reports.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airboss_model::LaneId;
use airboss_proxy::Options;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use super::artifact::{ArtifactError, ArtifactStore, hint};
use super::child::end_strays;
use super::client::{Client, ClientError, Proof};
use super::config::{AgentConfig, Clock, StopMode};
use super::instance::News;
use super::journal::{Journal, State};
use super::lane::{Lane, Means};
use super::launch::Site;
use super::link::Link;
use super::lock::Lock;
use super::logs::Logs;
use super::poll::poll;
use super::ports::Ports;
use super::protocol::{DesiredSet, LogAnswer, LogRequest, ReportAck};
use super::report::Reports;
use super::router::Inherited;

/// Most lanes of one agent.
pub const MAX_LANES: usize = 256;
/// News of instances that may wait for the loop.
const NEWS: usize = 1024;
/// A report without an answer in this time is sent again.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// The last report of a stopping agent gets this long.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Another agent works in this folder.
    #[error(
        "another agent runs on {}: stop it, or give this one another data folder", path.display()
    )]
    Busy {
        /// The agent's folder.
        path: PathBuf,
    },
    /// The folder cannot be used.
    #[error("cannot use the agent's folder {}: {source}{}", path.display(), hint(source))]
    Folder {
        /// The agent's folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal is unreadable; starting without it would forget running instances.
    #[error(
        "the agent's state in {} cannot be read: {why}. Restore it from a backup, or move it away: then \
         the agent ends what it had started and starts anew what the controller asks for", path.display()
    )]
    JournalDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The artifacts' folder cannot be used.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    /// No client for pages of metrics.
    #[error("cannot prepare to read instances' metrics: {0}")]
    Pages(reqwest::Error),
    /// The controller's address cannot be used.
    #[error(transparent)]
    Controller(#[from] ClientError),
}

/// Runs an agent until `stop` says how to end it (a dropped sender means
/// [`StopMode::LeaveRunning`]).
///
/// Dropping the future has the effect of `kill -9`: instances live on and the next agent of the
/// folder adopts them.
///
/// # Errors
/// Only at the start; what goes wrong later is reported to the controller and tried again.
pub async fn run(
    config: AgentConfig,
    mut stop: watch::Receiver<Option<StopMode>>,
) -> Result<(), AgentError> {
    let lock = Lock::take(&config.data_dir).await?;
    let (mut agent, mut inbox) = Agent::open(config, lock)?;
    let mut tick = interval(agent.report_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mode = loop {
        agent.step().await;
        tokio::select! {
            biased;
            stopped = stop.wait_for(Option::is_some) => {
                let mode = stopped.ok().and_then(|mode| *mode);
                break mode.unwrap_or(StopMode::LeaveRunning);
            }
            Some(news) = inbox.news.recv() => {
                agent.news(news);
                // A burst is one step.
                while let Ok(news) = inbox.news.try_recv() {
                    agent.news(news);
                }
            }
            Some((from, set)) = inbox.desired.recv() => agent.take_in(from, set),
            Some((from, answer)) = inbox.answers.recv() => agent.answered(from, answer),
            Some((from, id, done)) = inbox.logs.recv() => agent.logs_answered(from, &id, done),
            _ = tick.tick() => {}
        }
    };
    agent.stop(mode, &mut inbox).await;
    Ok(())
}

/// What a controller said to a report: which one, and what.
type Answer = (usize, Result<ReportAck, ClientError>);

/// What reaches the loop from its tasks.
struct Inbox {
    news: mpsc::Receiver<News>,
    desired: mpsc::Receiver<(usize, DesiredSet)>,
    answers: mpsc::Receiver<Answer>,
    logs: mpsc::Receiver<(usize, String, Result<(), ClientError>)>,
}

struct Agent {
    id: String,
    kernel_boot: String,
    clock: Clock,
    report_every: Duration,
    spare_artifacts: usize,
    splitter: Options,
    inherited: Inherited,
    site: Arc<Site>,
    /// The controllers, each of which hears everything.
    links: Vec<Link>,
    lanes: BTreeMap<LaneId, Lane>,
    journal: Journal,
    problems: BTreeMap<&'static str, String>,
    arms_swept: usize,
    news: mpsc::Sender<News>,
    answers: mpsc::Sender<Answer>,
    logs: mpsc::Sender<(usize, String, Result<(), ClientError>)>,
    tasks: JoinSet<()>,
    /// Held while the agent lives.
    _lock: Lock,
}

impl Agent {
    /// Recovers what an earlier agent left, starts to ask the controller.
    fn open(config: AgentConfig, lock: Lock) -> Result<(Self, Inbox), AgentError> {
        let root = lock.folder.clone();
        let folder = |source| AgentError::Folder {
            path: root.clone(),
            source,
        };
        let (journal, state) = Journal::open(&root)?;
        let identity = config.identity;
        let proof = match &identity {
            Some(identity) => Proof::own(identity)?,
            None => Proof::Token(config.token),
        };
        let clients = Client::each(&config.controllers, &proof, config.ca.as_deref())?;
        let kernel_boot = super::artifact::boot_id();
        let site = Arc::new(Site {
            artifacts: ArtifactStore::open(&root, clients.clone())?,
            logs: Logs::open(root.join("logs")).map_err(folder)?,
            pages: super::meter::client().map_err(AgentError::Pages)?,
            ports: Ports::new(config.ports, &root.to_string_lossy()),
            term_grace: config.term_grace,
            backoff_first: config.backoff_first,
            backoff_most: config.backoff_most,
            root: root.clone(),
        });
        let (news, news_in) = mpsc::channel(NEWS);
        let (desired, desired_in) = mpsc::channel(4);
        let (answers, answers_in) = mpsc::channel(4);
        let (logs, logs_in) = mpsc::channel(16);
        let (id, records, same_boot) = match state {
            Some(state) => (state.agent, state.lanes, state.kernel_boot == kernel_boot),
            None => (Uuid::now_v7().to_string(), Vec::new(), true),
        };
        // Who joined is called as it was let in.
        let id = identity.map_or(id, |identity| identity.agent);
        let boot = Uuid::new_v4().to_string();
        let mut agent = Self {
            links: clients
                .into_iter()
                .map(|client| {
                    Link::new(
                        client,
                        Reports::new(id.clone(), boot.clone(), config.report_every),
                    )
                })
                .collect(),
            id,
            kernel_boot,
            clock: config.clock,
            report_every: config.report_every,
            spare_artifacts: config.spare_artifacts,
            splitter: config.splitter,
            inherited: Mutex::new(config.listeners),
            site,
            lanes: BTreeMap::new(),
            journal,
            problems: BTreeMap::new(),
            arms_swept: 0,
            news,
            answers,
            logs,
            tasks: JoinSet::new(),
            _lock: lock,
        };
        let now = (agent.clock)();
        for record in records {
            let lane = Lane::recover(record, now, same_boot, &mut agent.means().0);
            agent.lanes.insert(lane.id().clone(), lane);
        }
        let adopted: HashSet<&str> = agent.lanes.values().flat_map(Lane::running).collect();
        let strays = end_strays(&root, |instance| adopted.contains(instance));
        tracing::info!(
            agent = agent.id,
            adopted = adopted.len(),
            ?strays,
            "agent starts"
        );
        for (from, link) in agent.links.iter().enumerate() {
            agent.tasks.spawn(poll(
                link.client.clone(),
                agent.id.clone(),
                config.poll_wait,
                Arc::clone(&link.poke),
                (from, desired.clone()),
            ));
        }
        let inbox = Inbox {
            news: news_in,
            desired: desired_in,
            answers: answers_in,
            logs: logs_in,
        };
        Ok((agent, inbox))
    }

    /// The lanes beside the rest, as lanes work with the rest.
    fn means(&mut self) -> (Means<'_>, &mut BTreeMap<LaneId, Lane>) {
        let means = Means {
            site: &self.site,
            inherited: &self.inherited,
            splitter: &self.splitter,
            news: &self.news,
            tasks: &mut self.tasks,
        };
        (means, &mut self.lanes)
    }

    fn news(&mut self, news: News) {
        if let Some(lane) = self.lanes.get_mut(&news.lane) {
            lane.news(&news.arm, news.index, news.status);
            self.changed();
        }
    }

    /// Something changed that every controller should know at once.
    fn changed(&mut self) {
        self.links
            .iter_mut()
            .for_each(|link| link.reports.changed());
    }

    fn take_in(&mut self, from: usize, set: DesiredSet) {
        self.links[from].seen = Some((set.version, set.incarnation));
        self.problems.remove("lanes");
        for desired in set.lanes {
            if let Some(lane) = self.lanes.get_mut(&desired.lane) {
                if lane.take_in(desired) {
                    self.changed();
                }
            } else if self.lanes.len() < MAX_LANES {
                self.lanes.insert(desired.lane.clone(), Lane::new(desired));
                self.changed();
            } else {
                let problem = format!(
                    "{} is not run here: an agent has at most {MAX_LANES} lanes",
                    desired.lane
                );
                self.problems.insert("lanes", problem);
            }
        }
        for request in set.log_requests {
            if !self.links[from].answered_logs.contains(&request.id) {
                self.answer_logs(from, request);
            }
        }
    }

    /// Everything that follows from what was taken in: cheap where nothing does.
    async fn step(&mut self) {
        while let Some(done) = self.tasks.try_join_next() {
            if let Err(error) = done
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the agent failed");
            }
        }
        let now = (self.clock)();
        let (mut means, lanes) = self.means();
        for lane in lanes.values_mut() {
            lane.reconcile(now, &mut means);
        }
        // Nothing is told before it is durable: a successor must not know less than was said.
        self.save().await;
        self.sweep();
        self.send_report();
    }

    async fn save(&mut self) {
        let lanes = self.lanes.values().map(Lane::record).collect();
        let state = State::new(self.id.clone(), self.kernel_boot.clone(), lanes);
        match self.journal.save(&state).await {
            Ok(()) => {
                self.problems.remove("journal");
            }
            Err(problem) => {
                if !self.problems.contains_key("journal") {
                    tracing::error!(problem, "state not saved");
                }
                self.problems.insert("journal", problem);
            }
        }
    }

    /// Clears the disk after an arm came or went.
    fn sweep(&mut self) {
        let arms: usize = self.lanes.values().map(|lane| lane.specs().count()).sum();
        if arms == self.arms_swept {
            return;
        }
        self.arms_swept = arms;
        let lanes = self.lanes.values();
        let keep: HashSet<_> = lanes
            .clone()
            .flat_map(Lane::specs)
            .map(|spec| spec.digest)
            .collect();
        let living: HashSet<String> = lanes.flat_map(Lane::names).map(str::to_owned).collect();
        let (site, spare) = (Arc::clone(&self.site), self.spare_artifacts);
        self.tasks.spawn(async move {
            let work = move || {
                if let Err(error) = site.artifacts.sweep(&keep, spare) {
                    tracing::warn!(%error, "cannot clear old artifacts");
                }
                if let Err(error) = site.logs.sweep(|name| living.contains(name)) {
                    tracing::warn!(%error, "cannot clear old logs");
                }
            };
            // Its panics are told by the runtime; nothing depends on it.
            let _ = tokio::task::spawn_blocking(work).await;
        });
    }

    fn send_report(&mut self) {
        for (id, lane) in &mut self.lanes {
            let counted = lane.take_counts();
            for link in &mut self.links {
                link.reports.count(id, &counted);
            }
            for (arm, instance, read) in lane.take_readings() {
                for link in &mut self.links {
                    link.reports.read(id, arm, instance, &read);
                }
            }
        }
        let now = (self.clock)();
        let (lanes, problems) = (&self.lanes, &self.problems);
        let problems: Vec<String> = problems.values().cloned().collect();
        let observed = || {
            lanes
                .values()
                .map(|lane| lane.observe(now, &problems))
                .collect()
        };
        for (to, link) in self.links.iter_mut().enumerate() {
            let Some(report) = link.reports.next(now, observed) else {
                continue;
            };
            let (client, answers) = (link.client.clone(), self.answers.clone());
            self.tasks.spawn(async move {
                let answer = client.report(&report, REPORT_TIMEOUT).await;
                // Nobody listens any more where the agent ends.
                let _ = answers.send((to, answer)).await;
            });
        }
    }

    fn answered(&mut self, from: usize, answer: Result<ReportAck, ClientError>) {
        let link = &mut self.links[from];
        match answer {
            Ok(ack) => {
                link.acknowledged(&ack);
                let now = (self.clock)();
                for id in &ack.renewed {
                    if let Some(lane) = self.lanes.get_mut(id) {
                        lane.renew(now);
                    }
                }
            }
            Err(error) => {
                if link.reports.unanswered() {
                    tracing::warn!(%error, "report not taken");
                }
            }
        }
    }

    fn answer_logs(&mut self, from: usize, request: LogRequest) {
        self.links[from].answers_logs(&request.id);
        let prefixes: Vec<String> = match (&request.arm, self.lanes.get(&request.lane)) {
            (Some(arm), _) => vec![format!("{arm}.")],
            (None, Some(lane)) => lane.specs().map(|spec| format!("{}.", spec.arm)).collect(),
            (None, None) => Vec::new(),
        };
        let (site, client, done) = (
            Arc::clone(&self.site),
            self.links[from].client.clone(),
            self.logs.clone(),
        );
        self.tasks.spawn(async move {
            let (id, lines) = (request.id, request.lines);
            let read = move || read_logs(&site.logs, &prefixes, lines);
            let answer = match tokio::task::spawn_blocking(read).await {
                Ok(answer) => answer,
                Err(error) => LogAnswer {
                    lines: Vec::new(),
                    problem: Some(format!("the logs could not be read: {error}")),
                },
            };
            let sent = client.logs(&id, &answer).await;
            let _ = done.send((from, id, sent)).await;
        });
    }

    fn logs_answered(&mut self, from: usize, id: &str, done: Result<(), ClientError>) {
        if let Err(error) = done {
            tracing::warn!(%error, "log lines not taken; sent again where they are still asked for");
            let answered = &mut self.links[from].answered_logs;
            answered.retain(|answered| answered != id);
        }
    }

    /// Ends in good order: requests in flight are finished, what was counted is reported.
    async fn stop(&mut self, mode: StopMode, inbox: &mut Inbox) {
        let lanes = self.lanes.values();
        let grace = lanes.map(Lane::longest_drain).max().unwrap_or_default();
        let routers: Vec<_> = self.lanes.values().flat_map(Lane::routers).collect();
        let ends = routers.iter().map(|router| router.shutdown(grace));
        futures_util::future::join_all(ends).await;
        if mode == StopMode::StopInstances {
            self.lanes.values_mut().for_each(Lane::stop_all);
            let deadline = Instant::now() + self.site.term_grace + Duration::from_secs(2);
            while !self.lanes.values().all(Lane::is_still) {
                let Ok(Some(news)) = tokio::time::timeout_at(deadline, inbox.news.recv()).await
                else {
                    tracing::error!("some instances did not end");
                    break;
                };
                self.news(news);
            }
        }
        self.save().await;
        self.last_report(inbox).await;
        tracing::info!(?mode, "agent ended");
    }

    /// Hands in what is open and what was counted since, as far as the controller answers.
    async fn last_report(&mut self, inbox: &mut Inbox) {
        let all = async {
            self.changed();
            // Of each at most the report under way, its repetition and one more.
            for _ in 0..3 * self.links.len() {
                self.send_report();
                if !self.links.iter().any(|link| link.reports.is_sending()) {
                    break;
                }
                match inbox.answers.recv().await {
                    Some((from, Ok(_))) => self.links[from].reports.acknowledged(),
                    // Left as being sent, so that the others are waited for.
                    Some((_, Err(_))) => {}
                    None => break,
                }
            }
        };
        if timeout(LAST_REPORT, all).await.is_err() {
            tracing::warn!("the controller did not take the last report");
        }
    }
}

fn read_logs(logs: &Logs, prefixes: &[String], lines: u32) -> LogAnswer {
    let instances: Vec<String> = prefixes
        .iter()
        .flat_map(|prefix| logs.instances(prefix))
        .collect();
    let (lines, problem) = match logs.answer(&instances, lines) {
        Ok(lines) if lines.is_empty() && instances.is_empty() => (
            lines,
            Some("no instance of it has run on this host, or its logs were cleared".to_owned()),
        ),
        Ok(lines) => (lines, None),
        Err(error) => (
            Vec::new(),
            Some(format!("the logs cannot be read: {error}")),
        ),
    };
    LogAnswer { lines, problem }
}
