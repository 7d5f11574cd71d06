//! What users were promised: budgets, objectives, and what a rollout may expect.

use airboss_engine::Rollout;
use airboss_judge::burn::{BudgetDecision, BudgetPolicy, BurnRule, WORKBOOK};
use airboss_judge::suggest::{self, Fit};
use airboss_judge::words;
use airboss_model::manifest::{Service, Slo, WhenLow, WhenSpent};
use airboss_model::{LaneId, Span};
use airboss_runtime::Snapshot;
use airboss_runtime::history::{Learnt, SloRecord, stretches};

use crate::api::views::{BudgetView, BurnRateView, SloAdviceView, SloList};

/// The windows of the workbook's alerts, shortest first.
const WINDOWS: [u64; 5] = [300, 1_800, 3_600, 21_600, 259_200];
/// Blind spots that are named one by one.
const BLIND_SPOTS_MAX: usize = 5;

fn window(seconds: u64) -> String {
    Span::secs(seconds).to_string()
}

/// How each budget stands.
pub fn budgets(learnt: &Learnt) -> Vec<BudgetView> {
    let budget = |slo: &SloRecord| {
        let status = slo.budget.status(learnt.at);
        let alert = |rule: &&BurnRule| {
            let kind = if rule.page { "page" } else { "ticket" };
            let (long, short) = (window(rule.long), window(rule.short));
            format!("{kind}: {} over {long} and {short}", rule.rate)
        };
        BudgetView {
            slo: slo.name.clone(),
            objective: slo.objective,
            left: status.left,
            burn_rates: WINDOWS
                .iter()
                .map(|seconds| BurnRateView {
                    window: window(*seconds),
                    rate: slo.budget.burn_rate(*seconds),
                })
                .collect(),
            seconds_to_exhaustion: status.exhausted_in.filter(|seconds| seconds.is_finite()),
            alerts: slo.budget.alerts(&WORKBOOK).iter().map(alert).collect(),
        }
    };
    learnt.slos.iter().map(budget).collect()
}

/// The error budgets that are spent, of the SLOs that a manifest still promises alike.
pub fn spent(service: &Service, learnt: &Learnt) -> Vec<String> {
    let promised = |budget: &BudgetView| is_promised(service, &budget.slo, budget.objective);
    let spent = budgets(learnt).into_iter();
    spent
        .filter(|budget| budget.left <= 0.0 && promised(budget))
        .map(|budget| {
            format!(
                "the error budget of `{}` is spent: of 30 days' requests, more than {} are bad",
                budget.slo,
                words::percent(1.0 - budget.objective)
            )
        })
        .collect()
}

/// What the error budgets allow a release to do, by its manifest's policy.
pub fn allowed(service: &Service, learnt: &Learnt, is_fix: bool) -> BudgetDecision {
    let rollout = &service.spec.rollout;
    let policy = BudgetPolicy {
        slow_below: match rollout.when_low {
            WhenLow::Slow => BudgetPolicy::default().slow_below,
            WhenLow::Go => f64::NEG_INFINITY,
        },
        hold_below: match rollout.when_spent {
            WhenSpent::Refuse => 0.0,
            WhenSpent::Warn => f64::NEG_INFINITY,
        },
        fixes_exempt: true,
    };
    let promised = learnt
        .slos
        .iter()
        .filter(|slo| is_promised(service, &slo.name, slo.objective));
    promised
        .map(|slo| policy.decide(slo.budget.status(learnt.at), is_fix))
        .max()
        .unwrap_or(BudgetDecision::Allow)
}

fn is_promised(service: &Service, name: &str, objective: f64) -> bool {
    let slos = &service.spec.slos;
    let same = |slo: &Slo| slo.name == name && slo.objective.ratio() == objective;
    slos.is_empty() || slos.iter().any(same)
}

/// The budget that is lowest, in words.
pub fn lowest(service: &Service, learnt: &Learnt) -> String {
    let promised = budgets(learnt)
        .into_iter()
        .filter(|budget| is_promised(service, &budget.slo, budget.objective));
    let lowest = promised.min_by(|a, b| a.left.total_cmp(&b.left));
    lowest.map_or_else(String::new, |budget| {
        format!(
            "{} of the error budget of `{}` is left",
            words::percent(budget.left.max(0.0)),
            budget.slo
        )
    })
}

/// What the SLOs of a manifest do not see of the service's usual requests, the largest first.
pub fn blind_spots(service: &Service, learnt: &Learnt) -> Vec<String> {
    let steps = learnt.usual.as_ref().map_or_else(Vec::new, |usual| {
        airboss_telemetry::forecast(service, usual)
    });
    let spots = airboss_telemetry::blind_spots(service, &learnt.routes, &steps);
    let more = spots.len().saturating_sub(BLIND_SPOTS_MAX);
    let mut lines: Vec<String> = spots
        .iter()
        .take(BLIND_SPOTS_MAX)
        .map(ToString::to_string)
        .collect();
    if more > 0 {
        lines.push(format!("{more} smaller routes like these"));
    }
    lines
}

/// Objectives that the history does not fit, in words.
pub fn unfit(service: &Service, learnt: &Learnt) -> Vec<String> {
    let promised = learnt
        .slos
        .iter()
        .filter(|slo| is_promised(service, &slo.name, slo.objective));
    promised
        .map(advice)
        .filter_map(|slo| {
            let what = match slo.fit.as_str() {
                "not_reachable" => "was not kept",
                "too_loose" => "allows far more than ever happens",
                _ => return None,
            };
            let proposed = slo.proposed?;
            Some(format!(
                "the objective of `{}`, {}, {what}: {}; propose {}",
                slo.slo,
                words::share(slo.objective),
                slo.reason,
                words::share(proposed)
            ))
        })
        .collect()
}

/// The steps whose proof the usual traffic cannot give in time, and what to change.
pub fn unproven(service: &Service, learnt: &Learnt) -> Vec<String> {
    let usual = learnt.usual.as_ref();
    let steps = usual.map_or_else(Vec::new, |usual| {
        airboss_telemetry::forecast(service, usual)
    });
    let poor = steps.iter().filter(|step| step.advice.is_some());
    poor.map(|step| format!("step {step}")).collect()
}

/// What the history says of a lane's SLOs.
pub fn slos(lane: &LaneId, service: Option<&Service>, learnt: Option<&Learnt>) -> SloList {
    let usual = learnt.and_then(|learnt| learnt.usual.as_ref());
    SloList {
        service: lane.service().to_string(),
        environment: lane.environment().to_string(),
        requests_per_second: usual.map(|usual| usual.requests_per_second),
        usual: usual.map(|usual| usual.ratios.clone()).unwrap_or_default(),
        history_seconds: learnt.map_or(0, |learnt| learnt.seconds),
        routes: learnt
            .map(|learnt| learnt.routes.clone())
            .unwrap_or_default(),
        blind_spots: match (service, learnt) {
            (Some(service), Some(learnt)) => blind_spots(service, learnt),
            _ => Vec::new(),
        },
        slos: learnt
            .iter()
            .flat_map(|learnt| &learnt.slos)
            .map(advice)
            .collect(),
    }
}

fn advice(slo: &SloRecord) -> SloAdviceView {
    let history = stretches(&slo.budget);
    let suggestion = suggest::suggest(&history, slo.dispersion);
    let fit = match suggest::fit(slo.objective, &history) {
        Fit::Good => "good",
        Fit::NotReachable => "not_reachable",
        Fit::TooLoose => "too_loose",
        Fit::Unknown => "unknown",
    };
    SloAdviceView {
        slo: slo.name.clone(),
        objective: slo.objective,
        fit: fit.to_owned(),
        requests: history.iter().map(|rate| rate.requests).sum(),
        bad: history.iter().map(|rate| rate.bad).sum(),
        proposed: suggestion.as_ref().map(|suggestion| suggestion.objective),
        reason: suggestion.map_or_else(
            || "fewer than 1,000 requests were seen: too few to propose anything".to_owned(),
            |suggestion| suggestion.reason,
        ),
    }
}

/// What the steps may expect, where the plan is the manifest's canary.
pub fn forecast(snapshot: &Snapshot, rollout: &Rollout) -> Vec<String> {
    let usual = snapshot
        .learnt
        .as_ref()
        .and_then(|learnt| learnt.usual.as_ref());
    let waits = rollout.plan.steps.iter().any(|step| step.needs_pass);
    match usual.filter(|_| waits) {
        Some(usual) => airboss_telemetry::forecast(&rollout.request.service, usual)
            .iter()
            .map(ToString::to_string)
            .collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use airboss_judge::Rate;
    use airboss_judge::burn::{ErrorBudget, PERIOD_SECONDS};
    use serde_json::json;

    use super::*;

    fn service(objective: &str) -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "shop" },
            "spec": { "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1" } },
                "slos": [{ "name": "availability", "objective": objective, "bad": "status >= 500" }] }
        }))
        .unwrap()
    }

    #[test]
    fn a_spent_budget_is_told_to_releases_that_make_the_same_promise() {
        let learnt = |bad| {
            let mut budget = ErrorBudget::new(0.99).unwrap();
            for t in (0..PERIOD_SECONDS).step_by(3_600) {
                budget.observe(
                    t,
                    Rate {
                        bad,
                        requests: 1_000,
                    },
                );
            }
            Learnt {
                at: PERIOD_SECONDS,
                usual: None,
                seconds: 0,
                slos: vec![SloRecord {
                    name: "availability".to_owned(),
                    objective: 0.99,
                    budget: Arc::new(budget),
                    dispersion: 1.0,
                }],
                routes: Default::default(),
            }
        };
        assert_eq!(spent(&service("99%"), &learnt(5)), [] as [String; 0]);
        let told = spent(&service("99%"), &learnt(20));
        assert!(told[0].contains("`availability` is spent"), "{told:?}");
        assert_eq!(spent(&service("95%"), &learnt(20)), [] as [String; 0]);
        let mut careful = service("99%");
        careful.spec.rollout.when_low = WhenLow::Slow;
        assert_eq!(allowed(&careful, &learnt(5), false), BudgetDecision::Allow);
        assert_eq!(allowed(&careful, &learnt(9), false), BudgetDecision::Slow);
        assert_eq!(allowed(&careful, &learnt(9), true), BudgetDecision::Allow);
        assert_eq!(allowed(&careful, &learnt(20), false), BudgetDecision::Slow);
        careful.spec.rollout.when_spent = WhenSpent::Refuse;
        assert_eq!(allowed(&careful, &learnt(20), false), BudgetDecision::Hold);
        assert_eq!(
            allowed(&service("99%"), &learnt(20), false),
            BudgetDecision::Allow
        );
        assert!(lowest(&careful, &learnt(9)).starts_with("10 % of the error budget"));
    }
}
