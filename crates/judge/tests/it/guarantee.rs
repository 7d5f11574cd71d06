//! The promises with a number in them, on 10,000 simulated releases with fixed seeds.

use airboss_judge::{
    Better, Margin, Rate,
    latency::{Buckets, LatencyDiscounts, LatencyTest},
    member::{Discount, RatioMember},
};

use crate::traffic::Random;

const RUNS: u64 = 10_000;
const TICKS: u64 = 120;
const FAIL: Margin = Margin {
    rho: 1.1,
    delta: 1e-3,
};
const PASS: Margin = Margin {
    rho: 1.25,
    delta: 5e-3,
};
const STABLE: f64 = 0.02;

/// How many of the runs ever reach each threshold when stable's ratio swings by the part `drift` and the
/// canary's is always on the edge of `margin`.
fn reached(margin: Margin, drift: f64, seed: u64) -> (u64, u64) {
    let (mut failed, mut passed) = (0, 0);
    for run in 0..RUNS {
        let mut random = Random::new(seed + run);
        let mut member = RatioMember::new(Better::Lower, FAIL, PASS, None, Some(STABLE));
        let (mut fail, mut pass) = (false, false);
        for t in 0..TICKS {
            let stable = STABLE * (1.0 + drift * (t as f64 / 9.0 + run as f64).sin());
            let canary = Rate {
                bad: random.binomial(50, margin.edge(stable)),
                requests: 50,
            };
            let baseline = Rate {
                bad: random.binomial(200, stable),
                requests: 200,
            };
            member.observe(t, canary, baseline, &Discount::NONE);
            fail |= member.e() >= 100.0;
            pass |= member.log_pass() >= 20f64.ln();
        }
        failed += u64::from(fail);
        passed += u64::from(pass);
    }
    (failed, passed)
}

#[test]
fn a_release_on_the_edge_of_its_margin_is_ever_failed_by_at_most_one_in_a_hundred() {
    for drift in [0.0, 0.9] {
        let (failed, _) = reached(FAIL, drift, 1);
        assert!(failed <= RUNS / 100, "{failed} of {RUNS}");
    }
}

#[test]
fn a_release_on_the_edge_of_its_pass_margin_ever_passes_by_at_most_one_in_twenty() {
    for drift in [0.0, 0.9] {
        let (_, passed) = reached(PASS, drift, 500_000);
        assert!(passed <= RUNS / 20, "{passed} of {RUNS}");
    }
}

#[test]
fn a_release_that_is_as_fast_as_stable_is_ever_failed_by_at_most_one_in_a_hundred() {
    const EDGES: [f64; 4] = [10.0, 20.0, 40.0, 80.0];
    let margin = Margin {
        rho: 1.0,
        delta: 0.0,
    };
    // Counts of 60 and 240 requests over five buckets, each drawn from what the faster ones left.
    let draw = |random: &mut Random, requests: u64| -> Vec<u64> {
        let mut left = requests;
        let mut counts: Vec<u64> = [0.3, 0.5, 0.7, 0.9]
            .map(|p| {
                let count = random.binomial(left, p);
                left -= count;
                count
            })
            .to_vec();
        counts.push(left);
        counts
    };
    let failed = (0..RUNS).filter(|run| {
        let mut random = Random::new(900_000 + run);
        let mut test = LatencyTest::new(&EDGES, None, margin, PASS, None);
        (0..TICKS / 2).any(|t| {
            let tick = Buckets {
                canary: draw(&mut random, 60),
                baseline: draw(&mut random, 240),
            };
            test.observe(t, &tick, &EDGES, &LatencyDiscounts::all(&Discount::NONE));
            test.e() >= 100.0
        })
    });
    let failed = failed.count() as u64;
    assert!(failed <= RUNS / 100, "{failed} of {RUNS}");
}
