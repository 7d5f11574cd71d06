//! The distribution of latencies over buckets: tails, quantiles, and what it would look like if
//! the release made requests slower.

/// Which requests a slowdown reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// All of them.
    All,
    /// Those above this quantile.
    Above(f64),
}

/// A way in which a release makes requests slower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slowdown {
    /// Which requests.
    pub reach: Reach,
    /// Their latency is multiplied by this.
    pub factor: f64,
    /// The alternative's share of the mixture's capital.
    pub mass: f64,
}

const fn slower(reach: Reach, factor: f64, mass: f64) -> Slowdown {
    Slowdown {
        reach,
        factor,
        mass,
    }
}

/// The alternatives of the histogram test.
pub const SLOWDOWNS: [Slowdown; 9] = [
    slower(Reach::All, 1.15, 0.12),
    slower(Reach::All, 1.5, 0.08),
    slower(Reach::All, 3.0, 0.05),
    slower(Reach::Above(0.90), 1.2, 0.20),
    slower(Reach::Above(0.90), 2.0, 0.08),
    slower(Reach::Above(0.95), 1.25, 0.25),
    slower(Reach::Above(0.95), 1.7, 0.12),
    slower(Reach::Above(0.95), 3.0, 0.05),
    slower(Reach::Above(0.99), 2.0, 0.05),
];

/// Added to every bucket, relative to the whole, so that no count is impossible.
const SMOOTHING: f64 = 2e-6;

/// Counts as shares that add up to 1, every bucket above 0. None where nothing was counted.
pub fn normalised(counts: &[f64]) -> Option<Vec<f64>> {
    let total: f64 = counts.iter().sum();
    if total <= 0.0 || !total.is_finite() {
        return None;
    }
    Some(smoothed(counts.iter().map(|count| count / total)))
}

fn smoothed(shares: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
    let whole = 1.0 + SMOOTHING * shares.len() as f64;
    shares.map(|share| (share + SMOOTHING) / whole).collect()
}

/// The share, or the count, at or above each bucket.
pub fn tails<N: Copy + std::ops::AddAssign>(shape: &[N]) -> Vec<N> {
    let mut tails = shape.to_vec();
    for bucket in (1..tails.len()).rev() {
        let above = tails[bucket];
        tails[bucket - 1] += above;
    }
    tails
}

/// The bucket whose tail is closest to `share`, on a log scale, and hardly above it: coarse buckets
/// must not make nearly every request an exceedance. Never bucket 0, whose tail is 1.
pub fn bucket_at_tail(shape: &[f64], share: f64) -> usize {
    let tails = tails(shape);
    let distance = |tail: f64| (tail / share).ln().abs();
    (1..tails.len())
        .filter(|bucket| tails[*bucket] <= 1.25 * share)
        .min_by(|a, b| distance(tails[*a]).total_cmp(&distance(tails[*b])))
        .unwrap_or(tails.len().saturating_sub(1))
}

/// The `quantile` of a distribution given as counts or shares, in milliseconds, interpolated
/// log-linearly inside its bucket. None where there is nothing.
pub fn quantile<N>(counts: &[N], edges: &[f64], quantile: f64) -> Option<f64>
where
    N: Copy + Into<f64>,
{
    let total: f64 = counts.iter().map(|count| (*count).into()).sum();
    if total <= 0.0 || !total.is_finite() {
        return None;
    }
    let mut left = quantile * total;
    for (bucket, count) in counts.iter().enumerate() {
        let count: f64 = (*count).into();
        if count > 0.0 && left <= count {
            let (low, high) = bounds(edges, bucket)?;
            return Some(low * (high / low).powf(left / count));
        }
        left -= count;
    }
    edges.last().copied()
}

/// A bucket's edges; the open ones at both ends are taken as wide as their neighbour's edge allows.
fn bounds(edges: &[f64], bucket: usize) -> Option<(f64, f64)> {
    let (first, last) = (*edges.first()?, *edges.last()?);
    let low = if bucket == 0 {
        first / 2.0
    } else {
        *edges.get(bucket - 1).unwrap_or(&last)
    };
    let high = edges.get(bucket).copied().unwrap_or(last * 2.0);
    Some((low, high))
}

/// The shape as it would be under a slowdown. `logs` are the logarithms of the `edges`.
pub fn slowed(shape: &[f64], edges: &[f64], logs: &[f64], slowdown: Slowdown) -> Vec<f64> {
    let from = match slowdown.reach {
        Reach::All => f64::NEG_INFINITY,
        Reach::Above(share) => quantile(shape, edges, share).map_or(f64::INFINITY, f64::ln),
    };
    let factor = slowdown.factor.ln();
    let mut moved = vec![0.0; shape.len()];
    for (bucket, share) in shape.iter().enumerate() {
        let Some((low, high)) = log_bounds(logs, bucket) else {
            continue;
        };
        // The part of the bucket that stays, taken log-uniform inside.
        let stays = ((from.clamp(low, high) - low) / (high - low)).clamp(0.0, 1.0);
        moved[bucket] += share * stays;
        if stays < 1.0 {
            let span = (low.max(from) + factor, high + factor);
            spread(&mut moved, logs, span, share * (1.0 - stays));
        }
    }
    smoothed(moved.into_iter())
}

/// [`bounds`] in logarithms.
fn log_bounds(logs: &[f64], bucket: usize) -> Option<(f64, f64)> {
    let (first, last) = (*logs.first()?, *logs.last()?);
    let low = if bucket == 0 {
        first - std::f64::consts::LN_2
    } else {
        *logs.get(bucket - 1).unwrap_or(&last)
    };
    let high = logs.get(bucket).copied();
    Some((low, high.unwrap_or(last + std::f64::consts::LN_2)))
}

/// Spreads `share` evenly over the buckets between `low` and `high`, all in logarithms.
fn spread(moved: &mut [f64], logs: &[f64], (low, high): (f64, f64), share: f64) {
    let density = share / (high - low);
    let mut from = low;
    let start = logs.partition_point(|edge| *edge <= low);
    for (bucket, slot) in moved.iter_mut().enumerate().skip(start) {
        let to = logs.get(bucket).copied().unwrap_or(f64::INFINITY).min(high);
        if to > from {
            *slot += density * (to - from);
            from = to;
        }
        if to >= high {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

    #[test]
    fn a_slowdown_moves_shares_and_loses_none() {
        let shape = normalised(&[1.0, 5.0, 20.0, 10.0, 5.0, 2.0, 0.0]).unwrap();
        for slowdown in SLOWDOWNS {
            let logs = EDGES.map(f64::ln);
            let slowed = slowed(&shape, &EDGES, &logs, slowdown);
            assert!((slowed.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let p999 = |shape: &[f64]| quantile(shape, &EDGES, 0.999).unwrap();
            assert!(p999(&slowed) > p999(&shape), "{slowdown:?}");
        }
    }

    #[test]
    fn quantiles_and_tails_agree() {
        let counts = [0.0, 50.0, 40.0, 9.0, 1.0, 0.0, 0.0];
        let shape = normalised(&counts).unwrap();
        assert_eq!(bucket_at_tail(&shape, 0.5), 2);
        assert_eq!(bucket_at_tail(&shape, 0.1), 3);
        assert_eq!(bucket_at_tail(&shape, 0.01), 4);
        assert!((quantile(&counts, &EDGES, 0.5).unwrap() - 2.0).abs() < 1e-9);
    }
}
