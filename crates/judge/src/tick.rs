//! One second of measurements.

use serde::{Deserialize, Serialize};

use crate::{Rate, judge::add};

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
    /// refused.
    pub(crate) fn add_latency(&self, buckets: &mut [u64], cut: usize) -> Option<Rate> {
        let is_sound = self.latency.iter().all(|(bucket, count)| {
            (*bucket as usize) < buckets.len() && *count <= MAX_REQUESTS_PER_TICK
        });
        is_sound.then(|| {
            let mut rate = Rate::default();
            for (bucket, count) in &self.latency {
                let slot = &mut buckets[*bucket as usize];
                *slot = slot.saturating_add(*count);
                let bad = if *bucket as usize >= cut { *count } else { 0 };
                add(
                    &mut rate,
                    Rate {
                        bad,
                        requests: *count,
                    },
                );
            }
            rate
        })
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

/// A number that may stand for a measurement: finite and not negative.
pub fn sound(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}
