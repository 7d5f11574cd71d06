//! The promises with a number in them, on 10,000 simulated releases with fixed seeds.

use airboss_judge::{
    Better, Margin, Rate,
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

/// How many of the runs ever reach each threshold when the canary's ratio is `p`.
fn reached(p: f64, seed: u64) -> (u64, u64) {
    let (mut failed, mut passed) = (0, 0);
    for run in 0..RUNS {
        let mut random = Random::new(seed + run);
        let mut member = RatioMember::new(Better::Lower, FAIL, PASS, None, Some(STABLE));
        let (mut fail, mut pass) = (false, false);
        for t in 0..TICKS {
            let canary = Rate {
                bad: random.binomial(50, p),
                requests: 50,
            };
            let baseline = Rate {
                bad: random.binomial(200, STABLE),
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
    let (failed, _) = reached(FAIL.edge(STABLE), 1);
    assert!(failed <= RUNS / 100, "{failed} of {RUNS}");
}

#[test]
fn a_release_on_the_edge_of_its_pass_margin_ever_passes_by_at_most_one_in_twenty() {
    let (_, passed) = reached(PASS.edge(STABLE), 500_000);
    assert!(passed <= RUNS / 20, "{passed} of {RUNS}");
}
