//! Measurements that cannot be true: never a panic, never a pass, never a number that is none.

use airboss_judge::{
    ArmTick, Better, Calibration, Config, InstanceTick, Judge, Rate, Sample, SliConfig, SliKind,
    Tick, Verdict, calibration::SliCalibration,
};
use proptest::prelude::*;

use crate::traffic::{row, tick};

const EDGES: [f64; 4] = [10.0, 100.0, 1000.0, 10_000.0];

fn every_kind() -> Config {
    let kinds = [
        SliKind::Ratio {
            better: Better::Lower,
        },
        SliKind::Ratio {
            better: Better::Higher,
        },
        SliKind::Latency {
            under_ms: Some(100.0),
        },
        SliKind::Events,
        SliKind::Gauge {
            better: Better::Lower,
        },
        SliKind::Throughput,
    ];
    let slis = kinds
        .into_iter()
        .enumerate()
        .map(|(index, kind)| SliConfig {
            objective: Some(0.999),
            ..SliConfig::new(format!("sli {index}"), kind)
        });
    Config {
        latency_edges_ms: EDGES.to_vec(),
        slis: slis.collect(),
        ..Config::default()
    }
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), 0..1000_u64, Just(u64::MAX), any::<u64>()]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(-0.0),
        any::<f64>(),
        0.0..1.0,
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        Just(Sample::Missing),
        count().prop_map(Sample::Count),
        (count(), count()).prop_map(|(bad, requests)| Sample::Of(Rate { bad, requests })),
        count().prop_map(Sample::Events),
        number().prop_map(Sample::Gauge),
    ]
}

fn instance() -> impl Strategy<Value = InstanceTick> {
    let latency = prop::collection::vec((prop_oneof![0..6_u32, any::<u32>()], count()), 0..8);
    let samples = prop::collection::vec(sample(), 0..8);
    ("[ab]{0,2}", count(), samples, latency).prop_map(|(instance, requests, samples, latency)| {
        InstanceTick {
            instance,
            requests,
            samples,
            latency,
        }
    })
}

fn arm() -> impl Strategy<Value = ArmTick> {
    prop::collection::vec(instance(), 0..4).prop_map(|instances| ArmTick { instances })
}

fn any_tick() -> impl Strategy<Value = Tick> {
    let time = prop_oneof![0..100_u64, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()];
    (
        time,
        prop::option::of(number()),
        arm(),
        prop::option::of(arm()),
    )
        .prop_map(|(t, weight, canary, baseline)| Tick {
            t,
            weight,
            canary,
            baseline,
        })
}

/// What is said must be a number, or minus infinity where a proof is hopeless.
fn is_sane(judge: &Judge) -> bool {
    let seen = judge.assess();
    let numbers = seen
        .slis
        .iter()
        .flat_map(|sli| [sli.log_e, sli.log_pass, sli.bound]);
    !seen.log_e.is_nan() && numbers.into_iter().all(|number| !number.is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_sequence_of_ticks_makes_the_judge_panic_or_say_what_is_no_number(
        ticks in prop::collection::vec(any_tick(), 1..30),
        levels in prop::collection::vec(number(), 6),
        weight in number(),
    ) {
        let slis = levels.iter().enumerate().map(|(index, level)| SliCalibration {
            name: format!("sli {index}"),
            level: Some(*level),
            shape: levels[..index].to_vec(),
            ..SliCalibration::default()
        });
        let history = Calibration { slis: slis.collect(), seconds: 5 };
        let mut judge = Judge::with_history(every_kind(), &history).unwrap();
        let sound = weight > 0.0 && weight <= 1.0;
        prop_assert_eq!(judge.start_step(weight, None).is_ok(), sound);
        for tick in &ticks {
            judge.update(tick);
            prop_assert!(is_sane(&judge), "{:?}", judge.assess());
        }
        let copy: Judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap();
        prop_assert_eq!(copy.assess().verdict, judge.assess().verdict);
        let _ = (judge.explain().to_string(), judge.refused());
    }

    #[test]
    fn rows_that_cannot_be_true_never_pass_a_step(
        seconds in prop::collection::vec((1..10_000_u64, 1..1000_u64, 0..4_usize), 50..300),
        seed in any::<u64>(),
    ) {
        let config = Config { slis: vec![SliConfig::errors("errors")], ..Config::default() };
        let mut judge = Judge::new(config).unwrap();
        for (t, (requests, beyond, kind)) in seconds.into_iter().enumerate() {
            let mut tick = tick(t as u64, (50, 0), (450, seed % 2));
            let wrong = match kind {
                0 => Sample::Count(requests + beyond),
                1 => Sample::Of(Rate { bad: 0, requests: u64::MAX - beyond }),
                2 => Sample::Missing,
                _ => Sample::Gauge(f64::NAN),
            };
            // One arm is wrong in each second, the other is as it should be.
            let arm = if beyond % 2 == 0 { Some(&mut tick.canary) } else { tick.baseline.as_mut() };
            for row in arm.into_iter().flat_map(|arm| &mut arm.instances) {
                row.requests = requests;
                row.samples = vec![wrong];
            }
            let seen = judge.observe(&tick);
            prop_assert!(matches!(seen.verdict, Verdict::NotEnoughData), "{}", seen.reason);
        }
    }
}

#[test]
fn a_million_instances_are_judged_like_a_few() {
    let mut judge = Judge::new(Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    })
    .unwrap();
    let baseline = (0..1_000_000).map(|n| row(&format!("b{n}"), 1, u64::from(n % 1000 == 0)));
    let seen = judge.observe(&Tick {
        t: 1,
        weight: None,
        canary: ArmTick {
            instances: vec![row("c1", 100_000, 100)],
        },
        baseline: Some(ArmTick {
            instances: baseline.collect(),
        }),
    });
    assert_ne!(seen.verdict, Verdict::Fail, "{}", seen.reason);
    assert_eq!(seen.slis[0].baseline.unwrap().requests, 1_000_000);
    let state = serde_json::to_string(&judge).unwrap().len();
    assert!(state < 20_000, "the state grew to {state} bytes");
}

#[test]
fn buckets_of_other_edges_are_refused_and_prove_nothing() {
    let mut judge = Judge::new(Config::errors_and_latency(EDGES.to_vec())).unwrap();
    for t in 0..600 {
        let mut tick = tick(t, (50, 0), (450, 0));
        // From the middle on the source cuts its buckets finer than was agreed.
        let bucket = if t < 2 { 0 } else { 17 };
        let rows = tick.canary.instances.iter_mut();
        for row in rows.chain(tick.baseline.iter_mut().flat_map(|arm| &mut arm.instances)) {
            row.latency = vec![(bucket, row.requests)];
        }
        let seen = judge.observe(&tick);
        assert_ne!(seen.verdict, Verdict::Pass, "{}", seen.reason);
    }
    assert_eq!(judge.refused().rows, 3 * 598);
    assert_eq!(judge.assess().verdict, Verdict::NotEnoughData);
}
