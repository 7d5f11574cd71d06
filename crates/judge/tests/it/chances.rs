//! Chances, budgets and criticality of single SLIs.

use airboss_judge::{
    Better, Config, ConfigError, Judge, Sample, SliConfig, SliKind, Tick, Verdict,
};
use proptest::prelude::*;

use crate::traffic::{Random, drawn};

/// Two ratio SLIs, the second with what `change` makes of it.
fn two(change: impl FnOnce(&mut SliConfig)) -> Config {
    let mut slis = vec![SliConfig::errors("errors"), SliConfig::errors("other")];
    change(&mut slis[1]);
    Config {
        slis,
        ..Config::default()
    }
}

/// A tick in which only the second SLI is bad at the canary with chance `p`.
fn second(random: &mut Random, t: u64, p: f64) -> Tick {
    let mut tick = drawn(random, t, 0.1, p, 0.001);
    let arms = std::iter::once(&mut tick.canary).chain(&mut tick.baseline);
    for row in arms.flat_map(|arm| &mut arm.instances) {
        row.samples.insert(0, Sample::Count(row.requests / 1_000));
    }
    tick
}

fn until(config: Config, p: f64, wanted: Verdict) -> Option<u64> {
    let mut judge = Judge::new(config).unwrap();
    judge.start_step(0.1, Some(0.5)).unwrap();
    let mut random = Random::new(7);
    (0..900).find(|t| judge.observe(&second(&mut random, *t, p)).verdict == wanted)
}

#[test]
fn an_sli_with_a_smaller_chance_of_its_own_needs_more_evidence_and_says_so() {
    let shared = until(two(|_| {}), 0.02, Verdict::Fail).unwrap();
    let own = two(|sli| sli.alpha = Some(1e-6));
    let later = until(own.clone(), 0.02, Verdict::Fail).unwrap();
    assert!(later > shared, "{later} {shared}");
    let mut judge = Judge::new(own).unwrap();
    let mut random = Random::new(7);
    for t in 0..=later {
        judge.observe(&second(&mut random, t, 0.02));
    }
    let seen = judge.assess();
    assert!(
        seen.reason.contains("limit 1,000,000 : 1"),
        "{}",
        seen.reason
    );
    assert_eq!(seen.slis[1].fail_at, Some(1e6_f64.ln()));
    assert_eq!(seen.slis[0].fail_at, None);
}

#[test]
fn a_chance_and_a_budget_of_its_own_make_a_proof_shorter_or_longer() {
    let usual = until(two(|_| {}), 0.001, Verdict::Pass).unwrap();
    let surer = until(two(|sli| sli.beta = Some(1e-4)), 0.001, Verdict::Pass).unwrap();
    let stricter = until(
        two(|sli| sli.harm_budget = Some(1e-6)),
        0.001,
        Verdict::Pass,
    )
    .unwrap();
    assert!(
        surer > usual && stricter >= usual,
        "{usual} {surer} {stricter}"
    );
    let wider = two(|sli| sli.harm_budget = Some(0.02));
    let wider = Config {
        slis: wider.slis.into_iter().skip(1).collect(),
        ..wider
    };
    let alone = Config {
        slis: vec![SliConfig::errors("other")],
        ..Config::default()
    };
    let run = |config: Config| {
        let mut judge = Judge::new(config).unwrap();
        judge.start_step(0.1, Some(0.5)).unwrap();
        let mut random = Random::new(7);
        (0..900).find(|t| {
            let tick = drawn(&mut random, *t, 0.1, 0.001, 0.001);
            judge.observe(&tick).verdict == Verdict::Pass
        })
    };
    assert!(run(wider).unwrap() < run(alone).unwrap());
}

#[test]
fn an_advisory_sli_speaks_and_neither_takes_back_nor_holds() {
    let advisory = || two(|sli| sli.advisory = true);
    assert_eq!(until(advisory(), 0.2, Verdict::Fail), None);
    let passed = until(advisory(), 0.2, Verdict::Pass).unwrap();
    let mut judge = Judge::new(advisory()).unwrap();
    let mut random = Random::new(7);
    for t in 0..=passed {
        judge.observe(&second(&mut random, t, 0.2));
    }
    let said = &judge.assess().slis[1];
    assert_eq!(said.verdict, Verdict::Fail);
    assert!(
        said.reason.ends_with("advisory: it decides nothing"),
        "{}",
        said.reason
    );
    assert!(said.advisory && !said.critical);
    // Nor does it hold where it has no data at all, which is said.
    let mut judge = Judge::new(advisory()).unwrap();
    judge.start_step(0.1, Some(0.5)).unwrap();
    let passed = (0..900).any(|t| {
        let tick = drawn(&mut random, t, 0.1, 0.001, 0.001);
        judge.observe(&tick).verdict == Verdict::Pass
    });
    assert!(passed);
    let silent = &judge.assess().slis[1];
    assert_eq!(silent.verdict, Verdict::NotEnoughData);
    assert!(
        silent.reason.contains("no data of either version"),
        "{}",
        silent.reason
    );
}

#[test]
fn parts_that_are_more_than_the_whole_are_refused() {
    let shares = |own: f64| Judge::new(two(|sli| sli.alpha = Some(own))).map(|_| ());
    assert_eq!(shares(0.009), Ok(()));
    for own in [0.01, 0.02] {
        assert!(
            matches!(shares(own), Err(ConfigError::Shares { .. })),
            "{own}"
        );
    }
    let mut all = two(|sli| sli.alpha = Some(0.005));
    all.slis[0].alpha = Some(0.005);
    assert!(
        Judge::new(all.clone()).is_ok(),
        "nothing needs to be left where nobody needs it"
    );
    all.slis.iter_mut().for_each(|sli| sli.advisory = true);
    assert_eq!(Judge::new(all).map(|_| ()), Err(ConfigError::OnlyAdvisory));
}

proptest! {
    #[test]
    fn parts_never_add_up_to_more_than_the_whole(
        alpha in 1e-4..0.2_f64,
        slis in prop::collection::vec((0_usize..4, any::<bool>(), prop::option::of(0.0..0.3_f64), prop::bool::weighted(0.2)), 1..8),
    ) {
        let slis = slis.into_iter().enumerate().map(|(at, (kind, critical, own, advisory))| {
            let better = Better::Lower;
            let kind = [
                SliKind::Ratio { better },
                SliKind::Latency { under_ms: None },
                SliKind::Events,
                SliKind::Gauge { better },
            ][kind];
            SliConfig {
                critical,
                advisory,
                alpha: own.map(|own| own * alpha),
                ..SliConfig::new(format!("sli {at}"), kind)
            }
        });
        let config = Config { alpha, slis: slis.collect(), latency_edges_ms: vec![1.0], ..Config::default() };
        prop_assume!(config.validate().is_ok());
        let weights = config.weights();
        prop_assert!(weights.iter().sum::<f64>() <= 1.0 + 1e-9);
        for (sli, weight) in config.slis.iter().zip(weights) {
            match (sli.advisory, sli.alpha) {
                (true, _) => prop_assert_eq!(weight, 0.0),
                (false, Some(own)) => prop_assert!((weight * alpha - own).abs() < 1e-12),
                (false, None) => prop_assert!(weight > 0.0),
            }
        }
    }
}

#[test]
fn sound_releases_are_taken_back_by_each_sli_no_more_often_than_its_part_allows() {
    const RUNS: u32 = 400;
    let mut taken = [0_u32; 2];
    for run in 0..RUNS {
        let mut config = two(|sli| sli.alpha = Some(0.02));
        config.alpha = 0.2;
        let mut judge = Judge::new(config).unwrap();
        let mut random = Random::new(1_000 + u64::from(run));
        for t in 0..150 {
            // Both on the very edge of their margins.
            let mut tick = drawn(&mut random, t, 0.1, 0.0112, 0.01);
            let other = drawn(&mut random, t, 0.1, 0.0112, 0.01);
            let rows = std::iter::once(&mut tick.canary).chain(&mut tick.baseline);
            let others = std::iter::once(&other.canary).chain(&other.baseline);
            for (row, other) in rows
                .flat_map(|arm| &mut arm.instances)
                .zip(others.flat_map(|arm| &arm.instances))
            {
                row.samples.push(other.samples[0]);
            }
            let seen = judge.observe(&tick);
            if seen.verdict == Verdict::Fail {
                for (taken, sli) in taken.iter_mut().zip(&seen.slis) {
                    *taken += u32::from(sli.verdict == Verdict::Fail);
                }
                break;
            }
        }
    }
    // Three standard deviations above a fifth and a fiftieth of 400 runs.
    assert!(taken[0] + taken[1] <= 104 && taken[1] <= 17, "{taken:?}");
}

#[test]
fn a_step_waits_until_a_gauge_could_have_spoken() {
    let gauge = SliConfig {
        critical: false,
        ..SliConfig::new(
            "queue",
            SliKind::Gauge {
                better: Better::Lower,
            },
        )
    };
    let config = Config {
        slis: vec![SliConfig::errors("errors"), gauge],
        ..Config::default()
    };
    let run = |level: f64| {
        let mut judge = Judge::new(config.clone()).unwrap();
        judge.start_step(0.1, Some(0.5)).unwrap();
        let mut random = Random::new(3);
        let mut waited = false;
        let end = (0..900).find_map(|t| {
            let mut tick = drawn(&mut random, t, 0.1, 0.001, 0.001);
            for (arm, level) in [
                (Some(&mut tick.canary), level),
                (tick.baseline.as_mut(), 1.0),
            ] {
                for row in arm.into_iter().flat_map(|arm| &mut arm.instances) {
                    let noise = 0.04 * (random.unit() - 0.5);
                    row.samples.push(Sample::Gauge(level * (10.0 + noise)));
                }
            }
            let seen = judge.observe(&tick);
            waited |= seen.reason.starts_with("queue: ") && seen.reason.contains(" more at this");
            matches!(seen.verdict, Verdict::Fail | Verdict::Pass).then_some((t, seen.verdict))
        });
        (end, waited)
    };
    let (sound, waited) = run(1.0);
    assert_eq!(
        sound,
        Some((420, Verdict::Pass)),
        "with the reading that closes the last block"
    );
    assert!(waited, "it is said what is waited for");
    let (dear, _) = run(3.0);
    assert!(
        matches!(dear, Some((t, Verdict::Fail)) if t <= 420),
        "{dear:?}"
    );
}
