//! Recordings, good and bad.

use airboss_judge::{
    Config, SliConfig, Verdict,
    recording::{History, RecordingError, VerdictLine, judge_lines},
};

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
fn very_many_instances_are_judged() {
    let mut lines = vec![HEADER.to_owned()];
    for t in 0..3 {
        for n in 0..20_000 {
            let arm = if n % 10 == 0 { "canary" } else { "baseline" };
            lines.push(format!(r#"{{"t":{t},"arm":"{arm}","instance":"i{n}","requests":1,"bad":0,"latency":[[2,1]]}}"#));
        }
    }
    assert!(judge_lines(lines, None, None).is_ok());
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
