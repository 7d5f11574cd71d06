//! Does the canary get the share of requests that the split says?

use serde::{Deserialize, Serialize};

const HALF_LIFE: f64 = 20.0;
/// A split that sticks users to an arm wanders around its weight; this is how far, as a standard
/// deviation relative to `w * (1 - w)`. It is the spread of the beta part of the beta-binomial.
const WANDER: f64 = 0.15;
const LIMIT: f64 = 5.0;
/// Ticks of a step before the split is judged: connections move over slowly.
const GRACE_TICKS: u64 = 10;

/// Observed against configured share.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Routing {
    canary: f64,
    total: f64,
    expected: f64,
    ticks: u64,
    last: Option<u64>,
}

/// A split that is not the configured one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misrouting {
    /// The canary's share of late.
    pub observed: f64,
    /// The share it should have.
    pub expected: f64,
}

impl Routing {
    /// The weight changed: what was seen before says nothing about it.
    pub fn start_step(&mut self) {
        *self = Self::default();
    }

    /// One tick with requests in either arm.
    pub fn observe(&mut self, t: u64, weight: f64, canary: u64, baseline: u64) {
        let elapsed = self.last.map_or(0, |last| t.saturating_sub(last));
        let keep = (-(elapsed as f64) / HALF_LIFE).exp2();
        let total = canary as f64 + baseline as f64;
        self.canary = self.canary * keep + canary as f64;
        self.total = self.total * keep + total;
        self.expected = self.expected * keep + weight * total;
        self.ticks += 1;
        self.last = Some(t);
    }

    /// Normal approximation of the beta-binomial test at five standard deviations (6e-7 two-sided).
    pub fn misrouting(&self) -> Option<Misrouting> {
        if self.ticks < GRACE_TICKS || self.total <= 0.0 {
            return None;
        }
        let (observed, expected) = (self.canary / self.total, self.expected / self.total);
        let room = expected * (1.0 - expected);
        let deviation = (room / self.total + (WANDER * room).powi(2)).sqrt();
        ((observed - expected).abs() > LIMIT * deviation)
            .then_some(Misrouting { observed, expected })
    }
}
