//! Runs a world many times, on two threads.

use std::rc::Rc;

use airboss_judge::{ArmTick, Calibration, Calibrator, Config, Judge, Rate, Sample, Tick, Verdict};

use crate::{
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
const RUNS_PER_SERVICE: usize = 50;

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

fn calibration(
    world: &World,
    plan: Plan,
    seed: u64,
    latencies: &[Rc<Latencies>; 2],
) -> Calibration {
    let weights: Vec<f64> = if plan == Plan::Steps {
        STEPS.map(|step| step.0).to_vec()
    } else {
        vec![world.weight]
    };
    let Ok(mut calibrator) = Calibrator::new(config(), &weights) else {
        return Calibration::default();
    };
    let mut traffic = Traffic::new(*world, seed, latencies);
    for t in 0..world.history {
        let (_, stable) = traffic.tick(t, 0.0);
        calibrator.observe(t, &stable);
    }
    calibrator.finish()
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
    for t in 0..world.seconds {
        let (canary, stable) = traffic.tick(t, weight);
        let rates = [total(&canary), total(&stable)];
        if plan == Plan::Constant {
            peers.observe(t, rates);
        }
        let decided = outcome.failed.is_some() || outcome.passed.is_some();
        if !decided {
            if t >= world.onset {
                outcome.harm += rates[0].bad;
            }
            judge.update(&Tick {
                t,
                weight: None,
                canary,
                baseline: Some(stable),
            });
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
        } else if plan != Plan::Constant || peers.failed.iter().all(Option::is_some) {
            break;
        }
    }
    outcome.peers = peers.failed;
    outcome
}

/// `runs` outcomes of a world.
pub fn all(world: &World, plan: Plan, runs: usize, seed: u64) -> Vec<Outcome> {
    let services = runs.div_ceil(RUNS_PER_SERVICE);
    let part = |thread: usize| {
        let latencies = [
            Rc::new(Latencies::new(1.0)),
            Rc::new(Latencies::new(world.tail)),
        ];
        let mut outcomes = Vec::new();
        for service in (thread..services).step_by(2) {
            let base = seed
                .wrapping_mul(1_000_003)
                .wrapping_add((service * 1000) as u64);
            let history = calibration(world, plan, base, &latencies);
            for index in 0..RUNS_PER_SERVICE.min(runs - service * RUNS_PER_SERVICE) {
                outcomes.push(run(
                    world,
                    plan,
                    base + 1 + index as u64,
                    &latencies,
                    &history,
                ));
            }
        }
        outcomes
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| part(1));
        let mut outcomes = part(0);
        outcomes.extend(other.join().unwrap_or_default());
        outcomes
    })
}
