//! Live traffic as a recording that `airboss judge` reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use airboss_judge::recording::{self, Arm, Mark, Row};
use airboss_judge::{Calibration, Config};
use airboss_model::manifest::Service;
use airboss_model::traffic::{Counts, Weight};
use serde::Serialize;

use crate::Gauge;
use crate::replay::row;

/// The judge looks at stretches of 1, 10, 30 and 60 s, counted from the start of a rollout. A
/// recording in which a rollout starts at a whole number of these is cut into the same stretches.
pub(crate) const STRETCH: u64 = 60;

/// What the live judge took a second for.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Seconds since the rollout started.
    pub t: u64,
    /// The canary's share that the data plane worked by.
    pub weight: Weight,
    /// True where there was no baseline to compare with.
    pub alone: bool,
    /// The step that the judge was told of last: its share, and the next one.
    pub step: Option<(f64, Option<f64>)>,
    /// Why there were no measurements, where there were none.
    pub silence: Option<String>,
    /// The rollout's manifest, which says what is measured.
    pub service: Arc<Service>,
    /// What it is judged by.
    pub config: Arc<Config>,
    /// What the judge knew of the service when the rollout began.
    pub known: Option<Arc<Calibration>>,
}

/// Writes the seconds of one lane as a recording.
///
/// A rollout's seconds keep their distances, its judge's knowledge and its steps, so that a
/// recording that holds a rollout from its start is judged to the very words of the live judge.
#[derive(Debug, Clone)]
pub struct Recorder {
    gauge: Gauge,
    edges: Vec<f64>,
    last: Option<u64>,
    /// The rollout that is being judged, and what to add to its seconds.
    rollout: Option<(String, u64)>,
}

impl Recorder {
    /// A recorder that measures by the SLOs of a manifest.
    pub fn new(service: &Service) -> Self {
        let gauge = Gauge::whole(service);
        Self {
            edges: gauge.config().latency_edges_ms.clone(),
            gauge,
            last: None,
            rollout: None,
        }
    }

    /// The recording's first line.
    pub fn header(&self) -> String {
        recording::header(&self.edges)
    }

    /// One second as lines, each with its end. `judged` is the rollout that was judged in it;
    /// without one the second is stable's alone and `canary` is ignored.
    ///
    /// # Errors
    /// None today: rows are plain data that JSON can hold.
    pub fn second(
        &mut self,
        judged: Option<(&str, &Judged)>,
        canary: Option<&BTreeMap<String, Counts>>,
        baseline: Option<&BTreeMap<String, Counts>>,
    ) -> serde_json::Result<String> {
        let mut lines = String::new();
        let next = self.last.map_or(0, |last| last + 1);
        let t = match judged {
            Some((rollout, judged)) => self.of_rollout(rollout, judged, next, &mut lines)?,
            None => {
                if self.rollout.take().is_some() {
                    push(&mut lines, &Mark::RolloutEnd { t: next })?;
                }
                next
            }
        };
        self.last = Some(t);
        let judged = judged.map(|(_, judged)| judged);
        if let Some(why) = judged.and_then(|judged| judged.silence.clone()) {
            push(&mut lines, &Mark::Silence { t, why })?;
            return Ok(lines);
        }
        let alone = judged.is_some_and(|judged| judged.alone);
        let weight = judged.map_or(Weight::ZERO, |judged| judged.weight);
        let canary = canary.filter(|_| judged.is_some());
        let tick = self.gauge.tick(t, weight, canary, baseline, alone);
        let step = judged.and_then(|judged| judged.step);
        let arms = [
            (Arm::Canary, Some(tick.canary)),
            (Arm::Baseline, tick.baseline),
        ];
        for (arm, ticks) in arms {
            for instance in ticks.into_iter().flat_map(|arm| arm.instances) {
                let counts = match arm {
                    Arm::Canary => canary,
                    Arm::Baseline => baseline,
                };
                let counts = counts.and_then(|arm| arm.get(&instance.instance));
                let row = Row {
                    routes: counts.map(drawn).unwrap_or_default(),
                    cohorts: counts.map(|it| it.cohorts.clone()).unwrap_or_default(),
                    weight: step.map(|(weight, _)| weight),
                    next_weight: step.and_then(|(_, next)| next),
                    split: judged.and(tick.weight),
                    alone,
                    ..row(&self.gauge.config().slis, t, arm, instance)
                };
                push(&mut lines, &row)?;
            }
        }
        Ok(lines)
    }

    /// The second of a rollout, with a mark before its first one.
    fn of_rollout(
        &mut self,
        rollout: &str,
        judged: &Judged,
        next: u64,
        lines: &mut String,
    ) -> serde_json::Result<u64> {
        if let Some((_, start)) = self.rollout.as_ref().filter(|(of, _)| of == rollout) {
            return Ok(judged.t.saturating_add(*start).max(next));
        }
        let start = next.saturating_sub(judged.t).next_multiple_of(STRETCH);
        self.rollout = Some((rollout.to_owned(), start));
        let t = judged.t.saturating_add(start).max(next);
        // Another manifest may cut latency elsewhere; then the recording stays with its own.
        let gauge = Gauge::whole(&judged.service);
        if gauge.config().latency_edges_ms == self.edges {
            self.gauge = gauge;
        }
        let mark = Mark::Rollout {
            t,
            id: rollout.to_owned(),
            start,
            weights: crate::forecast::weights(&judged.service),
            config: Some(Box::new(Config::clone(&judged.config))),
            measures: crate::measures(&judged.service),
            history: judged.known.as_deref().cloned().map(Box::new),
        };
        push(lines, &mark)?;
        Ok(t)
    }
}

/// Requests by route that came by the weights.
fn drawn(counts: &Counts) -> BTreeMap<String, u64> {
    let drawn = counts.routes.iter().filter(|(_, it)| it.drawn > 0);
    drawn.map(|(route, it)| (route.clone(), it.drawn)).collect()
}

pub(crate) fn push(lines: &mut String, line: &impl Serialize) -> serde_json::Result<()> {
    *lines += &serde_json::to_string(line)?;
    lines.push('\n');
    Ok(())
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
            silence: None,
            service: Arc::new(service()),
            config: Arc::new(Gauge::new(&service()).config().clone()),
            known: None,
        };
        for _ in 0..70 {
            recorder.second(None, None, Some(&stable)).unwrap();
        }
        let mut seen = Vec::new();
        for (rollout, t) in [("a-1", 4), ("a-1", 5), ("a-1", 9), ("a-2", 0), ("a-2", 61)] {
            let text = recorder
                .second(Some((rollout, &judged(t))), Some(&canary), Some(&stable))
                .unwrap();
            let mut rows = rows(&text);
            if t != 5 && t != 9 && t != 61 {
                let mark = rows.remove(0);
                assert_eq!(
                    (&mark["airboss"], &mark["id"]),
                    (&json!("rollout"), &json!(rollout))
                );
                assert_eq!(mark["weights"], json!([0.01, 0.1, 0.5]));
            }
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
        let text = recorder.second(None, None, Some(&stable)).unwrap();
        assert_eq!(
            rows(&text)[0],
            json!({ "airboss": "rollout_end", "t": 242 })
        );
    }
}
