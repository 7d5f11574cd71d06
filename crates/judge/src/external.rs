//! Is something outside the release at fault? Both arms suffer, and stable suffers too much.
//!
//! Each arm has a CUSUM-like detector of a ratio far above stable's own long-run level. When both
//! are raised while the comparison between the arms finds nothing, the release is not to blame.

use serde::{Deserialize, Serialize};

use crate::{Rate, ratio, tick::clock};

/// The long-run level forgets with this half-life.
const SLOW_HALF_LIFE: f32 = 1800.0;
/// Suffering means at least this many times the long-run level ...
const FACTOR: f64 = 3.0;
/// ... plus this, so that a service without errors is not alarmed by its first one.
const FLOOR: f64 = 0.005;
/// Where so many are "bad" as a rule, such as those that buy nothing, more of them is no outage.
const COMMON: f64 = 0.15;
/// The alternative that the detector bets on, relative to the level above.
const BET: f64 = 3.0;
/// ln 1000, raised; the detector is kept below ten times that so that it falls again.
const RAISED: f32 = 6.9;
const HEIGHT: f32 = 9.2;
/// Seconds before the long-run level is trusted where no history gives it.
const WARM_UP: f32 = 55.0;
/// Seconds that are seen to be calm before they become part of the long-run level: an outage takes
/// some until it raises the detector, and must not become the usual.
const LAG: f32 = 10.0;
/// Up to here the detector is calm.
const CALM: f32 = 0.5 * RAISED;

/// Counts that fade.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Counted {
    bad: f32,
    requests: f32,
    seconds: f32,
}

/// Whether both arms suffer together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct External {
    #[serde(default)]
    usual: Counted,
    /// Seconds that may turn out to be the beginning of an outage.
    #[serde(default)]
    fresh: Counted,
    prior: Option<f64>,
    last: Option<u32>,
    canary: f32,
    baseline: f32,
}

impl External {
    /// `history` is the ratio of a past hour, where known.
    pub fn new(history: Option<f64>) -> Self {
        Self {
            usual: Counted::default(),
            fresh: Counted::default(),
            prior: history,
            last: None,
            canary: 0.0,
            baseline: 0.0,
        }
    }

    /// Stable's ratio in the long run, outages left out. None until it is known.
    pub fn usual(&self) -> Option<f64> {
        if self.usual.seconds >= WARM_UP && self.usual.requests > 0.0 {
            return Some(f64::from(self.usual.bad) / f64::from(self.usual.requests));
        }
        self.prior
    }

    /// One tick with requests in both arms.
    pub fn observe(&mut self, t: u64, canary: Rate, baseline: Rate) {
        if let Some(usual) = self.usual().filter(|usual| *usual < COMMON) {
            let limit = (FACTOR * usual + FLOOR).min(0.5);
            let bet = ratio::scale_odds(limit, BET);
            let step = |level: f32, rate: Rate| {
                // Below the limit a tick only lowers the detector: at the bottom it is not asked.
                if level == 0.0 && rate.bad as f64 <= limit * rate.requests as f64 {
                    return 0.0;
                }
                (level + ratio::log_ratio(rate, bet, limit) as f32).clamp(0.0, HEIGHT)
            };
            self.canary = step(self.canary, canary);
            self.baseline = step(self.baseline, baseline);
        }
        if self.baseline >= RAISED {
            self.fresh = Counted::default();
            return;
        }
        self.fresh.bad += baseline.bad as f32;
        self.fresh.requests += baseline.requests as f32;
        self.fresh.seconds += 1.0;
        if self.fresh.seconds >= LAG && self.baseline < CALM {
            let t = clock(t);
            let elapsed = self.last.map_or(0, |last| t.saturating_sub(last));
            let keep = (-(elapsed as f32) / SLOW_HALF_LIFE).exp2();
            let fresh = std::mem::take(&mut self.fresh);
            self.usual.bad = self.usual.bad * keep + fresh.bad;
            self.usual.requests = self.usual.requests * keep + fresh.requests;
            self.usual.seconds = self.usual.seconds * keep + fresh.seconds;
            self.last = Some(t);
        }
    }

    /// Both arms are far above what is usual for stable.
    pub fn both_suffer(&self) -> bool {
        self.canary >= RAISED && self.baseline >= RAISED
    }

    /// Stable alone is far above its usual level.
    pub fn baseline_suffers(&self) -> bool {
        self.baseline >= RAISED
    }
}
