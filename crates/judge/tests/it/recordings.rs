//! Recordings, good and bad.

use airboss_judge::{
    ArmTick, Config, InstanceTick, Judge, Sample, SliConfig, Tick, Verdict,
    recording::{HISTORY_SECONDS, History, RecordingError, VerdictLine, judge_lines},
};
use proptest::prelude::*;

use crate::traffic::Random;

const HEADER: &str = r#"{"airboss":"recording/v1","latency_edges_ms":[10,20,40,80,160,320]}"#;

fn row(
    t: u64,
    arm: &str,
    instance: &str,
    requests: u64,
    bad: u64,
    random: &mut Random,
    slow: f64,
) -> String {
    let mut buckets = [0_u64; 7];
    for _ in 0..requests {
        let ms =
            30.0 * (0.5 * (random.unit() + random.unit() + random.unit() - 1.5) * 2.0).exp() * slow;
        buckets[[10.0, 20.0, 40.0, 80.0, 160.0, 320.0]
            .iter()
            .filter(|edge| **edge <= ms)
            .count()] += 1;
    }
    let latency: Vec<(usize, u64)> = buckets
        .into_iter()
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .collect();
    let latency = serde_json::to_string(&latency).unwrap();
    format!(
        r#"{{"t":{t},"arm":"{arm}","instance":"{instance}","requests":{requests},"bad":{bad},"latency":{latency}}}"#
    )
}

/// One canary instance and three of stable, 400 requests a second.
fn recording(seed: u64, seconds: u64, p_canary: f64, p_stable: f64, slow: f64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut lines = vec![HEADER.to_owned()];
    for t in 0..seconds {
        let bad = random.binomial(100, p_canary);
        lines.push(row(t, "canary", "c1", 100, bad, &mut random, slow));
        for instance in ["b1", "b2", "b3"] {
            let bad = random.binomial(100, p_stable);
            lines.push(row(t, "baseline", instance, 100, bad, &mut random, 1.0));
        }
    }
    lines
}

fn last(lines: &[VerdictLine]) -> &VerdictLine {
    let last = lines.last().unwrap();
    assert!(last.is_final);
    assert!(lines[..lines.len() - 1].iter().all(|line| !line.is_final));
    last
}

fn judged(lines: &[&str]) -> Result<Verdict, RecordingError> {
    Ok(last(&judge_lines(lines, None, None)?).verdict)
}

#[test]
fn a_healthy_recording_passes_and_a_bad_one_fails_by_the_sli_that_is_bad() {
    let healthy = judge_lines(recording(1, 400, 0.002, 0.002, 1.0), None, None).unwrap();
    assert_eq!(last(&healthy).verdict, Verdict::Pass, "{healthy:?}");
    let errors = judge_lines(recording(2, 400, 0.05, 0.002, 1.0), None, None).unwrap();
    assert_eq!(last(&errors).verdict, Verdict::Fail);
    assert_eq!(last(&errors).sli.as_deref(), Some("errors"));
    let slow = judge_lines(recording(3, 400, 0.002, 0.002, 1.6), None, None).unwrap();
    assert_eq!(last(&slow).verdict, Verdict::Fail);
    assert_eq!(last(&slow).sli.as_deref(), Some("latency"));
}

#[test]
fn a_history_calibrates_and_its_edges_must_match() {
    let history = History::read(recording(4, 1000, 0.0, 0.002, 1.0)).unwrap();
    let lines = judge_lines(recording(5, 60, 0.05, 0.002, 1.0), None, Some(history)).unwrap();
    assert_eq!(last(&lines).verdict, Verdict::Fail);
    let other = History::read([HEADER.replace("320", "640")]).unwrap();
    assert_eq!(
        judge_lines(recording(5, 60, 0.0, 0.0, 1.0), None, Some(other)),
        Err(RecordingError::OtherEdges)
    );
}

#[test]
fn an_empty_or_foreign_file_is_an_error() {
    assert_eq!(judged(&[]), Err(RecordingError::Empty));
    assert_eq!(judged(&["", "  "]), Err(RecordingError::Empty));
    for first in [
        "hello",
        "[]",
        "{}",
        r#"{"airboss":"recording/v9"}"#,
        r#"{"t":1}"#,
        "\u{0}",
    ] {
        assert!(
            matches!(judged(&[first]), Err(RecordingError::Line { line: 1, .. })),
            "{first}"
        );
    }
    assert!(matches!(
        judged(&[r#"{"airboss":"recording/v1","latency_edges_ms":[5,3]}"#]),
        Err(RecordingError::Config(_))
    ));
}

#[test]
fn rows_that_cannot_be_true_are_errors_with_their_line() {
    let rows = [
        r#"{"t":1,"arm":"canary","instance":"c1","requests":-1,"bad":0}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":1,"bad":2}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":NaN,"bad":0}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":1e400,"bad":0}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":Infinity,"bad":0}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":1.5,"bad":0}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":9999999999999,"bad":0}"#,
        r#"{"t":-1,"arm":"canary","instance":"c1","requests":1,"bad":0}"#,
        r#"{"t":1,"arm":"other","instance":"c1","requests":1,"bad":0}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":1,"bad":0,"latency":[[7,1]]}"#,
        r#"{"t":1,"arm":"canary","instance":"c1","requests":1,"bad":0,"latency":[[0,-1]]}"#,
        r#"{"t":1,"arm":"canary""#,
    ];
    for row in rows {
        assert!(
            matches!(
                judged(&[HEADER, row]),
                Err(RecordingError::Line { line: 2, .. })
            ),
            "{row}"
        );
    }
}

#[test]
fn a_recording_of_one_arm_or_of_nothing_never_passes() {
    assert_eq!(judged(&[HEADER]), Ok(Verdict::NotEnoughData));
    for arm in ["canary", "baseline"] {
        let lines: Vec<String> = recording(6, 400, 0.0, 0.0, 1.0)
            .into_iter()
            .filter(|line| line.contains("airboss") || line.contains(arm))
            .collect();
        let output = judge_lines(lines, None, None).unwrap();
        assert!(
            output
                .iter()
                .all(|line| line.verdict == Verdict::NotEnoughData),
            "{output:?}"
        );
    }
}

#[test]
fn a_declared_sli_without_data_is_named_and_never_passes() {
    let lines = recording(7, 400, 0.0, 0.0, 1.0);
    let mut config = Config::errors_and_latency(vec![1.0]);
    config.slis.push(SliConfig::errors("checkout errors"));
    let output = judge_lines(lines, Some(config), None).unwrap();
    assert_eq!(last(&output).verdict, Verdict::NotEnoughData);
    assert!(last(&output).reason.contains("checkout errors"));
}

#[test]
fn a_recorded_outage_of_both_versions_is_external_and_its_step_passes_soon_after() {
    let mut lines = vec![r#"{"airboss":"recording/v1"}"#.to_owned()];
    let mut random = Random::new(13);
    for t in 0..700 {
        let outage = (60..120).contains(&t);
        // Some of stable's instances hang more on what is down than others.
        for (arm, n, requests, down) in [
            ("canary", 1, 100, 0.2),
            ("baseline", 1, 100, 0.04),
            ("baseline", 2, 100, 0.2),
            ("baseline", 3, 100, 0.36),
        ] {
            let bad = random.binomial(requests, if outage { down } else { 0.001 });
            let step = r#""weight":0.25,"next_weight":0.5"#;
            lines.push(format!(
                r#"{{"t":{t},"arm":"{arm}","instance":"{arm}-{n}","requests":{requests},"bad":{bad},{step}}}"#
            ));
        }
    }
    let output = judge_lines(lines, None, None).unwrap();
    let first = |verdict| output.iter().find(|line| line.verdict == verdict);
    assert!(first(Verdict::Fail).is_none(), "{output:?}");
    let external = first(Verdict::External).unwrap();
    assert!((60..64).contains(&external.t), "{external:?}");
    let passed = output
        .iter()
        .find(|line| line.t > 120 && line.verdict == Verdict::Pass);
    assert!(passed.is_some_and(|line| line.t < 420), "{output:?}");
}

/// Two ratio SLIs a row; what `pays` says of an arm in a second is left out where it is None.
fn two_slis(seconds: u64, pays: impl Fn(u64, &str) -> bool) -> Vec<String> {
    let mut lines = vec![r#"{"airboss":"recording/v1"}"#.to_owned()];
    for t in 0..seconds {
        for (arm, requests) in [("canary", 50), ("baseline", 450)] {
            let bads = if pays(t, arm) {
                r#","bads":{"payments":0}"#
            } else {
                ""
            };
            lines.push(format!(
                r#"{{"t":{t},"arm":"{arm}","instance":"{arm}-1","requests":{requests},"bad":0{bads}}}"#
            ));
        }
    }
    lines
}

#[test]
fn a_metric_that_stops_in_the_middle_of_a_step_is_named_with_whose_it_is_and_since_when() {
    let config = Config {
        slis: vec![SliConfig::errors("errors"), SliConfig::errors("payments")],
        ..Config::default()
    };
    let told = |pays: &dyn Fn(u64, &str) -> bool| {
        let output = judge_lines(two_slis(600, pays), Some(config.clone()), None).unwrap();
        assert_eq!(last(&output).verdict, Verdict::NotEnoughData);
        assert_eq!(last(&output).sli.as_deref(), Some("payments"));
        let since = output.iter().rev().nth(1).unwrap();
        assert_eq!(since.verdict, Verdict::NotEnoughData, "said when it stops");
        (since.t, last(&output).reason.clone())
    };
    // It had passed by then: what is proven does not stand for what is no longer seen.
    let stops = |t: u64, _: &str| t < 300;
    assert_eq!(
        told(&stops),
        (
            330,
            "payments: no data of either version since second 299".to_owned()
        )
    );
    let canary_stops = |t: u64, arm: &str| t < 5 || arm == "baseline";
    assert_eq!(
        told(&canary_stops).1,
        "payments: no data of the new version since second 4"
    );
    let stable_never = |_: u64, arm: &str| arm == "canary";
    assert_eq!(
        told(&stable_never).1,
        "payments: no data of the stable version yet"
    );
}

#[test]
fn rows_slightly_out_of_order_are_ordered_and_wilder_ones_refused() {
    let sorted = recording(8, 60, 0.1, 0.0, 1.0);
    let mut shuffled = sorted.clone();
    for at in (1..shuffled.len() - 9).step_by(7) {
        shuffled.swap(at, at + 8);
    }
    assert_eq!(
        judge_lines(shuffled, None, None),
        judge_lines(sorted.clone(), None, None)
    );
    let mut wild = sorted;
    let late = wild.remove(1);
    wild.push(late);
    assert!(matches!(
        judge_lines(wild, None, None),
        Err(RecordingError::Line { .. })
    ));
}

#[test]
fn the_same_instance_twice_in_a_second_is_an_error() {
    let mut lines = recording(9, 10, 0.0, 0.0, 1.0);
    lines.insert(2, lines[1].clone());
    assert!(matches!(
        judge_lines(lines, None, None),
        Err(RecordingError::Line { line: 3, .. })
    ));
}

#[test]
fn edges_that_change_midway_are_an_error() {
    let mut lines = recording(10, 10, 0.0, 0.0, 1.0);
    lines.push(HEADER.replace("320", "640"));
    assert!(matches!(
        judge_lines(lines, None, None),
        Err(RecordingError::Line { line: 42, .. })
    ));
}

#[test]
fn a_gap_of_hours_is_said_and_is_no_pass() {
    let mut lines = recording(11, 400, 0.002, 0.002, 1.0);
    let later = |line: &String| line.replacen("\"t\":", "\"t\":1", 1);
    let tail: Vec<String> = lines[lines.len() - 40..].iter().map(later).collect();
    lines.extend(tail);
    let output = judge_lines(lines, None, None).unwrap();
    let verdicts: Vec<Verdict> = output.iter().map(|line| line.verdict).collect();
    let passed = verdicts
        .iter()
        .position(|verdict| *verdict == Verdict::Pass)
        .unwrap();
    assert_eq!(verdicts[passed + 1], Verdict::NotEnoughData);
}

#[test]
fn a_million_instances_of_one_second_are_judged() {
    let row = |n: u64| {
        let arm = if n.is_multiple_of(10) {
            "canary"
        } else {
            "baseline"
        };
        format!(
            r#"{{"t":0,"arm":"{arm}","instance":"i{n}","requests":1,"bad":0,"latency":[[2,1]]}}"#
        )
    };
    let lines = std::iter::once(HEADER.to_owned()).chain((0..1_000_000).map(row));
    let output = judge_lines(lines, None, None).unwrap();
    assert!(
        last(&output).reason.contains("of 100,000 requests"),
        "{output:?}"
    );
}

#[test]
fn an_output_line_has_the_documented_fields() {
    let output = judge_lines(recording(12, 30, 0.3, 0.0, 1.0), None, None).unwrap();
    let line = serde_json::to_value(last(&output)).unwrap();
    assert_eq!(line["verdict"], "fail");
    assert_eq!(line["final"], true);
    assert_eq!(line["sli"], "errors");
    assert!(
        line["log_e"].as_f64().unwrap() > 4.6
            && line["step_pass"].is_number()
            && line["t"].is_u64()
    );
    assert!(line["reason"].as_str().unwrap().contains("limit 100 : 1"));
}

/// What a judge says that is told of everything itself.
fn told(seconds: &[(u64, f64, Option<f64>, u64)]) -> Vec<(Verdict, String)> {
    let mut judge = Judge::new(Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    })
    .unwrap();
    let mut step = None;
    let mut said: Vec<(Verdict, String)> = Vec::new();
    for (t, weight, next, bad) in seconds {
        if step != Some((*weight, *next)) {
            judge.start_step(*weight, *next).unwrap();
            step = Some((*weight, *next));
        }
        let arm = |name: &str, requests, bad| ArmTick {
            instances: vec![InstanceTick {
                instance: name.to_owned(),
                requests,
                samples: vec![Sample::Count(bad)],
                latency: Vec::new(),
            }],
        };
        let assessment = judge.observe(&Tick {
            t: *t,
            weight: Some(*weight),
            canary: arm("c", (1000.0 * weight) as u64, *bad),
            baseline: Some(arm("b", (1000.0 * (1.0 - weight)) as u64, t % 2)),
        });
        if said
            .last()
            .is_none_or(|(last, _)| *last != assessment.verdict)
        {
            said.push((assessment.verdict, assessment.reason));
        }
    }
    said
}

#[test]
fn rows_that_tell_of_steps_are_judged_step_by_step() {
    let step = |t: u64| match t {
        0..200 => (0.1, Some(0.5)),
        _ => (0.5, None),
    };
    let bad = |t: u64| match t {
        0..200 => u64::from(t.is_multiple_of(20)),
        200..450 => t % 2,
        _ => 40,
    };
    let seconds: Vec<_> = (0..500)
        .map(|t| (t, step(t).0, step(t).1, bad(t)))
        .collect();
    let mut lines = vec![r#"{"airboss":"recording/v1"}"#.to_owned()];
    for (t, weight, next, bad) in &seconds {
        let next = next.map_or(String::new(), |next: f64| {
            format!(r#""next_weight":{next},"#)
        });
        let (canary, stable) = ((1000.0 * weight) as u64, (1000.0 * (1.0 - weight)) as u64);
        for (arm, instance, requests, bad) in [
            ("canary", "c", canary, *bad),
            ("baseline", "b", stable, t % 2),
        ] {
            lines.push(format!(r#"{{"t":{t},"arm":"{arm}","instance":"{instance}","requests":{requests},"bad":{bad},"weight":{weight},{next}"split":{weight}}}"#));
        }
    }
    let replayed: Vec<_> = judge_lines(&lines, None, None)
        .unwrap()
        .into_iter()
        .filter(|line| !line.is_final)
        .map(|line| (line.verdict, line.reason))
        .collect();
    assert_eq!(replayed, told(&seconds));
    let passes = replayed
        .iter()
        .filter(|(verdict, _)| *verdict == Verdict::Pass);
    assert_eq!(passes.count(), 2, "{replayed:?}");
    assert_eq!(replayed.last().unwrap().0, Verdict::Fail);
}

#[test]
fn a_mark_begins_a_rollout_and_what_comes_after_its_end_is_not_judged() {
    let mut lines = recording(14, 100, 0.002, 0.002, 1.0);
    lines.retain(|line| !line.contains("canary"));
    let begins = r#"{"airboss":"rollout","t":100,"id":"shop-2","start":60}"#;
    lines.push(begins.to_owned());
    let later = |line: &String| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["t"] = (row["t"].as_u64().unwrap() + 100).into();
        row.to_string()
    };
    lines.extend(recording(15, 60, 0.3, 0.002, 1.0)[1..].iter().map(later));
    lines.push(r#"{"airboss":"rollout_end","t":160}"#.to_owned());
    let mut after = recording(16, 200, 0.0, 0.0, 1.0);
    after.retain(|line| line.contains("baseline"));
    lines.extend(after.iter().skip(60 * 3).map(later));
    let output = judge_lines(&lines, None, None).unwrap();
    let last = last(&output);
    assert_eq!((last.verdict, last.t), (Verdict::Fail, 159), "{output:?}");
    assert_eq!(last.rollout.as_deref(), Some("shop-2"));
    assert_eq!(output[0].rollout, None);
}

#[test]
fn a_silent_source_is_said_in_the_live_judges_words() {
    let mut lines = recording(17, 30, 0.002, 0.002, 1.0);
    lines.push(r#"{"airboss":"silence","t":33,"why":"the agent did not report"}"#.to_owned());
    let output = judge_lines(&lines, None, None).unwrap();
    assert_eq!(last(&output).verdict, Verdict::SourceDown);
    assert!(last(&output).reason.contains("the agent did not report"));
    for wrong in [
        r#"{"airboss":"silence","t":33}"#,
        r#"{"airboss":"holiday","t":33}"#,
        r#"{"airboss":"silence","t":3,"why":"late"}"#,
        r#"{"airboss":7}"#,
    ] {
        let mut lines = recording(17, 30, 0.002, 0.002, 1.0);
        lines.push(wrong.to_owned());
        assert!(
            matches!(
                judge_lines(&lines, None, None),
                Err(RecordingError::Line { line: 122, .. })
            ),
            "{wrong}"
        );
    }
}

#[test]
fn an_instance_may_be_called_airboss() {
    let row = |arm| format!(r#"{{"t":1,"arm":"{arm}","instance":"airboss","requests":1,"bad":0}}"#);
    assert!(judged(&[HEADER, &row("canary"), &row("baseline")]).is_ok());
}

#[test]
fn a_long_history_is_learnt_from_its_newest_hour() {
    let mut lines = vec![r#"{"airboss":"recording/v1"}"#.to_owned()];
    let row = |t: u64, bad: u64| {
        format!(r#"{{"t":{t},"arm":"baseline","instance":"b","requests":100,"bad":{bad}}}"#)
    };
    lines.extend((0..4000).map(|t| row(t, 50)));
    lines.extend((4000..8000).map(|t| row(t, 1)));
    let history = History::read(&lines).unwrap();
    let config = Config::errors_and_latency(Vec::new());
    let rates: Vec<_> = history.rates(&config).collect();
    assert_eq!((rates.len(), rates[0].0), (HISTORY_SECONDS, 4400));
    assert!(rates.iter().all(|(_, rates)| rates[0].bad == 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever stands in a file: an error with its line, or a verdict that is no pass.
    #[test]
    fn no_bytes_make_the_reader_panic_or_pass(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        header in any::<bool>(),
    ) {
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<&str> = text.lines().collect();
        if header {
            lines.insert(0, HEADER);
        }
        if let Ok(output) = judge_lines(lines, None, None) {
            prop_assert_ne!(last(&output).verdict, Verdict::Pass);
        }
    }

    /// A sound recording with a few bytes spoilt is never a pass that it was not before, unless
    /// the spoilt place is one that no verdict reads.
    #[test]
    fn spoilt_bytes_are_told_with_their_line_or_judged(
        seed in 0_u64..50,
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = recording(seed, 20, 0.3, 0.002, 1.0).join("\n").into_bytes();
        for (at, byte) in spoils {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let text = String::from_utf8_lossy(&bytes);
        match judge_lines(text.lines(), None, None) {
            Ok(output) => prop_assert_ne!(last(&output).verdict, Verdict::Pass),
            Err(RecordingError::Line { line, problem }) => {
                prop_assert!(line >= 1 && !problem.is_empty());
            }
            Err(RecordingError::Config(_)) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    /// Numbers of every kind in every field.
    #[test]
    fn absurd_numbers_are_refused_with_their_line_or_prove_nothing(
        field in prop::sample::select(vec!["t", "requests", "bad", "weight", "next_weight", "split", "latency"]),
        value in prop::sample::select(vec![
            "-1", "0", "-0.0", "1e308", "1e-400", "1e400", "NaN", "Infinity", "18446744073709551615",
            "18446744073709551616", "0.5", "null", "\"7\"", "[[0,1e9]]", "[[4294967295,1]]", "true", "{}",
        ]),
        repeats in 1_u64..40,
    ) {
        let mut lines = vec![HEADER.to_owned()];
        for t in 0..repeats {
            for (arm, instance) in [("canary", "c"), ("baseline", "b")] {
                let mut fields = vec![
                    ("t", t.to_string()),
                    ("requests", "100".to_owned()),
                    ("bad", "30".to_owned()),
                ];
                fields.retain(|(name, _)| *name != field);
                if arm == "canary" || field == "t" {
                    fields.push((field, value.to_owned()));
                } else if field == "requests" {
                    fields.push((field, "100".to_owned()));
                } else if field == "bad" {
                    fields.push((field, "0".to_owned()));
                }
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                lines.push(format!("{{\"arm\":\"{arm}\",\"instance\":\"{instance}\",{}}}", fields.join(",")));
            }
        }
        match judge_lines(&lines, None, None) {
            Ok(output) => prop_assert_ne!(last(&output).verdict, Verdict::Pass),
            Err(error) => prop_assert!(matches!(error, RecordingError::Line { line: 2.., .. }), "{error}"),
        }
    }
}

#[test]
fn the_last_second_there_is_does_no_harm() {
    let mut lines = recording(13, 60, 0.002, 0.002, 1.0);
    for arm in ["canary", "baseline"] {
        lines.push(format!(
            r#"{{"t":{},"arm":"{arm}","instance":"x","requests":10,"bad":0,"latency":[[0,10]]}}"#,
            u64::MAX
        ));
    }
    let output = judge_lines(lines, None, None).unwrap();
    assert_ne!(last(&output).verdict, Verdict::Fail);
    assert_eq!(last(&output).t, u64::MAX);
}
