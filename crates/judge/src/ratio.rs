//! The e-value of one tick for two ratios with a margin between them.
//!
//! The null says `p_c <= rho * p_b + delta` (or `>=` for the reversed test), with `p_b` free to
//! drift. For an alternative `(a_c, a_b)` chosen before the tick, the likelihood ratio against the
//! point of the null's edge that is closest to it in Kullback-Leibler divergence has expectation at
//! most 1 under every point of the null: the expected log-score is concave along the edge and the
//! projection is its maximum, and off the edge the expectation only falls
//! (Turner, Ly and Grünwald 2024; Turner and Grünwald 2022 for nulls with a margin).

use crate::{
    Rate,
    config::Margin,
    powers::{LogProduct, MOST_EXPONENT},
};

const TINY: f64 = 1e-15;
/// Iterations are cheap and convergence is quadratic; the bound is for extreme inputs only.
const MAX_STEPS: usize = 60;
/// What does not converge within these is left to the safeguarded search.
const MAX_NEAR_STEPS: usize = 6;
/// Closer to 1 the cubic's coefficients cancel each other, and the safeguarded search is asked as well.
const MOST_NEAR: f64 = 0.9;
/// Behind a step of this part of `p` the error is far below nine digits.
const ARRIVED: f64 = 1e-7;

/// Kullback-Leibler divergence of Bernoulli(a) from Bernoulli(b), in nats.
pub fn kl(a: f64, b: f64) -> f64 {
    let bad = if a > 0.0 { a * (a / b).ln() } else { 0.0 };
    let good = if a < 1.0 {
        (1.0 - a) * ((1.0 - a) / (1.0 - b)).ln()
    } else {
        0.0
    };
    (bad + good).max(0.0)
}

/// The point `(q, p)` of the edge `q = rho * p + delta` closest to the alternative `(a_c, a_b)`,
/// for `n_c` and `n_b` requests: `argmin n_c KL(a_c | q) + n_b KL(a_b | p)`.
///
/// None where no such point lies strictly inside the unit square, so that the null cannot be
/// tested against this alternative.
pub fn project(n_c: f64, n_b: f64, a_c: f64, a_b: f64, edge: Margin) -> Option<(f64, f64)> {
    let Margin { rho, delta } = edge;
    // The admissible p: both p and q strictly inside (0, 1).
    let floor = (-delta / rho).max(0.0);
    let ceiling = ((1.0 - delta) / rho).min(1.0);
    if floor >= ceiling || !(0.0..=1.0).contains(&a_c) || !(0.0..=1.0).contains(&a_b) {
        return None;
    }
    // The unconstrained optima of the two terms; the minimum of the sum lies between them.
    let canary_wants = (a_c - delta) / rho;
    let span = (ceiling - floor) * 1e-12;
    let mut low = canary_wants
        .min(a_b)
        .max(floor + span.min(TINY.max(floor * TINY)));
    let mut high = canary_wants.max(a_b).min(ceiling - span);
    if low >= high {
        let p = low.clamp(floor + span, ceiling - span);
        return Some((edge.edge(p), p));
    }
    let mut p = start(n_c, n_b, a_c, a_b, edge).clamp(low, high);
    for _ in 0..MAX_STEPS {
        let q = rho * p + delta;
        let pull_c = n_c * rho * (q - a_c) / (q * (1.0 - q));
        let pull_b = n_b * (p - a_b) / (p * (1.0 - p));
        let slope = pull_c + pull_b;
        if slope > 0.0 {
            high = p;
        } else {
            low = p;
        }
        let curve = n_c * rho * rho * (a_c / (q * q) + (1.0 - a_c) / ((1.0 - q) * (1.0 - q)))
            + n_b * (a_b / (p * p) + (1.0 - a_b) / ((1.0 - p) * (1.0 - p)));
        let newton = p - slope / curve;
        // Newton's next error is about the square of this step's. At the end rounding may put the
        // step just outside the bracket, so this is asked first. Close to a pole every step is short.
        if (newton - p).abs() <= 1e-9 * (p - floor).min(ceiling - p) {
            p = newton.clamp(low, high);
            break;
        }
        p = if newton > low && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
        if high - low <= 4e-16 * p {
            break;
        }
    }
    Some((edge.edge(p), p))
}

/// Where Newton starts: the projection with the `1 - p` terms taken as 1, exact for small ratios.
fn start(n_c: f64, n_b: f64, a_c: f64, a_b: f64, edge: Margin) -> f64 {
    let Margin { rho, delta } = edge;
    let a = n_c * rho + n_b;
    let b = a * delta - rho * (n_c * a_c + n_b * a_b);
    let c = -n_b * a_b * delta;
    let root = (b * b - 4.0 * a * rho * c).max(0.0).sqrt();
    (root - b) / (2.0 * a * rho)
}

/// ln(1 + x), which keeps its digits where x is small: what rounding took from 1 + x is given back.
fn ln_1p(x: f64) -> f64 {
    let sum = 1.0 + x;
    sum.ln() + (x - (sum - 1.0)) / sum
}

/// Log-likelihood ratio of one arm: `bad` of `requests` under `a` against under `b`.
pub fn log_ratio(rate: Rate, a: f64, b: f64) -> f64 {
    let mut sum = 0.0;
    if rate.bad > 0 {
        sum += rate.bad as f64 * (a / b).ln();
    }
    if rate.bad < rate.requests {
        sum += (rate.requests - rate.bad) as f64 * ln_1p((b - a) / (1.0 - b));
    }
    sum
}

/// Natural logarithm of the tick's e-value for the alternative `(a_c, a_b)` against the edge.
///
/// 0, which is no evidence, where an arm has no requests or the null cannot be tested.
pub fn log_e(canary: Rate, baseline: Rate, a_c: f64, a_b: f64, edge: Margin) -> f64 {
    if canary.requests == 0 || baseline.requests == 0 {
        return 0.0;
    }
    let (n_c, n_b) = (canary.requests as f64, baseline.requests as f64);
    match project(n_c, n_b, a_c, a_b, edge) {
        Some((q, p)) => log_ratio(canary, a_c, q) + log_ratio(baseline, a_b, p),
        None => 0.0,
    }
}

/// [`log_e`] for several alternatives of the canary at once, each with an edge of its own, to the same digits:
/// projections are found side by side, and likelihoods are multiplied before the logarithm is taken.
pub fn log_es<const K: usize>(
    canary: Rate,
    baseline: Rate,
    a_c: [f64; K],
    a_b: f64,
    edges: [Margin; K],
) -> [f64; K] {
    if canary.requests == 0 || baseline.requests == 0 {
        return [0.0; K];
    }
    let (n_c, n_b) = (canary.requests as f64, baseline.requests as f64);
    let near = Near::new(n_c, n_b, &a_c, a_b, &edges);
    let multiplied = near.log_likelihoods(canary, baseline, &a_c, a_b);
    let few = canary.requests.max(baseline.requests) <= MOST_EXPONENT;
    std::array::from_fn(|k| {
        if near.settled[k] && few {
            return multiplied[k];
        }
        let near = near.settled[k].then_some((near.q[k], near.p[k]));
        let found = near.or_else(|| project(n_c, n_b, a_c[k], a_b, edges[k]));
        found.map_or(0.0, |(q, p)| {
            log_ratio(canary, a_c[k], q) + log_ratio(baseline, a_b, p)
        })
    })
}

/// [`project`] for several alternatives, settled where a few steps of Newton lead between the two arms' own
/// optima.
struct Near<const K: usize> {
    q: [f64; K],
    p: [f64; K],
    settled: [bool; K],
}

// Loops over arrays of one length, without a way out, are what compilers make vectors of.
#[allow(clippy::needless_range_loop, reason = "see above")]
impl<const K: usize> Near<K> {
    fn new(n_c: f64, n_b: f64, a_c: &[f64; K], a_b: f64, edges: &[Margin; K]) -> Self {
        let (rho, delta) = (edges.map(|edge| edge.rho), edges.map(|edge| edge.delta));
        let mut p = [0.0; K];
        for k in 0..K {
            // As in `start`; where there is no root, NaN settles nothing.
            let pull = n_c * rho[k];
            let a = pull + n_b;
            let b = a * delta[k] - pull * a_c[k] - rho[k] * n_b * a_b;
            let rest = 4.0 * a * rho[k] * n_b * a_b * delta[k];
            p[k] = ((b * b + rest).sqrt() - b) / (2.0 * a * rho[k]);
        }
        // The slope of what is minimised times p (1 - p) q (1 - q): a cubic in p, whose coefficients these
        // are. The `room` is that of q (1 - q).
        let (mut c0, mut c1, mut c2, mut c3) = ([0.0; K], [0.0; K], [0.0; K], [0.0; K]);
        for k in 0..K {
            let pull = n_c * rho[k];
            let room = [
                delta[k] * (1.0 - delta[k]),
                rho[k] * (1.0 - 2.0 * delta[k]),
                -rho[k] * rho[k],
            ];
            c0[k] = -n_b * a_b * room[0];
            c1[k] = n_b * (room[0] - a_b * room[1]) - pull * (a_c[k] - delta[k]);
            c2[k] = n_b * (room[1] - a_b * room[2]) + pull * (a_c[k] - delta[k] + rho[k]);
            c3[k] = n_b * room[2] - pull * rho[k];
        }
        let mut step = [f64::INFINITY; K];
        for _ in 0..MAX_NEAR_STEPS {
            for k in 0..K {
                let value = ((c3[k] * p[k] + c2[k]) * p[k] + c1[k]) * p[k] + c0[k];
                let slope = (3.0 * c3[k] * p[k] + 2.0 * c2[k]) * p[k] + c1[k];
                step[k] = value / slope;
                p[k] -= step[k];
            }
            if has_arrived(&step, &p) {
                break;
            }
        }
        let (mut q, mut settled) = ([0.0; K], [false; K]);
        for k in 0..K {
            q[k] = rho[k] * p[k] + delta[k];
            settled[k] = (step[k].abs() <= ARRIVED * p[k])
                & ((q[k] > a_c[k]) | (p[k] > a_b))
                & ((q[k] < a_c[k]) | (p[k] < a_b))
                & (p[k] > 0.0 && p[k] < MOST_NEAR && q[k] > 0.0 && q[k] < MOST_NEAR);
        }
        Self { q, p, settled }
    }

    /// Of both arms' counts; means nothing where a projection is not settled.
    fn log_likelihoods(&self, canary: Rate, baseline: Rate, a_c: &[f64; K], a_b: f64) -> [f64; K] {
        let mut e = LogProduct::new();
        for (rate, a, edge) in [(canary, a_c, &self.q), (baseline, &[a_b; K], &self.p)] {
            let (mut bad, mut good) = ([0.0; K], [0.0; K]);
            for k in 0..K {
                bad[k] = a[k] / edge[k];
                good[k] = (1.0 - a[k]) / (1.0 - edge[k]);
            }
            e.multiply(bad, rate.bad);
            e.multiply(good, rate.requests - rate.bad);
        }
        e.logs()
    }
}

/// Newton's next error is about the square of this step's.
fn has_arrived(step: &[f64], p: &[f64]) -> bool {
    let all = step.iter().zip(p);
    all.fold(true, |all, (step, p)| all & (step.abs() <= ARRIVED * p))
}

/// Expected log-evidence of one second with `n_c` and `n_b` requests when `(a_c, a_b)` is true:
/// the information per second that Wald's bound divides by.
pub fn information(n_c: f64, n_b: f64, a_c: f64, a_b: f64, edge: Margin) -> f64 {
    match project(n_c, n_b, a_c, a_b, edge) {
        Some((q, p)) => n_c * kl(a_c, q) + n_b * kl(a_b, p),
        None => 0.0,
    }
}

/// Moves a ratio by a factor on its odds.
pub fn scale_odds(p: f64, factor: f64) -> f64 {
    let odds = p / (1.0 - p) * factor;
    odds / (1.0 + odds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// E over Bin(n_c, q) x Bin(n_b, p), which factors request by request.
    fn log_expectation(n: (f64, f64), truth: (f64, f64), a: (f64, f64), edge: (f64, f64)) -> f64 {
        let one =
            |n: f64, p: f64, a: f64, e: f64| n * ((p - e) * (a - e) / (e * (1.0 - e))).ln_1p();
        one(n.0, truth.0, a.0, edge.0) + one(n.1, truth.1, a.1, edge.1)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn no_point_of_the_null_expects_an_e_value_above_one(
            n_c in 1u32..5000, n_b in 1u32..50_000,
            a_b in 1e-6f64..0.6, lift in 1.01f64..200.0,
            rho in 0.7f64..1.6, delta in prop_oneof![Just(0.0), 1e-5f64..0.02],
            p in 0.0f64..1.0, inside in 0.0f64..1.0,
        ) {
            let margin = Margin { rho, delta };
            prop_assume!(margin.edge(a_b) < 0.99);
            let a_c = scale_odds(margin.edge(a_b), lift);
            let (n_c, n_b) = (f64::from(n_c), f64::from(n_b));
            let (q_star, p_star) = project(n_c, n_b, a_c, a_b, margin).unwrap();
            // Points close to the projection matter most, so p is drawn around it too.
            for p in [p, p_star * (0.5 + p), a_b * (0.5 + p)] {
                for share in [1.0, inside] {
                    let q = margin.edge(p) * share;
                    if q < 1.0 && p < 1.0 {
                        let log = log_expectation((n_c, n_b), (q, p), (a_c, a_b), (q_star, p_star));
                        prop_assert!(log <= 1e-9, "ln E = {log} at {q} against {p}");
                    }
                }
            }
        }

        #[test]
        fn several_alternatives_at_once_give_what_each_gives_by_itself(
            n_c in 1u64..5000, n_b in 1u64..50_000, bad in (0.0f64..1.0, 0.0f64..1.0),
            a_b in 1e-6f64..0.9, lifts in [0.01f64..200.0, 1.01f64..200.0, 1.01f64..2.0],
            (rho, delta) in (0.7f64..1.6, -0.01f64..0.05),
        ) {
            let margin = Margin { rho, delta };
            let edge = margin.edge(a_b);
            prop_assume!(edge > 1e-6 && edge < 0.99);
            let a_c = lifts.map(|lift| scale_odds(edge, lift));
            let canary = Rate { bad: (n_c as f64 * bad.0) as u64, requests: n_c };
            let baseline = Rate { bad: (n_b as f64 * bad.1) as u64, requests: n_b };
            let at_once = log_es(canary, baseline, a_c, a_b, [margin; 3]);
            for (a_c, at_once) in a_c.into_iter().zip(at_once) {
                let by_itself = log_e(canary, baseline, a_c, a_b, margin);
                let room = 1e-9 * by_itself.abs().max(1.0) + 1e-12 * (n_c + n_b) as f64;
                prop_assert!((at_once - by_itself).abs() <= room, "{at_once} and {by_itself}");
            }
        }

        #[test]
        fn no_point_of_the_reversed_null_expects_an_e_value_above_one(
            n_c in 1u32..5000, n_b in 1u32..50_000, a_b in 1e-6f64..0.6,
            share in 0.01f64..1.0, rho in 0.7f64..1.6, delta in -0.01f64..0.05,
            p in 0.0f64..1.0, beyond in 0.0f64..1.0,
        ) {
            let margin = Margin { rho, delta };
            let edge = margin.edge(a_b);
            prop_assume!(edge > 1e-6 && edge < 0.99);
            let a_c = edge * share;
            let (n_c, n_b) = (f64::from(n_c), f64::from(n_b));
            let (q_star, p_star) = project(n_c, n_b, a_c, a_b, margin).unwrap();
            for p in [p, p_star * (0.5 + p), a_b * (0.5 + p)] {
                let low = margin.edge(p).max(0.0);
                if low < 1.0 && p < 1.0 {
                    for q in [low, low + (1.0 - low) * beyond] {
                        let log = log_expectation((n_c, n_b), (q, p), (a_c, a_b), (q_star, p_star));
                        prop_assert!(log <= 1e-9, "ln E = {log} at {q} against {p}");
                    }
                }
            }
        }
    }
}
