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
    seconds: VecDeque<Arc<[Arm]>>,
}

/// What people are told of one arm's second. Every lane keeps these, so they are small.
#[derive(Debug)]
struct Arm {
    arm: ArmId,
    requests: u64,
    errors: u64,
    /// (Bucket of [`latency`], count), by bucket.
    latency: Box<[(u16, u32)]>,
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
    /// Adds a second of each arm; the oldest one falls out.
    pub fn push(&mut self, arms: BTreeMap<ArmId, Counts>) {
        let arms = arms.into_iter().map(|(arm, counts)| Arm {
            arm,
            requests: counts.requests,
            errors: counts.by_status.range(500..).map(|(_, n)| n).sum(),
            latency: counts.latency.into_iter().map(small).collect(),
        });
        self.seconds.push_back(arms.collect());
        while self.seconds.len() > SECONDS {
            self.seconds.pop_front();
        }
    }

    fn arms(&self) -> impl Iterator<Item = &Arm> {
        self.seconds.iter().flat_map(|second| second.iter())
    }

    /// One arm's numbers. None where it had no requests.
    pub fn summary(&self, arm: &ArmId) -> Option<Summary> {
        let (mut requests, mut errors, mut latency) = (0, 0, BTreeMap::new());
        for second in self.arms().filter(|it| it.arm == *arm) {
            requests += second.requests;
            errors += second.errors;
            for (bucket, count) in &second.latency {
                *latency.entry(*bucket).or_default() += u64::from(*count);
            }
        }
        (requests > 0).then(|| Summary {
            requests,
            requests_per_second: requests as f64 / self.seconds.len() as f64,
            error_ratio: errors as f64 / requests as f64,
            p50_ms: quantile_ms(&latency, 0.5),
            p99_ms: quantile_ms(&latency, 0.99),
        })
    }

    /// An arm's share of all requests. None where there were none.
    pub fn share(&self, arm: &ArmId) -> Option<f64> {
        let all: u64 = self.arms().map(|it| it.requests).sum();
        let own = self.arms().filter(|it| it.arm == *arm);
        let own: u64 = own.map(|it| it.requests).sum();
        (all > 0).then(|| own as f64 / all as f64)
    }
}

/// A second's count is far below four thousand million.
fn small((bucket, count): (u16, u64)) -> (u16, u32) {
    (bucket, u32::try_from(count).unwrap_or(u32::MAX))
}

fn quantile_ms(counts: &BTreeMap<u16, u64>, quantile: f64) -> f64 {
    let all: u64 = counts.values().sum();
    let rank = (all as f64 * quantile).ceil() as u64;
    let mut seen = 0;
    for (bucket, count) in counts {
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
