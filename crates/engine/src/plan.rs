//! The steps of a rollout, resolved from its strategy once, when it starts.

use std::time::Duration;

use airboss_model::Span;
use airboss_model::manifest::{Bake, Strategy, Then};
use airboss_model::traffic::Weight;
use serde::{Deserialize, Serialize};

/// What a rollout will do, in order. It does not change while the rollout runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The strategy's name: `canary`, `blue_green`, `all_at_once`.
    pub strategy: String,
    /// At least one step; the last one is 100 %.
    pub steps: Vec<Step>,
    /// The share of stable's requests that is copied to the canary.
    pub mirror: Weight,
    /// Why the plan differs from the manifest's, where it does.
    pub note: Option<String>,
}

/// One level of exposure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The new version's share of requests.
    pub weight: Weight,
    /// The least time to observe it.
    pub at_least: Span,
    /// The longest time to wait for evidence; None where the step does not wait for any.
    pub at_most: Option<Span>,
    /// What happens after `at_most`.
    pub then: Then,
    /// Whether the judge must say `pass` before the next step.
    pub needs_pass: bool,
}

impl Step {
    fn unjudged(weight: Weight, at_least: Span) -> Self {
        Self {
            weight,
            at_least,
            at_most: None,
            then: Then::Hold,
            needs_pass: false,
        }
    }
}

impl Plan {
    /// The plan of a strategy where a stable version serves already.
    pub fn of(strategy: &Strategy) -> Self {
        let at_once = |name: &str, keep| Self {
            strategy: name.to_owned(),
            steps: vec![Step::unjudged(Weight::FULL, keep)],
            mirror: Weight::ZERO,
            note: None,
        };
        match strategy {
            Strategy::AllAtOnce(_) => at_once("all_at_once", Span(Duration::ZERO)),
            Strategy::BlueGreen(blue_green) => at_once("blue_green", blue_green.keep),
            Strategy::Canary(canary) => {
                let at_least = match canary.bake {
                    Bake::Auto => Span(Duration::ZERO),
                    Bake::AtLeast(span) => span,
                };
                let mut steps: Vec<Step> = canary
                    .steps
                    .iter()
                    .filter(|weight| **weight < Weight::FULL)
                    .map(|weight| Step {
                        weight: *weight,
                        at_least,
                        at_most: Some(canary.at_most),
                        then: canary.then,
                        needs_pass: true,
                    })
                    .collect();
                steps.push(Step::unjudged(Weight::FULL, canary.hold_old));
                Self {
                    strategy: "canary".to_owned(),
                    steps,
                    mirror: canary.mirror,
                    note: None,
                }
            }
        }
    }

    /// The plan of a service's first deployment: there is no baseline to compare with and
    /// nothing to return to, so it is watched against its objectives alone.
    pub fn first(strategy: &Strategy) -> Self {
        let full = Self::of(strategy);
        let watch = full
            .steps
            .last()
            .map_or(Span::secs(0), |last| last.at_least);
        Self {
            steps: vec![Step::unjudged(Weight::FULL, watch)],
            mirror: Weight::ZERO,
            note: Some(
                "first deployment: there is no baseline, so only the absolute objectives are watched"
                    .to_owned(),
            ),
            ..full
        }
    }

    /// The same in smaller steps: one before the first, and one between every two that are more
    /// than a doubling apart. Steps that wait for no evidence stay as they are.
    pub fn slowed(mut self, why: &str) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for step in self.steps {
            let judged = steps.last().map_or(step.needs_pass, |last| last.needs_pass);
            let before = steps
                .last()
                .map_or(0.0, |last| f64::from(last.weight.basis_points()));
            let points = f64::from(step.weight.basis_points());
            // The middle in factors: 1 % to 10 % goes over 3.16 %; the first step begins at half.
            let middle = match steps.last() {
                Some(_) => (before * points).sqrt(),
                None => points / 2.0,
            };
            if judged && points > 2.0 * before && middle >= 1.0 {
                let like = steps.last().unwrap_or(&step).clone();
                steps.push(Step {
                    weight: Weight::from_basis_points(middle as u16),
                    ..like
                });
            }
            steps.push(step);
        }
        self.steps = steps;
        self.note = Some(format!(
            "slower than planned, with half the harm that a step may do: {why}"
        ));
        self
    }

    /// The plan of a return to an earlier version: as fast as its instances become ready.
    pub fn return_to_earlier() -> Self {
        Self {
            strategy: "rollback".to_owned(),
            steps: vec![Step::unjudged(Weight::FULL, Span::secs(0))],
            mirror: Weight::ZERO,
            note: Some("a return to an earlier version takes all traffic at once".to_owned()),
        }
    }

    /// The weight of a step; 100 % behind the last one.
    pub fn weight(&self, step: usize) -> Weight {
        self.steps
            .get(step)
            .map_or(Weight::FULL, |step| step.weight)
    }

    /// True for the step behind which there is none.
    pub fn is_last(&self, step: usize) -> bool {
        step + 1 >= self.steps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airboss_model::manifest::{AllAtOnce, BlueGreen, Canary};

    #[test]
    fn every_plan_ends_at_full_weight_and_only_grows() {
        let strategies = [
            Strategy::Canary(Canary::default()),
            Strategy::BlueGreen(BlueGreen {
                keep: Span::secs(60),
            }),
            Strategy::AllAtOnce(AllAtOnce {}),
        ];
        for strategy in &strategies {
            for plan in [
                Plan::of(strategy),
                Plan::first(strategy),
                Plan::return_to_earlier(),
            ] {
                assert_eq!(plan.steps.last().unwrap().weight, Weight::FULL);
                assert!(
                    plan.steps
                        .windows(2)
                        .all(|pair| pair[0].weight < pair[1].weight)
                );
            }
        }
    }

    #[test]
    fn a_slowed_plan_keeps_every_step_and_adds_smaller_ones() {
        let plan = Plan::of(&Strategy::Canary(Canary::default()));
        let slowed = plan.clone().slowed("12 % of the budget is left");
        let weights: Vec<String> = slowed
            .steps
            .iter()
            .map(|step| step.weight.to_string())
            .collect();
        assert_eq!(
            weights,
            ["0.5%", "1%", "3.16%", "10%", "22.36%", "50%", "100%"]
        );
        for step in &plan.steps {
            assert!(slowed.steps.contains(step), "{step:?}");
        }
        assert!(
            slowed
                .steps
                .iter()
                .all(|step| step.needs_pass == (step.weight < Weight::FULL))
        );
        let at_once = Plan::of(&Strategy::AllAtOnce(AllAtOnce {}));
        assert_eq!(at_once.clone().slowed("").steps, at_once.steps);
    }

    #[test]
    fn every_step_with_a_baseline_needs_proof() {
        let plan = Plan::of(&Strategy::Canary(Canary::default()));
        assert!(
            plan.steps
                .iter()
                .all(|step| step.needs_pass == (step.weight < Weight::FULL))
        );
    }
}
