//! Before a release starts: how long each step will take, and what it would find.
//!
//! Wald's bound: evidence grows by the Kullback-Leibler information per second `I`, so a verdict
//! takes about `(ln(1/alpha) + 3) / I` seconds; the 3 is what the mixture and the overshoot cost.

use serde::{Deserialize, Serialize};

use crate::{
    Config,
    config::{Better, SliConfig, SliKind},
    judge::step_margin,
    member::alternative,
    ratio, words,
};

const MIXTURE_COST: f64 = 3.0;

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
        config.harm_budget,
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
        (good_side && edge < 1.0 && information > 1e-9).then(|| -config.beta.ln() / information);
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
    let information = ratio::information(arms.0, arms.1, canary, base, sli.fail_margin());
    (information > 1e-9).then(|| (-config.alpha.ln() + MIXTURE_COST) / information)
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
