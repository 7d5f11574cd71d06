//! A world: everything in it runs on one thread and one clock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airboss_engine::{Command, Input, Lane, Phase, Request};
use airboss_ledger::Hash;
use airboss_model::manifest::Service;
use airboss_model::time::after;
use airboss_model::traffic::Weight;
use airboss_model::{Digest, LaneId, RolloutId, Timestamp};
use airboss_rehearsal::{Habits, Host, Nature, Traffic, Usual};
use airboss_store::{Commit, EvidenceRow, LaneRow, RecordFilter};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agent::{Agent, AgentFaults, Link, lasts};
use crate::controller::Controller;
use crate::store::{Broken, Observer, SimStore, Tables, WireFaults};
use crate::story::{CHAOS, Happening, Story, Verb, Version};
use crate::witness::{Finding, Promise, Sight, Witness};

/// The agent's step.
const TICK: Duration = Duration::from_millis(250);
/// Seconds after the last fault within which every rollout has ended.
const REST: u64 = 300;
/// Requests a second: enough for a verdict within seconds.
const RATE: f64 = 2_000.0;
/// How often a client asks again under the same key.
const ASKS: usize = 8;

/// What a world came to.
#[derive(Debug)]
pub struct Ended {
    /// The first promise that was broken.
    pub finding: Option<Finding>,
    /// What was in it.
    pub tally: Tally,
    /// The ledger's root: the same for the same story.
    pub root: Hash,
    /// Everything that the witness saw, where it was asked to keep it.
    pub sights: Vec<Sight>,
}

/// What was in a world, or in many.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Worlds.
    pub worlds: u64,
    /// Rollouts that were accepted.
    pub rollouts: u64,
    /// Commits of decisions.
    pub commits: u64,
    /// Seconds on the simulated clock.
    pub seconds: f64,
    /// What happened, by kind.
    pub happenings: BTreeMap<&'static str, u64>,
    /// Faults among that.
    pub faults: u64,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.rollouts += other.rollouts;
        self.commits += other.commits;
        self.seconds += other.seconds;
        self.faults += other.faults;
        for (kind, count) in &other.happenings {
            *self.happenings.entry(kind).or_default() += count;
        }
    }
}

/// What is deliberately wrong with a world, to prove that the witness sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wrong {
    /// With its store.
    pub store: Broken,
    /// With its agent: exposures never run out.
    pub ignores_leases: bool,
    /// Whether to keep what was seen.
    pub keep: bool,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes panics of tasks, which would go unseen. To be called once a process.
pub fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANIC.with_borrow_mut(|panic| *panic = Some(info.to_string()));
    }));
}

/// Plays a story.
pub fn play(story: &Story) -> Ended {
    play_wrong(story, Wrong::default())
}

/// Plays a story in a world that is deliberately broken.
pub fn play_wrong(story: &Story, wrong: Wrong) -> Ended {
    PANIC.with_borrow_mut(|panic| *panic = None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        // Without threads or memory there is no world to speak of.
        Err(error) => panic!("no world can be made: {error}"),
    };
    let mut ended = runtime.block_on(async {
        let world = Arc::new(World::new(story, wrong));
        let begun = Instant::now();
        world.live().await;
        let mut inner = world.eye.inner();
        let mut happenings = BTreeMap::new();
        for (_, happening) in &story.happenings {
            *happenings.entry(happening.kind()).or_default() += 1;
        }
        Ended {
            finding: inner.finding.take(),
            tally: Tally {
                worlds: 1,
                rollouts: inner.witness.rollouts() as u64,
                commits: inner.witness.commits,
                seconds: begun.elapsed().as_secs_f64(),
                faults: story.faults() as u64,
                happenings,
            },
            root: world.store.tables().log_head().root(),
            sights: std::mem::take(&mut inner.sights),
        }
    });
    drop(runtime);
    if let Some(what) = PANIC.with_borrow_mut(Option::take) {
        ended.finding.get_or_insert(Finding {
            promise: Promise::Sound,
            what,
        });
    }
    ended
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the world anyway, and is told.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The witness, where store and agent reach it.
struct Eye {
    inner: Mutex<Watched>,
    begun: Instant,
    keep: bool,
}

#[derive(Default)]
struct Watched {
    witness: Witness,
    finding: Option<Finding>,
    events: u64,
    sights: Vec<Sight>,
}

impl Eye {
    fn inner(&self) -> MutexGuard<'_, Watched> {
        lock(&self.inner)
    }

    fn see(&self, sight: Sight) {
        let mut inner = self.inner();
        if inner.finding.is_none()
            && let Err(finding) = inner.witness.see(&sight)
        {
            inner.finding = Some(finding);
        }
        if self.keep {
            inner.sights.push(sight);
        }
    }

    fn is_over(&self) -> bool {
        self.inner().finding.is_some()
    }
}

impl Observer for Eye {
    fn claimed(&self, owner: &str, row: &LaneRow) {
        self.see(Sight::Claimed {
            lane: row.lane.clone(),
            owner: owner.to_owned(),
            epoch: row.epoch,
        });
    }
    fn committed(&self, owner: &str, commit: &Commit, tables: &Tables) {
        let after = self.inner().events;
        let records = tables.log_records(&RecordFilter {
            after,
            limit: 5_000,
            ..RecordFilter::default()
        });
        self.inner().events = tables.last_event();
        self.see(Sight::Committed {
            owner: owner.to_owned(),
            commit: Box::new(commit.clone()),
            records,
            head: tables.log_head().clone(),
            waiting: tables.inbox(&commit.lane, 1_000).len(),
            at: self.begun.elapsed(),
        });
    }
    fn recorded(&self, _owner: &str, rows: &[EvidenceRow]) {
        for row in rows {
            self.see(Sight::Watched {
                rollout: row.rollout.clone(),
                at: self.begun.elapsed(),
            });
        }
    }
}

struct World {
    story: Story,
    begun: Instant,
    wall: Timestamp,
    rng: Mutex<Xoshiro256PlusPlus>,
    store: SimStore,
    eye: Arc<Eye>,
    agent: Mutex<Agent>,
    controllers: Vec<Mutex<Controller>>,
    lanes: Vec<(LaneId, Service)>,
    /// How many controllers were ever started, and rollouts and commands ever asked for.
    count: Mutex<u64>,
}

impl World {
    fn new(story: &Story, wrong: Wrong) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(story.seed ^ 0x5eed);
        let begun = Instant::now();
        // Any whole minute: nothing depends on the date.
        let wall = Timestamp::from_second(1_790_000_040).unwrap_or(Timestamp::UNIX_EPOCH);
        let store = match story.controllers {
            0 | 1 => SimStore::alone(),
            _ => SimStore::shared(),
        };
        store.tables().broken = wrong.store;
        let lanes: Vec<(LaneId, Service)> = (0..story.lanes)
            .filter_map(|number| lane(number, &mut rng))
            .collect();
        let mut traffic = BTreeMap::new();
        for (id, service) in &lanes {
            let rng = Xoshiro256PlusPlus::seed_from_u64(rng.random());
            let usual = Usual::assumed(service, RATE);
            traffic.insert(id.clone(), Traffic::new(RATE, usual.answers, rng));
        }
        let controllers = (0..story.controllers)
            .map(|index| {
                let skew = story.skews.get(index).copied().unwrap_or(0);
                let name = format!("controller-{index}.0");
                Mutex::new(Controller::new(name, rng.random(), wall, skew))
            })
            .collect();
        Self {
            agent: Mutex::new(Agent {
                host: Host::new(Habits {
                    start_takes: Duration::from_millis(rng.random_range(200..3_000)),
                    drain_takes: Duration::from_millis(rng.random_range(100..3_000)),
                    restart_takes: Duration::from_secs(1),
                }),
                traffic,
                faults: AgentFaults::default(),
                links: (0..story.controllers).map(|_| Link::default()).collect(),
                ignores_leases: wrong.ignores_leases,
            }),
            eye: Arc::new(Eye {
                inner: Mutex::default(),
                begun,
                keep: wrong.keep,
            }),
            story: story.clone(),
            begun,
            wall,
            rng: Mutex::new(rng),
            store,
            controllers,
            lanes,
            count: Mutex::new(0),
        }
    }

    fn now(&self) -> Timestamp {
        after(self.wall, self.begun.elapsed())
    }

    fn next(&self) -> u64 {
        let mut count = lock(&self.count);
        *count += 1;
        *count
    }

    /// Chaos, then rest.
    async fn live(self: &Arc<Self>) {
        for index in 0..self.controllers.len() {
            self.start(index);
        }
        tokio::spawn(Arc::clone(self).serve());
        for (at, happening) in &self.story.happenings {
            sleep_until(self.begun + Duration::from_millis(*at)).await;
            if self.eye.is_over() {
                return;
            }
            self.let_happen(happening);
        }
        sleep_until(self.begun + Duration::from_secs(CHAOS)).await;
        self.heal();
        self.rest().await;
    }

    fn start(self: &Arc<Self>, index: usize) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            let (name, wire, hub, clock) = {
                let it = lock(&world.controllers[index]);
                (
                    it.name.clone(),
                    it.wire.clone(),
                    Arc::clone(&it.hub),
                    it.clock.clone(),
                )
            };
            let observer = Arc::clone(&world.eye) as Arc<dyn Observer>;
            let started =
                Controller::start(name.clone(), wire, hub, clock, &world.store, observer).await;
            let mut it = lock(&world.controllers[index]);
            if it.name == name {
                it.runtime = started;
            }
        });
    }

    /// A controller dies; its heir has a name, a hub and a clock of its own.
    fn crash(self: &Arc<Self>, index: usize, skew: i64) {
        let seed = lock(&self.rng).random();
        let name = format!("controller-{index}.{}", self.next());
        let mut it = lock(&self.controllers[index]);
        it.wire.change(|faults| faults.dead = true);
        *it = Controller::new(name, seed, self.now(), skew);
        let mut agent = lock(&self.agent);
        agent.links[index].begin_anew();
    }

    // ---- the agent -----------------------------------------------------------------------

    /// The agent at work.
    async fn serve(self: Arc<Self>) {
        loop {
            sleep(TICK).await;
            let now = self.now();
            if lasts(lock(&self.agent).faults.down_until) {
                continue;
            }
            lock(&self.agent).pass(TICK.as_secs_f64(), now);
            for (lane, _) in &self.lanes {
                let (weight, until) = lock(&self.agent).host.exposure(lane);
                // While the splitter hears nothing it does nothing: that is this fault.
                if lasts(lock(&self.agent).faults.stuck_until) {
                    continue;
                }
                // A first version is no exposure: there is nothing that users could return to.
                self.eye.see(Sight::Exposed {
                    lane: lane.clone(),
                    weight: until.map_or(Weight::ZERO, |_| weight),
                    at: self.begun.elapsed(),
                });
            }
            for index in 0..self.controllers.len() {
                let reached = lock(&self.controllers[index]).is_reached();
                let busy = std::mem::replace(&mut lock(&self.agent).links[index].busy, true);
                if busy {
                    continue;
                }
                if reached {
                    tokio::spawn(Arc::clone(&self).exchange(index));
                } else {
                    lock(&self.agent).links[index].busy = false;
                }
            }
        }
    }

    /// How long a message is under way.
    async fn travel(&self) {
        let most = match lock(&self.agent).faults.delays {
            Some((millis, until)) if lasts(Some(until)) => millis,
            _ => 5,
        };
        let millis = lock(&self.rng).random_range(0..=most);
        sleep(Duration::from_millis(millis)).await;
    }

    /// One report and its answer, then what shall be true.
    async fn exchange(self: Arc<Self>, index: usize) {
        let (hub, clock, boot) = {
            let it = lock(&self.controllers[index]);
            let boot = lock(&self.agent).links[index].boot;
            (Arc::clone(&it.hub), it.clock.clone(), boot)
        };
        let report = lock(&self.agent).report(index, self.now());
        let twice = lasts(lock(&self.agent).faults.duplicates_until);
        self.travel().await;
        let alike = |world: &Self| lock(&world.agent).links[index].boot == boot;
        if alike(&self) && lock(&self.controllers[index]).is_reached() {
            if twice {
                let _ = hub.report(report.clone(), clock.now());
            }
            let answer = hub.report(report, clock.now());
            self.travel().await;
            let lost =
                lasts(lock(&self.agent).faults.lost_acks_until) && lock(&self.rng).random_bool(0.5);
            if let Ok(ack) = answer
                && alike(&self)
                && !lost
                && !lasts(lock(&self.agent).faults.down_until)
            {
                lock(&self.agent).acknowledged(index, &ack.renewed, self.now());
            }
            let world = Arc::clone(&self);
            // An older answer may be overtaken by a newer one.
            tokio::spawn(async move {
                let set = hub.desired("agent", 0, Duration::ZERO).await;
                world.travel().await;
                if !lasts(lock(&world.agent).faults.down_until) {
                    for desired in &set.lanes {
                        let took = lock(&world.agent).host.take_in(desired, world.now());
                        if took {
                            world.eye.see(Sight::TookIn(Box::new(desired.clone())));
                        }
                    }
                }
            });
        }
        if alike(&self) {
            lock(&self.agent).links[index].busy = false;
        }
    }

    // ---- what happens --------------------------------------------------------------------

    fn let_happen(self: &Arc<Self>, happening: &Happening) {
        let now = Instant::now();
        let until = |seconds: u64| Some(now + Duration::from_secs(seconds));
        let wire = |index: usize, with: &dyn Fn(&mut WireFaults)| {
            lock(&self.controllers[index % self.controllers.len()])
                .wire
                .change(with);
        };
        let agent = |with: &dyn Fn(&mut AgentFaults)| with(&mut lock(&self.agent).faults);
        match *happening {
            Happening::Operator {
                lane,
                through,
                verb,
            } => self.operate(lane % self.lanes.len().max(1), through, verb),
            Happening::Crash {
                controller,
                down,
                skew,
            } => {
                let index = controller % self.controllers.len();
                self.crash(index, skew);
                let world = Arc::clone(self);
                let name = lock(&self.controllers[index]).name.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_secs(down)).await;
                    if lock(&world.controllers[index]).name == name {
                        world.start(index);
                    }
                });
            }
            Happening::Freeze {
                controller,
                seconds,
            } => {
                wire(controller, &|faults| faults.frozen_until = until(seconds));
                let index = controller % self.controllers.len();
                lock(&self.controllers[index]).cut_until = until(seconds);
            }
            Happening::StoreAway { seconds } => {
                for index in 0..self.controllers.len() {
                    wire(index, &|faults| faults.away_until = until(seconds));
                }
            }
            Happening::LostAnswers {
                controller,
                percent,
                seconds,
            } => {
                wire(controller, &|faults| {
                    faults.lost_answers = percent as f64 / 100.0
                });
                self.later(seconds, move |world| {
                    let index = controller % world.controllers.len();
                    lock(&world.controllers[index])
                        .wire
                        .change(|faults| faults.lost_answers = 0.0);
                });
            }
            Happening::SlowStore {
                controller,
                millis,
                seconds,
            } => {
                wire(controller, &|faults| {
                    faults.slow = Duration::from_millis(millis)
                });
                self.later(seconds, move |world| {
                    let index = controller % world.controllers.len();
                    lock(&world.controllers[index])
                        .wire
                        .change(|faults| faults.slow = Duration::from_millis(3));
                });
            }
            Happening::Cut {
                controller,
                seconds,
            } => {
                let index = controller % self.controllers.len();
                lock(&self.controllers[index]).cut_until = until(seconds);
            }
            Happening::LostAcks { seconds } => {
                agent(&|faults| faults.lost_acks_until = until(seconds))
            }
            Happening::Duplicates { seconds } => {
                agent(&|faults| faults.duplicates_until = until(seconds))
            }
            Happening::Delays { millis, seconds } => {
                agent(&|faults| faults.delays = until(seconds).map(|until| (millis, until)));
            }
            Happening::AgentDown { seconds } => {
                let mut agent = lock(&self.agent);
                agent.restart();
                agent.faults.down_until = until(seconds);
            }
            Happening::Stuck { seconds } => agent(&|faults| faults.stuck_until = until(seconds)),
            Happening::Lie { weight, seconds } => {
                let weight = Weight::from_basis_points(weight);
                agent(&|faults| faults.lie = until(seconds).map(|until| (weight, until)));
            }
            Happening::NoMeasurements { seconds } => {
                agent(&|faults| faults.mute_until = until(seconds))
            }
            Happening::OldMeasurements { seconds } => {
                agent(&|faults| faults.old_until = until(seconds))
            }
            Happening::AbsurdMeasurements { seconds } => {
                agent(&|faults| faults.absurd_until = until(seconds));
            }
        }
    }

    fn later(self: &Arc<Self>, seconds: u64, act: impl FnOnce(&Self) + Send + 'static) {
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(Duration::from_secs(seconds)).await;
            act(&world);
        });
    }

    // ---- operators -----------------------------------------------------------------------

    /// A lane as it is committed.
    fn state(&self, lane: &LaneId) -> Option<Lane> {
        let row = self.store.tables().lane(lane)?;
        serde_json::from_value(row.state?).ok()
    }

    fn operate(self: &Arc<Self>, lane: usize, through: usize, verb: Verb) {
        let Some((id, service)) = self.lanes.get(lane).cloned() else {
            return;
        };
        let state = self.state(&id);
        let meant = state.as_ref().and_then(|lane| {
            let active = lane.active.as_ref().map(|active| active.id().clone());
            active.or_else(|| lane.queue.front().map(|next| next.rollout.clone()))
        });
        let number = self.next();
        let fresh = RolloutId::new(&id.service(), number);
        let rollout = meant.unwrap_or_else(|| fresh.clone());
        let command = match verb {
            Verb::Ship(version) => {
                Command::Ship(self.request(&id, service, fresh, number, version))
            }
            Verb::Pause => Command::Pause { rollout },
            Verb::Resume => Command::Resume { rollout },
            Verb::Promote { full } => Command::Promote { rollout, full },
            Verb::Abort { force } => Command::Abort {
                rollout,
                force,
                reason: "it looks wrong".to_owned(),
            },
            Verb::Rollback => Command::Rollback {
                rollout: fresh,
                to: None,
                reason: String::new(),
            },
        };
        let input = Input::Command {
            command,
            by: "ann".to_owned(),
        };
        tokio::spawn(Arc::clone(self).ask(id, format!("key-{number}"), input, through));
    }

    fn request(
        &self,
        lane: &LaneId,
        service: Service,
        rollout: RolloutId,
        number: u64,
        version: Version,
    ) -> Request {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let digest = Digest::from_sha256(bytes);
        let mut agent = lock(&self.agent);
        match version {
            Version::Good => {}
            Version::Bad => {
                if let Some(traffic) = agent.traffic.get_mut(lane) {
                    let bad = traffic.usual.clone().with_status(500, 0.3);
                    traffic.others.insert(digest, bad);
                }
            }
            Version::Crashing => {
                let crashes_from = Some(self.now());
                let nature = Nature {
                    never_ready: false,
                    crashes_from,
                };
                agent.host.natures.insert(digest, nature);
            }
            Version::NeverReady => {
                let nature = Nature {
                    never_ready: true,
                    crashes_from: None,
                };
                agent.host.natures.insert(digest, nature);
            }
        }
        let release = format!("{}@{number}", lane.service());
        Request {
            release: match release.parse() {
                Ok(release) => release,
                // The names are ours: a service and a number always make a release.
                Err(error) => panic!("{release}: {error}"),
            },
            rollout,
            digest,
            service: service.into(),
            by: "ann".to_owned(),
            at: self.now(),
            is_return: false,
            slow: None,
            evidence: Vec::new(),
        }
    }

    /// A client: it asks again, elsewhere, under the same key, until it has an answer.
    async fn ask(self: Arc<Self>, lane: LaneId, key: String, input: Input, through: usize) {
        for attempt in 0..ASKS {
            let index = (through + attempt) % self.controllers.len();
            let runtime = lock(&self.controllers[index]).runtime.clone();
            if let Some(runtime) = runtime {
                let asked = runtime.submit(lane.clone(), key.clone(), input.clone());
                if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(12), asked).await {
                    let told = json!(answer).to_string();
                    let kept = self.kept_answer(&lane, &key);
                    self.eye.see(Sight::Answered { key, told, kept });
                    return;
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn kept_answer(&self, _lane: &LaneId, key: &str) -> Option<String> {
        let entry = self.store.tables().answer(key);
        entry.map(|answer| answer.to_string())
    }

    // ---- the end -------------------------------------------------------------------------

    fn heal(self: &Arc<Self>) {
        lock(&self.agent).faults = AgentFaults::default();
        for index in 0..self.controllers.len() {
            let dead = {
                let mut it = lock(&self.controllers[index]);
                it.cut_until = None;
                it.wire.change(|faults| {
                    *faults = WireFaults {
                        dead: faults.dead,
                        slow: Duration::from_millis(3),
                        ..WireFaults::default()
                    };
                });
                it.runtime.is_none()
            };
            // One that waits for its start is started now; one that starts already goes on.
            if dead {
                self.crash(index, 0);
                self.start(index);
            }
        }
    }

    /// Whatever is still under way is aborted, and must come to its end.
    async fn rest(self: &Arc<Self>) {
        for round in 0..REST {
            sleep(Duration::from_secs(1)).await;
            if self.eye.is_over() {
                return;
            }
            let mut quiet = true;
            for (number, (id, _)) in self.lanes.iter().enumerate() {
                quiet &= self.store.tables().inbox(id, 1).is_empty();
                let Some(lane) = self.state(id) else { continue };
                quiet &= lane.active.is_none() && lane.queue.is_empty();
                let stoppable = lane.active.as_ref().is_some_and(|active| {
                    !matches!(
                        active.phase,
                        Phase::RollingBack { .. } | Phase::Draining { .. }
                    )
                });
                let waits = lane.active.is_none() && !lane.queue.is_empty();
                // What asked first may be answered late: no faster than a person would.
                if round % 10 == 5 && (stoppable || waits) {
                    self.operate(number, number, Verb::Abort { force: false });
                }
            }
            if quiet && round > 20 {
                break;
            }
        }
        for (id, _) in &self.lanes {
            let waiting = self.store.tables().inbox(id, 1).len();
            if waiting > 0 && !self.eye.is_over() {
                self.eye.inner().finding = Some(Finding {
                    promise: Promise::Commands,
                    what: format!("a command of {id} was accepted and never decided"),
                });
                return;
            }
            let routes = lock(&self.agent).host.routes(id);
            let weight = lock(&self.agent).host.exposure(id).0;
            self.eye.see(Sight::Rested {
                lane: id.clone(),
                weight,
                stable: routes.first().map(|route| route.arm.clone()),
                effects: self.store.tables().pending_effects(id).len(),
            });
        }
    }
}

/// A lane with a manifest of its own.
fn lane(number: usize, rng: &mut Xoshiro256PlusPlus) -> Option<(LaneId, Service)> {
    let name = ["shop", "till"].get(number)?;
    let pick =
        |rng: &mut Xoshiro256PlusPlus, of: &[&'static str]| of[rng.random_range(0..of.len())];
    let service = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "target": { "process": {
                "command": ["x"], "listen": "127.0.0.1:1",
                "instances": rng.random_range(1..=4),
                "drain": "2s",
                "health": { "ready_within": "5s" },
            } },
            "slos": [{ "name": "availability", "objective": "90%", "bad": "status >= 500" }],
            "rollout": {
                "canary": {
                    "steps": ["10%", "50%", "100%"],
                    "at_most": "25s",
                    "hold_old": pick(rng, &["1s", "5s"]),
                    "then": pick(rng, &["hold", "promote", "rollback"]),
                },
                "when_busy": pick(rng, &["queue", "supersede", "reject"]),
                "exposure_lease": pick(rng, &["10s", "20s"]),
            },
        }
    }));
    Some((format!("{name}/production").parse().ok()?, service.ok()?))
}
