//! Live traffic as a recording that `airboss judge` reads.

use std::collections::BTreeMap;

use airboss_judge::recording::{self, Arm};
use airboss_judge::{Better, Sample, SliKind, tick::ArmTick};
use airboss_model::manifest::Service;
use airboss_model::traffic::{Counts, Weight};
use serde::Serialize;

use crate::Gauge;

/// The judge looks at stretches of 1, 10, 30 and 60 s, counted from the start of a rollout. A
/// recording in which a rollout starts at a whole number of these is cut into the same stretches.
const STRETCH: u64 = 60;

/// What the live judge took a second for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Seconds since the rollout started.
    pub t: u64,
    /// The canary's share that the data plane worked by.
    pub weight: Weight,
    /// True where there was no baseline to compare with.
    pub alone: bool,
    /// The step that the judge was told of last: its share, and the next one.
    pub step: Option<(f64, Option<f64>)>,
}

/// One instance's second as it is written.
#[derive(Serialize)]
struct Row<'a> {
    t: u64,
    arm: Arm,
    instance: &'a str,
    requests: u64,
    bad: u64,
    /// Further ratio SLIs, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    bads: BTreeMap<&'a str, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    latency: &'a Vec<(u32, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_weight: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    alone: bool,
}

/// Writes the seconds of one lane as a recording.
///
/// A rollout's seconds keep their distances and their place in the minute, so that a recording
/// that holds a rollout from its start is judged to the very words of the live judge.
#[derive(Debug, Clone)]
pub struct Recorder {
    gauge: Gauge,
    last: Option<u64>,
    /// What to add to a rollout's seconds, and which rollout that is for.
    shift: Option<(String, u64)>,
}

impl Recorder {
    /// A recorder that measures by the SLOs of a manifest.
    pub fn new(service: &Service) -> Self {
        Self {
            gauge: Gauge::whole(service),
            last: None,
            shift: None,
        }
    }

    /// The recording's first line.
    pub fn header(&self) -> String {
        recording::header(&self.gauge.config().latency_edges_ms)
    }

    /// One second as lines, each with its end. `judged` is the rollout that was judged in it;
    /// without one the second is stable's alone and `canary` is ignored.
    ///
    /// # Errors
    /// None today: rows are plain data that JSON can hold.
    pub fn second(
        &mut self,
        judged: Option<(&str, Judged)>,
        canary: Option<&BTreeMap<String, Counts>>,
        baseline: Option<&BTreeMap<String, Counts>>,
    ) -> serde_json::Result<String> {
        let next = self.last.map_or(0, |last| last + 1);
        let (t, judged) = match judged {
            Some((rollout, judged)) => (self.shifted(rollout, judged.t, next), Some(judged)),
            None => (next, None),
        };
        self.last = Some(t);
        let alone = judged.is_some_and(|judged| judged.alone);
        let weight = judged.map_or(Weight::ZERO, |judged| judged.weight);
        let tick = self.gauge.tick(
            t,
            weight,
            canary.filter(|_| judged.is_some()),
            baseline,
            alone,
        );
        let mut lines = String::new();
        let arms = [
            (Arm::Canary, Some(&tick.canary)),
            (Arm::Baseline, tick.baseline.as_ref()),
        ];
        for (arm, ticks) in arms {
            for row in ticks.iter().flat_map(|arm: &&ArmTick| &arm.instances) {
                let (bad, bads) = self.bad(&row.samples);
                let row = Row {
                    t,
                    arm,
                    instance: &row.instance,
                    requests: row.requests,
                    bad,
                    bads,
                    latency: &row.latency,
                    weight: judged
                        .and_then(|judged| judged.step)
                        .map(|(weight, _)| weight),
                    next_weight: judged
                        .and_then(|judged| judged.step)
                        .and_then(|(_, next)| next),
                    alone,
                };
                lines += &serde_json::to_string(&row)?;
                lines.push('\n');
            }
        }
        Ok(lines)
    }

    fn shifted(&mut self, rollout: &str, t: u64, next: u64) -> u64 {
        let known = self.shift.as_ref().filter(|(of, _)| of == rollout);
        let shift = known.map_or_else(
            || next.saturating_sub(t).next_multiple_of(STRETCH),
            |(_, shift)| *shift,
        );
        self.shift = Some((rollout.to_owned(), shift));
        t.saturating_add(shift).max(next)
    }

    /// The bad requests of the first ratio SLI, and those of the others by name.
    fn bad(&self, samples: &[Sample]) -> (u64, BTreeMap<&str, u64>) {
        let lower = SliKind::Ratio {
            better: Better::Lower,
        };
        let mut counts = self
            .gauge
            .config()
            .slis
            .iter()
            .zip(samples)
            .filter(|(sli, _)| sli.kind == lower)
            .filter_map(|(sli, sample)| match sample {
                Sample::Count(bad) => Some((sli.name.as_str(), *bad)),
                _ => None,
            });
        let first = counts.next().map_or(0, |(_, bad)| bad);
        (first, counts.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "checkout" },
            "spec": { "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1" } },
                "slos": [{ "name": "available", "objective": "99.9%", "bad": "status >= 500" },
                    { "name": "found", "objective": "99%", "bad": "status == 404" }] }
        }))
        .unwrap()
    }

    fn arm(name: &str, status: u16, requests: u64) -> BTreeMap<String, Counts> {
        let counts = Counts {
            requests,
            by_status: [(status, requests)].into(),
            latency: [(400, requests)].into(),
            ..Counts::default()
        };
        [(name.to_owned(), counts)].into()
    }

    fn rows(text: &str) -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn seconds_without_a_rollout_are_stables_alone() {
        let mut recorder = Recorder::new(&service());
        let (stable, left) = (arm("b1", 503, 7), arm("c1", 200, 9));
        recorder.second(None, None, Some(&stable)).unwrap();
        let text = recorder.second(None, Some(&left), Some(&stable)).unwrap();
        let rows = rows(&text);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (
                &rows[0]["t"],
                &rows[0]["arm"],
                &rows[0]["bad"],
                &rows[0]["bads"]["found"]
            ),
            (&json!(1), &json!("baseline"), &json!(7), &json!(0))
        );
        assert!(!rows[0]["latency"].as_array().unwrap().is_empty());
    }

    #[test]
    fn a_rollouts_seconds_keep_their_place_in_the_minute_and_time_only_rises() {
        let mut recorder = Recorder::new(&service());
        let (canary, stable) = (arm("c1", 200, 1), arm("b1", 200, 9));
        let judged = |t| Judged {
            t,
            weight: Weight::from_basis_points(1_000),
            alone: false,
            step: Some((0.1, Some(0.5))),
        };
        for _ in 0..70 {
            recorder.second(None, None, Some(&stable)).unwrap();
        }
        let mut seen = Vec::new();
        for (rollout, t) in [("a-1", 4), ("a-1", 5), ("a-1", 9), ("a-2", 0), ("a-2", 61)] {
            let text = recorder
                .second(Some((rollout, judged(t))), Some(&canary), Some(&stable))
                .unwrap();
            let rows = rows(&text);
            assert_eq!(rows.len(), 2);
            assert_eq!(
                (&rows[0]["weight"], &rows[0]["next_weight"]),
                (&json!(0.1), &json!(0.5))
            );
            let at = rows[0]["t"].as_u64().unwrap();
            assert_eq!(at % 60, t % 60);
            seen.push(at);
        }
        assert_eq!(seen, [124, 125, 129, 180, 241]);
    }
}
