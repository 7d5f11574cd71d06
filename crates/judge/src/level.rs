//! The baseline's ratio as known before a tick: what alternatives are built on.
//!
//! Single precision is kept: it is far finer than what the counts can say, and any ratio that was known
//! before the tick makes a sound alternative.

use serde::{Deserialize, Serialize};

use crate::{Rate, tick::clock};

const HALF_LIFE: f32 = 60.0;
/// What is kept over one second: 2^(-1/60).
const KEEP_SECOND: f32 = 0.988_514;
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
    bad: f32,
    requests: f32,
    /// Decayed seconds, so that `requests / seconds` is the present rate.
    seconds: f32,
    prior: Option<f32>,
    guess: f32,
    last: Option<u32>,
}

/// Counts of the other arm over the same seconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Beside {
    bad: f32,
    requests: f32,
}

impl Level {
    /// Starts from the ratio of a history, or from a guess that a second of traffic outweighs.
    pub fn new(history: Option<f64>, guess: Option<f64>) -> Self {
        Self {
            bad: 0.0,
            requests: 0.0,
            seconds: 0.0,
            prior: history.map(|ratio| ratio as f32),
            guess: guess.unwrap_or(GUESS_RATIO) as f32,
            last: None,
        }
    }

    /// The ratio, strictly between 0 and 1.
    pub fn ratio(&self) -> f64 {
        let (bad, requests) = (f64::from(self.bad), f64::from(self.requests));
        let (ratio, weight) = match self.prior {
            Some(ratio) if self.seconds > 0.0 => {
                (ratio, PRIOR_SECONDS * requests / f64::from(self.seconds))
            }
            Some(ratio) => (ratio, GUESS_REQUESTS),
            None => (self.guess, GUESS_REQUESTS),
        };
        let estimate = (bad + f64::from(ratio) * weight) / (requests + weight);
        let clearance = if f64::from(self.guess) < CLEARANCE {
            RARE_CLEARANCE
        } else {
            CLEARANCE
        };
        estimate.clamp(clearance, 1.0 - clearance)
    }

    /// Requests per second with data: `beside` and of this arm.
    pub(crate) fn per_second(&self, beside: &Beside) -> (f64, f64) {
        let rate = |requests: f32| match self.seconds {
            seconds if seconds > 0.0 => f64::from(requests / seconds),
            _ => 0.0,
        };
        (rate(beside.requests), rate(self.requests))
    }

    /// Learns the tick at `t`, and `beside` what the other arm did in it; call it after the tick has been
    /// judged.
    pub(crate) fn learn(&mut self, t: u64, rate: Rate, beside: &mut Beside, other: Rate) {
        let t = clock(t);
        let keep = match self.last.map_or(0, |last| t.saturating_sub(last)) {
            1 => KEEP_SECOND,
            elapsed => (-(elapsed as f32) / HALF_LIFE).exp2(),
        };
        self.bad = self.bad * keep + rate.bad as f32;
        self.requests = self.requests * keep + rate.requests as f32;
        self.seconds = self.seconds * keep + 1.0;
        beside.bad = beside.bad * keep + other.bad as f32;
        beside.requests = beside.requests * keep + other.requests as f32;
        self.last = Some(t);
    }

    /// From now on the ratio is taken to be this one, in the other arm too; how many requests there are
    /// stays known. `prior` says whether a history stands behind it.
    pub(crate) fn restart(&mut self, ratio: f64, prior: bool, beside: &mut Beside) {
        let ratio = ratio as f32;
        self.bad = ratio * self.requests;
        beside.bad = ratio * beside.requests;
        self.prior = prior.then_some(ratio);
        self.guess = ratio;
    }
}

impl Beside {
    /// The counts of late.
    pub(crate) fn counts(&self) -> (f64, f64) {
        (f64::from(self.bad), f64::from(self.requests))
    }
}
