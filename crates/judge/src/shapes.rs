//! Stable's shape and what it would look like if the release made requests slower, ready for use.

use crate::{
    latency::Buckets,
    powers::LogProduct,
    shape::{self, SLOWDOWNS},
};

/// What follows from the rest of the state and is only kept to save time: it is no part of a snapshot,
/// and two states with the same rest are equal.
#[derive(Debug, Clone)]
pub(crate) struct Derived<T>(Option<Box<T>>);

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> PartialEq for Derived<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Derived<T> {
    /// The value, worked out now if it is not there.
    pub(crate) fn get_or_derive(&mut self, derive: impl FnOnce() -> T) -> &T {
        self.0.get_or_insert_with(|| Box::new(derive()))
    }
}

/// How many times as many requests a slowdown would put into each bucket: by bucket, then slowdown.
#[derive(Debug, Clone)]
pub(crate) struct Shapes {
    /// Less 1.
    lifts: Vec<[f64; SLOWDOWNS.len()]>,
    log_lifts: Vec<[f64; SLOWDOWNS.len()]>,
}

impl Shapes {
    /// From stable's counts by bucket, of which one at least is not 0.
    pub(crate) fn new(counts: impl Iterator<Item = f32>, edges: &[f64]) -> Self {
        let counts: Vec<f64> = counts.map(f64::from).collect();
        let stable = shape::normalised(&counts).unwrap_or_default();
        let logs: Vec<f64> = edges.iter().map(|edge| edge.ln()).collect();
        let mut times = vec![[1.0; SLOWDOWNS.len()]; stable.len()];
        for (k, slowdown) in SLOWDOWNS.into_iter().enumerate() {
            let slowed = shape::slowed(&stable, edges, &logs, slowdown);
            for ((row, slowed), stable) in times.iter_mut().zip(slowed).zip(&stable) {
                row[k] = slowed / stable;
            }
        }
        Self {
            lifts: times
                .iter()
                .map(|row| row.map(|times| times - 1.0))
                .collect(),
            log_lifts: times.iter().map(|row| row.map(f64::ln)).collect(),
        }
    }

    /// A tick's log-evidence for each slowdown; `weight` is the canary's share of its requests.
    ///
    /// With `l` the lift, each request of the canary counts `(1 + l) / (1 + w l)` and each of stable's
    /// `1 / (1 + w l)`. The divisors are multiplied before the logarithm is taken.
    pub(crate) fn evidence(&self, tick: &Buckets, weight: f64) -> [f64; SLOWDOWNS.len()] {
        let mut sums = [0.0; SLOWDOWNS.len()];
        let mut divisors = LogProduct::new();
        let counts = tick.canary.iter().zip(&tick.baseline);
        for ((lifts, log_lifts), (c, d)) in self.lifts.iter().zip(&self.log_lifts).zip(counts) {
            if c + d == 0 {
                continue;
            }
            for (sum, log_lift) in sums.iter_mut().zip(log_lifts) {
                *sum += *c as f64 * log_lift;
            }
            divisors.multiply(lifts.map(|lift| 1.0 + weight * lift), c + d);
        }
        for (sum, divisor) in sums.iter_mut().zip(divisors.logs()) {
            *sum -= divisor;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_distribution_that_both_versions_share_expects_an_e_value_above_one(
            learnt in prop::collection::vec(0.0f32..1000.0, 6),
            truth in prop::collection::vec(0.0f64..1.0, 6),
            requests in (1u64..5000, 1u64..50_000),
        ) {
            let edges = [1.0, 3.0, 10.0, 30.0, 100.0];
            prop_assume!(learnt.iter().sum::<f32>() > 0.0 && truth.iter().sum::<f64>() > 0.0);
            let shapes = Shapes::new(learnt.iter().copied(), &edges);
            let (n_c, n_b) = (requests.0 as f64, requests.1 as f64);
            let (weight, whole) = (n_c / (n_c + n_b), truth.iter().sum::<f64>());
            // One request of one arm, all its counts in one bucket: e by bucket and slowdown.
            let e = |arm: usize, bucket: usize| {
                let mut one = Buckets { canary: vec![0; 6], baseline: vec![0; 6] };
                [&mut one.canary, &mut one.baseline][arm][bucket] = 1;
                shapes.evidence(&one, weight).map(f64::exp)
            };
            for k in 0..SLOWDOWNS.len() {
                let mean = |arm| {
                    let of = |bucket: usize| truth[bucket] / whole * e(arm, bucket)[k];
                    (0..6).map(of).sum::<f64>()
                };
                let log = n_c * mean(0).ln() + n_b * mean(1).ln();
                prop_assert!(log <= 1e-9 + 1e-14 * (n_c + n_b), "ln E = {log}");
            }
        }
    }
}
