//! A service's own past through the real judge: would a release that is stable itself have been blamed?
//!
//! Some of stable's instances play the canary, chosen anew for each replay, the others stable, in
//! another stretch of the past each time. Whoever is blamed then is blamed wrongly, so the share of replays that
//! fail is what `alpha` promises to bound. What the judge knows comes from an earlier part of the past.
//!
//! Replays overlap and share one past, so the limits that are given, which take them for independent, are
//! a little too narrow.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    ArmTick, Calibrator, Config, ConfigError, InstanceTick, Judge, Margin, SliKind, Tick, Verdict,
    calibration::ENOUGH_SECONDS, recording::History,
};

/// A replay lasts this long at most, in seconds.
pub const REPLAY_SECONDS: u64 = 900;
/// The least of the past that is replayed behind what is learnt from, in seconds.
pub const REPLAYED_LEAST: u64 = 300;
/// Most replays of one step.
pub const RUNS_MAX: u32 = 10_000;
/// A margin is widened at most so often until the past would not have been blamed.
const WIDENINGS: u32 = 8;
/// Of the past, this part is learnt from where it is long enough.
const LEARNT_PART: u64 = 3;

/// Why a past cannot be replayed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BacktestError {
    /// Too short.
    #[error(
        "{found} s of the stable version are recorded, and at least {least} s are needed: {ENOUGH_SECONDS} s to learn from and {REPLAYED_LEAST} s to replay; `airboss record SERVICE --for 1h` makes such a recording",
        least = ENOUGH_SECONDS + REPLAYED_LEAST
    )]
    TooShort {
        /// Seconds with rows of stable.
        found: u64,
    },
    /// Nobody can play the canary.
    #[error(
        "the stable version ran on {found} instance; two at least are needed, of which one plays the new version"
    )]
    OneInstance {
        /// Instances that reported.
        found: usize,
    },
    /// Too few or too many replays.
    #[error("{0} replays: at least 1 and at most {RUNS_MAX} are made of each step")]
    Runs(u32),
    /// What cannot be judged by.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The replays of one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReplays {
    /// The canary's share.
    pub weight: f64,
    /// Instances of stable that played it.
    pub instances: usize,
    /// Replays.
    pub runs: u32,
    /// Those that failed.
    pub failed: u32,
    /// The SLIs that were blamed, with how often.
    pub blamed: BTreeMap<String, u32>,
    /// One-sided 95 % limits of the share that fails.
    pub low: f64,
    /// The upper one.
    pub high: f64,
    /// Those that would have gone on to the next step within the replay.
    pub passed: u32,
    /// Seconds until half of them did; None where fewer than half did.
    pub median_seconds: Option<u64>,
}

/// A margin that the service's own past goes beyond.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TooTight {
    /// The SLI.
    pub sli: String,
    /// The step at which it is blamed most.
    pub weight: f64,
    /// The share of replays there that fail, and what may.
    pub share: f64,
    /// At most so many may.
    pub alpha: f64,
    /// A margin by which the past would not have been blamed; None where none was found.
    pub fail: Option<Margin>,
}

/// What the past says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Backtest {
    /// Seconds that were learnt from.
    pub learnt: u64,
    /// Seconds that were replayed.
    pub replayed: u64,
    /// Each step.
    pub steps: Vec<StepReplays>,
    /// Margins that are too tight for this service.
    pub too_tight: Vec<TooTight>,
}

/// Small, fast, and the same everywhere: SplitMix64 (Steele, Lea and Flood 2014).
struct Order(u64);

impl Order {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Replays `history` `runs` times at each of the canary's `weights`, each with the next one or None.
///
/// # Errors
/// A past that is too short or of one instance, or a config that cannot be judged by.
pub fn backtest(
    history: &History,
    config: &Config,
    weights: &[(f64, Option<f64>)],
    runs: u32,
    seed: u64,
) -> Result<Backtest, BacktestError> {
    if runs == 0 || runs > RUNS_MAX {
        return Err(BacktestError::Runs(runs));
    }
    let past = Past::new(history, config)?;
    let mut steps = Vec::new();
    for (weight, next) in weights {
        steps.push(past.replay(config, (*weight, *next), runs, seed)?);
    }
    let too_tight = past.too_tight(config, weights, &steps, runs, seed)?;
    Ok(Backtest {
        learnt: past.learnt.len() as u64,
        replayed: past.replayed.len() as u64,
        steps,
        too_tight,
    })
}

/// Stable's seconds, by what is done with them.
struct Past {
    learnt: Vec<(u64, ArmTick)>,
    replayed: Vec<(u64, ArmTick)>,
    names: Vec<String>,
}

impl Past {
    fn new(history: &History, config: &Config) -> Result<Self, BacktestError> {
        let mut learnt: Vec<(u64, ArmTick)> = history
            .stable(config)
            .filter(|(_, arm)| !arm.instances.is_empty())
            .collect();
        let found = learnt.len() as u64;
        if found < ENOUGH_SECONDS + REPLAYED_LEAST {
            return Err(BacktestError::TooShort { found });
        }
        let part = (found / LEARNT_PART).max(ENOUGH_SECONDS) as usize;
        let replayed = learnt.split_off(part);
        let mut names: Vec<String> = Vec::new();
        for (_, arm) in &replayed {
            for row in &arm.instances {
                if !names.contains(&row.instance) && names.len() < crate::roster::MAX_INSTANCES {
                    names.push(row.instance.clone());
                }
            }
        }
        if names.len() < 2 {
            return Err(BacktestError::OneInstance { found: names.len() });
        }
        Ok(Self {
            learnt,
            replayed,
            names,
        })
    }

    fn replay(
        &self,
        config: &Config,
        (weight, next): (f64, Option<f64>),
        runs: u32,
        seed: u64,
    ) -> Result<StepReplays, BacktestError> {
        let mut calibrator = Calibrator::new(config.clone(), &[weight])?;
        for (t, arm) in &self.learnt {
            calibrator.observe(*t, arm);
        }
        let mut fresh = Judge::with_history(config.clone(), &calibrator.finish())?;
        fresh.start_step(weight, next)?;
        let all = self.names.len();
        let instances = ((weight * all as f64).round() as usize).clamp(1, all / 2);
        let (mut failed, mut blamed, mut passes) = (0, BTreeMap::new(), Vec::new());
        for run in 0..runs {
            // The same stretches and divisions for every config, so that two of them compare.
            let mut order = Order(seed ^ (u64::from(run) << 20) ^ weight.to_bits());
            match self.one(fresh.clone(), instances, &mut order) {
                Ended::Failed(slis) => {
                    failed += 1;
                    for sli in slis {
                        *blamed.entry(sli).or_default() += 1;
                    }
                }
                Ended::Passed(seconds) => passes.push(seconds),
                Ended::Open => {}
            }
        }
        passes.sort_unstable();
        let (low, high) = limits(failed, runs);
        Ok(StepReplays {
            weight,
            instances,
            runs,
            failed,
            blamed,
            low,
            high,
            passed: passes.len() as u32,
            median_seconds: passes.get(runs as usize / 2).copied(),
        })
    }

    fn one(&self, mut judge: Judge, instances: usize, order: &mut Order) -> Ended {
        let length = (REPLAY_SECONDS as usize).min(self.replayed.len());
        let from = order.below(self.replayed.len() - length + 1);
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        for place in 0..instances {
            let other = place + order.below(names.len() - place);
            names.swap(place, other);
        }
        let canary = &names[..instances];
        let (start, _) = self.replayed[from];
        let mut passed = None;
        for (t, arm) in &self.replayed[from..from + length] {
            let plays = |row: &&InstanceTick| canary.contains(&row.instance.as_str());
            let (canary, stable): (Vec<&InstanceTick>, Vec<&InstanceTick>) =
                arm.instances.iter().partition(plays);
            let arm = |rows: Vec<&InstanceTick>| ArmTick {
                instances: rows.into_iter().cloned().collect(),
            };
            judge.update(&Tick {
                t: t - start,
                weight: None,
                canary: arm(canary),
                baseline: Some(arm(stable)),
            });
            if judge.failed_at().is_some() {
                let slis = judge.assess().slis.into_iter();
                let blamed = slis.filter(|sli| sli.verdict == Verdict::Fail);
                return Ended::Failed(blamed.map(|sli| sli.name).collect());
            }
            if passed.is_none() && judge.step.passed {
                passed = Some(t - start);
            }
        }
        passed.map_or(Ended::Open, Ended::Passed)
    }

    /// SLIs that are blamed more often than `alpha` allows beyond chance, with a margin that mends it.
    fn too_tight(
        &self,
        config: &Config,
        weights: &[(f64, Option<f64>)],
        steps: &[StepReplays],
        runs: u32,
        seed: u64,
    ) -> Result<Vec<TooTight>, BacktestError> {
        let mut found = Vec::new();
        for (index, sli) in config.slis.iter().enumerate() {
            if !matches!(sli.kind, SliKind::Ratio { .. } | SliKind::Latency { .. }) {
                continue;
            }
            let often = |step: &StepReplays| step.blamed.get(&sli.name).copied().unwrap_or(0);
            let worst = (0..steps.len()).max_by_key(|step| often(&steps[*step]));
            let Some(worst) = worst else { continue };
            let times = often(&steps[worst]);
            if limits(times, runs).0 <= config.alpha {
                continue;
            }
            let mut wider = config.clone();
            let mut margin = sli.fail_margin();
            let mut mended = None;
            for _ in 0..WIDENINGS {
                margin = Margin {
                    rho: 1.0 + 1.5 * (margin.rho - 1.0),
                    delta: 2.0 * margin.delta.max(1e-5),
                };
                wider.slis[index].fail = Some(margin);
                let allowed = config.alpha * f64::from(runs);
                let mut blamed = steps
                    .iter()
                    .zip(weights)
                    .filter(|(step, _)| often(step) > 0);
                let is_mended = blamed.try_fold(true, |so_far, (_, step)| {
                    let is = so_far
                        && f64::from(often(&self.replay(&wider, *step, runs, seed)?)) <= allowed;
                    Ok::<bool, BacktestError>(is)
                })?;
                if is_mended {
                    mended = Some(margin);
                    break;
                }
            }
            found.push(TooTight {
                sli: sli.name.clone(),
                weight: steps[worst].weight,
                share: f64::from(times) / f64::from(runs),
                alpha: config.alpha,
                fail: mended,
            });
        }
        Ok(found)
    }
}

enum Ended {
    Failed(Vec<String>),
    Passed(u64),
    Open,
}

/// Clopper and Pearson's one-sided 95 % limits of a share that was seen `part` times in `whole`.
pub fn limits(part: u32, whole: u32) -> (f64, f64) {
    // The chance of at most `k` at share `p`.
    let at_most = |k: u32, p: f64| {
        let mut mass = f64::from(whole) * (-p).ln_1p();
        let mut sum = 0.0;
        for k in 0..=k {
            sum += mass.exp();
            mass += (f64::from(whole - k) / f64::from(k + 1)).ln() + (p / (1.0 - p)).ln();
        }
        sum
    };
    let solve = |is_below: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (1e-12, 1.0 - 1e-9);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if is_below(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    };
    let high = if part == whole {
        1.0
    } else {
        solve(&|p| at_most(part, p) > 0.05)
    };
    let low = match part {
        0 => 0.0,
        part => solve(&|p| 1.0 - at_most(part - 1, p) < 0.05),
    };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_tables() {
        let close = |a: f64, b: f64| (a - b).abs() < 5e-4;
        assert!(close(limits(0, 1000).1, 0.0030) && limits(0, 1000).0 == 0.0);
        assert!(close(limits(10, 1000).1, 0.0169), "{:?}", limits(10, 1000));
        assert!(close(limits(10, 1000).0, 0.0054), "{:?}", limits(10, 1000));
        assert_eq!(limits(5, 5).1, 1.0);
    }
}
