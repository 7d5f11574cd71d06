//! What an outage of both versions leaves behind: nothing that holds a sound release for long, and
//! nothing that lets a bad one pass.

use airboss_judge::{ArmTick, Config, InstanceTick, Judge, Sample, Tick, Verdict};

use crate::traffic::Random;

/// An outage that begins five seconds into the step.
#[derive(Clone, Copy)]
struct Outage {
    seconds: u64,
    /// Bad ratio while it lasts.
    bad: f64,
    /// How many times as long answers take.
    slower: f64,
    /// How much more it hits stable's last instance than the middle one, relative to that.
    uneven: f64,
}

const CALM: Outage = Outage {
    seconds: 0,
    bad: 0.0,
    slower: 1.0,
    uneven: 0.0,
};

fn edges() -> Vec<f64> {
    (0..30).map(|k| 5.0 * 1.26f64.powi(k)).collect()
}

/// One second of an instance; `part` is how much more than others the outage hits it.
fn instance(
    random: &mut Random,
    name: String,
    requests: u64,
    usual: f64,
    hit: Option<(Outage, f64)>,
) -> InstanceTick {
    let bad = hit.map_or(usual, |(outage, part)| (outage.bad * part).max(usual));
    let slower = hit.map_or(1.0, |(outage, part)| 1.0 + (outage.slower - 1.0) * part);
    let edges = edges();
    let mut counts = vec![0_u64; edges.len() + 1];
    for _ in 0..requests {
        let normal: f64 = (0..4).map(|_| random.unit() - 0.5).sum::<f64>() * 1.73;
        let ms = 40.0 * (0.54 * normal).exp() * slower;
        counts[edges.partition_point(|edge| *edge <= ms)] += 1;
    }
    let seen = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    InstanceTick {
        instance: name,
        requests,
        samples: vec![Sample::Count(random.binomial(requests, bad.min(1.0)))],
        latency: seen
            .map(|(bucket, count)| (bucket as u32, *count))
            .collect(),
    }
}

fn tick(random: &mut Random, t: u64, canary: f64, outage: Option<Outage>) -> Tick {
    let one = |random: &mut Random, name, requests, usual, place: f64| {
        let hit = outage.map(|outage| (outage, 1.0 + outage.uneven * place));
        instance(random, name, requests, usual, hit)
    };
    let stable = (0..5)
        .map(|n| {
            one(
                random,
                format!("b{n}"),
                90,
                0.001,
                (f64::from(n) - 2.0) / 2.0,
            )
        })
        .collect();
    Tick {
        t,
        weight: None,
        canary: ArmTick {
            instances: vec![one(random, "c0".to_owned(), 50, canary, 0.0)],
        },
        baseline: Some(ArmTick { instances: stable }),
    }
}

/// Seconds until a step from 10 % to 50 % passes; None where it does not within an hour. The canary's
/// own bad ratio is given, stable's is 0.1 %.
fn seconds_to_pass(config: &Config, seed: u64, outage: Outage, canary: f64) -> Option<u64> {
    const BEFORE: u64 = 120;
    let mut judge = Judge::new(config.clone()).unwrap();
    let mut random = Random::new(seed);
    judge.start_step(0.01, Some(0.1)).unwrap();
    for t in 0..BEFORE {
        judge.update(&tick(&mut random, t, canary, None));
    }
    judge.start_step(0.1, Some(0.5)).unwrap();
    let hit = BEFORE + 5..BEFORE + 5 + outage.seconds;
    for t in BEFORE..BEFORE + 3600 {
        let hit = hit.contains(&t).then_some(outage);
        match judge.observe(&tick(&mut random, t, canary, hit)).verdict {
            Verdict::Pass => return Some(t - BEFORE),
            Verdict::Fail => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn a_step_goes_on_soon_after_an_outage_of_both_versions_is_over() {
    let config = Config::errors_and_latency(edges());
    let median = |outage: Outage| {
        let one = |seed| seconds_to_pass(&config, seed, outage, 0.001);
        let mut all: Vec<u64> = (0..21).map(|seed| one(seed).unwrap_or(u64::MAX)).collect();
        all.sort_unstable();
        all[10]
    };
    let calm = median(CALM);
    for (what, outage) in [
        (
            "a fifth of all answers",
            Outage {
                seconds: 60,
                bad: 0.2,
                ..CALM
            },
        ),
        (
            "more on some instances of stable",
            Outage {
                seconds: 60,
                bad: 0.2,
                uneven: 0.8,
                ..CALM
            },
        ),
        (
            "slow answers",
            Outage {
                seconds: 60,
                slower: 5.0,
                uneven: 0.8,
                ..CALM
            },
        ),
        (
            "everything",
            Outage {
                seconds: 60,
                bad: 1.0,
                ..CALM
            },
        ),
    ] {
        let shaken = median(outage);
        assert!(
            shaken < outage.seconds + 4 * calm,
            "{what}: {shaken} s, and {calm} s without an outage"
        );
    }
}

#[test]
fn an_outage_lets_no_release_pass_that_is_beyond_its_margin_without_it() {
    let config = Config {
        latency_edges_ms: Vec::new(),
        slis: vec![airboss_judge::SliConfig::errors("errors")],
        ..Config::default()
    };
    let outage = Outage {
        seconds: 60,
        bad: 0.2,
        ..CALM
    };
    // Exactly on the pass margin: 1.25 x 0.1 % + 0.2 %.
    let passes = |seed: &u64| seconds_to_pass(&config, *seed, outage, 0.00325).is_some();
    let passed = (0..200).filter(passes).count();
    assert!(passed <= 10, "{passed} of 200");
}
