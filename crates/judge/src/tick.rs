//! One second of measurements.

use serde::{Deserialize, Serialize};

use crate::Rate;

/// What both arms did in one second.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tick {
    /// Whole seconds since the rollout started. Must rise; gaps are allowed.
    pub t: u64,
    /// The canary's configured share of requests, 0 to 1. None: unknown, the split is not checked.
    pub weight: Option<f64>,
    /// The new version.
    pub canary: ArmTick,
    /// The stable version in the same second. None: there is no baseline, so only the absolute
    /// guards of SLIs with an objective apply.
    pub baseline: Option<ArmTick>,
}

/// One arm's second, by instance. Sources that do not tell instances apart give one row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ArmTick {
    /// One row per instance that reported. An arm without rows did not report.
    pub instances: Vec<InstanceTick>,
}

impl ArmTick {
    /// All requests of the arm.
    pub fn requests(&self) -> u64 {
        self.instances
            .iter()
            .fold(0, |sum, row| sum.saturating_add(row.requests))
    }
}

/// One instance's second. Counts are increments of this second, not running totals.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct InstanceTick {
    /// The instance's name, stable over its life.
    pub instance: String,
    /// Requests it answered.
    pub requests: u64,
    /// One entry per SLI of the config, in its order; a missing tail reads as [`Sample::Missing`].
    /// Latency SLIs read `latency` instead.
    pub samples: Vec<Sample>,
    /// Latency as (bucket, count); buckets are cut by the config's `latency_edges_ms`.
    pub latency: Vec<(u32, u64)>,
}

/// What one instance measured for one SLI in one second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sample {
    /// Nothing was measured.
    #[default]
    Missing,
    /// This many of the row's requests were bad (for higher-is-better: were good).
    Count(u64),
    /// Where the SLI has a denominator of its own.
    Of(Rate),
    /// Events in this second.
    Events(u64),
    /// A level.
    Gauge(f64),
}

/// No row may claim more requests a second than this; more is refused as absurd.
pub const MAX_REQUESTS_PER_TICK: u64 = 1_000_000_000;

/// An arm's counts for one ratio SLI, summed over instances, with the rows that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summed {
    /// The sum over sound rows. None where no row measured this SLI.
    pub rate: Option<Rate>,
    /// Rows with more bad requests than requests, or with absurd counts.
    pub refused: u64,
}

impl InstanceTick {
    /// This row's ratio for SLI number `index`; `Err` where it cannot be true.
    pub(crate) fn rate(&self, index: usize) -> Result<Option<Rate>, ()> {
        let rate = match self.samples.get(index).copied().unwrap_or_default() {
            Sample::Count(bad) => Rate {
                bad,
                requests: self.requests,
            },
            Sample::Of(rate) => rate,
            Sample::Missing | Sample::Events(_) | Sample::Gauge(_) => return Ok(None),
        };
        if rate.bad > rate.requests || rate.requests > MAX_REQUESTS_PER_TICK {
            return Err(());
        }
        Ok(Some(rate))
    }
}

impl ArmTick {
    /// Sums SLI number `index` over the rows.
    pub(crate) fn sum(&self, index: usize) -> Summed {
        let mut summed = Summed::default();
        for row in &self.instances {
            match row.rate(index) {
                Ok(Some(rate)) => {
                    let so_far = summed.rate.get_or_insert_default();
                    so_far.bad = so_far.bad.saturating_add(rate.bad);
                    so_far.requests = so_far.requests.saturating_add(rate.requests);
                }
                Ok(None) => {}
                Err(()) => summed.refused += 1,
            }
        }
        summed
    }
}

impl InstanceTick {
    /// Adds this row's latency counts; returns how many lie in bucket `cut` or above, None where the row is
    /// refused. What is not refused cannot overflow: it would take eighteen thousand million rows.
    pub(crate) fn add_latency(&self, buckets: &mut [u64], cut: usize) -> Option<Rate> {
        let mut rate = Rate::default();
        for (row, (bucket, count)) in self.latency.iter().enumerate() {
            let bucket = *bucket as usize;
            match buckets.get_mut(bucket) {
                Some(slot) if *count <= MAX_REQUESTS_PER_TICK => *slot += count,
                _ => {
                    // What was added of a row that cannot be true is taken back.
                    for (bucket, count) in &self.latency[..row] {
                        buckets[*bucket as usize] -= count;
                    }
                    return None;
                }
            }
            rate.requests += count;
            rate.bad += if bucket >= cut { *count } else { 0 };
        }
        Some(rate)
    }

    /// Events or completions of SLI number `index`.
    pub(crate) fn events(&self, index: usize) -> Option<u64> {
        match self.samples.get(index) {
            Some(Sample::Events(events) | Sample::Count(events)) => Some(*events),
            _ => None,
        }
    }

    /// The level of SLI number `index`; `Some(None)` where it is no number that can be true.
    pub(crate) fn gauge(&self, index: usize) -> Option<Option<f64>> {
        match self.samples.get(index) {
            Some(Sample::Gauge(value)) => Some(sound(*value)),
            _ => None,
        }
    }
}

/// The increment of a counter that is read as a running total. A total that fell was reset, so
/// everything it shows is new. The first reading tells nothing.
pub fn counter_increment(previous: Option<u64>, now: u64) -> Option<u64> {
    previous.map(|previous| now.checked_sub(previous).unwrap_or(now))
}

/// A time in four bytes, as states keep it: 136 years are enough, and later ones are all alike.
pub(crate) fn clock(t: u64) -> u32 {
    u32::try_from(t).unwrap_or(u32::MAX)
}

/// A number that may stand for a measurement: finite and not negative.
pub fn sound(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_true_leaves_nothing_behind() {
        for wrong in [(3, 1), (0, MAX_REQUESTS_PER_TICK + 1)] {
            let row = InstanceTick {
                latency: vec![(0, 5), (2, 7), wrong, (1, 1)],
                ..InstanceTick::default()
            };
            let mut buckets = [1, 1, 1];
            assert_eq!(row.add_latency(&mut buckets, 1), None);
            assert_eq!(buckets, [1, 1, 1]);
        }
    }

    #[test]
    fn a_counter_that_falls_was_reset_and_its_first_reading_tells_nothing() {
        assert_eq!(counter_increment(None, 7), None);
        assert_eq!(counter_increment(Some(7), 9), Some(2));
        assert_eq!(counter_increment(Some(7), 7), Some(0));
        assert_eq!(counter_increment(Some(7), 3), Some(3));
    }
}
