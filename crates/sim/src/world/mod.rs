//! A world: everything in it runs on one thread and one clock.

mod exchange;
mod eye;
mod happen;
mod operate;
mod rest;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airboss_ledger::Hash;
use airboss_model::manifest::Service;
use airboss_model::time::after;
use airboss_model::{LaneId, Timestamp};
use airboss_rehearsal::{Habits, Host, Traffic, Usual};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use self::eye::Eye;
use crate::agent::{Agent, AgentFaults, Link};
use crate::controller::Controller;
use crate::store::{Broken, Observer, SimStore};
use crate::story::{CHAOS, Story};
use crate::witness::{Finding, Promise, Sight};

/// Requests a second: enough for a verdict within seconds.
const RATE: f64 = 2_000.0;

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
