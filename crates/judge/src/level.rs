//! The baseline's ratio as known before a tick: what alternatives are built on.

use serde::{Deserialize, Serialize};

use crate::Rate;

const HALF_LIFE: f64 = 60.0;
/// What is kept over one second: 2^(-1/60).
const KEEP_SECOND: f64 = 0.988_514_020_352_896_2;
/// A history is trusted like this many seconds of present traffic.
const PRIOR_SECONDS: f64 = 60.0;
/// Without a history the first guess weighs as much as these requests.
const GUESS_REQUESTS: f64 = 50.0;
const GUESS_RATIO: f64 = 0.002;
/// Ratios are kept this far from 0 and 1, where no likelihood ratio exists.
const CLEARANCE: f64 = 1e-6;
/// The same where the first guess is smaller: rare events.
const RARE_CLEARANCE: f64 = 1e-12;

/// A ratio estimated from the past with a half-life of 60 s, and a prior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    bad: f64,
    requests: f64,
    /// Decayed seconds, so that `requests / seconds` is the present rate.
    seconds: f64,
    prior: Option<f64>,
    guess: f64,
    last: Option<u64>,
}

impl Level {
    /// Starts from the ratio of a history, or from a guess that a second of traffic outweighs.
    pub fn new(history: Option<f64>, guess: Option<f64>) -> Self {
        let guess = guess.unwrap_or(GUESS_RATIO);
        Self {
            bad: 0.0,
            requests: 0.0,
            seconds: 0.0,
            prior: history,
            guess,
            last: None,
        }
    }

    /// The ratio, strictly between 0 and 1.
    pub fn ratio(&self) -> f64 {
        let (ratio, weight) = match self.prior {
            Some(ratio) if self.seconds > 0.0 => {
                (ratio, PRIOR_SECONDS * self.requests / self.seconds)
            }
            Some(ratio) => (ratio, GUESS_REQUESTS),
            None => (self.guess, GUESS_REQUESTS),
        };
        let estimate = (self.bad + ratio * weight) / (self.requests + weight);
        let clearance = if self.guess < CLEARANCE {
            RARE_CLEARANCE
        } else {
            CLEARANCE
        };
        estimate.clamp(clearance, 1.0 - clearance)
    }

    /// Requests per second with data.
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 {
            self.requests / self.seconds
        } else {
            0.0
        }
    }

    /// Learns the tick at `t`; call it after the tick has been judged.
    pub fn learn(&mut self, t: u64, rate: Rate) {
        let elapsed = self.last.map_or(0, |last| t.saturating_sub(last));
        let keep = match elapsed {
            1 => KEEP_SECOND,
            _ => (-(elapsed as f64) / HALF_LIFE).exp2(),
        };
        self.bad = self.bad * keep + rate.bad as f64;
        self.requests = self.requests * keep + rate.requests as f64;
        self.seconds = self.seconds * keep + 1.0;
        self.last = Some(t);
    }
}
