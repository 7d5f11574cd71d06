//! What is measured per arm and instance: requests, outcomes and latency by the splitter, and what instances
//! say of themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::metrics::Reading;

/// A share of traffic in steps of 0.01 %, from 0 to 10,000 basis points.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^\s*\d+(\.\d{0,2})?\s*%\s*$", "examples" = ["1%", "0.05%", "100%"]))]
pub struct Weight(u16);

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(10_000);

    /// From basis points; held at 100 %.
    pub const fn from_basis_points(points: u16) -> Self {
        Self(if points > 10_000 { 10_000 } else { points })
    }
    /// The share in basis points, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }
    /// The share as a ratio, 0.0 to 1.0.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
    /// What is left for the other arm.
    pub const fn rest(self) -> Self {
        Self(10_000 - self.0)
    }
    /// How many of `total` instances carry this share; at least one where the share is not zero.
    pub fn of_instances(self, total: u32) -> u32 {
        (u64::from(total) * u64::from(self.0))
            .div_ceil(10_000)
            .try_into()
            .unwrap_or(total)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        let text = match part {
            0 => format!("{whole}%"),
            p if p % 10 == 0 => format!("{whole}.{}%", p / 10),
            p => format!("{whole}.{p:02}%"),
        };
        f.pad(&text)
    }
}
impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a share of traffic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a share: write it as `10%`, from `0%` to `100%` in steps of 0.01%")]
pub struct InvalidWeight {
    /// The offending text.
    pub text: String,
}

impl FromStr for Weight {
    type Err = InvalidWeight;
    fn from_str(text: &str) -> Result<Self, InvalidWeight> {
        let fail = || InvalidWeight {
            text: text.to_owned(),
        };
        let number = text.trim().strip_suffix('%').ok_or_else(fail)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 2 {
            return Err(fail());
        }
        let whole: u32 = whole.parse().map_err(|_| fail())?;
        let part: u32 = format!("{part:0<2}").parse().map_err(|_| fail())?;
        match whole
            .checked_mul(100)
            .and_then(|points| points.checked_add(part))
        {
            Some(points @ 0..=10_000) => Ok(Self(u16::try_from(points).map_err(|_| fail())?)),
            _ => Err(fail()),
        }
    }
}
impl TryFrom<String> for Weight {
    type Error = InvalidWeight;
    fn try_from(text: String) -> Result<Self, InvalidWeight> {
        text.parse()
    }
}
impl From<Weight> for String {
    fn from(weight: Weight) -> String {
        weight.to_string()
    }
}

/// Buckets of the latency histogram: exact below 32 µs, then 32 buckets for each doubling, so
/// that a value is known within 1/32 (the middle of its bucket within 1.6 %). Bucket counts of
/// any number of instances add up.
pub mod latency {
    /// Number of buckets; the last one also holds everything slower than 19 hours.
    pub const BUCKETS: u16 = 1056;

    /// The bucket of a latency in microseconds.
    pub fn bucket(micros: u64) -> u16 {
        if micros < 32 {
            return micros as u16;
        }
        let doubling = 63 - micros.leading_zeros();
        if doubling > 36 {
            return BUCKETS - 1;
        }
        let within = (micros >> (doubling - 5)) & 31;
        // At most 32 + 31 * 32 + 31 = 1055.
        (32 + (doubling - 5) * 32) as u16 + within as u16
    }

    /// The lowest latency of a bucket, in microseconds.
    pub fn lower_micros(bucket: u16) -> u64 {
        let bucket = bucket.min(BUCKETS);
        if bucket < 32 {
            return u64::from(bucket);
        }
        let (doubling, within) = ((bucket - 32) / 32, (bucket - 32) % 32);
        (32 + u64::from(within)) << doubling
    }

    /// The middle of a bucket, in microseconds.
    pub fn middle_micros(bucket: u16) -> f64 {
        let (low, high) = (lower_micros(bucket), lower_micros(bucket.saturating_add(1)));
        (low as f64 + high.max(low + 1) as f64) / 2.0
    }
}

/// Counts of one interval. Counts of several instances or intervals add up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Requests answered or failed, mirrored ones excluded.
    pub requests: u64,
    /// Requests by the HTTP status the client was sent.
    pub by_status: BTreeMap<u16, u64>,
    /// Of `requests`, those that the instance did not answer (refused, reset, timed out); the
    /// splitter answered 502 or 504, which `by_status` counts.
    pub unanswered: u64,
    /// Requests that the client gave up; they are in no other count.
    pub given_up: u64,
    /// Sparse latency histogram of `requests`: (bucket of [`latency`], count), by bucket.
    pub latency: BTreeMap<u16, u64>,
    /// The same by route: at most [`ROUTES_MAX`], the rest under [`route::OTHER`](crate::route::OTHER).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, RouteCounts>,
    /// Requests by cohort, where the manifest names a header for it: at most [`COHORTS_MAX`],
    /// the rest under [`route::OTHER`](crate::route::OTHER).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cohorts: BTreeMap<String, u64>,
    /// What instances said of themselves, by the text of the [`Series`](crate::metrics::Series).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Reading>,
}

/// Routes that a splitter tells apart at most. Named ones always have a place; of the others the
/// first that were answered with anything but «there is no such thing».
pub const ROUTES_MAX: usize = 150;
/// Routes that a manifest may name, those of its SLOs included.
pub const NAMED_ROUTES_MAX: usize = 50;
/// Cohorts that a splitter tells apart at most.
pub const COHORTS_MAX: usize = 20;

/// Counts of one route.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RouteCounts {
    /// Requests that came by the weights: neither by the force header, nor because the other
    /// version had no ready instance. What the mix of two versions is compared by.
    pub drawn: u64,
    /// All requests by the HTTP status the client was sent.
    pub by_status: BTreeMap<u16, u64>,
    /// Latency of all requests, for named routes only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latency: BTreeMap<u16, u64>,
}

impl RouteCounts {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.by_status
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn numbers(&self) -> impl Iterator<Item = &u64> {
        std::iter::once(&self.drawn)
            .chain(self.by_status.values())
            .chain(self.latency.values())
    }

    /// Adds another interval's or instance's counts.
    pub fn add(&mut self, other: &Self) {
        self.drawn = self.drawn.saturating_add(other.drawn);
        add(&mut self.by_status, &other.by_status);
        add(&mut self.latency, &other.latency);
    }
}

fn add<K: Ord + Clone>(sum: &mut BTreeMap<K, u64>, other: &BTreeMap<K, u64>) {
    for (key, count) in other {
        match sum.get_mut(key) {
            Some(sum) => *sum = sum.saturating_add(*count),
            None => {
                sum.insert(key.clone(), *count);
            }
        }
    }
}

/// No number of one interval may be higher: what claims more is a fault, not a measurement. Sums
/// of possible counts stay far below what a number can hold.
pub const COUNT_MAX: u64 = 1_000_000_000_000;

impl Counts {
    /// Adds another interval's or instance's counts; a sum that cannot be held stays at its most.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.requests, other.requests),
            (&mut self.unanswered, other.unanswered),
            (&mut self.given_up, other.given_up),
        ] {
            *sum = sum.saturating_add(count);
        }
        add(&mut self.by_status, &other.by_status);
        add(&mut self.latency, &other.latency);
        add(&mut self.cohorts, &other.cohorts);
        for (series, reading) in &other.metrics {
            self.metrics.entry(series.clone()).or_default().add(reading);
        }
        for (name, counts) in &other.routes {
            match self.routes.get_mut(name) {
                Some(sum) => sum.add(counts),
                None => {
                    self.routes.insert(name.clone(), counts.clone());
                }
            }
        }
    }
    /// True where no number is above [`COUNT_MAX`].
    pub fn is_possible(&self) -> bool {
        [self.requests, self.unanswered, self.given_up]
            .iter()
            .chain(self.by_status.values())
            .chain(self.latency.values())
            .chain(self.cohorts.values())
            .chain(self.routes.values().flat_map(RouteCounts::numbers))
            .all(|count| *count <= COUNT_MAX)
            && self.metrics.values().all(Reading::is_possible)
    }
    /// True where nothing was counted or read.
    pub fn is_empty(&self) -> bool {
        self.requests == 0 && self.given_up == 0 && self.metrics.is_empty()
    }
    /// Requests slower than `micros`, to the accuracy of a bucket.
    pub fn slower_than(&self, micros: u64) -> u64 {
        self.latency
            .range(latency::bucket(micros) + 1..)
            .map(|(_, count)| count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_latency_lies_in_its_bucket_within_a_32nd(micros in 0_u64..(1 << 36)) {
            let bucket = latency::bucket(micros);
            prop_assert!(bucket < latency::BUCKETS);
            prop_assert!(latency::lower_micros(bucket) <= micros);
            prop_assert!(micros < latency::lower_micros(bucket + 1));
            let width = latency::lower_micros(bucket + 1) - latency::lower_micros(bucket);
            prop_assert!(width == 1 || width * 32 <= latency::lower_micros(bucket));
        }

        #[test]
        fn a_weight_reads_back_as_written(points in 0_u16..=10_000) {
            let weight = Weight::from_basis_points(points);
            prop_assert_eq!(weight.to_string().parse::<Weight>().unwrap(), weight);
        }
    }

    #[test]
    fn a_weight_that_is_no_share_is_refused() {
        for bad in ["", "10", "101%", "-1%", "1.234%", "%", "1.%x", "1e1%"] {
            assert!(bad.parse::<Weight>().is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_that_cannot_be_true_are_told_and_overflow_no_sum() {
        let absurd = Counts {
            requests: u64::MAX,
            by_status: [(200, u64::MAX)].into(),
            latency: [(u16::MAX, u64::MAX)].into(),
            ..Counts::default()
        };
        assert!(!absurd.is_possible());
        let mut sum = absurd.clone();
        sum.add(&absurd);
        assert_eq!(sum, absurd);
        let busy = Counts {
            requests: COUNT_MAX,
            ..Counts::default()
        };
        assert!(busy.is_possible());
    }

    #[test]
    fn any_share_above_zero_needs_an_instance() {
        assert_eq!(Weight::ZERO.of_instances(4), 0);
        assert_eq!("0.01%".parse::<Weight>().unwrap().of_instances(4), 1);
        assert_eq!("51%".parse::<Weight>().unwrap().of_instances(4), 3);
        assert_eq!(Weight::FULL.of_instances(4), 4);
    }
}
