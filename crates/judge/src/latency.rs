//! Latency: the whole distribution against stable's, and exceedances of stable's quantiles.
//!
//! The histogram test compares both arms' bucket counts with stable's recent shape `r` and nine
//! slowed shapes `q`: `e = prod (q_i/m_i)^c_i (r_i/m_i)^d_i`, `m = w q + (1 - w) r`, `w` the
//! canary's share of the tick. If both arms share any distribution then `w A + (1-w) B = 1` for the
//! two per-request means, so `A^n_c B^n_b <= 1`: exact for every predictable `r` and `q`. Its null
//! is equality, so it speaks only where the canary's p50 or p99 was already 5 % above stable's.
//! Exceedances have a margin and are ratio SLIs.

use serde::{Deserialize, Serialize};

use crate::{
    Rate,
    config::{Better, Margin},
    member::{Discount, RatioMember},
    mixture::{Evidence, Mixture, Tempering},
    shape::{self, SLOWDOWNS},
};

/// Stable's tails whose exceedances are judged: above p50, p90, p99 and p99.9.
pub const TAILS: [f64; 4] = [0.5, 0.1, 0.01, 0.001];
/// The latency SLI's capital: histogram, then the four exceedances, then the declared threshold.
const SHARES: [f64; 5] = [0.20, 0.04, 0.03, 0.07, 0.04];
const THRESHOLD_SHARE: f64 = 0.12;

/// Of the exceedances, so many must prove a step: p50, p90 and p99.
const PROVERS: usize = 3;

const REFRESH_SECONDS: u64 = 30;
/// Ticks at which the shape is first taken, before it is refreshed every 30 s.
const EARLY_REFRESH: [u64; 3] = [3, 8, 16];
/// Weight of the past at each refresh.
const KEEP: f64 = 0.8;
/// The two arms' recent distributions forget with this half-life; they only open the gate.
const GATE_KEEP_SECONDS: f64 = 60.0;
const GATE_RATIO: f64 = 1.05;

/// One tick's latency counts, by bucket, and requests over the declared threshold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// The canary.
    pub canary: Vec<u64>,
    /// Stable.
    pub baseline: Vec<u64>,
}

/// The shapes the present ticks are judged by, taken from the past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shapes {
    stable: Vec<f64>,
    log_stable: Vec<f64>,
    slowed: Vec<Vec<f64>>,
    log_slowed: Vec<Vec<f64>>,
    /// First bucket of each exceedance.
    cuts: [usize; 4],
}

/// A latency SLI's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyTest {
    shapes: Option<Shapes>,
    learning: Vec<f64>,
    ticks: u64,
    refreshed: u64,
    recent: [Vec<f64>; 2],
    last: Option<u64>,
    gate_open: bool,
    histogram: Mixture,
    exceedances: Vec<RatioMember>,
    threshold: Option<(usize, RatioMember)>,
}

/// How each member's evidence is discounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyDiscounts {
    /// The histogram test.
    pub histogram: Tempering,
    /// The exceedances of p50, p90, p99 and p99.9.
    pub exceedances: [Discount; 4],
    /// The declared threshold.
    pub threshold: Discount,
}

/// One tick's log-evidence by member and alternative.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyEvidence {
    /// The histogram test.
    pub histogram: [f64; SLOWDOWNS.len()],
    /// The exceedances of p50, p90, p99 and p99.9.
    pub exceedances: [Evidence; 4],
    /// The declared threshold, where there is one.
    pub threshold: Option<Evidence>,
}

impl LatencyDiscounts {
    /// The same for every member.
    pub fn all(discount: Discount) -> Self {
        Self {
            histogram: discount.fail,
            exceedances: [discount; 4],
            threshold: discount,
        }
    }
}

impl LatencyTest {
    /// A test without evidence. `history` is stable's distribution over a past hour, by bucket.
    pub fn new(
        edges: &[f64],
        under_ms: Option<f64>,
        fail: Margin,
        pass: Margin,
        history: Option<&[f64]>,
    ) -> Self {
        let buckets = edges.len() + 1;
        let member = |guess| RatioMember::new(Better::Lower, fail, pass, None, Some(guess));
        let mut test = Self {
            shapes: None,
            learning: vec![0.0; buckets],
            ticks: 0,
            refreshed: 0,
            recent: [vec![0.0; buckets], vec![0.0; buckets]],
            last: None,
            gate_open: false,
            histogram: Mixture::new(SLOWDOWNS.len()),
            exceedances: TAILS.map(member).to_vec(),
            // A request counts as slow from the first bucket whose lower edge reaches the threshold.
            threshold: under_ms.map(|under| {
                (
                    edges.partition_point(|edge| *edge < under) + 1,
                    member(0.01),
                )
            }),
        };
        if let Some(history) = history.filter(|history| history.len() == buckets) {
            test.learning.copy_from_slice(history);
            test.refresh(edges, 0);
        }
        test
    }

    /// A new step: evidence against the release goes on, the proofs start anew.
    pub fn start_step(&mut self, pass: Margin) {
        self.histogram.start_step();
        for member in &mut self.exceedances {
            member.start_step(pass);
        }
        if let Some((_, member)) = &mut self.threshold {
            member.start_step(pass);
        }
    }

    /// Judges one tick with latencies in both arms, then learns from it. Returns the evidence
    /// before any discount, None where no shape is known yet.
    pub fn observe(
        &mut self,
        t: u64,
        tick: &Buckets,
        edges: &[f64],
        discounts: &LatencyDiscounts,
    ) -> Option<LatencyEvidence> {
        let (n_c, n_b) = (total(&tick.canary), total(&tick.baseline));
        if n_c == 0 || n_b == 0 {
            return None;
        }
        let threshold = self.threshold.as_mut().map(|(cut, member)| {
            let (canary, baseline) = (
                above(&tick.canary, *cut, n_c),
                above(&tick.baseline, *cut, n_b),
            );
            member.observe(t, canary, baseline, &discounts.threshold)
        });
        let evidence = self.shapes.as_ref().map(|shapes| {
            let histogram = if self.gate_open {
                histogram_evidence(tick, shapes, n_c as f64 / (n_c as f64 + n_b as f64))
            } else {
                [0.0; SLOWDOWNS.len()]
            };
            self.histogram.update(
                t,
                &SLOWDOWNS.map(|slowdown| slowdown.mass),
                &discounts.histogram,
                &histogram,
            );
            let mut exceedances = [[0.0; 7]; 4];
            for (index, member) in self.exceedances.iter_mut().enumerate() {
                let cut = shapes.cuts[index];
                let (canary, baseline) = (
                    above(&tick.canary, cut, n_c),
                    above(&tick.baseline, cut, n_b),
                );
                exceedances[index] =
                    member.observe(t, canary, baseline, &discounts.exceedances[index]);
            }
            LatencyEvidence {
                histogram,
                exceedances,
                threshold,
            }
        });
        self.learn(t, tick, edges);
        evidence
    }

    fn learn(&mut self, t: u64, tick: &Buckets, edges: &[f64]) {
        let elapsed = self.last.map_or(0, |last| t.saturating_sub(last));
        let keep = (-(elapsed as f64) / GATE_KEEP_SECONDS).exp2();
        for (recent, counts) in self.recent.iter_mut().zip([&tick.canary, &tick.baseline]) {
            for (slot, count) in recent.iter_mut().zip(counts) {
                *slot = *slot * keep + *count as f64;
            }
        }
        for (slot, count) in self.learning.iter_mut().zip(&tick.baseline) {
            *slot += *count as f64;
        }
        self.last = Some(t);
        self.ticks += 1;
        let [canary, baseline] = &self.recent;
        self.gate_open = [0.5, 0.99].iter().any(|share| {
            let both = (
                shape::quantile(canary, edges, *share),
                shape::quantile(baseline, edges, *share),
            );
            matches!(both, (Some(canary), Some(baseline)) if canary > GATE_RATIO * baseline)
        });
        if EARLY_REFRESH.contains(&self.ticks)
            || t >= self.refreshed.saturating_add(REFRESH_SECONDS)
        {
            self.refresh(edges, t);
        }
    }

    fn refresh(&mut self, edges: &[f64], t: u64) {
        self.refreshed = t;
        let Some(stable) = shape::normalised(&self.learning) else {
            return;
        };
        let cuts = TAILS.map(|tail| shape::bucket_at_tail(&stable, tail));
        let tails = shape::tails(&stable);
        for (index, member) in self.exceedances.iter_mut().enumerate() {
            if self
                .shapes
                .as_ref()
                .is_none_or(|old| old.cuts[index] != cuts[index])
            {
                member.restart_level(tails[cuts[index]]);
            }
        }
        let logs = |shape: &[f64]| shape.iter().map(|share| share.ln()).collect::<Vec<f64>>();
        let slowed: Vec<Vec<f64>> = SLOWDOWNS
            .iter()
            .map(|slowdown| shape::slowed(&stable, edges, *slowdown))
            .collect();
        self.shapes = Some(Shapes {
            log_stable: logs(&stable),
            log_slowed: slowed.iter().map(|shape| logs(shape)).collect(),
            stable,
            slowed,
            cuts,
        });
        for slot in &mut self.learning {
            *slot *= KEEP;
        }
    }

    /// The histogram test's evidence; 1 is none.
    pub fn histogram_e(&self) -> f64 {
        self.histogram.e()
    }

    /// The comparisons above stable's p50, p90, p99 and p99.9.
    pub fn exceedances(&self) -> &[RatioMember] {
        &self.exceedances
    }

    /// The comparison above the declared threshold.
    pub fn threshold(&self) -> Option<&RatioMember> {
        self.threshold.as_ref().map(|(_, member)| member)
    }

    /// Gives up the evidence against the release so far.
    pub fn give_up(&mut self) {
        self.histogram.give_up();
        self.exceedances.iter_mut().for_each(RatioMember::give_up);
        if let Some((_, member)) = &mut self.threshold {
            member.give_up();
        }
    }

    /// Evidence against the release over all members; 1 is none.
    pub fn e(&self) -> f64 {
        let shares = SHARES.iter().zip(
            std::iter::once(self.histogram.e()).chain(self.exceedances.iter().map(RatioMember::e)),
        );
        let (mut sum, mut whole) = shares.fold((0.0, 0.0), |(sum, whole), (share, e)| {
            (sum + share * e, whole + share)
        });
        if let Some((_, member)) = &self.threshold {
            sum += THRESHOLD_SHARE * member.e();
            whole += THRESHOLD_SHARE;
        }
        sum / whole
    }

    /// The members that a step's proof needs. p99.9 is left out: it is as rare as the harm budget
    /// itself and would only make healthy steps wait; it can fail a release all the same.
    fn provers<'a>(
        &'a self,
        discounts: &'a LatencyDiscounts,
    ) -> impl Iterator<Item = (&'a RatioMember, Discount)> {
        let threshold = self
            .threshold
            .as_ref()
            .map(|(_, member)| (member, discounts.threshold));
        self.exceedances
            .iter()
            .zip(discounts.exceedances)
            .take(PROVERS)
            .chain(threshold)
    }

    /// The weakest member's proof that the step is within its pass margin.
    pub fn log_pass(&self) -> f64 {
        let exceedances = self.exceedances.iter().take(PROVERS);
        let members = exceedances.chain(self.threshold.as_ref().map(|(_, member)| member));
        members
            .map(RatioMember::log_pass)
            .fold(f64::INFINITY, f64::min)
    }

    /// Seconds until every member's proof reaches `needed`, if the canary equals its baseline.
    pub fn seconds_to_pass(&self, needed: f64, discounts: &LatencyDiscounts) -> Option<f64> {
        let seconds = self
            .provers(discounts)
            .map(|(member, discount)| member.seconds_to_pass(needed, discount));
        seconds
            .collect::<Option<Vec<f64>>>()?
            .into_iter()
            .reduce(f64::max)
    }

    /// The first bucket of each exceedance, and of the declared threshold.
    pub fn cuts(&self) -> (Option<[usize; 4]>, Option<usize>) {
        (
            self.shapes.as_ref().map(|shapes| shapes.cuts),
            self.threshold.as_ref().map(|(cut, _)| *cut),
        )
    }

    /// The ratio that people are shown: the declared threshold's, else that of stable's p99.
    pub fn shown(&self) -> (usize, &RatioMember) {
        match &self.threshold {
            Some((cut, member)) => (*cut, member),
            None => (
                self.shapes
                    .as_ref()
                    .map_or(usize::MAX, |shapes| shapes.cuts[2]),
                &self.exceedances[2],
            ),
        }
    }

    /// The canary's and stable's quantile of late, in milliseconds.
    pub fn quantiles(&self, edges: &[f64], share: f64) -> Option<(f64, f64)> {
        let [canary, baseline] = &self.recent;
        Some((
            shape::quantile(canary, edges, share)?,
            shape::quantile(baseline, edges, share)?,
        ))
    }
}

fn histogram_evidence(tick: &Buckets, shapes: &Shapes, weight: f64) -> [f64; SLOWDOWNS.len()] {
    let mut sums = [0.0; SLOWDOWNS.len()];
    for (bucket, (c, d)) in tick.canary.iter().zip(&tick.baseline).enumerate() {
        if c + d == 0 {
            continue;
        }
        let stable = (1.0 - weight) * shapes.stable[bucket];
        let (c, d) = (*c as f64, *d as f64);
        for (k, sum) in sums.iter_mut().enumerate() {
            let mixed = (weight * shapes.slowed[k][bucket] + stable).ln();
            *sum += c * (shapes.log_slowed[k][bucket] - mixed)
                + d * (shapes.log_stable[bucket] - mixed);
        }
    }
    sums
}

fn total(buckets: &[u64]) -> u64 {
    buckets.iter().sum()
}

/// Requests at or above bucket `cut`.
pub fn above(buckets: &[u64], cut: usize, requests: u64) -> Rate {
    Rate {
        bad: buckets.get(cut..).map_or(0, total),
        requests,
    }
}
