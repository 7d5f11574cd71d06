//! Runs a world many times, on all cores.

use std::{
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
};

use airboss_judge::{ArmTick, Calibration, Calibrator, Config, Judge, Rate, Sample, Tick, Verdict};

use crate::{
    HOUR, MINUTES_15,
    peers::Peers,
    traffic::{Latencies, Traffic, World, edges},
};

/// How the canary's weight moves.
#[derive(Clone, Copy, PartialEq)]
pub enum Plan {
    /// One weight for the whole run; the judge is never asked to pass.
    Constant,
    /// 1/5/20/50/100 %, advancing on each pass.
    Steps,
    /// One step from the world's weight to 50 %.
    OneStep,
}

const STEPS: [(f64, f64); 4] = [(0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1.0)];
const RUNS_PER_SERVICE: usize = 40;

/// What one run came to.
#[derive(Clone, Default)]
pub struct Outcome {
    pub failed: Option<u64>,
    pub passed: Option<u64>,
    /// Bad requests of the canary from onset to the verdict.
    pub harm: u64,
    pub peers: [Option<u64>; 5],
}

fn total(arm: &ArmTick) -> Rate {
    arm.instances.iter().fold(Rate::default(), |sum, row| {
        let bad = if let Some(Sample::Count(bad)) = row.samples.first() {
            *bad
        } else {
            0
        };
        Rate {
            bad: sum.bad + bad,
            requests: sum.requests + row.requests,
        }
    })
}

pub fn config() -> Config {
    Config::errors_and_latency(edges())
}

/// What the judge knows of a service after 15 minutes and after an hour.
type Known = [Calibration; 2];

/// Calibrated services, by what their stable version is like: many worlds share them.
pub struct Services {
    seed: u64,
    known: Vec<(World, Plan, Vec<Known>)>,
}

impl Services {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            known: Vec::new(),
        }
    }

    fn seed_of(&self, service: usize) -> u64 {
        self.seed
            .wrapping_mul(1_000_003)
            .wrapping_add(service as u64 * 1000)
    }

    fn of(&mut self, world: &World, plan: Plan, count: usize) -> &[Known] {
        let stable = world.stable();
        let is_same = |(known, steps, all): &(World, Plan, Vec<Known>)| {
            *known == stable
                && (*steps == Plan::Steps) == (plan == Plan::Steps)
                && all.len() >= count
        };
        let index = self.known.iter().position(is_same).unwrap_or_else(|| {
            let all = in_parallel(
                count,
                || Latencies::pair(1.0),
                |latencies, service| calibrate(&stable, plan, self.seed_of(service), latencies),
            );
            self.known.push((stable, plan, all));
            self.known.len() - 1
        });
        &self.known[index].2
    }
}

fn calibrate(stable: &World, plan: Plan, seed: u64, latencies: &[Rc<Latencies>; 2]) -> Known {
    let weights: Vec<f64> = if plan == Plan::Steps {
        STEPS.map(|step| step.0).to_vec()
    } else {
        vec![stable.weight]
    };
    let Ok(mut calibrator) = Calibrator::new(config(), &weights) else {
        return Known::default();
    };
    let mut traffic = Traffic::new(*stable, seed, latencies);
    let mut tick = Tick::default();
    let mut short = Calibration::default();
    for t in 0..HOUR {
        if t == MINUTES_15 {
            short = calibrator.finish();
        }
        traffic.tick(t, 0.0, true, &mut tick);
        if let Some(baseline) = &tick.baseline {
            calibrator.observe(t, baseline);
        }
    }
    [short, calibrator.finish()]
}

/// `work` for each number below `count`, in order, on all cores; `state` is made once a thread.
fn in_parallel<S, T: Send>(
    count: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&S, usize) -> T + Sync,
) -> Vec<T> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let asked = crate::argument("--threads").and_then(|text| text.parse().ok());
    let threads = asked.unwrap_or_else(cores).max(1);
    let next = AtomicUsize::new(0);
    let part = || {
        let state = state();
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(&state, number)));
        }
    };
    let mut all: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(part)).collect();
        let parts = threads.into_iter().filter_map(|thread| thread.join().ok());
        parts.flatten().collect()
    });
    assert_eq!(all.len(), count, "a thread died");
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, result)| result).collect()
}

#[allow(clippy::expect_used, reason = "a bench with a bad config must stop")]
fn run(
    world: &World,
    plan: Plan,
    seed: u64,
    latencies: &[Rc<Latencies>; 2],
    history: &Calibration,
) -> Outcome {
    let mut judge = Judge::with_history(config(), history).expect("the default config is sound");
    let mut traffic = Traffic::new(*world, seed, latencies);
    let mut steps = match plan {
        Plan::Constant => vec![(world.weight, 1.0)],
        Plan::Steps => STEPS.to_vec(),
        Plan::OneStep => vec![(world.weight, 0.5)],
    }
    .into_iter();
    let (mut weight, next) = steps.next().expect("every plan has a step");
    judge
        .start_step(weight, Some(next))
        .expect("weights are sound");
    let mut peers = Peers::new(weight);
    let mut outcome = Outcome::default();
    let mut tick = Tick::default();
    for t in 0..world.seconds {
        let decided = outcome.failed.is_some() || outcome.passed.is_some();
        if decided && (plan != Plan::Constant || peers.failed.iter().all(Option::is_some)) {
            break;
        }
        traffic.tick(t, weight, !decided, &mut tick);
        let rates = [
            total(&tick.canary),
            tick.baseline.as_ref().map_or_else(Rate::default, total),
        ];
        if plan == Plan::Constant {
            peers.observe(t, rates);
        }
        if decided {
            continue;
        }
        if t as f64 + 1.0 > world.onset {
            outcome.harm += rates[0].bad;
        }
        judge.update(&tick);
        if judge.failed_at().is_some() {
            outcome.failed = Some(t);
        } else if plan != Plan::Constant && judge.assess().verdict == Verdict::Pass {
            match steps.next() {
                Some((to, next)) => {
                    weight = to;
                    judge.start_step(to, Some(next)).expect("weights are sound");
                }
                None => outcome.passed = Some(t),
            }
        }
    }
    outcome.peers = peers.failed;
    outcome
}

/// `runs` outcomes of a world. Its traffic has seeds of its own.
pub fn all(world: &World, plan: Plan, runs: usize, services: &mut Services) -> Vec<Outcome> {
    let salt = world.name.bytes().fold(services.seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let history = match world.history {
        0 => None,
        MINUTES_15 => Some(0),
        _ => Some(1),
    };
    let none = Calibration::default();
    let known = match history {
        None => &[],
        Some(_) => services.of(world, plan, runs.div_ceil(RUNS_PER_SERVICE)),
    };
    in_parallel(
        runs,
        || Latencies::pair(world.tail),
        |latencies, number| {
            let history = history.map_or(&none, |index| &known[number / RUNS_PER_SERVICE][index]);
            run(
                world,
                plan,
                salt.wrapping_add(number as u64),
                latencies,
                history,
            )
        },
    )
}
