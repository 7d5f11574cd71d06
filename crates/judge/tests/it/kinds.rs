//! SLIs that are no ratios of requests, and sick instances.

use airboss_judge::{
    ArmTick, Better, Config, InstanceTick, Judge, Sample, SliConfig, SliKind, Tick, Verdict,
};

use crate::traffic::{Random, row};

fn judge(kind: SliKind) -> Judge {
    let slis = vec![SliConfig::errors("errors"), SliConfig::new("other", kind)];
    Judge::new(Config {
        slis,
        ..Config::default()
    })
    .unwrap()
}

/// Two canary instances and four of stable; each arm's second sample is given.
fn tick(t: u64, canary: Sample, stable: Sample) -> Tick {
    let of = |name: String, sample| InstanceTick {
        samples: vec![Sample::Count(0), sample],
        ..row(&name, 50, 0)
    };
    Tick {
        t,
        weight: None,
        canary: ArmTick {
            instances: (0..2).map(|n| of(format!("c{n}"), canary)).collect(),
        },
        baseline: Some(ArmTick {
            instances: (0..4).map(|n| of(format!("b{n}"), stable)).collect(),
        }),
    }
}

fn fails(kind: SliKind, canary: impl Fn(u64) -> Sample, stable: impl Fn(u64) -> Sample) -> bool {
    let mut judge = judge(kind);
    (0..1200).any(|t| judge.observe(&tick(t, canary(t), stable(t))).verdict == Verdict::Fail)
}

#[test]
fn a_canary_that_restarts_every_minute_fails_and_one_restart_does_not() {
    let every = |seconds: u64| move |t: u64| Sample::Events(u64::from(t % seconds == seconds - 1));
    assert!(fails(SliKind::Events, every(60), |_| Sample::Events(0)));
    assert!(!fails(SliKind::Events, every(1000), |_| Sample::Events(0)));
    assert!(
        !fails(SliKind::Events, every(60), every(60)),
        "stable restarts as often"
    );
}

#[test]
fn a_gauge_far_above_stable_fails_and_nan_is_refused() {
    let kind = SliKind::Gauge {
        better: Better::Lower,
    };
    let wave = |t: u64| 100.0 + (t as f64 / 19.0).sin();
    assert!(fails(
        kind,
        |t| Sample::Gauge(1.4 * wave(t + 7)),
        |t| Sample::Gauge(wave(t))
    ));
    assert!(!fails(
        kind,
        |t| Sample::Gauge(1.05 * wave(t + 7)),
        |t| Sample::Gauge(wave(t))
    ));
    let mut judge = judge(kind);
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        let t = judge.refused().rows;
        let seen = judge.observe(&tick(t, Sample::Gauge(value), Sample::Gauge(1.0)));
        assert!(seen.verdict == Verdict::NotEnoughData && seen.log_e.is_finite());
    }
    assert_eq!(judge.refused().rows, 6);
}

#[test]
fn a_canary_that_completes_half_of_what_it_is_sent_fails() {
    assert!(fails(
        SliKind::Throughput,
        |_| Sample::Events(25),
        |_| Sample::Events(50)
    ));
    assert!(!fails(
        SliKind::Throughput,
        |_| Sample::Events(49),
        |_| Sample::Events(50)
    ));
}

#[test]
fn a_step_does_not_wait_for_events_but_for_their_data() {
    let mut random = Random::new(1);
    let mut judge = judge(SliKind::Events);
    let mut first = |sample: Sample| {
        (0..600).find_map(|_| {
            let t = judge.assess().ticks + u64::from(random.unit() < 2.0);
            (judge.observe(&tick(t, sample, sample)).verdict == Verdict::Pass).then_some(t)
        })
    };
    assert!(first(Sample::Missing).is_none());
    assert!(first(Sample::Events(0)).is_some());
}

#[test]
fn one_sick_instance_of_three_is_named_and_the_release_is_not_blamed() {
    let config = Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    };
    let mut judge = Judge::new(config).unwrap();
    let mut random = Random::new(2);
    let mut named = false;
    for t in 0..600 {
        let canary = (0..3).map(|n| {
            let p = if n == 1 && (200..230).contains(&t) {
                0.2
            } else {
                0.001
            };
            row(&format!("c{n}"), 40, random.binomial(40, p))
        });
        let canary = ArmTick {
            instances: canary.collect(),
        };
        let stable = (0..10).map(|n| row(&format!("b{n}"), 40, random.binomial(40, 0.001)));
        let baseline = Some(ArmTick {
            instances: stable.collect(),
        });
        let seen = judge.observe(&Tick {
            t,
            weight: None,
            canary,
            baseline,
        });
        assert_ne!(seen.verdict, Verdict::Fail, "{}", seen.reason);
        named |= seen.verdict == Verdict::InstanceFault && seen.reason.contains("instance c1");
    }
    assert!(named);
    assert_eq!(
        judge.assess().verdict,
        Verdict::Pass,
        "{}",
        judge.assess().reason
    );
}

#[test]
fn a_regression_of_all_instances_is_no_sick_instance() {
    let config = Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    };
    let mut judge = Judge::new(config).unwrap();
    let mut random = Random::new(3);
    let failed = (0..120).any(|t| {
        let canary = (0..3).map(|n| row(&format!("c{n}"), 40, random.binomial(40, 0.05)));
        let canary = ArmTick {
            instances: canary.collect(),
        };
        let stable = (0..10).map(|n| row(&format!("b{n}"), 40, random.binomial(40, 0.001)));
        let baseline = Some(ArmTick {
            instances: stable.collect(),
        });
        let seen = judge.observe(&Tick {
            t,
            weight: None,
            canary,
            baseline,
        });
        assert_ne!(seen.verdict, Verdict::InstanceFault, "{}", seen.reason);
        seen.verdict == Verdict::Fail
    });
    assert!(failed);
}
