//! Which verdict follows from which traffic.

use airboss_judge::{Config, ConfigError, Judge, Silence, SliConfig, SliKind, Tick, Verdict};

use crate::traffic::{Random, drawn, tick};

fn errors() -> Config {
    Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    }
}

fn first(judge: &mut Judge, ticks: impl Iterator<Item = Tick>, wanted: Verdict) -> Option<u64> {
    ticks
        .into_iter()
        .find_map(|tick| (judge.observe(&tick).verdict == wanted).then_some(tick.t))
}

#[test]
fn a_canary_that_fails_every_tenth_request_is_failed_within_seconds() {
    let mut judge = Judge::new(errors()).unwrap();
    let mut random = Random::new(1);
    for t in 0..120 {
        let seen = judge.observe(&drawn(&mut random, t, 0.1, 0.001, 0.001));
        assert_ne!(seen.verdict, Verdict::Fail, "{}", seen.reason);
    }
    let failed = first(
        &mut judge,
        (120..180).map(|t| drawn(&mut random, t, 0.1, 0.1, 0.001)),
        Verdict::Fail,
    );
    assert!(failed.unwrap() < 140, "{failed:?}");
    let seen = judge.assess();
    assert!(
        seen.reason
            .contains("against this being within the margin; limit 100 : 1"),
        "{}",
        seen.reason
    );
}

#[test]
fn a_healthy_canary_passes_its_step_and_a_new_step_needs_a_new_proof() {
    let mut judge = Judge::new(errors()).unwrap();
    judge.start_step(0.1, Some(0.5)).unwrap();
    let mut random = Random::new(2);
    let passed = first(
        &mut judge,
        (0..600).map(|t| drawn(&mut random, t, 0.1, 0.001, 0.001)),
        Verdict::Pass,
    )
    .unwrap();
    judge.start_step(0.5, None).unwrap();
    let seen = judge.observe(&drawn(&mut random, passed + 1, 0.5, 0.001, 0.001));
    assert_ne!(seen.verdict, Verdict::Pass);
}

#[test]
fn one_blip_moves_the_evidence_and_not_the_decision() {
    let mut judge = Judge::new(errors()).unwrap();
    let mut random = Random::new(3);
    for t in 0..120 {
        judge.observe(&drawn(&mut random, t, 0.1, 0.001, 0.001));
    }
    let before = judge.assess().log_e;
    let seen = judge.observe(&tick(120, (50, 6), (450, 0)));
    assert!(seen.log_e > before);
    assert_ne!(seen.verdict, Verdict::Fail);
}

#[test]
fn no_data_is_never_a_pass() {
    let mut judge = Judge::new(errors()).unwrap();
    assert_eq!(judge.assess().verdict, Verdict::NotEnoughData);
    for t in 0..900 {
        let mut one_sided = tick(t, (50, 0), (450, 0));
        one_sided.baseline.as_mut().unwrap().instances.clear();
        assert_eq!(judge.observe(&one_sided).verdict, Verdict::NotEnoughData);
    }
    assert_eq!(judge.refused().one_sided, 900);
    assert_eq!(
        judge.silence(900, Silence::NoData).verdict,
        Verdict::NotEnoughData
    );
    let down = judge.silence(901, Silence::SourceDown("connection refused".to_owned()));
    assert_eq!(down.verdict, Verdict::SourceDown);
    assert!(down.reason.contains("connection refused"));
}

#[test]
fn an_outage_of_both_versions_is_external_and_blames_nobody() {
    let mut judge = Judge::new(errors()).unwrap();
    let mut random = Random::new(4);
    for t in 0..300 {
        judge.observe(&drawn(&mut random, t, 0.1, 0.001, 0.001));
    }
    let seen = first(
        &mut judge,
        (300..330).map(|t| drawn(&mut random, t, 0.1, 0.2, 0.2)),
        Verdict::External,
    );
    assert!(seen.unwrap() < 320);
    for t in 330..500 {
        assert_ne!(
            judge.observe(&drawn(&mut random, t, 0.1, 0.2, 0.2)).verdict,
            Verdict::Fail
        );
    }
}

/// Six hours of a service whose errors and traffic swing as those of a week do; the canary has `times` as
/// many errors as stable has in the same second.
fn over_a_season(times: f64, seed: u64) -> Judge {
    let mut judge = Judge::new(errors()).unwrap();
    let mut random = Random::new(seed);
    for t in 0..6 * 3_600 {
        // Days of 50 minutes; every seventh has a third of the traffic and five times the errors.
        let (day, hour) = (
            t / 3_000,
            std::f64::consts::TAU * (t % 3_000) as f64 / 3_000.0,
        );
        let quiet = if day % 7 == 6 {
            (0.33, 5.0)
        } else {
            (1.0, 1.0)
        };
        let requests = 500.0 * quiet.0 * (1.0 + 0.7 * hour.sin());
        let ratio = 0.001 * quiet.1 * (1.0 - 0.8 * hour.sin());
        let (canary, stable) = ((requests * 0.1) as u64, (requests * 0.9) as u64);
        judge.update(&tick(
            t,
            (canary, random.binomial(canary, times * ratio)),
            (stable, random.binomial(stable, ratio)),
        ));
    }
    judge
}

#[test]
fn a_season_of_days_and_weeks_is_no_difference_and_a_true_one_is_found_in_it() {
    for seed in 0..10 {
        let sound = over_a_season(1.0, seed);
        assert_eq!(sound.failed_at(), None, "{}", sound.assess().reason);
        let worse = over_a_season(2.0, seed);
        assert!(worse.failed_at().is_some(), "{}", worse.assess().reason);
    }
}

#[test]
fn a_split_far_from_its_weight_is_misrouted_and_does_not_blame_the_canary() {
    let mut judge = Judge::new(errors()).unwrap();
    let ticks = (0..60).map(|t| Tick {
        weight: Some(0.5),
        ..tick(t, (50, 0), (450, 0))
    });
    assert!(first(&mut judge, ticks, Verdict::Misrouted).is_some());
    assert!(
        judge.assess().reason.contains("instead of 50 %"),
        "{}",
        judge.assess().reason
    );
}

#[test]
fn a_split_that_sticks_users_to_an_arm_may_wander() {
    let mut judge = Judge::new(errors()).unwrap();
    for t in 0..200 {
        let seen = judge.observe(&Tick {
            weight: Some(0.1),
            ..tick(t, (43, 0), (457, 0))
        });
        assert_ne!(seen.verdict, Verdict::Misrouted);
    }
}

#[test]
fn a_first_deployment_is_held_to_its_objective() {
    let mut config = errors();
    config.slis[0].objective = Some(0.999);
    let alone = |t, bad| Tick {
        baseline: None,
        ..tick(t, (50, bad), (450, 0))
    };
    let mut judge = Judge::new(config.clone()).unwrap();
    assert!(first(&mut judge, (0..60).map(|t| alone(t, 10)), Verdict::Fail).is_some());
    let mut judge = Judge::new(config).unwrap();
    assert!(first(&mut judge, (0..60).map(|t| alone(t, 0)), Verdict::Pass).is_some());
    let mut judge = Judge::new(errors()).unwrap();
    let ticks = (0..60).map(|t| alone(t, 0));
    assert!(
        first(&mut judge, ticks, Verdict::Pass).is_none(),
        "without an objective nothing can be proven"
    );
}

/// A drawn tick whose requests took 30 ms or, one in fifty of stable's, 300 ms; the canary is slower.
fn with_latency(random: &mut Random, t: u64) -> Tick {
    let mut tick = drawn(random, t, 0.1, 0.003, 0.001);
    let mut slow = |row: &mut airboss_judge::InstanceTick, p: f64| {
        let slow = random.binomial(row.requests, p);
        row.latency = vec![(1, row.requests - slow), (2, slow)];
    };
    for row in &mut tick.canary.instances {
        slow(row, 0.03);
    }
    for row in tick.baseline.iter_mut().flat_map(|arm| &mut arm.instances) {
        slow(row, 0.02);
    }
    tick
}

#[test]
fn replaying_the_same_ticks_from_a_snapshot_gives_identical_assessments() {
    let mut judge = Judge::new(Config::errors_and_latency(vec![10.0, 100.0, 1000.0])).unwrap();
    let mut random = Random::new(5);
    for t in 0..100 {
        judge.observe(&with_latency(&mut random, t));
    }
    let text = serde_json::to_string(&judge).unwrap();
    let mut restored: Judge = serde_json::from_str(&text).unwrap();
    assert_eq!(restored, judge);
    for t in 100..200 {
        let tick = with_latency(&mut random, t);
        assert_eq!(judge.observe(&tick), restored.observe(&tick));
    }
    assert!(
        judge.explain().slis[1].members[0].e != 1.0,
        "the distribution was not compared"
    );
}

#[test]
fn chances_of_error_of_zero_or_one_are_refused() {
    for alpha in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
        let config = Config { alpha, ..errors() };
        assert!(
            matches!(Judge::new(config), Err(ConfigError::OutOfRange { .. })),
            "{alpha}"
        );
        let config = Config {
            beta: alpha,
            ..errors()
        };
        assert!(
            matches!(Judge::new(config), Err(ConfigError::OutOfRange { .. })),
            "{alpha}"
        );
    }
    assert_eq!(
        Judge::new(Config::default()).unwrap_err(),
        ConfigError::NoSli
    );
}

#[test]
fn impossible_rows_and_times_are_refused_and_counted() {
    let mut judge = Judge::new(errors()).unwrap();
    judge.observe(&tick(5, (50, 51), (450, 0)));
    judge.observe(&tick(5, (50, 0), (450, 0)));
    judge.observe(&tick(4, (50, 0), (450, 0)));
    assert_eq!((judge.refused().rows, judge.refused().late_ticks), (1, 2));
}

#[test]
fn conversions_that_drop_fail_and_conversions_that_rise_do_not() {
    let kind = SliKind::Ratio {
        better: airboss_judge::Better::Higher,
    };
    let config = Config {
        slis: vec![SliConfig::new("conversion", kind)],
        ..Config::default()
    };
    let mut random = Random::new(6);
    let mut judge = Judge::new(config.clone()).unwrap();
    let ticks = (0..900).map(|t| drawn(&mut random, t, 0.3, 0.02, 0.05));
    assert!(first(&mut judge, ticks, Verdict::Fail).is_some());
    let mut judge = Judge::new(config).unwrap();
    let ticks = (0..900).map(|t| drawn(&mut random, t, 0.3, 0.08, 0.05));
    assert!(first(&mut judge, ticks, Verdict::Fail).is_none());
    assert!(
        judge.assess().verdict == Verdict::Pass,
        "{}",
        judge.assess().reason
    );
}

#[test]
fn the_explanation_adds_up_to_the_evidence() {
    let mut judge = Judge::new(Config::errors_and_latency(vec![10.0, 100.0])).unwrap();
    let mut random = Random::new(9);
    for t in 0..60 {
        judge.observe(&drawn(&mut random, t, 0.1, 0.01, 0.001));
    }
    let explanation = judge.explain();
    let sum: f64 = explanation.slis.iter().map(|sli| sli.weight * sli.e).sum();
    assert!((sum - explanation.e).abs() <= 1e-9 * sum);
    assert_eq!(explanation.slis[1].members.len(), 5);
    assert!(
        explanation.to_string().contains("within the margin up to"),
        "{explanation}"
    );
}
