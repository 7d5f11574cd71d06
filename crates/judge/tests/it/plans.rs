//! What the plan expects of a step, against what happens.

use airboss_judge::plan::{Traffic, plan_step};
use airboss_judge::{ArmTick, Calibration, Calibrator, Config, Judge, SliConfig, Tick, Verdict};

use crate::traffic::{Random, row};

const RUNS: u64 = 60;

/// A service and one step of its canary.
#[derive(Clone, Copy, Debug)]
struct Step {
    requests: f64,
    ratio: f64,
    weight: f64,
    next: f64,
    deadline: u64,
}

fn config() -> Config {
    Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    }
}

/// A number of requests around `mean` that adds up to it over time.
fn requests(random: &mut Random, mean: f64) -> u64 {
    mean.floor() as u64 + u64::from(random.unit() < mean.fract())
}

fn instance(random: &mut Random, name: &str, mean: f64, ratio: f64) -> airboss_judge::InstanceTick {
    let requests = requests(random, mean);
    let bad = random.binomial(requests, ratio);
    row(name, requests, bad)
}

fn stable(random: &mut Random, step: &Step, share: f64) -> ArmTick {
    let mean = step.requests * share / 10.0;
    let one = |n: u64| format!("b{n}");
    ArmTick {
        instances: (0..10)
            .map(|n| instance(random, &one(n), mean, step.ratio))
            .collect(),
    }
}

/// What an hour of the service teaches.
fn learnt(step: &Step) -> Calibration {
    let mut random = Random::new(99);
    let mut calibrator = Calibrator::new(config(), &[step.weight]).unwrap();
    for t in 0..3600 {
        calibrator.observe(t, &stable(&mut random, step, 1.0));
    }
    calibrator.finish()
}

/// Seconds until the verdict; None where it does not come within `most` or is another one.
fn seconds(
    step: &Step,
    known: &Calibration,
    canary: f64,
    seed: u64,
    wanted: Verdict,
    most: u64,
) -> Option<u64> {
    let mut judge = Judge::with_history(config(), known).unwrap();
    judge.start_step(step.weight, Some(step.next)).unwrap();
    let mut random = Random::new(seed);
    for t in 0..most {
        let mean = step.requests * step.weight;
        let canary = ArmTick {
            instances: vec![instance(&mut random, "c0", mean, canary)],
        };
        let baseline = Some(stable(&mut random, step, 1.0 - step.weight));
        let seen = judge.observe(&Tick {
            t,
            weight: None,
            canary,
            baseline,
        });
        if seen.verdict == wanted {
            return Some(t + 1);
        }
        if matches!(seen.verdict, Verdict::Fail) {
            return None;
        }
    }
    None
}

const STEPS: [Step; 6] = [
    Step {
        requests: 500.0,
        ratio: 0.001,
        weight: 0.1,
        next: 0.5,
        deadline: 1200,
    },
    Step {
        requests: 500.0,
        ratio: 0.001,
        weight: 0.01,
        next: 0.1,
        deadline: 1200,
    },
    Step {
        requests: 500.0,
        ratio: 0.01,
        weight: 0.2,
        next: 0.5,
        deadline: 1200,
    },
    Step {
        requests: 50.0,
        ratio: 0.001,
        weight: 0.1,
        next: 0.5,
        deadline: 3600,
    },
    Step {
        requests: 50.0,
        ratio: 0.02,
        weight: 0.5,
        next: 1.0,
        deadline: 3600,
    },
    Step {
        requests: 2000.0,
        ratio: 0.0005,
        weight: 0.05,
        next: 0.2,
        deadline: 600,
    },
];

/// Seconds until a sound release passes, and the smallest ratio that is found, by the plan.
fn planned(step: &Step) -> (f64, f64) {
    let config = config();
    let traffic = Traffic {
        requests_per_second: step.requests,
        ratio: step.ratio,
    };
    let (sli, deadline) = (&config.slis[0], step.deadline as f64);
    let plan = plan_step(
        &config,
        sli,
        traffic,
        step.weight,
        Some(step.next),
        deadline,
    );
    let plan = plan.unwrap();
    (plan.seconds_to_pass.unwrap(), plan.smallest_found.unwrap())
}

#[test]
fn a_sound_release_passes_its_steps_when_the_plan_says() {
    for step in STEPS {
        let (planned, _) = planned(&step);
        let known = learnt(&step);
        let most = 20 * planned as u64 + 200;
        let one = |seed| seconds(&step, &known, step.ratio, seed, Verdict::Pass, most);
        let all: Vec<u64> = (0..RUNS).filter_map(one).collect();
        assert_eq!(all.len() as u64, RUNS, "{step:?}: not all passed");
        // The plan is of the mean; that of 60 runs has a standard error of about a tenth of it.
        let mean = all.iter().sum::<u64>() as f64 / all.len() as f64;
        assert!(
            (0.7..1.4).contains(&(mean / planned)),
            "{step:?}: {mean:.0} s, planned {planned:.0} s"
        );
    }
}

#[test]
fn the_smallest_regression_of_the_plan_is_found_in_time_as_a_rule_and_one_half_as_large_is_not() {
    for step in STEPS {
        let (_, smallest) = planned(&step);
        let known = learnt(&step);
        let found = |canary: f64| {
            let one = |seed: &u64| {
                seconds(
                    &step,
                    &known,
                    canary,
                    1000 + seed,
                    Verdict::Fail,
                    step.deadline,
                )
                .is_some()
            };
            (0..RUNS).filter(one).count()
        };
        let times = found(smallest);
        assert!(
            (36..60).contains(&times),
            "{step:?}: {smallest} in {times} of {RUNS}"
        );
        let edge = config().slis[0].fail_margin().edge(step.ratio);
        let times = found(f64::midpoint(edge, smallest));
        assert!(
            times < 24,
            "{step:?}: half of {smallest} in {times} of {RUNS}"
        );
    }
}
