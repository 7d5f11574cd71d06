//! A past through the judge: who would have been blamed?

use airboss_judge::backtest::{Backtest, BacktestError, backtest};
use airboss_judge::recording::History;
use airboss_judge::{Config, SliConfig};

use crate::traffic::Random;

/// Five instances of stable for 40 minutes; `bad` is an instance's bad ratio in a second.
fn history(seconds: u64, bad: impl Fn(u64, u64) -> f64) -> History {
    let mut random = Random::new(21);
    let mut lines = vec![r#"{"airboss":"recording/v1"}"#.to_owned()];
    for t in 0..seconds {
        for n in 0..5 {
            let bad = random.binomial(100, bad(t, n));
            lines.push(format!(
                r#"{{"t":{t},"arm":"baseline","instance":"b{n}","requests":100,"bad":{bad}}}"#
            ));
        }
    }
    History::read(lines).unwrap()
}

fn config() -> Config {
    Config {
        slis: vec![SliConfig::errors("availability")],
        ..Config::default()
    }
}

fn replayed(history: &History, config: &Config) -> Backtest {
    backtest(history, config, &[(0.2, Some(0.5)), (0.5, None)], 200, 1).unwrap()
}

#[test]
fn a_service_whose_instances_are_alike_is_blamed_as_rarely_as_promised() {
    // All drift together, up and down by a half, and share an outage.
    let alike = |t: u64, _| match t {
        1_700..1_730 => 0.1,
        t => 0.002 * (1.0 + 0.5 * (t as f64 / 300.0).sin()),
    };
    let told = replayed(&history(2_400, alike), &config());
    assert_eq!((told.learnt, told.replayed), (900, 1_500));
    for step in &told.steps {
        assert!(step.failed <= 2 && step.high < 0.04, "{step:?}");
        assert!(step.median_seconds.is_some(), "{step:?}");
    }
    assert_eq!(told.too_tight, []);
}

#[test]
fn a_margin_that_is_too_tight_for_the_service_is_named_with_one_that_is_not() {
    // From the middle on one instance fails as often again as the others: its host is older.
    let unlike = |t: u64, n: u64| if t > 900 && n == 3 { 0.008 } else { 0.002 };
    let past = history(2_400, unlike);
    let told = replayed(&past, &config());
    let [tight] = &told.too_tight[..] else {
        panic!("{told:?}");
    };
    // Two of five instances play the new version there, so it is among them in two of five replays.
    assert_eq!((tight.sli.as_str(), tight.weight), ("availability", 0.5));
    assert!((0.2..0.6).contains(&tight.share), "{tight:?}");
    let mut mended = config();
    mended.slis[0].fail = tight.fail;
    let again = replayed(&past, &mended);
    assert_eq!(again.too_tight, [], "{tight:?}");
    assert!(again.steps[1].failed <= 2, "{again:?}");
}

#[test]
fn a_past_that_says_too_little_is_refused_with_what_it_lacks() {
    let short = backtest(&history(600, |_, _| 0.0), &config(), &[(0.1, None)], 10, 1);
    assert_eq!(short, Err(BacktestError::TooShort { found: 600 }));
    let mut lines = vec![r#"{"airboss":"recording/v1"}"#.to_owned()];
    lines.extend(
        (0..1_300).map(|t| {
            format!(r#"{{"t":{t},"arm":"baseline","instance":"b","requests":9,"bad":0}}"#)
        }),
    );
    let alone = History::read(lines).unwrap();
    let alone = backtest(&alone, &config(), &[(0.1, None)], 10, 1);
    assert_eq!(alone, Err(BacktestError::OneInstance { found: 1 }));
    let none = backtest(&history(1_300, |_, _| 0.0), &config(), &[], 0, 1);
    assert_eq!(none, Err(BacktestError::Runs(0)));
}
