//! Stable's shape and what it would look like if the release made requests slower, ready for use.

use crate::{
    latency::Buckets,
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

/// The shapes the present ticks are judged by and their logarithms: by bucket, then slowdown.
#[derive(Debug, Clone)]
pub(crate) struct Shapes {
    stable: Vec<f64>,
    log_stable: Vec<f64>,
    slowed: Vec<[f64; SLOWDOWNS.len()]>,
    log_slowed: Vec<[f64; SLOWDOWNS.len()]>,
}

impl Shapes {
    /// From stable's counts by bucket, of which one at least is not 0.
    pub(crate) fn new(counts: &[f32], edges: &[f64]) -> Self {
        let counts: Vec<f64> = counts.iter().copied().map(f64::from).collect();
        let stable = shape::normalised(&counts).unwrap_or_default();
        let mut slowed = vec![[0.0; SLOWDOWNS.len()]; stable.len()];
        for (k, slowdown) in SLOWDOWNS.into_iter().enumerate() {
            let shape = shape::slowed(&stable, edges, slowdown);
            for (row, share) in slowed.iter_mut().zip(shape) {
                row[k] = share;
            }
        }
        Self {
            log_stable: stable.iter().map(|share| share.ln()).collect(),
            log_slowed: slowed.iter().map(|row| row.map(f64::ln)).collect(),
            stable,
            slowed,
        }
    }

    /// A tick's log-evidence for each slowdown; `weight` is the canary's share of its requests.
    pub(crate) fn evidence(&self, tick: &Buckets, weight: f64) -> [f64; SLOWDOWNS.len()] {
        let mut sums = [0.0; SLOWDOWNS.len()];
        let shapes = self.slowed.iter().zip(&self.log_slowed);
        let stable = self.stable.iter().zip(&self.log_stable);
        let counts = tick.canary.iter().zip(&tick.baseline);
        for (((slowed, log_slowed), (stable, log_stable)), (c, d)) in shapes.zip(stable).zip(counts)
        {
            if c + d == 0 {
                continue;
            }
            let (c, d) = (*c as f64, *d as f64);
            let unslowed = d * log_stable;
            for (k, sum) in sums.iter_mut().enumerate() {
                let mixed = (weight * slowed[k] + (1.0 - weight) * stable).ln();
                *sum += c * log_slowed[k] + unslowed - (c + d) * mixed;
            }
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
            let shapes = Shapes::new(&learnt, &edges);
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
