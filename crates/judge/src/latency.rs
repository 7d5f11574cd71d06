//! Latency: the whole distribution against stable's, and exceedances of stable's quantiles.
//!
//! The histogram test compares both arms' bucket counts with stable's recent shape `r` and nine
//! slowed shapes `q`: `e = prod (q_i/m_i)^c_i (r_i/m_i)^d_i`, `m = w q + (1 - w) r`, `w` the
//! canary's share of the tick. If both arms share any distribution then `w A + (1-w) B = 1` for the
//! two per-request means, so `A^n_c B^n_b <= 1`: exact for every predictable `r` and `q`. Its null
//! is equality, so it speaks only where of late more of the canary's requests than the margin allows were
//! above stable's p50 or p99. Exceedances have a margin and are ratio SLIs.

use serde::{Deserialize, Serialize};

use crate::{
    Rate,
    config::{Better, Margin},
    member::{Discount, RatioMember},
    mixture::{Evidence, Mixture, Tempering},
    narrow::{NarrowCounts, NarrowShape},
    shape::{self, SLOWDOWNS},
    shapes::{Derived, Shapes},
    tick::clock,
};

/// Stable's tails whose exceedances are judged: above p50, p90, p99 and p99.9.
pub const TAILS: [f64; 4] = [0.5, 0.1, 0.01, 0.001];
/// The latency SLI's capital: histogram, then the four exceedances, then the declared threshold.
const SHARES: [f64; 5] = [0.20, 0.04, 0.03, 0.07, 0.04];
const THRESHOLD_SHARE: f64 = 0.12;

/// Of the exceedances, so many must prove a step: p50, p90 and p99.
const PROVERS: usize = 3;

/// A history with more requests in a bucket is none.
const MOST: f64 = 1e18;

const REFRESH_SECONDS: u32 = 30;
/// Ticks at which the shape is first taken, before it is refreshed every 30 s.
const EARLY_REFRESH: [u32; 3] = [3, 8, 16];
/// What people are shown of the canary's distribution fades by a fourth this often.
const FADE_SECONDS: u32 = 30;
/// Weight of the past at each refresh.
const KEEP: f32 = 0.8;
/// The exceedances that open the histogram test's gate: above p50 and p99.
const GATE: [usize; 2] = [0, 2];

/// One tick's latency counts, by bucket, and requests over the declared threshold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// The canary.
    pub canary: Vec<u64>,
    /// Stable.
    pub baseline: Vec<u64>,
}

/// A latency SLI's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyTest {
    /// Stable's distribution by which the present ticks are judged.
    taken: NarrowShape,
    /// Stable's counts since it was taken.
    #[serde(default)]
    since: NarrowCounts,
    #[serde(skip)]
    shapes: Derived<Shapes>,
    /// First bucket of each exceedance, once a shape is known.
    cuts: Option<[u16; TAILS.len()]>,
    ticks: u32,
    refreshed: u32,
    /// The canary's counts of a minute or two, for people.
    #[serde(default)]
    of_late: NarrowCounts,
    last: Option<u32>,
    gate_open: bool,
    histogram: Mixture,
    exceedances: Vec<RatioMember>,
    threshold: Option<(usize, RatioMember)>,
    /// Something outside the release is at fault: what stable does now is not its usual shape.
    #[serde(default)]
    suspended: bool,
}

/// How each member's evidence is discounted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyDiscounts<'a> {
    /// The histogram test.
    pub histogram: &'a Tempering,
    /// The exceedances of p50, p90, p99 and p99.9.
    pub exceedances: [&'a Discount; 4],
    /// The declared threshold.
    pub threshold: &'a Discount,
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

impl LatencyEvidence {
    /// The largest log-evidence of all members under one discount, before any cap.
    pub fn largest(&self, tempering: &Tempering) -> f64 {
        let ratios = self.exceedances.iter().chain(&self.threshold);
        let ratios = ratios.map(|evidence| tempering.largest(evidence));
        ratios.fold(tempering.largest(&self.histogram), f64::max)
    }
}

impl<'a> LatencyDiscounts<'a> {
    /// The same for every member.
    pub fn all(discount: &'a Discount) -> Self {
        Self {
            histogram: &discount.fail,
            exceedances: [discount; 4],
            threshold: discount,
        }
    }

    /// By member, in the order of [`crate::calibration::StepDiscounts`]; None where there are too few.
    pub fn by_member(known: &'a [Discount]) -> Option<Self> {
        let [histogram, p50, p90, p99, p999, rest @ ..] = known else {
            return known.first().map(Self::all);
        };
        Some(Self {
            histogram: &histogram.fail,
            exceedances: [p50, p90, p99, p999],
            threshold: rest.first().unwrap_or(p99),
        })
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
            taken: vec![0.0; buckets].into(),
            since: NarrowCounts::default(),
            shapes: Derived::default(),
            cuts: None,
            ticks: 0,
            refreshed: 0,
            of_late: NarrowCounts::default(),
            last: None,
            gate_open: false,
            histogram: Mixture::new(SLOWDOWNS.len()),
            exceedances: TAILS.map(|tail| member(tail).moderate()).to_vec(),
            // A request counts as slow from the first bucket whose lower edge reaches the threshold.
            threshold: under_ms.map(|under| {
                (
                    edges.partition_point(|edge| *edge < under) + 1,
                    member(0.01),
                )
            }),
            suspended: false,
        };
        let is_sound = |history: &&[f64]| {
            history.len() == buckets && history.iter().all(|count| (0.0..=MOST).contains(count))
        };
        if let Some(history) = history.filter(is_sound) {
            test.take(history.iter().map(|count| *count as f32).collect());
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
        discounts: &LatencyDiscounts<'_>,
    ) -> Option<LatencyEvidence> {
        let (n_c, n_b) = (total(&tick.canary), total(&tick.baseline));
        if n_c == 0 || n_b == 0 {
            return None;
        }
        let from = |cut: usize| {
            let arms = [(&tick.canary, n_c), (&tick.baseline, n_b)];
            arms.map(|(counts, requests)| above(counts, cut, requests))
        };
        let threshold = self.threshold.as_mut().map(|(cut, member)| {
            let [canary, baseline] = from(*cut);
            member.observe(t, canary, baseline, discounts.threshold)
        });
        let evidence = self.cuts.map(|cuts| {
            let histogram = if self.gate_open {
                let shapes = self
                    .shapes
                    .get_or_derive(|| Shapes::new(self.taken.iter(), edges));
                shapes.evidence(tick, n_c as f64 / (n_c as f64 + n_b as f64))
            } else {
                [0.0; SLOWDOWNS.len()]
            };
            self.histogram.update(
                t,
                &SLOWDOWNS.map(|slowdown| slowdown.mass),
                discounts.histogram,
                &histogram,
            );
            let mut exceedances = [[0.0; 7]; 4];
            for (index, member) in self.exceedances.iter_mut().enumerate() {
                let [canary, baseline] = from(cuts[index].into());
                exceedances[index] =
                    member.observe(t, canary, baseline, discounts.exceedances[index]);
            }
            LatencyEvidence {
                histogram,
                exceedances,
                threshold,
            }
        });
        self.learn(t, tick, [n_c, n_b]);
        evidence
    }

    fn learn(&mut self, t: u64, tick: &Buckets, [n_c, n_b]: [u64; 2]) {
        let t = clock(t);
        let full = self.of_late.add(&tick.canary, n_c);
        if full
            || self
                .last
                .is_some_and(|last| last / FADE_SECONDS != t / FADE_SECONDS)
        {
            self.of_late.fade();
        }
        self.last = Some(t);
        self.ticks = self.ticks.saturating_add(1);
        self.gate_open = GATE
            .iter()
            .any(|index| self.exceedances[*index].is_beyond_of_late());
        if self.suspended {
            return;
        }
        let full = self.since.add(&tick.baseline, n_b);
        if full
            || EARLY_REFRESH.contains(&self.ticks)
            || t >= self.refreshed.saturating_add(REFRESH_SECONDS)
        {
            self.refreshed = t;
            self.take(self.learnt().collect());
            self.since.clear();
        }
    }

    /// Stable's distribution as it is known now.
    fn learnt(&self) -> impl Iterator<Item = f32> {
        let since = self.since.as_slice().iter().chain(std::iter::repeat(&0));
        let taken = self.taken.iter().zip(since);
        taken.map(|(taken, since)| KEEP * taken + f32::from(*since))
    }

    /// Judges by this distribution from now on, if it holds anything.
    fn take(&mut self, counts: Vec<f32>) {
        let exact: Vec<f64> = counts.iter().copied().map(f64::from).collect();
        let Some(stable) = shape::normalised(&exact) else {
            return;
        };
        let cuts = TAILS.map(|tail| shape::bucket_at_tail(&stable, tail));
        let tails = shape::tails(&stable);
        let narrow = cuts.map(|cut| cut as u16);
        for (index, member) in self.exceedances.iter_mut().enumerate() {
            if self.cuts.is_none_or(|old| old[index] != narrow[index]) {
                member.restart_level(tails[cuts[index]]);
            }
        }
        self.cuts = Some(narrow);
        self.taken = counts.into();
        self.shapes = Derived::default();
    }

    /// Says whether something outside the release is at fault from the next tick on; see
    /// [`RatioMember::set_external`]. `usual` is stable's usual ratio of the comparison that is
    /// shown. Stable's shape is not learnt while it is.
    pub fn set_external(&mut self, external: bool, usual: Option<f64>) {
        let over = self.suspended && !external;
        self.suspended = external;
        let tails = self.cuts.filter(|_| over).map(|cuts| {
            let tails = shape::tails(&Vec::from(self.taken.clone()));
            cuts.map(|cut| f64::from(tails[usize::from(cut)] / tails[0]))
        });
        for (index, member) in self.exceedances.iter_mut().enumerate() {
            member.set_external(external, tails.map(|tails| tails[index]));
        }
        if let Some((_, member)) = &mut self.threshold {
            member.set_external(external, usual);
        }
        if over {
            self.histogram.start_step();
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

    /// Every comparison of ratios with the first bucket that it counts: the exceedances once a shape
    /// is known, then the declared threshold.
    pub fn comparisons(&self) -> impl Iterator<Item = (usize, &RatioMember)> {
        let (cuts, _) = self.cuts();
        let unknown = [usize::MAX; TAILS.len()];
        let exceedances = cuts.unwrap_or(unknown).into_iter().zip(&self.exceedances);
        exceedances.chain(self.threshold.as_ref().map(|(cut, member)| (*cut, member)))
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
        discounts: &LatencyDiscounts<'a>,
    ) -> impl Iterator<Item = (&'a RatioMember, &'a Discount)> {
        let declared = discounts.threshold;
        let threshold = self.threshold.as_ref();
        let threshold = threshold.map(|(_, member)| (member, declared));
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
    pub fn seconds_to_pass(&self, needed: f64, discounts: &LatencyDiscounts<'_>) -> Option<f64> {
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
        let cuts = self.cuts.map(|cuts| cuts.map(usize::from));
        (cuts, self.threshold.as_ref().map(|(cut, _)| *cut))
    }

    /// The ratio that people are shown: the declared threshold's, else that of stable's p99.
    pub fn shown(&self) -> (usize, &RatioMember) {
        match &self.threshold {
            Some((cut, member)) => (*cut, member),
            None => (
                self.cuts.map_or(usize::MAX, |cuts| cuts[2].into()),
                &self.exceedances[2],
            ),
        }
    }

    /// The canary's and stable's quantile of late, in milliseconds. None while both suffer from something
    /// outside, of which stable's distribution learns nothing.
    pub fn quantiles(&self, edges: &[f64], share: f64) -> Option<(f64, f64)> {
        if self.suspended {
            return None;
        }
        let stable: Vec<f32> = self.learnt().collect();
        Some((
            shape::quantile(self.of_late.as_slice(), edges, share)?,
            shape::quantile(&stable, edges, share)?,
        ))
    }
}

/// All requests. They add up to less than 2^64: no row that claims more than a thousand million is counted.
pub(crate) fn total(buckets: &[u64]) -> u64 {
    buckets.iter().sum()
}

/// Requests at or above bucket `cut`.
pub fn above(buckets: &[u64], cut: usize, requests: u64) -> Rate {
    Rate {
        bad: buckets.get(cut..).map_or(0, total),
        requests,
    }
}
