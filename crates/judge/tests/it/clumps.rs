//! Errors in clumps: what a history teaches, and what is assumed without one.

use airboss_judge::{
    ArmTick, Calibration, Calibrator, Config, Judge, SliConfig, Tick, Verdict,
    calibration::StepDiscounts,
};

use crate::traffic::{Random, row};

const STABLE: f64 = 0.001;
/// The pass margin of a step from 10 % to 50 %.
const EDGE: f64 = 1.25 * STABLE + 0.002;

fn errors() -> Config {
    Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    }
}

/// Bad requests of one instance in one second: none mostly, else `clump` of them.
fn bad(random: &mut Random, requests: u64, p: f64, clump: u64) -> u64 {
    let chance = requests as f64 * p / clump as f64;
    clump * random.binomial(100, chance / 100.0)
}

fn arm(random: &mut Random, name: &str, instances: u64, p: f64, clump: u64) -> ArmTick {
    let rows = (0..instances).map(|n| row(&format!("{name}{n}"), 50, bad(random, 50, p, clump)));
    ArmTick {
        instances: rows.collect(),
    }
}

/// A quarter of an hour of ten instances.
fn history(seed: u64, clump: u64) -> Calibration {
    let mut random = Random::new(seed);
    let mut calibrator = Calibrator::new(errors(), &[0.1, 0.5]).unwrap();
    for t in 0..900 {
        calibrator.observe(t, &arm(&mut random, "b", 10, STABLE, clump));
    }
    calibrator.finish()
}

/// The verdict at the end of a step from 10 % to 50 %, and when it came.
fn judged(seed: u64, history: &Calibration, p: f64, clump: u64) -> (Verdict, u64) {
    let mut random = Random::new(seed);
    let mut judge = Judge::with_history(errors(), history).unwrap();
    judge.start_step(0.1, Some(0.5)).unwrap();
    for t in 0..900 {
        let canary = arm(&mut random, "c", 1, p, clump);
        let baseline = Some(arm(&mut random, "b", 9, STABLE, clump));
        let tick = Tick {
            t,
            weight: None,
            canary,
            baseline,
        };
        let verdict = judge.observe(&tick).verdict;
        if matches!(verdict, Verdict::Pass | Verdict::Fail) {
            return (verdict, t);
        }
    }
    (Verdict::Undecided, 900)
}

fn first(calibration: &Calibration) -> &StepDiscounts {
    &calibration.slis[0].steps[0]
}

#[test]
fn a_history_of_independent_errors_discounts_little_or_nothing() {
    let known: Vec<Calibration> = (0..10).map(|seed| history(seed, 1)).collect();
    let discounts = known.iter().map(|known| first(known).members[0]);
    assert!(
        discounts
            .clone()
            .all(|it| it.fail.cap.is_none() && it.pass_eta > 0.7)
    );
    // A quarter of an hour has some 450 bad requests, so that chance now and then looks like clumps.
    assert!(discounts.filter(|it| it.pass_eta == 1.0).count() >= 8);
    let phis = known.iter().map(|known| known.slis[0].dispersion.upper());
    assert!(phis.into_iter().all(|phi| phi < 1.4));
}

#[test]
fn a_history_of_clumps_of_five_discounts_a_proof_about_fivefold() {
    for seed in 0..10 {
        let known = history(seed, 5);
        let discount = first(&known).members[0];
        assert!(
            (0.1..0.3).contains(&discount.pass_eta),
            "seed {seed}: {discount:?}"
        );
        assert!(discount.fail.cap.is_some(), "seed {seed}");
        let phi = known.slis[0].dispersion.phi();
        assert!((3.5..7.5).contains(&phi), "seed {seed}: phi {phi}");
    }
}

#[test]
fn a_clumped_release_on_its_pass_margin_is_promoted_by_at_most_one_in_twenty() {
    const RUNS: u64 = 400;
    for (seconds, clump) in [(900, 5), (0, 5), (900, 2), (0, 2)] {
        let promoted = (0..RUNS).filter(|run| {
            let known = match seconds {
                0 => Calibration::default(),
                _ => history(run / 40, clump),
            };
            judged(10_000 + run, &known, EDGE, clump).0 == Verdict::Pass
        });
        let promoted = promoted.count() as u64;
        assert!(
            promoted <= RUNS / 20,
            "{promoted} of {RUNS}, {seconds} s, clumps {clump}"
        );
    }
}

/// Seconds from a fault to the rollback, of a canary whose instances together get 50 requests a
/// second, without a history. The fault begins at `onset` and lasts `lasts` seconds.
fn rolled_back(seed: u64, instances: u64, p: f64, onset: u64, lasts: u64) -> Option<u64> {
    let mut random = Random::new(seed);
    let mut judge = Judge::new(errors()).unwrap();
    (0..onset + 60).find_map(|t| {
        let is_sick = (onset..onset + lasts).contains(&t);
        let p = if is_sick { p } else { STABLE };
        let requests = 50 / instances;
        let rows =
            (0..instances).map(|n| row(&format!("c{n}"), requests, random.binomial(requests, p)));
        let canary = ArmTick {
            instances: rows.collect(),
        };
        let baseline = Some(arm(&mut random, "b", 9, STABLE, 1));
        let tick = Tick {
            t,
            weight: None,
            canary,
            baseline,
        };
        (judge.observe(&tick).verdict == Verdict::Fail).then_some((t + 1).saturating_sub(onset))
    })
}

#[test]
fn without_a_history_an_instance_that_stalls_for_three_seconds_decides_nothing() {
    let decided = (0..200).filter(|seed| rolled_back(*seed, 1, 0.2, 5, 3).is_some());
    assert_eq!(decided.count(), 0);
}

#[test]
fn without_a_history_two_instances_that_fail_are_believed_sooner_than_one() {
    let mean = |instances| {
        let delays = (0..200).map(|seed| rolled_back(seed, instances, 0.1, 5, 60).unwrap());
        delays.sum::<u64>() as f64 / 200.0
    };
    let (one, two) = (mean(1), mean(2));
    assert!(two < 0.85 * one, "{two} s against {one} s");
    assert!(one < 6.0, "{one} s");
}

#[test]
fn without_a_history_a_gross_fault_is_found_in_its_fifth_second_however_long_all_was_well() {
    for onset in [5, 300] {
        let delays = (0..100).map(|seed| rolled_back(seed, 1, 0.3, onset, 60).unwrap());
        let delays: Vec<u64> = delays.collect();
        let late = delays.iter().filter(|delay| **delay > 5).count();
        assert!(late <= 5, "{late} of 100 from {onset} s on: {delays:?}");
    }
}

#[test]
fn without_a_history_a_gross_fault_of_three_instances_is_found_in_two_seconds() {
    let delays = (0..100).map(|seed| rolled_back(seed, 3, 0.3, 5, 60).unwrap());
    let late = delays.filter(|delay| *delay > 2).count();
    assert!(late <= 20, "{late} of 100");
}
