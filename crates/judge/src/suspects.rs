//! One sick instance is not a sick release.
//!
//! While evidence grows, each canary instance's bad requests are counted. Under a regression they
//! fall to the instances like their requests do; where one instance has far more than chance (four
//! standard deviations, widened by the dispersion that stable shows) and the others by themselves
//! prove nothing, that instance is set aside: its rows no longer count, the evidence gathered so
//! far is given up, and the judge goes on with the others. Both only ever lower the evidence, or
//! depend on the past alone, so the bound on false rollbacks stands. At most half of the instances
//! are set aside; when more are sick, it is the release.

use serde::{Deserialize, Serialize};

use crate::{
    Rate,
    config::{Better, Margin},
    member::alternative,
    mixture::EFFECTS,
    ratio,
    roster::MAX_INSTANCES,
};

/// Standard deviations above its share that make an instance suspect.
const LIMIT: f64 = 4.0;
/// Dispersion widens the deviation up to here only: it may come from just such instances.
const WIDEST: f64 = 2.0;
/// An instance is set aside for this long first, and twice as long each further time.
const FIRST_SECONDS: u64 = 60;
const LONGEST_SECONDS: u64 = 3600;

/// Bad requests of each canary instance while evidence grows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Suspects {
    counts: Vec<Rate>,
    baseline: Rate,
    aside: Vec<Aside>,
}

/// An instance whose rows do not count for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Aside {
    number: usize,
    until: u64,
    seconds: u64,
}

impl Suspects {
    /// Whether this instance's rows do not count at `t`.
    pub fn is_aside(&self, t: u64, number: usize) -> bool {
        self.aside
            .iter()
            .any(|aside| aside.number == number && t < aside.until)
    }

    /// The instance that was set aside last and still is.
    pub fn current(&self, t: u64) -> Option<usize> {
        self.aside
            .iter()
            .rev()
            .find(|aside| t < aside.until)
            .map(|aside| aside.number)
    }

    /// Counts one canary instance's tick.
    pub fn count(&mut self, number: usize, rate: Rate) {
        if self.counts.len() <= number {
            self.counts
                .resize(number.min(MAX_INSTANCES - 1) + 1, Rate::default());
        }
        if let Some(slot) = self.counts.get_mut(number) {
            crate::judge::add(slot, rate);
        }
    }

    /// Counts stable's tick.
    pub fn count_baseline(&mut self, rate: Rate) {
        crate::judge::add(&mut self.baseline, rate);
    }

    /// There is no evidence against anyone: what was counted is forgotten.
    pub fn clear(&mut self) {
        self.counts.fill(Rate::default());
        self.baseline = Rate::default();
    }

    /// Sets an instance aside at `t` if it alone explains the evidence. `enough` is the log-evidence
    /// at which the others are taken to be sick too.
    pub fn judge(&mut self, t: u64, better: Better, margin: Margin, phi: f64, enough: f64) -> bool {
        let Some((worst, rest)) = self.worst(better, phi) else {
            return false;
        };
        let reporting = self.counts.iter().filter(|rate| rate.requests > 0).count();
        let aside = self.aside.iter().filter(|aside| t < aside.until).count();
        if 2 * (aside + 1) > reporting + aside || self.are_sick(rest, better, margin) >= enough {
            return false;
        }
        match self.aside.iter_mut().find(|aside| aside.number == worst) {
            Some(known) => {
                known.seconds = (known.seconds * 2).min(LONGEST_SECONDS);
                known.until = t.saturating_add(known.seconds);
            }
            None => self.aside.push(Aside {
                number: worst,
                until: t.saturating_add(FIRST_SECONDS),
                seconds: FIRST_SECONDS,
            }),
        }
        self.clear();
        true
    }

    /// The instance with the most bad requests beyond its share, if that is beyond chance, and the
    /// sum of the others.
    fn worst(&self, better: Better, phi: f64) -> Option<(usize, Rate)> {
        let bad = |rate: &Rate| match better {
            Better::Lower => rate.bad as f64,
            Better::Higher => (rate.requests - rate.bad) as f64,
        };
        let all_bad: f64 = self.counts.iter().map(bad).sum();
        let requests: f64 = self.counts.iter().map(|rate| rate.requests as f64).sum();
        let score = |rate: &Rate| {
            let share = rate.requests as f64 / requests;
            let variance = phi.min(WIDEST) * all_bad * share * (1.0 - share);
            // Half a request for continuity; the 1 keeps a handful from looking like a pattern.
            (bad(rate) - all_bad * share - 0.5) / (variance + 1.0).sqrt()
        };
        let (worst, rate) = self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, rate)| rate.requests > 0)
            .max_by(|a, b| score(a.1).total_cmp(&score(b.1)))?;
        if score(rate).is_nan() || score(rate) < LIMIT {
            return None;
        }
        let mut rest = Rate::default();
        for (number, other) in self.counts.iter().enumerate() {
            if number != worst {
                crate::judge::add(&mut rest, *other);
            }
        }
        Some((worst, rest))
    }

    /// The others' log-evidence against stable over the same time, for the effect that fits best.
    fn are_sick(&self, rest: Rate, better: Better, margin: Margin) -> f64 {
        let Some(a_b) = self.baseline.ratio() else {
            return 0.0;
        };
        let a_b = a_b.clamp(1e-6, 1.0 - 1e-6);
        let edge = margin.edge(a_b);
        if edge <= 0.0 || edge >= 1.0 {
            return 0.0;
        }
        let log_e = |effect| {
            ratio::log_e(
                rest,
                self.baseline,
                alternative(better, edge, effect),
                a_b,
                margin,
            )
        };
        EFFECTS.into_iter().map(log_e).fold(0.0, f64::max)
    }
}
