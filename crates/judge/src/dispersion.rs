//! How much more bad requests vary than independent ones would, measured on stable alone.
//!
//! Stable's instances are split into two halves. Given their sum, independent bad requests fall to
//! the halves like a hypergeometric draw; `phi` is the measured squared deviation relative to
//! that, over blocks of 1, 10 and 60 seconds, the largest of the three. With one instance the
//! halves alternate in time instead, which counts drift as dispersion and so errs towards caution.

use serde::{Deserialize, Serialize};

use crate::Rate;

/// Block lengths in seconds over which clumps are looked for.
pub const BLOCKS: [u64; 3] = [1, 10, 60];
/// Pseudo-variance at the guess: a handful of bad requests does not make a dispersion ...
const PRIOR: f64 = 5.0;
/// ... and neither do a few blocks, whatever they hold.
const PRIOR_BLOCKS: f64 = 10.0;

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Block {
    number: u64,
    halves: [Rate; 2],
    squares: f64,
    variance: f64,
    count: u64,
}

impl Block {
    fn close(&mut self) {
        let [first, second] = std::mem::take(&mut self.halves);
        let bad = (first.bad + second.bad) as f64;
        let requests = (first.requests + second.requests) as f64;
        if bad == 0.0 || first.requests == 0 || second.requests == 0 || requests < 2.0 {
            return;
        }
        let share = first.requests as f64 / requests;
        self.count += 1;
        let deviation = first.bad as f64 - bad * share;
        self.squares += deviation * deviation;
        self.variance += bad * share * (1.0 - share) * (requests - bad) / (requests - 1.0);
    }
}

/// For a step's proof and for small effects `phi` is guessed to be this before anything is known.
const GUESS: f64 = 3.0;

/// Standard errors above 1 that are taken for chance: the largest of three noisy numbers would
/// otherwise always slow healthy releases.
const LIVE_NOISE: f64 = 1.5;
const HISTORY_NOISE: f64 = 2.5;

/// Running estimate of `phi`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Dispersion {
    blocks: [Block; 3],
}

impl Dispersion {
    /// One tick of stable, by halves; the second half is None where stable has one instance.
    pub fn observe(&mut self, t: u64, first: Rate, second: Option<Rate>) {
        for (block, length) in self.blocks.iter_mut().zip(BLOCKS) {
            let period = if second.is_some() { length } else { 2 * length };
            if block.number != t / period {
                block.close();
                block.number = t / period;
            }
            let parts = match second {
                Some(second) => [(0, first), (1, second)],
                None => [((t / length % 2) as usize, first), (0, Rate::default())],
            };
            for (half, rate) in parts {
                block.halves[half].bad = block.halves[half].bad.saturating_add(rate.bad);
                block.halves[half].requests =
                    block.halves[half].requests.saturating_add(rate.requests);
            }
        }
    }

    /// 1 for independent requests, more for clumps; never below 1. `guess` is what it is taken to be
    /// before anything is known, `noise` how many standard errors above 1 are taken for chance.
    fn estimate(&self, guess: f64, noise: f64) -> f64 {
        let phi = |block: &Block| {
            let count = block.count as f64;
            let blocks = PRIOR_BLOCKS * block.variance / count.max(1.0);
            let phi = (block.squares + guess * PRIOR + blocks) / (block.variance + PRIOR + blocks);
            let error = (2.0 / (count + PRIOR_BLOCKS)).sqrt();
            if phi <= 1.0 + noise * error { 1.0 } else { phi }
        };
        self.blocks.iter().map(phi).fold(1.0, f64::max)
    }

    /// For evidence of large effects, whose ticks are capped besides: nothing is assumed.
    pub fn phi(&self) -> f64 {
        self.estimate(1.0, LIVE_NOISE)
    }

    /// For a step's proof, which a first quiet minute must not give away, and for evidence of small
    /// effects, which a few clumps resemble: clumps are assumed until the counts say otherwise.
    pub fn phi_for_proof(&self) -> f64 {
        self.estimate(GUESS, LIVE_NOISE)
    }

    /// For a calibration from a history that is long enough.
    pub fn phi_of_history(&self) -> f64 {
        self.estimate(1.0, HISTORY_NOISE)
    }
}
