//! One comparison of two ratios: its evidence against the release and for the step.

use serde::{Deserialize, Serialize};

use crate::{
    Rate,
    config::{Better, Margin},
    level::Level,
    mixture::{EFFECTS, Evidence, MASSES, Mixture, Tempering},
    ratio,
};

/// Where the true ratio of a healthy canary may lie between the baseline's (0) and the pass
/// margin's edge (1), and how the pass process divides its capital over that.
const PASS_AT: [f64; 2] = [0.0, 0.25];
const PASS_MASS: [f64; 2] = [0.95, 0.03];
/// The rest of it is kept for after an outage that hit both arms: what the outage's first seconds cost
/// need not be worn off. It makes a healthy step about one part in 150 longer.
const PASS_KEPT: f64 = 0.02;
/// Keeps the logarithm finite where a step does very badly; it cannot pass from there.
const PASS_FLOOR: f64 = -1e6;

/// How a member's evidence is discounted; see [`crate::calibration`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Discount {
    /// For evidence against the release.
    pub fail: Tempering,
    /// Exponent for the step's proof.
    pub pass_eta: f64,
}

impl Discount {
    /// Independent requests: nothing is discounted.
    pub const NONE: Self = Self {
        fail: Tempering::NONE,
        pass_eta: 1.0,
    };
}

/// Sequential comparison of the canary's ratio with the baseline's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatioMember {
    better: Better,
    fail_margin: Margin,
    pass_margin: Margin,
    level: Level,
    canary_level: Level,
    fail: Mixture,
    pass: [f64; 2],
    /// Capital of the step's proof that nothing is bet of.
    #[serde(default)]
    kept: f64,
    /// Something outside the release is at fault.
    #[serde(default)]
    suspended: bool,
}

impl RatioMember {
    /// A member without evidence. `history` is the ratio of a past hour, `guess` replaces it in
    /// the first seconds where there is none.
    pub fn new(
        better: Better,
        fail: Margin,
        pass: Margin,
        history: Option<f64>,
        guess: Option<f64>,
    ) -> Self {
        Self {
            better,
            fail_margin: fail,
            pass_margin: pass,
            level: Level::new(history, guess),
            canary_level: Level::new(None, guess),
            fail: Mixture::new(EFFECTS.len()),
            pass: PASS_MASS.map(f64::ln),
            kept: PASS_KEPT,
            suspended: false,
        }
    }

    /// A new step: evidence against the release goes on, the step's proof starts anew within
    /// `pass`.
    pub fn start_step(&mut self, pass: Margin) {
        self.pass_margin = pass;
        self.pass = PASS_MASS.map(f64::ln);
        self.kept = PASS_KEPT;
        self.fail.start_step();
    }

    /// Says whether something outside the release is at fault from the next tick on, and what ratio of
    /// stable is usual, where that is known.
    ///
    /// While it is, nothing is bet on the step. When it is over, what was learnt of the level in
    /// between is forgotten, and half of what was kept is bet, where less is left of the step's other
    /// capital. All of this follows from earlier ticks, so both processes stay what they are:
    /// nonnegative supermartingales that start at 1 or less.
    pub fn set_external(&mut self, external: bool, usual: Option<f64>) {
        let over = self.suspended && !external;
        self.suspended = external;
        if !over {
            return;
        }
        if let Some(usual) = usual {
            self.level = Level::new(Some(usual), None);
        }
        self.fail.start_step();
        if self.log_pass() < self.kept.ln() {
            let stake = 0.5 * self.kept;
            self.kept -= stake;
            let whole: f64 = PASS_MASS.iter().sum();
            for (log, mass) in self.pass.iter_mut().zip(PASS_MASS) {
                *log = log_sum(&[*log, (stake * mass / whole).ln()]);
            }
        }
    }

    /// The tick's evidence for each effect, before any discount.
    pub fn evidence(&self, canary: Rate, baseline: Rate) -> Evidence {
        let a_b = self.level.ratio();
        let edge = self.fail_margin.edge(a_b);
        if edge <= 0.0 || edge >= 1.0 {
            return [0.0; EFFECTS.len()];
        }
        let a_c = EFFECTS.map(|effect| alternative(self.better, edge, effect));
        ratio::log_es(canary, baseline, a_c, a_b, self.fail_margin)
    }

    /// Judges one tick with requests in both arms, then learns from it. Returns the evidence
    /// before any discount.
    pub fn observe(
        &mut self,
        t: u64,
        canary: Rate,
        baseline: Rate,
        discount: &Discount,
    ) -> Evidence {
        let evidence = self.evidence(canary, baseline);
        self.fail.update(t, &MASSES, &discount.fail, &evidence);
        let a_b = self.level.ratio();
        if let Some(edge) = self.pass_edge(a_b)
            && !self.suspended
        {
            let a_c = PASS_AT.map(|at| a_b + at * (edge - a_b));
            let evidence = ratio::log_es(canary, baseline, a_c, a_b, self.pass_margin);
            for (log, log_e) in self.pass.iter_mut().zip(evidence) {
                *log = (*log + discount.pass_eta * log_e).max(PASS_FLOOR);
            }
        }
        self.level.learn(t, baseline);
        self.canary_level.learn(t, canary);
        evidence
    }

    /// The pass margin's edge, where the baseline's ratio lies on its good side.
    fn pass_edge(&self, a_b: f64) -> Option<f64> {
        let edge = self.pass_margin.edge(a_b);
        let good_side = match self.better {
            Better::Lower => a_b < edge,
            Better::Higher => a_b > edge,
        };
        (good_side && edge > 0.0 && edge < 1.0).then_some(edge)
    }

    /// How many times the odds of a bad request of a canary on the edge of its pass margin exceed those
    /// of one that equals its baseline. None where there is no such edge.
    pub fn pass_odds(&self) -> Option<f64> {
        let a_b = self.level.ratio();
        let odds = |p: f64| p / (1.0 - p);
        self.pass_edge(a_b).map(|edge| odds(edge) / odds(a_b))
    }

    /// The ratio that is counted changed its meaning, to one that was `ratio` in the past: what was
    /// learnt about its level is forgotten, evidence stays.
    pub fn restart_level(&mut self, ratio: f64) {
        self.level = Level::new(None, Some(ratio));
    }

    /// The margin beyond which the release fails.
    pub fn fail_margin(&self) -> Margin {
        self.fail_margin
    }

    /// Gives up the evidence against the release so far.
    pub fn give_up(&mut self) {
        self.fail.give_up();
    }

    /// Evidence against the release; 1 is none.
    pub fn e(&self) -> f64 {
        self.fail.e()
    }

    /// Natural logarithm of the evidence that the step is within its pass margin.
    pub fn log_pass(&self) -> f64 {
        log_sum(&self.pass)
    }

    /// The baseline's ratio of late.
    pub fn baseline_ratio(&self) -> f64 {
        self.level.ratio()
    }

    /// The ratio up to which (higher is better: down to which) the canary is within its margin.
    pub fn bound(&self) -> f64 {
        self.fail_margin.edge(self.level.ratio()).clamp(0.0, 1.0)
    }

    /// Seconds until the step's proof reaches `needed`, if the canary equals its baseline, at the
    /// present traffic. None where it never would.
    pub fn seconds_to_pass(&self, needed: f64, discount: &Discount) -> Option<f64> {
        let left = needed - self.log_pass();
        if left <= 0.0 {
            return Some(0.0);
        }
        let information = self.pass_information(discount);
        (information > 1e-9).then(|| left / information)
    }

    /// Log-evidence per second that the step gathers if the canary equals its baseline, at the
    /// present traffic.
    fn pass_information(&self, discount: &Discount) -> f64 {
        let a_b = self.level.ratio();
        let (n_c, n_b) = (self.canary_level.per_second(), self.level.per_second());
        if self.pass_edge(a_b).is_none() || n_c <= 0.0 || n_b <= 0.0 {
            return 0.0;
        }
        discount.pass_eta * ratio::information(n_c, n_b, a_b, a_b, self.pass_margin)
    }
}

/// The canary's ratio for an effect of `factor` on the odds, beyond the edge.
pub fn alternative(better: Better, edge: f64, factor: f64) -> f64 {
    match better {
        Better::Lower => ratio::scale_odds(edge, factor),
        Better::Higher => ratio::scale_odds(edge, 1.0 / factor),
    }
}

/// ln of the sum of exponentials, without overflow.
pub fn log_sum(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + logs.iter().map(|log| (log - top).exp()).sum::<f64>().ln()
}
