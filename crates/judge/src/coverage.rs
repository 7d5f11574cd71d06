//! What the verdict cannot see: requests that no SLI covers, and a canary whose requests are not
//! like stable's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words;

/// Below this the canary's requests are not representative.
pub const REPRESENTATIVE: f64 = 0.8;
/// A route with less than this share of the traffic is no blind spot worth a word.
const NOTEWORTHY: f64 = 0.001;
/// A mix is not judged on fewer requests of the canary.
const ENOUGH: u64 = 200;
/// A user's requests come several at a time and alike: so many count as one.
const CLUMP: f64 = 10.0;
/// Kinds that are named as unseen at most.
const UNSEEN_MAX: usize = 3;
/// Kinds that are told apart at most; further ones are left out.
const KINDS_MAX: usize = 400;
/// From so many requests of the canary on, the older ones count half.
const FORGETS_AT: u64 = 50_000;

/// Requests by kind, such as `GET /cart` or a cohort, of both arms.
pub type Mix = BTreeMap<String, (u64, u64)>;

/// One second's requests by what they ask for and of whom they are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MixTick {
    /// By route.
    #[serde(default, skip_serializing_if = "Mix::is_empty")]
    pub routes: Mix,
    /// By cohort, where cohorts are told apart.
    #[serde(default, skip_serializing_if = "Mix::is_empty")]
    pub cohorts: Mix,
}

/// How like stable's requests the canary's are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Representativeness {
    /// 1 for the same mix, 0 for disjoint ones: 1 minus the total variation distance, less what
    /// chance alone gives at this number of requests.
    pub score: f64,
    /// Whether the score is high enough; None with too few requests to say.
    pub representative: Option<bool>,
    /// The kind with the largest difference, and both shares.
    pub largest: Option<(String, f64, f64)>,
    /// Kinds that stable serves and the canary has not been asked for though chance cannot be why,
    /// with their share of stable's requests; the largest ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<(String, f64)>,
    /// One line for people.
    pub reason: String,
}

/// Compares the canary's mix of requests (first count) with stable's (second).
pub fn representativeness(mix: &Mix) -> Representativeness {
    let (canary, stable) = totals(mix);
    if canary < ENOUGH || stable < ENOUGH {
        return Representativeness {
            score: 0.0,
            representative: None,
            largest: None,
            unseen: Vec::new(),
            reason: format!(
                "{} requests on the canary are too few to compare the mix",
                words::count(canary)
            ),
        };
    }
    let (n_c, n_b) = (canary as f64, stable as f64);
    let mut distance = 0.0;
    let mut chance = 0.0;
    let mut largest: Option<(String, f64, f64)> = None;
    let mut unseen = Vec::new();
    for (kind, (c, b)) in mix {
        // Twenty expected requests and none seen is no chance (e^-20), clumps taken into account.
        if *c == 0 && *b as f64 / n_b * n_c >= 20.0 * CLUMP {
            unseen.push((kind.clone(), *b as f64 / n_b));
        }
        let (c, b) = (*c as f64 / n_c, *b as f64 / n_b);
        distance += (c - b).abs() / 2.0;
        // Mean absolute deviation of a normal difference with this kind's pooled share.
        let p = (c * n_c + b * n_b) / (n_c + n_b);
        let variance = p * (1.0 - p) * (1.0 / n_c + 1.0 / n_b) * CLUMP;
        chance += (variance * std::f64::consts::FRAC_2_PI).sqrt() / 2.0;
        if largest
            .as_ref()
            .is_none_or(|(_, was_c, was_b)| (c - b).abs() > (was_c - was_b).abs())
        {
            largest = Some((kind.clone(), c, b));
        }
    }
    unseen.sort_by(|a, b| b.1.total_cmp(&a.1));
    unseen.truncate(UNSEEN_MAX);
    let score = (1.0 - (distance - chance).max(0.0)).clamp(0.0, 1.0);
    let representative = score >= REPRESENTATIVE;
    let reason = match &largest {
        Some((kind, c, b)) if !representative => format!(
            "the canary's requests are not like stable's ({} alike): {kind} is {} of them against {}",
            words::percent(score),
            words::percent(*c),
            words::percent(*b)
        ),
        _ => format!(
            "the canary's requests are like stable's ({} alike)",
            words::percent(score)
        ),
    };
    Representativeness {
        score,
        representative: Some(representative),
        largest,
        unseen,
        reason,
    }
}

fn totals(mix: &Mix) -> (u64, u64) {
    mix.values().fold((0, 0), |sum, it| {
        (
            u64::saturating_add(sum.0, it.0),
            u64::saturating_add(sum.1, it.1),
        )
    })
}

/// Both arms' requests of the present step. Within a step the weight does not change, so a mix
/// that drifts through the day drifts in both arms alike.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct MixState {
    step: MixTick,
    /// What the step before came to: it holds until this one has requests enough.
    before: Option<Representativeness>,
}

impl MixState {
    pub(crate) fn start_step(&mut self) {
        self.before = self.assess();
        self.step = MixTick::default();
    }

    pub(crate) fn observe(&mut self, tick: &MixTick) {
        for (sum, mix) in [
            (&mut self.step.routes, &tick.routes),
            (&mut self.step.cohorts, &tick.cohorts),
        ] {
            for (kind, (canary, stable)) in mix {
                if !sum.contains_key(kind) && sum.len() >= KINDS_MAX {
                    continue;
                }
                let sum = sum.entry(kind.clone()).or_default();
                sum.0 = sum.0.saturating_add(*canary);
                sum.1 = sum.1.saturating_add(*stable);
            }
            // A long step is to notice what changes late in it.
            if totals(sum).0 >= FORGETS_AT {
                sum.values_mut().for_each(|it| *it = (it.0 / 2, it.1 / 2));
            }
        }
    }

    /// The less alike of routes and cohorts. None where neither is told apart.
    pub(crate) fn assess(&self) -> Option<Representativeness> {
        let mixes = [&self.step.routes, &self.step.cohorts];
        let told = mixes.into_iter().filter(|mix| !mix.is_empty());
        let now = told
            .map(representativeness)
            .min_by(|a, b| order(a).total_cmp(&order(b)));
        match now {
            Some(now) if now.representative.is_some() => Some(now),
            now => self.before.clone().or(now),
        }
    }
}

/// What is known comes before what is not.
fn order(mix: &Representativeness) -> f64 {
    mix.representative.map_or(f64::INFINITY, |_| mix.score)
}

/// A part of the service that the verdict does not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum BlindSpot {
    /// A declared SLI that has no data.
    NoData {
        /// The SLI.
        sli: String,
    },
    /// A route that gets traffic and that no SLI covers.
    Uncovered {
        /// The route.
        route: String,
        /// Its share of the requests.
        share: f64,
    },
    /// A route so small that no step would notice if all of its requests failed.
    Faint {
        /// The route.
        route: String,
        /// Its share of the requests.
        share: f64,
        /// The smallest share of bad requests that a step finds.
        found: f64,
    },
}

impl std::fmt::Display for BlindSpot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoData { sli } => write!(
                f,
                "`{sli}` is declared but has no data: no request was for its routes"
            ),
            Self::Uncovered { route, share } => {
                write!(
                    f,
                    "`{route}` gets {} of the requests and no SLI covers it",
                    words::percent(*share)
                )
            }
            Self::Faint {
                route,
                share,
                found,
            } => {
                write!(
                    f,
                    "`{route}` is {} of the requests: if all of them failed no step would notice, which finds {} and more; give it an SLO of its own",
                    words::percent(*share),
                    words::percent(*found)
                )
            }
        }
    }
}

/// Names what the verdict does not see of a service's usual requests by route. `covered` says
/// whether an SLI covers a route, and whether one covers it and little else; `silent` are the
/// declared SLIs without data; `found` is the smallest share of bad requests that a step finds.
pub fn blind_spots(
    routes: &BTreeMap<String, u64>,
    covered: impl Fn(&str) -> (bool, bool),
    silent: &[&str],
    found: Option<f64>,
) -> Vec<BlindSpot> {
    let mut spots: Vec<BlindSpot> = silent
        .iter()
        .map(|sli| BlindSpot::NoData {
            sli: (*sli).to_owned(),
        })
        .collect();
    let all = routes
        .values()
        .fold(0, |sum: u64, n| sum.saturating_add(*n));
    let mut shares: Vec<(&str, f64)> = routes
        .iter()
        .map(|(route, count)| (route.as_str(), *count as f64 / all.max(1) as f64))
        .filter(|(_, share)| *share >= NOTEWORTHY)
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (route, share) in shares {
        let route = route.to_owned();
        match (covered(&route), found) {
            ((false, _), _) => spots.push(BlindSpot::Uncovered { route, share }),
            ((true, false), Some(found)) if share < found => {
                spots.push(BlindSpot::Faint {
                    route,
                    share,
                    found,
                });
            }
            _ => {}
        }
    }
    spots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(rows: &[(&str, u64, u64)]) -> Mix {
        rows.iter()
            .map(|(route, c, b)| ((*route).to_owned(), (*c, *b)))
            .collect()
    }

    #[test]
    fn chance_is_no_difference_and_a_shifted_mix_is() {
        let alike = representativeness(&mix(&[
            ("GET /", 480, 5000),
            ("POST /pay", 120, 1000),
            ("GET /cart", 400, 4000),
        ]));
        assert_eq!(alike.representative, Some(true), "{alike:?}");
        let shifted = representativeness(&mix(&[
            ("GET /", 950, 5000),
            ("POST /pay", 0, 1000),
            ("GET /cart", 50, 4000),
        ]));
        assert_eq!(shifted.representative, Some(false));
        assert!(shifted.reason.contains("GET /"), "{}", shifted.reason);
        assert_eq!(
            representativeness(&mix(&[("GET /", 3, 500)])).representative,
            None
        );
    }

    #[test]
    fn uncovered_faint_and_silent_parts_are_named() {
        let routes = [
            ("GET /", 900_u64),
            ("POST /pay", 100),
            ("GET /faint", 2),
            ("GET /rare", 0),
        ]
        .map(|(route, count)| (route.to_owned(), count))
        .into();
        let spots = blind_spots(
            &routes,
            |route| (route != "GET /", false),
            &["latency"],
            Some(0.01),
        );
        let text: Vec<String> = spots.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 3, "{text:?}");
        assert!(
            text[0].contains("`latency`")
                && text[1].contains("`GET /`")
                && text[2].contains("`GET /faint` is 0.2 %"),
            "{text:?}"
        );
    }

    #[test]
    fn a_step_starts_its_own_mix_and_goes_by_the_last_one_until_it_has_requests() {
        let tick = |canary: u64, stable: u64| MixTick {
            routes: mix(&[
                ("GET /", canary, 500),
                ("POST /pay", 1_000 - canary, stable),
            ]),
            ..MixTick::default()
        };
        let mut state = MixState::default();
        assert_eq!(state.assess(), None);
        state.observe(&tick(500, 500));
        assert_eq!(state.assess().unwrap().representative, Some(true));
        state.start_step();
        assert_eq!(state.assess().unwrap().representative, Some(true));
        state.observe(&tick(1_000, 500));
        let said = state.assess().unwrap();
        assert_eq!(said.representative, Some(false));
        assert_eq!(said.unseen, [("POST /pay".to_owned(), 0.5)]);
    }

    #[test]
    fn the_less_alike_of_routes_and_cohorts_is_told() {
        let mut state = MixState::default();
        state.observe(&MixTick {
            routes: mix(&[("GET /", 1_000, 9_000)]),
            cohorts: mix(&[("free", 1_000, 4_500), ("paid", 0, 4_500)]),
        });
        assert!(state.assess().unwrap().reason.contains("free is 100 %"));
    }
}
