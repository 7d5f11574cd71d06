//! One comparison of two ratios: its evidence against the release and for the step.

use serde::{Deserialize, Serialize};

use crate::{
    Rate,
    config::{Better, Margin},
    level::{Beside, Level},
    mixture::{EFFECTS, Evidence, MASSES, MODERATE, MODERATE_MASSES, Mixture, Tempering},
    ratio,
};

/// Where the true ratio of a healthy canary may lie between the baseline's (0) and the pass
/// margin's edge (1), and how the pass process divides its capital over that.
const PASS_AT: [f64; 2] = [0.0, 0.25];
const PASS_MASS: [f32; 2] = [0.95, 0.03];
/// All effects are tried where what is counted is rare.
const ALL: usize = EFFECTS.len();
/// The rest of it is kept for after an outage that hit both arms: what the outage's first seconds cost
/// need not be worn off. It makes a healthy step about one part in 150 longer.
const PASS_KEPT: f32 = 0.02;
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
    /// The canary's counts of late; they only tell its traffic and whether it is slower of late.
    canary_level: Beside,
    fail: Mixture,
    /// Logarithms of the step's capital, by where the canary is taken to be.
    pass: [f32; PASS_AT.len()],
    /// Capital of the step's proof that nothing is bet of.
    #[serde(default)]
    kept: f32,
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
            canary_level: Beside::default(),
            fail: Mixture::new(EFFECTS.len()),
            pass: PASS_MASS.map(f32::ln),
            kept: PASS_KEPT,
            suspended: false,
        }
    }

    /// Tries moderate effects alone: what is counted is not rare.
    pub fn moderate(self) -> Self {
        Self {
            fail: Mixture::new(MODERATE),
            ..self
        }
    }

    /// A new step: evidence against the release goes on, the step's proof starts anew within
    /// `pass`.
    pub fn start_step(&mut self, pass: Margin) {
        self.pass_margin = pass;
        self.pass = PASS_MASS.map(f32::ln);
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
            self.level.restart(usual, true, &mut self.canary_level);
        }
        self.fail.start_step();
        if self.log_pass() < f64::from(self.kept.ln()) {
            let stake = 0.5 * self.kept;
            self.kept -= stake;
            let whole: f32 = PASS_MASS.iter().sum();
            for (log, mass) in self.pass.iter_mut().zip(PASS_MASS) {
                let bet = (stake * mass / whole).ln();
                *log = log_sum(f64::from(*log), f64::from(bet)) as f32;
            }
        }
    }

    /// Judges one tick with requests in both arms, then learns from it. Returns the evidence for each effect
    /// before any discount, 0 for those that are not tried.
    pub fn observe(
        &mut self,
        t: u64,
        canary: Rate,
        baseline: Rate,
        discount: &Discount,
    ) -> Evidence {
        let (masses, fail, pass): (&[f64], _, _) = match self.fail.alternatives() {
            MODERATE => {
                let (fail, pass) = self.evidence::<MODERATE, { MODERATE + 3 }>(canary, baseline);
                (&MODERATE_MASSES, fail, pass)
            }
            _ => {
                let (fail, pass) = self.evidence::<ALL, { ALL + 3 }>(canary, baseline);
                (&MASSES, fail, pass)
            }
        };
        self.fail.update(t, masses, &discount.fail, &fail);
        for (log, log_e) in self.pass.iter_mut().zip(pass.into_iter().flatten()) {
            *log = (f64::from(*log) + discount.pass_eta * log_e).max(PASS_FLOOR) as f32;
        }
        self.level
            .learn(t, baseline, &mut self.canary_level, canary);
        fail
    }

    /// The tick's evidence against the release for the first `TRIED` effects, and for the step, where
    /// something is bet on it: `LANES`, two more and one that makes them even, are worked out side by side.
    fn evidence<const TRIED: usize, const LANES: usize>(
        &self,
        canary: Rate,
        baseline: Rate,
    ) -> (Evidence, Option<[f64; PASS_AT.len()]>) {
        let a_b = self.level.ratio();
        let edge = self.fail_margin.edge(a_b);
        let fails = edge > 0.0 && edge < 1.0;
        let pass_edge = self.pass_edge(a_b).filter(|_| !self.suspended);
        // What is not wanted costs least where it is alike.
        let unused = (a_b, Margin::EQUAL);
        let lanes: [(f64, Margin); LANES] = std::array::from_fn(|lane| {
            if lane < TRIED {
                let a_c = alternative(self.better, edge, EFFECTS[lane]);
                if fails {
                    (a_c, self.fail_margin)
                } else {
                    unused
                }
            } else {
                let at = PASS_AT[(lane - TRIED).min(1)];
                pass_edge.map_or(unused, |edge| (a_b + at * (edge - a_b), self.pass_margin))
            }
        });
        let (a_c, edges) = (lanes.map(|(a_c, _)| a_c), lanes.map(|(_, edge)| edge));
        let found = ratio::log_es(canary, baseline, a_c, a_b, edges);
        let mut fail = [0.0; ALL];
        if fails {
            fail[..TRIED].copy_from_slice(&found[..TRIED]);
        }
        let pass = pass_edge.map(|_| std::array::from_fn(|at| found[TRIED + at]));
        (fail, pass)
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
        self.level.restart(ratio, false, &mut self.canary_level);
    }

    /// Whether the canary of late lies on the wrong side of the margin beyond which the release fails.
    pub fn is_beyond_of_late(&self) -> bool {
        let (bad, requests) = self.canary_level.counts();
        let allowed = self.bound() * requests;
        match self.better {
            Better::Lower => bad > allowed,
            Better::Higher => bad < allowed,
        }
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
        let [healthy, quarter] = self.pass.map(f64::from);
        log_sum(healthy, quarter)
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
        let (n_c, n_b) = self.level.per_second(&self.canary_level);
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

/// ln of the sum of two exponentials, without overflow.
fn log_sum(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    high + (low - high).exp().ln_1p()
}
