//! Gauges: memory, CPU, queue length. One level per instance and tick, compared with stable's.
//!
//! Levels are averaged over the instances and over blocks of 30 s, longer than they usually stay
//! correlated. The difference of a block, canary minus the margin's edge, is divided by the spread
//! of the earlier ones; their sum `S` after `n` blocks gives the one-sided normal mixture
//! `E = 2 sqrt(r/(n+r)) exp(S^2 / 2(n+r)) Phi(S / sqrt(n+r))` (Howard, Ramdas, McAuliffe and Sekhon
//! 2021). With an estimated spread the bound holds as blocks become many (Waudby-Smith et al.
//! 2024); ten are the least, and a block counts at most four spreads.
//!
//! A leak is a slope: the growth of canary minus stable from block to block, tested alike, while
//! the canary already lies above stable, so that a process that warms up is no leak.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Better, Margin};

/// Length of a block in seconds.
pub const BLOCK_SECONDS: u64 = 30;
/// Blocks that only tell the spread.
const WARM_UP: f64 = 10.0;
const CLIP: f64 = 4.0;
/// The mixture is tightest after about this many blocks.
const R: f64 = 10.0;
const LEVEL_SHARE: f64 = 0.7;
/// The least spread, relative to stable's level: no gauge is told apart below 1 %.
const FINEST: f64 = 0.01;
/// Blocks behind the warm-up after which a gauge that is far beyond its margin has failed a release by
/// itself, with a tenth of alpha's capital or more: a step waits for them.
const LOOKS: f64 = 4.0;
/// Blocks that a history needs before it tells the spread.
const ENOUGH_BLOCKS: f64 = 20.0;

/// Learns how far a half minute's mean of one of stable's instances is from that of the others: the root mean
/// square, lasting differences between instances included.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Apart {
    block: u64,
    /// Sum and number of an instance's readings in the open block, by its number.
    open: BTreeMap<usize, (f64, f64)>,
    blocks: f64,
    squares: f64,
    compared: f64,
}

impl Apart {
    pub(crate) fn observe(&mut self, t: u64, levels: impl Iterator<Item = (usize, f64)>) {
        if self.block != t / BLOCK_SECONDS {
            self.close();
            self.block = t / BLOCK_SECONDS;
        }
        for (number, level) in levels {
            let (sum, count) = self.open.entry(number).or_default();
            (*sum, *count) = (*sum + level, *count + 1.0);
        }
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        let means: Vec<f64> = open.values().map(|(sum, count)| sum / count).collect();
        if means.len() < 2 {
            return;
        }
        let (sum, others) = (means.iter().sum::<f64>(), means.len() as f64 - 1.0);
        for mean in &means {
            self.squares += (mean - (sum - mean) / others).powi(2);
            self.compared += 1.0;
        }
        self.blocks += 1.0;
    }

    /// What is known so far; None before [`ENOUGH_BLOCKS`] of at least two instances.
    pub(crate) fn finish(&self) -> Option<f64> {
        (self.blocks >= ENOUGH_BLOCKS).then(|| (self.squares / self.compared).sqrt())
    }
}

/// Evidence that the mean of a series is above 0.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Positive {
    sum: f64,
    counted: f64,
    seen: f64,
    mean: f64,
    squares: f64,
    /// The spread is known and no block was seen: the first one tells the mean.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    known: bool,
}

impl Positive {
    /// A series of which the spread is known as from [`WARM_UP`] blocks.
    fn known(spread: f64) -> Self {
        Self {
            seen: WARM_UP,
            known: true,
            squares: spread * spread * (WARM_UP - 1.0),
            ..Self::default()
        }
    }

    /// Takes a block's difference; it is scaled by what earlier blocks showed.
    fn observe(&mut self, difference: f64, counts: bool, finest: f64) {
        if self.seen >= WARM_UP && counts {
            let spread = (self.squares / (self.seen - 1.0)).sqrt().max(finest);
            self.sum += (difference / spread).clamp(-CLIP, CLIP);
            self.counted += 1.0;
        }
        if std::mem::take(&mut self.known) {
            self.mean = difference;
        }
        // Welford's running variance.
        self.seen += 1.0;
        let deviation = difference - self.mean;
        self.mean += deviation / self.seen;
        self.squares += deviation * (difference - self.mean);
    }

    fn log_e(&self) -> f64 {
        let spread = self.counted + R;
        let z = self.sum / spread.sqrt();
        std::f64::consts::LN_2 + 0.5 * (R / spread).ln() + 0.5 * z * z + log_normal_cdf(z)
    }
}

/// ln of the normal distribution function, within 2e-3; for large negative values the usual
/// asymptote.
fn log_normal_cdf(z: f64) -> f64 {
    if z < -5.0 {
        return -0.5 * z * z - (-z).ln() - 0.918_938_533;
    }
    // Zelen and Severo's approximation, 7.5e-8 on the distribution function.
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-0.5 * z * z).exp() * 0.398_942_280_4 * poly;
    if z < 0.0 { tail.ln() } else { (-tail).ln_1p() }
}

fn sign(better: Better) -> f64 {
    match better {
        Better::Lower => 1.0,
        Better::Higher => -1.0,
    }
}

/// A gauge's comparison with stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GaugeTest {
    better: Better,
    margin: Margin,
    block: u64,
    /// Sum and number of readings in the open block: canary, stable.
    open: [(f64, u64); 2],
    last: Option<[f64; 2]>,
    level: Positive,
    slope: Positive,
}

impl GaugeTest {
    /// A test without evidence. One that knows the spread from a history needs no blocks to
    /// learn it.
    pub fn new(better: Better, margin: Margin, spread: Option<f64>) -> Self {
        let level = spread.map_or_else(Positive::default, Positive::known);
        Self {
            better,
            margin,
            block: 0,
            open: [(0.0, 0); 2],
            last: None,
            level,
            slope: Positive::default(),
        }
    }

    /// One tick's mean level of each arm.
    pub fn observe(&mut self, t: u64, canary: f64, baseline: f64) {
        if self.block != t / BLOCK_SECONDS {
            self.close();
            self.block = t / BLOCK_SECONDS;
        }
        for ((sum, count), value) in self.open.iter_mut().zip([canary, baseline]) {
            *sum += value;
            *count += 1;
        }
    }

    fn close(&mut self) {
        let [c, b] = std::mem::take(&mut self.open);
        if c.1 == 0 || b.1 == 0 {
            return;
        }
        let (c, b) = (c.0 / c.1 as f64, b.0 / b.1 as f64);
        let sign = sign(self.better);
        let finest = FINEST * b.abs().max(f64::MIN_POSITIVE);
        self.level
            .observe(sign * (c - self.margin.edge(b)), true, finest);
        if let Some([last_c, last_b]) = self.last {
            let growth = sign * ((c - b) - (last_c - last_b));
            self.slope
                .observe(growth, sign * (last_c - last_b) > 0.0, finest);
        }
        self.last = Some([c, b]);
    }

    /// Seconds of readings that it needs still before it could have spoken.
    pub fn seconds_to_look(&self) -> u64 {
        let blocks = (WARM_UP - self.level.seen).max(0.0) + (LOOKS - self.level.counted).max(0.0);
        blocks as u64 * BLOCK_SECONDS
    }

    /// Evidence against the release; 1 is none.
    pub fn e(&self) -> f64 {
        let e = |series: &Positive| series.log_e().min(600.0).exp();
        LEVEL_SHARE * e(&self.level) + (1.0 - LEVEL_SHARE) * e(&self.slope)
    }

    /// The last full block's levels: canary, stable.
    pub fn levels(&self) -> Option<[f64; 2]> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(canary: impl Fn(f64) -> f64) -> f64 {
        run_as(Better::Lower, 1.1, canary)
    }

    /// A slow wave and a fast one stand for a gauge's noise.
    fn run_as(better: Better, rho: f64, canary: impl Fn(f64) -> f64) -> f64 {
        let mut test = GaugeTest::new(better, Margin { rho, delta: 0.0 }, None);
        for t in 0..3600_u64 {
            let s = t as f64;
            let noise = 3.0 * (s / 17.0).sin() + 2.0 * (s / 211.0).cos();
            test.observe(t, canary(s) + 2.0 * (s / 13.0).cos(), 100.0 + noise);
        }
        test.e().ln()
    }

    #[test]
    fn a_level_beyond_its_margin_and_a_leak_are_found_and_a_warm_up_is_not() {
        assert!(run(|_| 100.0) < 2.0);
        assert!(run(|_| 108.0) < 2.0);
        assert!(run(|_| 130.0) > 4.6);
        assert!(run(|s| 101.0 + s * 0.02) > 4.6, "a leak");
        assert!(
            run(|s| 100.0 - 60.0 * (-s / 600.0).exp()) < 2.0,
            "a warm-up"
        );
    }

    #[test]
    fn a_gauge_whose_past_is_known_is_found_within_two_minutes_and_needs_seven_without() {
        let margin = Margin {
            rho: 1.1,
            delta: 0.0,
        };
        let wave = |n: usize, t: u64| 100.0 + 3.0 * ((t as f64 + 31.0 * n as f64) / 17.0).sin();
        let mut past = Apart::default();
        for t in 0..1_200 {
            past.observe(t, (0..4).map(|n| (n, wave(n, t))));
        }
        let known = past.finish().unwrap();
        assert!((0.05..3.5).contains(&known), "{known:?}");
        for (known, most, least) in [(Some(known), 121, 120), (None, 421, 420)] {
            let mut test = GaugeTest::new(Better::Lower, margin, known);
            assert_eq!(test.seconds_to_look(), least);
            let found = (0..600).find(|t| {
                test.observe(*t, 1.5 * wave(5, *t), wave(1, *t));
                test.seconds_to_look() == 0 && test.e() > 1_000.0
            });
            assert!(found.is_some_and(|t| t <= most), "{found:?}");
            let mut sound = GaugeTest::new(Better::Lower, margin, known);
            (0..3_600).for_each(|t| sound.observe(t, wave(5, t), wave(1, t)));
            assert!(sound.e() < 20.0, "{}", sound.e());
        }
    }

    #[test]
    fn a_gauge_of_which_more_is_better_fails_where_it_falls_and_not_where_it_rises() {
        let run = |canary: &dyn Fn(f64) -> f64| run_as(Better::Higher, 0.9, canary);
        assert!(run(&|_| 95.0) < 2.0);
        assert!(run(&|_| 140.0) < 2.0);
        assert!(run(&|_| 75.0) > 4.6);
        assert!(run(&|s| 99.0 - s * 0.02) > 4.6, "it dries up");
    }
}
