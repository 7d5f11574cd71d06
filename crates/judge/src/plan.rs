//! Before a release starts: how long each step will take, and what it would find.
//!
//! Wald's bound: a step's proof grows by the Kullback-Leibler information per second `I`, so it
//! takes about `ln(1/beta) / I` seconds. Evidence against a release grows by what its alternatives expect of
//! the true ratio, which none of them meets exactly; the one that is there first tells the time. It has a share of
//! the capital to begin with, and `ln(1/alpha)`, that share and the SLI's own are what it must make up for.
//! Both are means of a service whose errors come one by one and whose past is known; `tests/it/plans.rs`
//! holds them against simulated rollouts.

use serde::{Deserialize, Serialize};

use crate::{
    Config,
    config::{Better, SliConfig, SliKind},
    judge::step_margin,
    member::alternative,
    mixture::{EFFECTS, FIRST_STAKE, MASSES},
    ratio, words,
};

/// What is reached beyond the threshold when it is crossed, in nats.
const OVERSHOOT: f64 = 1.0;

/// A service's usual traffic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests per second over both arms.
    pub requests_per_second: f64,
    /// The SLI's usual bad ratio (higher is better: good ratio).
    pub ratio: f64,
}

/// What is to be expected of one SLI in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepPlan {
    /// The canary's share of requests.
    pub weight: f64,
    /// Expected seconds until a healthy release passes. None: never at this traffic.
    pub seconds_to_pass: Option<f64>,
    /// The bad ratio of the smallest regression that is found within the deadline, where any is.
    pub smallest_found: Option<f64>,
    /// What to change where the above is poor.
    pub advice: Option<String>,
}

/// Plans an SLI's step. Latency is planned by its declared threshold or by stable's p99, whose
/// ratio is 0.01. `deadline` is in seconds; other kinds of SLIs give None.
pub fn plan_step(
    config: &Config,
    sli: &SliConfig,
    traffic: Traffic,
    weight: f64,
    next_weight: Option<f64>,
    deadline: f64,
) -> Option<StepPlan> {
    let better = match sli.kind {
        SliKind::Ratio { better } => better,
        SliKind::Latency { .. } => Better::Lower,
        SliKind::Events | SliKind::Gauge { .. } | SliKind::Throughput => return None,
    };
    let base = traffic.ratio.clamp(1e-6, 1.0 - 1e-6);
    let arms = (
        traffic.requests_per_second * weight,
        traffic.requests_per_second * (1.0 - weight),
    );
    if !(weight > 0.0 && weight < 1.0 && traffic.requests_per_second > 0.0) {
        return None;
    }
    let pass = step_margin(
        sli.pass_margin(),
        sli.kind,
        config.harm_budget(sli),
        next_weight.unwrap_or(1.0),
    );
    let information = ratio::information(arms.0, arms.1, base, base, pass);
    let edge = pass.edge(base);
    let good_side = if better == Better::Lower {
        base < edge
    } else {
        base > edge
    };
    let seconds_to_pass =
        (good_side && edge < 1.0 && information > 1e-9).then(|| config.pass_at(sli) / information);
    let smallest_found = smallest_found(config, sli, better, base, arms, deadline);
    let advice = advice(seconds_to_pass, smallest_found, weight, deadline, arms);
    Some(StepPlan {
        weight,
        seconds_to_pass,
        smallest_found,
        advice,
    })
}

/// Expected seconds until a regression to `canary` is failed.
pub fn seconds_to_fail(
    config: &Config,
    sli: &SliConfig,
    base: f64,
    canary: f64,
    arms: (f64, f64),
) -> Option<f64> {
    let better = match sli.kind {
        SliKind::Ratio { better } | SliKind::Gauge { better } => better,
        _ => Better::Lower,
    };
    let margin = sli.fail_margin();
    let edge = margin.edge(base);
    let mut slis = config.slis.iter().zip(config.weights());
    let share = slis.find(|(it, _)| it.name == sli.name);
    let share = share.filter(|(it, _)| !it.advisory);
    let share = share.map_or(1.0, |(_, weight)| weight);
    let (n_c, n_b) = arms;
    let seconds = |(effect, mass): (f64, f64)| {
        let a_c = alternative(better, edge, effect);
        let (q, p) = ratio::project(n_c, n_b, a_c, base, margin)?;
        // What a second's requests of the true ratio are expected to say.
        let score = |n: f64, truth: f64, a: f64, null: f64| {
            n * (truth * (a / null).ln() + (1.0 - truth) * ((1.0 - a) / (1.0 - null)).ln())
        };
        let gain = score(n_c, canary, a_c, q) + score(n_b, base, base, p);
        let needed = -(config.alpha * share * mass * FIRST_STAKE).ln() + OVERSHOOT;
        (gain > 1e-9).then(|| needed / gain)
    };
    let alternatives = EFFECTS.into_iter().zip(MASSES);
    alternatives.filter_map(seconds).reduce(f64::min)
}

fn smallest_found(
    config: &Config,
    sli: &SliConfig,
    better: Better,
    base: f64,
    arms: (f64, f64),
    deadline: f64,
) -> Option<f64> {
    let edge = sli.fail_margin().edge(base);
    if edge <= 0.0 || edge >= 1.0 {
        return None;
    }
    let found = |log_factor: f64| {
        let canary = alternative(better, edge, log_factor.exp());
        seconds_to_fail(config, sli, base, canary, arms).is_some_and(|seconds| seconds <= deadline)
    };
    let (mut low, mut high) = (0.0, 15.0);
    if !found(high) {
        return None;
    }
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if found(middle) {
            high = middle
        } else {
            low = middle
        }
    }
    Some(alternative(better, edge, f64::exp(high)))
}

fn advice(
    seconds: Option<f64>,
    smallest: Option<f64>,
    weight: f64,
    deadline: f64,
    (canary, _): (f64, f64),
) -> Option<String> {
    let needed = match seconds {
        Some(seconds) if seconds <= deadline && smallest.is_some() => return None,
        Some(seconds) => seconds / deadline,
        None => {
            return Some(
                "the pass margin leaves no room above the usual ratio: widen it".to_owned(),
            );
        }
    };
    let wider = weight * needed.max(1.5);
    if wider <= 0.5 {
        return Some(format!(
            "{} requests a second are too few for {}: give this step {} of the requests, a wider margin or synthetic load",
            words::significant(canary),
            words::duration(deadline),
            words::percent(wider)
        ));
    }
    Some(format!(
        "{} requests a second are too few for {}: make the step longer, widen the margin or add synthetic load",
        words::significant(canary),
        words::duration(deadline)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(requests_per_second: f64, weight: f64, next: f64) -> StepPlan {
        let config = Config {
            slis: vec![SliConfig::errors("errors")],
            ..Config::default()
        };
        let traffic = Traffic {
            requests_per_second,
            ratio: 0.001,
        };
        plan_step(&config, &config.slis[0], traffic, weight, Some(next), 600.0).unwrap()
    }

    #[test]
    fn a_busy_service_needs_no_advice_and_a_quiet_one_gets_some() {
        let busy = plan(500.0, 0.1, 0.5);
        assert!(
            busy.advice.is_none() && busy.seconds_to_pass.unwrap() < 120.0,
            "{busy:?}"
        );
        assert!(busy.smallest_found.unwrap() < 0.003, "{busy:?}");
        let quiet = plan(2.0, 0.01, 0.5);
        assert!(
            quiet
                .advice
                .is_some_and(|advice| advice.contains("synthetic load"))
        );
    }

    #[test]
    fn a_small_next_step_needs_less_proof_than_a_large_one() {
        assert!(plan(500.0, 0.01, 0.05).seconds_to_pass < plan(500.0, 0.01, 1.0).seconds_to_pass);
    }
}
