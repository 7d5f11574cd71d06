//! Throughput: the canary's share of completed work against the share it should have.
//!
//! Given all completions of a tick, the canary's are binomial with its share. The null says that
//! the share is at least `rho` times what it should be: the requests it was sent, or the
//! configured weight where work is pulled. Each alternative is a smaller share; the likelihood
//! ratio against the null's edge has mean at most 1 for every larger share.

use serde::{Deserialize, Serialize};

use crate::{
    Rate,
    mixture::{EFFECTS, MASSES, Mixture, Tempering},
    ratio,
};

/// A throughput SLI's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThroughputTest {
    rho: f64,
    mixture: Mixture,
}

impl ThroughputTest {
    /// A test without evidence; `rho` is the least part of its share that the canary must complete.
    pub fn new(rho: f64) -> Self {
        Self {
            rho,
            mixture: Mixture::new(EFFECTS.len()),
        }
    }

    /// One tick: completions of both arms and the share that the canary should have, 0 to 1.
    pub fn observe(
        &mut self,
        t: u64,
        canary: u64,
        baseline: u64,
        share: f64,
        tempering: &Tempering,
    ) {
        let edge = self.rho * share;
        if edge <= 0.0 || edge >= 1.0 {
            return;
        }
        let seen = Rate {
            bad: canary,
            requests: canary.saturating_add(baseline),
        };
        let log_e = EFFECTS
            .map(|effect| ratio::log_ratio(seen, ratio::scale_odds(edge, 1.0 / effect), edge));
        self.mixture.update(t, &MASSES, tempering, &log_e);
    }

    /// Evidence against the release; 1 is none.
    pub fn e(&self) -> f64 {
        self.mixture.e()
    }
}
