//! What the service's users usually do and meet: assumed from its promises, or as recorded.

use std::collections::BTreeMap;

use airboss_judge::recording::{Arm, History, RecordingError};
use airboss_model::manifest::{Service, Slo};
use airboss_model::status_set::StatusSet;
use serde::Deserialize;

use crate::traffic::Answers;

/// One second of the usual traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Requests in it.
    pub requests: f64,
    /// How they are answered.
    pub statuses: Vec<(u16, f64)>,
}

/// The usual traffic of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Usual {
    /// Requests a second, on average.
    pub rate: f64,
    /// How stable answers, on average.
    pub answers: Answers,
    /// Second by second, where it was recorded; it begins anew at its end.
    pub pace: Vec<Pace>,
    /// How the new version of the recording answered, where it holds one.
    pub canary: Option<Answers>,
}

/// Why a recording cannot be rehearsed with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecordedError {
    /// It is no recording.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Nothing is in it.
    #[error(
        "the recording holds no request of the stable version; `airboss record SERVICE` makes one while users are there"
    )]
    Silent,
}

/// How steep the assumed latencies are: 1 of 100 is about 3.2 times as slow as the median.
const STEEPNESS: f64 = 4.0;

impl Usual {
    /// A service that uses half of what each of its promises allows: the same assumption as
    /// `airboss check --rate` makes.
    pub fn assumed(service: &Service, rate: f64) -> Self {
        let slos = &service.spec.slos;
        let statuses = statuses(service)
            .into_iter()
            .map(|it| {
                let slo = slos.iter().find(|slo| slo.name == it.name);
                let share = match slo.map(Slo::assumed_bad) {
                    Some(bad) if it.good => 1.0 - bad,
                    Some(bad) => bad,
                    None => 0.005,
                };
                (it.status, share)
            })
            .collect();
        let promises: Vec<(f64, f64)> = slos
            .iter()
            .filter_map(|slo| {
                let under = slo.under?.0.as_secs_f64() * 1e6;
                Some((under, slo.objective.budget() / 2.0))
            })
            .collect();
        Self {
            rate,
            answers: Answers {
                statuses,
                latency: latencies(&promises),
            },
            pace: Vec::new(),
            canary: None,
        }
    }

    /// As it was recorded: each second's requests and errors of the stable version, its latencies
    /// over the whole recording, and how the new version answered where there was one.
    ///
    /// # Errors
    /// What is wrong with the recording, and in which line.
    pub fn recorded<'a>(
        service: &Service,
        lines: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Self, RecordedError> {
        History::read(lines.clone())?;
        let names = statuses(service);
        let mut edges: Vec<f64> = Vec::new();
        let (mut stable, mut canary) = (Sums::default(), Sums::default());
        let mut seconds: BTreeMap<u64, Sums> = BTreeMap::new();
        for line in lines {
            let line = line.trim_start_matches('\u{feff}').trim();
            if let Ok(row) = serde_json::from_str::<Row>(line) {
                let sums = match row.arm {
                    Arm::Canary => &mut canary,
                    Arm::Baseline => {
                        seconds.entry(row.t).or_default().add(&row, &names);
                        &mut stable
                    }
                };
                sums.add(&row, &names);
            } else if let Ok(header) = serde_json::from_str::<Header>(line) {
                edges = header.latency_edges_ms;
            }
        }
        if stable.requests == 0 {
            return Err(RecordedError::Silent);
        }
        // With a new version beside it, stable had only a part of the users.
        let whole = 1.0 + canary.requests as f64 / stable.requests as f64;
        let pace: Vec<Pace> = seconds
            .values()
            .map(|sums| Pace {
                requests: sums.requests as f64 * whole,
                statuses: sums.statuses(),
            })
            .collect();
        Ok(Self {
            rate: pace.iter().map(|second| second.requests).sum::<f64>() / pace.len().max(1) as f64,
            answers: stable.answers(&edges),
            canary: (canary.requests > 0).then(|| canary.answers(&edges)),
            pace,
        })
    }
}

/// What of a recording's header matters here.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    latency_edges_ms: Vec<f64>,
}

/// What of a recording's row matters here.
#[derive(Deserialize)]
struct Row {
    t: u64,
    arm: Arm,
    requests: u64,
    bad: u64,
    #[serde(default)]
    bads: BTreeMap<String, u64>,
    #[serde(default)]
    latency: Vec<(u32, u64)>,
}

#[derive(Default)]
struct Sums {
    requests: u64,
    /// By status.
    answers: BTreeMap<u16, u64>,
    latency: BTreeMap<u32, u64>,
}

impl Sums {
    /// The first SLO's bad requests are `bad`, the others' stand by name.
    fn add(&mut self, row: &Row, names: &[Told]) {
        self.requests += row.requests;
        for (place, it) in names.iter().enumerate() {
            let bad = if place == 0 {
                Some(row.bad)
            } else {
                row.bads.get(&it.name).copied()
            };
            let answers = match bad {
                Some(bad) if it.good => row.requests.saturating_sub(bad),
                bad => bad.unwrap_or(0),
            };
            *self.answers.entry(it.status).or_default() += answers;
        }
        for (bucket, count) in &row.latency {
            *self.latency.entry(*bucket).or_default() += count;
        }
    }

    fn statuses(&self) -> Vec<(u16, f64)> {
        let share = |count: u64| count as f64 / self.requests.max(1) as f64;
        self.answers
            .iter()
            .map(|(status, count)| (*status, share(*count)))
            .collect()
    }

    fn answers(&self, edges: &[f64]) -> Answers {
        let all: u64 = self.latency.values().sum();
        Answers {
            statuses: self.statuses(),
            latency: self
                .latency
                .iter()
                .map(|(bucket, count)| {
                    (
                        middle(edges, *bucket as usize),
                        *count as f64 / all.max(1) as f64,
                    )
                })
                .collect(),
        }
    }
}

/// The middle of a recording's bucket, in microseconds.
fn middle(edges: &[f64], bucket: usize) -> u64 {
    let edge = |at: usize| edges.get(at).copied();
    let ms = match (bucket.checked_sub(1).and_then(edge), edge(bucket)) {
        (Some(low), Some(high)) => f64::midpoint(low, high),
        (None, Some(high)) => high / 2.0,
        (Some(low), None) => low * 1.2,
        (None, None) => 0.0,
    };
    (ms * 1_000.0) as u64
}

/// A status that stands for an SLO's bad answers, or for its good ones.
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) status: u16,
    pub(crate) good: bool,
}

/// Each SLO that reads the status, with a status that it calls bad (one with `good`: good), in their
/// order; one that no other SLO means where there is such a one.
pub(crate) fn statuses(service: &Service) -> Vec<Told> {
    let slos = service.spec.slos.iter();
    let sets: Vec<(String, StatusSet, bool)> = slos
        .filter_map(|slo| {
            let set = slo.good.clone().or_else(|| slo.bad_statuses())?;
            Some((slo.name.clone(), set, slo.good.is_some()))
        })
        .collect();
    if service.spec.slos.is_empty() {
        return vec![Told {
            name: "server errors".to_owned(),
            status: 500,
            good: false,
        }];
    }
    sets.iter()
        .filter_map(|(name, set, good)| {
            let alone = |status: &u16| {
                !sets
                    .iter()
                    .any(|(other, it, _)| other != name && it.contains(*status))
            };
            // Server errors first: that is what goes wrong as a rule.
            let first = if *good { 200..300 } else { 500..600 };
            let meant = || {
                first
                    .clone()
                    .chain(100..600)
                    .filter(|status| set.contains(*status))
            };
            Some(Told {
                name: name.clone(),
                status: meant().find(alone).or_else(|| meant().next())?,
                good: *good,
            })
        })
        .collect()
}

/// Latencies that miss each promise (microseconds, share of requests) as often as it says: a
/// log-logistic distribution around the lowest median that this asks for, in slices.
fn latencies(promises: &[(f64, f64)]) -> Vec<(u64, f64)> {
    let odds = |slow: f64| (slow / (1.0 - slow)).powf(1.0 / STEEPNESS);
    let Some(median) = promises
        .iter()
        .map(|(under, slow)| under * odds(*slow))
        .reduce(f64::min)
    else {
        return Vec::new();
    };
    // Shares of requests that are slower, at the slices' edges: the promises' own among them.
    let mut slower: Vec<f64> = (0..38)
        .map(|slice| 1.0 - f64::from(slice) * 0.025)
        .collect();
    slower.extend((0..22).map(|slice| 0.05 * 0.7_f64.powi(slice)));
    slower.extend(
        promises
            .iter()
            .map(|(under, _)| 1.0 / (1.0 + (under / median).powf(STEEPNESS))),
    );
    slower.push(0.0);
    slower.sort_by(|a, b| b.total_cmp(a));
    slower
        .windows(2)
        .map(|pair| {
            let middle = f64::midpoint(pair[0], pair[1]);
            ((median / odds(middle)) as u64, pair[0] - pair[1])
        })
        .filter(|(_, share)| *share > 0.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "shop" },
            "spec": { "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1" } },
                "slos": [{ "name": "availability", "objective": "99.9%", "bad": "status >= 500" },
                    { "name": "found", "objective": "99%", "bad": "status == 404" },
                    { "name": "latency", "objective": "99%", "under": "250ms" }] }
        }))
        .unwrap()
    }

    #[test]
    fn a_service_is_taken_to_use_half_of_what_it_promised() {
        let usual = Usual::assumed(&service(), 50.0);
        assert_eq!(usual.answers.statuses.len(), 2);
        assert!((usual.answers.statuses[0].1 - 0.0005).abs() < 1e-9);
        assert_eq!(usual.answers.statuses[1].0, 404);
        let slow: f64 = usual
            .answers
            .latency
            .iter()
            .filter(|(micros, _)| *micros > 250_000)
            .map(|(_, share)| share)
            .sum();
        assert!((slow - 0.005).abs() < 1e-6, "{slow}");
        let all: f64 = usual.answers.latency.iter().map(|(_, share)| share).sum();
        assert!((all - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_recording_is_met_again_second_by_second() {
        let text = "{\"airboss\":\"recording/v1\",\"latency_edges_ms\":[100,200]}\n\
            {\"t\":0,\"arm\":\"baseline\",\"instance\":\"b\",\"requests\":90,\"bad\":9,\"bads\":{\"found\":1},\"latency\":[[0,80],[2,10]]}\n\
            {\"t\":0,\"arm\":\"canary\",\"instance\":\"c\",\"requests\":10,\"bad\":5}\n\
            {\"t\":1,\"arm\":\"baseline\",\"instance\":\"b\",\"requests\":10,\"bad\":0}\n";
        let usual = Usual::recorded(&service(), text.lines()).unwrap();
        assert_eq!(usual.pace.len(), 2);
        assert!((usual.pace[0].requests - 99.0).abs() < 1e-9);
        assert_eq!(usual.pace[0].statuses[1], (500, 0.1));
        assert_eq!(usual.canary.unwrap().statuses[1], (500, 0.5));
        assert_eq!(usual.answers.latency[1].0, 240_000);
    }

    #[test]
    fn a_file_that_is_no_recording_is_told_with_its_line() {
        let told = |text: &str| {
            Usual::recorded(&service(), text.lines())
                .unwrap_err()
                .to_string()
        };
        assert!(told("hello").contains("line 1"));
        assert!(told("").contains("empty"));
        assert!(
            told("{\"airboss\":\"recording/v1\",\"latency_edges_ms\":[]}").contains("no request")
        );
    }
}
