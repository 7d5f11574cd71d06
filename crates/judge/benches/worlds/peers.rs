//! What widely used tools would have decided on the same traces. Rules as their manuals give them.

use airboss_judge::Rate;

use crate::traffic::normal_cdf;

/// The peers, in the order of the table.
pub const NAMES: [&str; 5] = ["Argo", "Flagger", "Kayenta", "z/min", "Lindon-Malek"];

/// Sums per minute, and each rule's first rollback.
#[derive(Default)]
pub struct Peers {
    minute: [Rate; 2],
    total: [Rate; 2],
    minutes: [Vec<f64>; 2],
    argo_failures: u32,
    flagger_failures: u32,
    weight: f64,
    /// When each rule rolled back.
    pub failed: [Option<u64>; 5],
}

fn ln_gamma(x: f64) -> f64 {
    // Stirling's series after a shift, 1e-10 for x > 0.
    let (mut shift, mut y) = (0.0, x);
    while y < 8.0 {
        shift -= y.ln();
        y += 1.0;
    }
    shift + (y - 0.5) * y.ln() - y + 0.5 * std::f64::consts::TAU.ln() + 1.0 / (12.0 * y)
        - 1.0 / (360.0 * y.powi(3))
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

impl Peers {
    pub fn new(weight: f64) -> Self {
        Self {
            weight,
            ..Self::default()
        }
    }

    pub fn observe(&mut self, t: u64, arms: [Rate; 2]) {
        for (arm, rate) in arms.into_iter().enumerate() {
            for sum in [&mut self.minute[arm], &mut self.total[arm]] {
                sum.bad += rate.bad;
                sum.requests += rate.requests;
            }
        }
        // Lindon and Malek: bad requests fall to the canary with its weight; a Beta mixture over
        // other shares, read every second.
        let [c, b] = self.total.map(|rate| rate.bad as f64);
        let share = self.total[0].requests as f64
            / (self.total[0].requests + self.total[1].requests).max(1) as f64;
        let (share, k) = (if share > 0.0 { share } else { self.weight }, 10.0);
        let log = ln_beta(k * share + c, k * (1.0 - share) + b)
            - ln_beta(k * share, k * (1.0 - share))
            - c * share.ln()
            - b * (1.0 - share).ln();
        if log > 100f64.ln() && c > share * (c + b) {
            self.failed[4].get_or_insert(t);
        }
        if (t + 1).is_multiple_of(60) {
            self.close_minute(t);
        }
    }

    fn close_minute(&mut self, t: u64) {
        let minute = std::mem::take(&mut self.minute);
        let ratio = minute.map(|rate| rate.ratio().unwrap_or(0.0));
        for (arm, ratio) in ratio.into_iter().enumerate() {
            self.minutes[arm].push(ratio);
        }
        // Argo: success of the canary in the last minute must be 99 %; failureLimit 3.
        self.argo_failures += u32::from(ratio[0] > 0.01);
        if self.argo_failures > 3 {
            self.failed[0].get_or_insert(t);
        }
        // Flagger: the same check, five failed checks.
        self.flagger_failures += u32::from(ratio[0] > 0.01);
        if self.flagger_failures >= 5 {
            self.failed[1].get_or_insert(t);
        }
        // Kayenta: Mann-Whitney on all one-minute averages, every five minutes, 98 % two-sided.
        if (t + 1).is_multiple_of(300) && mann_whitney(&self.minutes[0], &self.minutes[1]) < 0.01 {
            self.failed[2].get_or_insert(t);
        }
        // Two proportions on the totals, 99 % one-sided, read every minute.
        let [c, b] = self
            .total
            .map(|rate| (rate.bad as f64, rate.requests as f64));
        let pooled = (c.0 + b.0) / (c.1 + b.1).max(1.0);
        let deviation =
            (pooled * (1.0 - pooled) * (1.0 / c.1.max(1.0) + 1.0 / b.1.max(1.0))).sqrt();
        if deviation > 0.0 && (c.0 / c.1.max(1.0) - b.0 / b.1.max(1.0)) / deviation > 2.326 {
            self.failed[3].get_or_insert(t);
        }
    }
}

/// One-sided p-value that the first sample is larger, normal approximation with ties.
fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = a
        .iter()
        .map(|v| (*v, true))
        .chain(b.iter().map(|v| (*v, false)))
        .collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut rank_sum, mut ties, mut from) = (0.0, 0.0, 0);
    while from < all.len() {
        let to = (from..all.len())
            .find(|k| all[*k].0 != all[from].0)
            .unwrap_or(all.len());
        let (rank, size) = ((from + to + 1) as f64 / 2.0, (to - from) as f64);
        rank_sum += rank * all[from..to].iter().filter(|it| it.1).count() as f64;
        ties += size.powi(3) - size;
        from = to;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let variance = n * m / 12.0 * ((n + m + 1.0) - ties / ((n + m) * (n + m - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    1.0 - normal_cdf((u - n * m / 2.0 - 0.5) / variance.sqrt())
}
