//! What a rollout may expect of a service's usual traffic.

use std::collections::BTreeMap;

use airboss_judge::plan::{StepPlan, Traffic, plan_step};
use airboss_judge::{SliConfig, SliKind, words};
use airboss_model::manifest::{Service, Slo, Strategy};
use airboss_model::traffic::Weight;
use serde::{Deserialize, Serialize};

use crate::Gauge;

/// A service's usual traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// Requests a second, all instances together.
    pub requests_per_second: f64,
    /// The usual share of bad requests by SLO. One that is missing is taken to use half of its
    /// budget.
    pub ratios: BTreeMap<String, f64>,
    /// The share of all requests that an SLO counts, for those that count some routes only. One
    /// that is missing is taken to count all.
    #[serde(default)]
    pub shares: BTreeMap<String, f64>,
}

impl Usual {
    /// The same with the shares that follow from how often each route is asked for.
    pub fn with_routes(mut self, service: &Service, routes: &BTreeMap<String, u64>) -> Self {
        let all: u64 = routes.values().sum();
        for slo in service
            .spec
            .slos
            .iter()
            .filter(|slo| !slo.routes.is_empty() && all > 0)
        {
            let counted = routes.iter().filter(|(route, _)| {
                let mut patterns = slo.routes.iter();
                patterns.any(|pattern| pattern.covers(route))
            });
            let counted: u64 = counted.map(|(_, count)| count).sum();
            let share = counted as f64 / all as f64;
            self.shares.insert(slo.name.clone(), share);
        }
        self
    }
}

/// What to expect of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The new version's share.
    pub weight: Weight,
    /// Expected seconds until a healthy release has passed. None: not at this traffic.
    pub seconds: Option<f64>,
    /// The bad ratio of the smallest regression that is found before the step's deadline, by SLO.
    /// None: none is.
    pub finds: BTreeMap<String, Option<f64>>,
    /// What to change, where the above is poor.
    pub advice: Option<String>,
}

/// The steps below 100 % of a service's canary, at its usual traffic. Empty for strategies that
/// wait for no evidence.
pub fn forecast(service: &Service, usual: &Usual) -> Vec<Forecast> {
    let Strategy::Canary(canary) = service.spec.rollout.strategy() else {
        return Vec::new();
    };
    let gauge = Gauge::new(service);
    let deadline = canary.at_most.0.as_secs_f64();
    let steps = canary.steps.iter().enumerate();
    steps
        .filter(|(_, weight)| **weight < Weight::FULL && **weight > Weight::ZERO)
        .map(|(index, weight)| {
            let next = canary.steps.get(index + 1).map(|next| next.ratio());
            let plans: Vec<(&SliConfig, Option<StepPlan>)> = gauge
                .config()
                .slis
                .iter()
                .map(|sli| {
                    let traffic = Traffic {
                        requests_per_second: usual.requests_per_second
                            * usual.shares.get(&sli.name).copied().unwrap_or(1.0),
                        ratio: usual
                            .ratios
                            .get(&sli.name)
                            .copied()
                            .unwrap_or_else(|| guess(service, sli)),
                    };
                    let plan =
                        plan_step(gauge.config(), sli, traffic, weight.ratio(), next, deadline);
                    (sli, plan)
                })
                .collect();
            step(*weight, &plans)
        })
        .collect()
}

/// The shares below 100 % that a service's releases are judged at.
pub(crate) fn weights(service: &Service) -> Vec<f64> {
    let Strategy::Canary(canary) = service.spec.rollout.strategy() else {
        return Vec::new();
    };
    let below = canary.steps.iter().filter(|weight| **weight < Weight::FULL);
    below.map(|weight| weight.ratio()).collect()
}

/// What is assumed of a promise; stable's slowest hundredth where nothing is promised.
fn guess(service: &Service, sli: &SliConfig) -> f64 {
    let promised = service.spec.slos.iter().find(|slo| slo.name == sli.name);
    // A service without SLOs has an objective all the same.
    let promised = promised.map(Slo::assumed_bad);
    let promised = promised.or(sli.objective.map(|objective| (1.0 - objective) / 2.0));
    match (promised, sli.kind) {
        (Some(bad), _) => bad,
        (None, SliKind::Latency { .. }) => 0.01,
        (None, _) => 0.001,
    }
}

fn step(weight: Weight, plans: &[(&SliConfig, Option<StepPlan>)]) -> Forecast {
    let any_critical = plans.iter().any(|(sli, _)| sli.needs_proof());
    let waited_for = plans
        .iter()
        .filter(|(sli, _)| sli.needs_proof() || (!any_critical && !sli.advisory));
    let seconds = waited_for
        .map(|(_, plan)| plan.as_ref().and_then(|plan| plan.seconds_to_pass))
        .collect::<Option<Vec<f64>>>()
        .and_then(|all| all.into_iter().reduce(f64::max));
    Forecast {
        weight,
        seconds,
        finds: plans
            .iter()
            .map(|(sli, plan)| {
                let found = plan.as_ref().and_then(|plan| plan.smallest_found);
                (sli.name.clone(), found)
            })
            .collect(),
        advice: plans.iter().find_map(|(sli, plan)| {
            Some(format!("{}: {}", sli.name, plan.as_ref()?.advice.as_ref()?))
        }),
    }
}

impl std::fmt::Display for Forecast {
    /// `10%: about 40 s; finds availability from 0.4 % bad on`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.seconds {
            Some(seconds) => write!(f, "{}: about {}", self.weight, words::duration(seconds))?,
            None => write!(f, "{}: no proof to be had at this traffic", self.weight)?,
        }
        let mut mark = "; finds";
        for (name, found) in &self.finds {
            if let Some(ratio) = found {
                write!(f, "{mark} {name} from {} bad on", words::percent(*ratio))?;
                mark = ",";
            }
        }
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "checkout" },
            "spec": { "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1" } },
                "slos": [{ "name": "availability", "objective": "99.9%", "bad": "status >= 500" },
                    { "name": "latency", "objective": "99%", "under": "250ms" }],
                "rollout": { "canary": { "steps": ["1%", "10%", "100%"] } } }
        }))
        .unwrap()
    }

    fn at(requests_per_second: f64) -> Vec<Forecast> {
        let usual = Usual {
            requests_per_second,
            ratios: [("availability".to_owned(), 0.0005)].into(),
            shares: BTreeMap::new(),
        };
        forecast(&service(), &usual)
    }

    #[test]
    fn a_slo_of_which_more_is_better_is_planned_by_what_is_usual_of_it() {
        let mut service = service();
        service.spec.slos = serde_json::from_value(json!([
            { "name": "orders", "objective": "2%", "good": "status == 201" }
        ]))
        .unwrap();
        let usual = Usual {
            requests_per_second: 500.0,
            ratios: BTreeMap::new(),
            shares: BTreeMap::new(),
        };
        let steps = forecast(&service, &usual);
        // Of 2.5 % that buy, some hundredths fewer are found, and that takes its time.
        let found = steps[1].finds["orders"].unwrap();
        assert!((0.975..0.985).contains(&found), "{found}");
        assert!(steps[1].seconds.is_some_and(|seconds| seconds > 60.0));
    }

    #[test]
    fn a_slo_of_some_routes_waits_for_their_requests() {
        let mut service = service();
        service.spec.slos[0].routes = vec!["POST /pay".parse().unwrap()];
        let usual = Usual {
            requests_per_second: 500.0,
            ratios: BTreeMap::new(),
            shares: BTreeMap::new(),
        };
        let routes = [("GET /", 95_u64), ("POST /pay", 5)];
        let routes = routes.map(|(route, n)| (route.to_owned(), n)).into();
        let whole = forecast(&service, &usual);
        let part = forecast(&service, &usual.with_routes(&service, &routes));
        assert!(part[1].seconds > whole[1].seconds, "{part:?} {whole:?}");
        let found = |steps: &[Forecast]| steps[1].finds["availability"];
        assert!(found(&part) > found(&whole), "{part:?} {whole:?}");
    }

    #[test]
    fn a_busy_service_is_told_times_and_a_quiet_one_what_to_change() {
        let busy = at(500.0);
        assert_eq!(busy.len(), 2, "the step to 100 % waits for no proof");
        assert!(
            busy.iter()
                .all(|step| step.seconds.is_some_and(|s| s < 1_200.0)),
            "{busy:?}"
        );
        let words = busy[1].to_string();
        assert!(
            words.starts_with("10%: about ") && words.contains("finds availability from"),
            "{words}"
        );
        let quiet = at(0.5);
        assert!(quiet[0].advice.is_some(), "{quiet:?}");
        assert!(at(0.0)[0].to_string().contains("no proof"));
    }
}
