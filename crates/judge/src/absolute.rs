//! The guard where no baseline exists: the first deployment, and after the swap at 100 %.

use serde::{Deserialize, Serialize};

use crate::{
    Rate,
    mixture::{EFFECTS, MASSES, Mixture, Tempering},
    ratio,
};

/// Evidence that a ratio lies above `p_max = burn * (1 - objective)`, and that it lies below.
///
/// `x ln(q/p_max) + (n-x) ln((1-q)/(1-p_max))` for seven `q` above `p_max`; reversed for the step,
/// with `q` at the error budget itself. Both are exact for independent requests (Wald 1945).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AbsoluteGuard {
    limit: f64,
    usual: f64,
    fail: Mixture,
    log_pass: f64,
    seen: Rate,
    seconds: u64,
}

impl AbsoluteGuard {
    /// A guard for an objective such as 0.999 and a burn rate such as 14.4.
    pub fn new(objective: f64, burn: f64) -> Self {
        let budget = 1.0 - objective;
        Self {
            limit: (burn * budget).min(0.5).max(budget * 1.01),
            usual: budget,
            fail: Mixture::new(EFFECTS.len()),
            log_pass: 0.0,
            seen: Rate::default(),
            seconds: 0,
        }
    }

    /// A new step: its proof starts anew.
    pub fn start_step(&mut self) {
        self.fail.start_step();
        self.log_pass = 0.0;
    }

    /// One tick of the canary. Without a baseline nothing tells clumps from a regression, so a
    /// tick's evidence counts at most `cap`.
    pub fn observe(&mut self, t: u64, rate: Rate, cap: f64) {
        let limit = self.limit;
        let log_e =
            EFFECTS.map(|effect| ratio::log_ratio(rate, ratio::scale_odds(limit, effect), limit));
        self.fail
            .update(t, &MASSES, &Tempering::flat(1.0, Some(cap)), &log_e);
        self.log_pass += ratio::log_ratio(rate, self.usual, limit);
        self.seen.bad = self.seen.bad.saturating_add(rate.bad);
        self.seen.requests = self.seen.requests.saturating_add(rate.requests);
        self.seconds += 1;
    }

    /// Evidence that the ratio is above the limit; 1 is none.
    pub fn e(&self) -> f64 {
        self.fail.e()
    }

    /// Natural logarithm of the evidence that it is below.
    pub fn log_pass(&self) -> f64 {
        self.log_pass
    }

    /// The highest ratio that is not a failure.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Log-evidence per second towards a pass, if the ratio is within the objective.
    pub fn pass_information(&self) -> f64 {
        if self.seconds == 0 {
            return 0.0;
        }
        self.seen.requests as f64 / self.seconds as f64 * ratio::kl(self.usual, self.limit)
    }
}

/// After 100 %: an e-detector `R <- e * (1 + R)` (Shin, Ramdas and Rinaldo 2024) that watches for
/// a ratio above the limit. On average it takes at least `1/alpha` ticks until a false alarm, for
/// as long as the watch lasts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    limit: f64,
    detectors: [f64; 7],
}

impl Watch {
    /// A watch for an objective such as 0.999 and a burn rate such as 14.4.
    pub fn new(objective: f64, burn: f64) -> Self {
        let guard = AbsoluteGuard::new(objective, burn);
        Self {
            limit: guard.limit,
            detectors: [0.0; 7],
        }
    }

    /// One tick of the only version, whose log-evidence counts at most `cap`; returns the natural
    /// logarithm of the evidence.
    pub fn observe(&mut self, rate: Rate, cap: f64) -> f64 {
        for (value, effect) in self.detectors.iter_mut().zip(EFFECTS) {
            let log = ratio::log_ratio(rate, ratio::scale_odds(self.limit, effect), self.limit);
            *value = ((1.0 + *value) * log.min(cap).exp()).min(1e280);
        }
        self.log_e()
    }

    /// Natural logarithm of the evidence; 0 or less is none.
    pub fn log_e(&self) -> f64 {
        let mixed: f64 = self
            .detectors
            .iter()
            .zip(MASSES)
            .map(|(value, mass)| value * mass)
            .sum();
        mixed.max(1e-300).ln()
    }
}
