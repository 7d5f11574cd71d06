//! What earlier versions kept is read by this one.

use airboss_judge::{Calibration, Judge, Verdict};
use serde::Deserialize;

use crate::traffic::Random;

/// Written by the version before numbers of four bytes: 45 s of a step with errors and two latency SLIs,
/// and the five minutes of history that it began with.
#[derive(Deserialize)]
struct Kept {
    judge: Judge,
    history: Calibration,
    log_e: f64,
    /// Each SLI's name, evidence against the release and proof of the step.
    slis: Vec<(String, f64, f64)>,
}

fn kept() -> Kept {
    serde_json::from_str(include_str!("kept.json")).unwrap()
}

#[test]
fn a_judge_that_an_earlier_version_kept_goes_on_from_its_evidence() {
    let Kept {
        mut judge,
        log_e,
        slis,
        ..
    } = kept();
    let seen = judge.assess();
    assert!(
        (seen.log_e - log_e).abs() < 1e-3,
        "{} of {log_e}",
        seen.log_e
    );
    for (sli, (name, log_e, log_pass)) in seen.slis.iter().zip(&slis) {
        assert_eq!(sli.name, *name);
        assert!((sli.log_e - log_e).abs() < 1e-3, "{name}: {sli:?}");
        assert!((sli.log_pass - log_pass).abs() < 1e-3, "{name}: {sli:?}");
    }
    let mut random = Random::new(1);
    let verdicts = (45..60).map(|t| {
        let tick = crate::traffic::drawn(&mut random, t, 0.1, 0.5, 0.01);
        judge.observe(&tick).verdict
    });
    assert_eq!(verdicts.last(), Some(Verdict::Fail));
}

#[test]
fn a_history_that_an_earlier_version_kept_is_read_and_written_again() {
    let history = kept().history;
    assert_eq!(history.seconds, 300);
    let judge = kept().judge;
    assert!(Judge::with_history(judge.config().clone(), &history).is_ok());
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), history);
}
