//! The last ten seconds, for people.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use airboss_model::ArmId;
use airboss_model::traffic::{Counts, latency};

/// How many seconds are kept.
const SECONDS: usize = 10;

/// Counts of the last ten seconds by arm.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// Shared with those who read: a copy of this costs next to nothing.
    seconds: VecDeque<Arc<BTreeMap<ArmId, Counts>>>,
}

/// The last seconds of one arm in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// Requests in all.
    pub requests: u64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// The share of answers with status 500 and above.
    pub error_ratio: f64,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile in milliseconds.
    pub p99_ms: f64,
}

impl Recent {
    /// Adds a second; the oldest one falls out.
    pub fn push(&mut self, arms: BTreeMap<ArmId, Counts>) {
        self.seconds.push_back(Arc::new(arms));
        while self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
    }

    /// One arm's numbers. None where it had no requests.
    pub fn summary(&self, arm: &ArmId) -> Option<Summary> {
        let mut sum = Counts::default();
        for counts in self.seconds.iter().filter_map(|second| second.get(arm)) {
            sum.add(counts);
        }
        (sum.requests > 0).then(|| Summary {
            requests: sum.requests,
            requests_per_second: sum.requests as f64 / self.seconds.len() as f64,
            error_ratio: sum.by_status.range(500..).map(|(_, n)| n).sum::<u64>() as f64
                / sum.requests as f64,
            p50_ms: quantile_ms(&sum, 0.5),
            p99_ms: quantile_ms(&sum, 0.99),
        })
    }

    /// An arm's share of all requests. None where there were none.
    pub fn share(&self, arm: &ArmId) -> Option<f64> {
        let mut all = 0;
        let mut own = 0;
        for (name, counts) in self.seconds.iter().flat_map(|second| second.iter()) {
            all += counts.requests;
            if name == arm {
                own += counts.requests;
            }
        }
        (all > 0).then(|| own as f64 / all as f64)
    }
}

fn quantile_ms(counts: &Counts, quantile: f64) -> f64 {
    let all: u64 = counts.latency.values().sum();
    let rank = (all as f64 * quantile).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in &counts.latency {
        seen += count;
        if seen >= rank {
            return latency::middle_micros(*bucket) / 1_000.0;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_ten_seconds_is_forgotten() {
        let arm: ArmId = "a-1".parse().unwrap();
        let mut recent = Recent::default();
        let second = |requests| {
            let latency = [(latency::bucket(1_000), requests)].into();
            [(
                arm.clone(),
                Counts {
                    requests,
                    latency,
                    ..Counts::default()
                },
            )]
            .into()
        };
        recent.push(second(1_000_000));
        for _ in 0..10 {
            recent.push(second(50));
        }
        let summary = recent.summary(&arm).unwrap();
        assert_eq!(summary.requests_per_second, 50.0);
        assert!((summary.p50_ms - 1.0).abs() < 0.04);
        assert_eq!(recent.share(&arm), Some(1.0));
        assert_eq!(recent.summary(&"b-1".parse().unwrap()), None);
    }
}
