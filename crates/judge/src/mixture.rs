//! Evidence that grows: a mixture of e-processes that is fed new mass for faults that begin late.
//!
//! Of a starting capital of 1, .7 is bet at the first tick; then every 10 s the share
//! `1 - exp(-10/1800)` of what is left, and a third of it at each new step. The capital is
//! `E = sum S_k + rest`, a nonnegative supermartingale under the null, so by Ville's inequality it
//! ever reaches 1/alpha with probability at most alpha.

use serde::{Deserialize, Serialize};

use crate::tick::clock;

/// Effects of the ratio test: the alternative's odds relative to the odds at the edge.
pub const EFFECTS: [f64; 7] = [1.3, 1.7, 2.5, 4.5, 9.0, 25.0, 120.0];
/// How the capital is divided over [`EFFECTS`].
pub const MASSES: [f64; 7] = [0.20, 0.20, 0.18, 0.15, 0.12, 0.09, 0.06];

/// How many of [`EFFECTS`] are worth trying where what is counted is not rare: odds of ten times the edge's are
/// found as fast with those of nine.
pub const MODERATE: usize = 5;
/// How the capital is divided over these.
pub const MODERATE_MASSES: [f64; MODERATE] = {
    let mut masses = [0.0; MODERATE];
    let (mut k, mut whole) = (0, 0.0);
    while k < MODERATE {
        whole += MASSES[k];
        k += 1;
    }
    while k > 0 {
        k -= 1;
        masses[k] = MASSES[k] / whole;
    }
    masses
};

/// The part of the capital that is bet at the first tick.
pub const FIRST_STAKE: f64 = 0.7;
const STEP_STAKE: f32 = 1.0 / 3.0;
const GRAIN_SECONDS: u32 = 10;
const GRAIN_HALF: f32 = 1800.0;
/// Capital is clamped here: far beyond every threshold, and safe to add up.
const CEILING: f64 = 1e36;
/// What is left of a stake below this can never matter again and is given up.
const NOTHING: f64 = 1e-30;

/// No mixture has more alternatives than this.
pub const MAX_ALTERNATIVES: usize = 9;

/// How a tick's evidence is discounted for clumped counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tempering {
    /// Exponent in (0, 1] on the tick's e-value, for each alternative.
    pub etas: [f64; MAX_ALTERNATIVES],
    /// The tick's log-evidence counts at most this much. None: no cap.
    pub cap: Option<f64>,
    /// What is left of a tick's log-evidence after the exponent counts at most this much. None: no cap.
    pub gain_cap: Option<f64>,
    /// All log-evidence of one spell of [`SPELL_SECONDS`] counts at most this much. None: no cap.
    pub spell_cap: Option<f64>,
}

/// A fault of one instance that heals by itself fits into a few of these.
pub const SPELL_SECONDS: u64 = 30;

impl Tempering {
    /// Independent requests: nothing is discounted.
    pub const NONE: Self = Self::flat(1.0, None);

    /// The same exponent for every alternative.
    pub const fn flat(eta: f64, cap: Option<f64>) -> Self {
        Self {
            etas: [eta; MAX_ALTERNATIVES],
            cap,
            gain_cap: None,
            spell_cap: None,
        }
    }

    fn apply_in_spell(&self, k: usize, log_e: f64, sum: &mut f32) -> f64 {
        let log_e = log_e.min(self.cap.unwrap_or(f64::INFINITY));
        let Some(cap) = self.spell_cap else {
            return self.etas[k] * log_e;
        };
        let mut spell = f64::from(*sum);
        let counted = within_spell(&mut spell, log_e, cap);
        *sum = spell as f32;
        self.etas[k] * counted
    }

    /// The largest log-evidence of a tick after the exponents, before any cap; at least 0.
    pub fn largest(&self, log_e: &[f64]) -> f64 {
        let gains = self.etas.iter().zip(log_e).map(|(eta, log_e)| eta * log_e);
        gains.fold(0.0, f64::max)
    }

    /// The discounted log-evidence. No part can raise an e-value's mean above 1.
    pub fn apply(&self, k: usize, log_e: f64) -> f64 {
        let gain = self.etas[k] * log_e.min(self.cap.unwrap_or(f64::INFINITY));
        gain.min(self.gain_cap.unwrap_or(f64::INFINITY))
    }
}

/// What a tick adds to a spell whose log-evidence so far is `sum`, where a spell counts at most
/// `cap`. What lies above the cap is lost first, so this never exceeds `log_e` while below the cap
/// and never exceeds 0 above it: an e-value stays one.
pub fn within_spell(sum: &mut f64, log_e: f64, cap: f64) -> f64 {
    let before = sum.min(cap);
    *sum += log_e;
    sum.min(cap) - before
}

/// Log-evidence of one tick for each of [`EFFECTS`].
pub type Evidence = [f64; EFFECTS.len()];

/// The capital of one member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Single precision: what rounding adds or takes is a ten-millionth and falls to both sides.
    stakes: Vec<f32>,
    /// Capped log-evidence of the present spell, by alternative.
    spells: Vec<f32>,
    spell: u32,
    rest: f32,
    next_grain: Option<u32>,
    step_began: bool,
}

impl Mixture {
    /// A capital of 1 over `effects` alternatives, nothing bet yet.
    pub fn new(effects: usize) -> Self {
        Self {
            stakes: vec![0.0; effects],
            spells: Vec::new(),
            spell: 0,
            rest: 1.0,
            next_grain: None,
            step_began: false,
        }
    }

    /// How many alternatives there are.
    pub fn alternatives(&self) -> usize {
        self.stakes.len()
    }

    /// A new step begins: at the next tick a third of the rest is bet.
    pub fn start_step(&mut self) {
        self.step_began = true;
    }

    /// One tick at `t` seconds: `log_e[k]` is the tick's evidence for alternative `k`, whose share
    /// of new mass is `masses[k]`.
    pub fn update(&mut self, t: u64, masses: &[f64], tempering: &Tempering, log_e: &[f64]) {
        let stake = f64::from(self.stake(t));
        let spell = clock(t / SPELL_SECONDS);
        if tempering.spell_cap.is_some() && (self.spells.is_empty() || self.spell != spell) {
            self.spells = vec![0.0; self.stakes.len()];
            self.spell = spell;
        }
        let alternatives = self.stakes.iter_mut().zip(masses).zip(log_e);
        for (k, ((value, mass), log_e)) in alternatives.enumerate() {
            let gain = match self.spells.get_mut(k) {
                Some(sum) => tempering.apply_in_spell(k, *log_e, sum),
                None => tempering.apply(k, *log_e),
            };
            let bet = f64::from(*value) + stake * mass;
            // Most seconds say nothing to a histogram.
            let grown = match gain {
                0.0 => bet,
                _ => bet * f64::from((gain as f32).exp()),
            };
            // A NaN, which comes from 0 times infinity only, is nothing too.
            *value = if grown > NOTHING {
                grown.min(CEILING) as f32
            } else {
                0.0
            };
        }
    }

    /// The mass that is bet before the tick at `t`. It depends on time alone, never on the data.
    fn stake(&mut self, t: u64) -> f32 {
        let t = clock(t);
        let began = std::mem::take(&mut self.step_began);
        let stake = match self.next_grain {
            None => {
                self.next_grain = Some(t.saturating_add(GRAIN_SECONDS));
                FIRST_STAKE as f32
            }
            Some(_) if began => self.rest * STEP_STAKE,
            Some(next) if t >= next => {
                self.next_grain = Some(t.saturating_add(GRAIN_SECONDS));
                self.rest * -(-(GRAIN_SECONDS as f32) / GRAIN_HALF).exp_m1()
            }
            Some(_) => 0.0,
        };
        self.rest -= stake;
        stake
    }

    /// Gives up all evidence so far; what was not bet stays, the rest is as at the start.
    pub fn give_up(&mut self) {
        let held: f64 = self.e();
        *self = Self::new(self.stakes.len());
        // Never more capital than there was: giving up must not be a gain.
        self.rest = held.min(1.0) as f32;
    }

    /// The capital: evidence against the null, 1 is none.
    pub fn e(&self) -> f64 {
        let stakes = self.stakes.iter().copied().map(f64::from);
        stakes.sum::<f64>() + f64::from(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_discount_raises_the_mean_of_an_e_value(
            p in 0.001f64..0.999, high in 0.01f64..50.0, eta in 0.02f64..1.0,
            caps in (prop::option::of(0.1f64..5.0), prop::option::of(0.1f64..5.0)),
        ) {
            // Two values with a mean of 1: high with chance p, else low.
            let chance = p / (high.exp() - 1.0).max(1.0);
            let low = ((1.0 - chance * high.exp()) / (1.0 - chance)).ln();
            prop_assume!(low.is_finite());
            let tempering = Tempering { gain_cap: caps.1, ..Tempering::flat(eta, caps.0) };
            let [high, low] = [high, low].map(|log_e| tempering.apply(0, log_e).exp());
            prop_assert!(chance * high + (1.0 - chance) * low <= 1.0 + 1e-9);
        }
    }
}
