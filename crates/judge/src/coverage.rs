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

/// Requests by kind, such as `GET /cart` or a cohort, of both arms.
pub type Mix = BTreeMap<String, (u64, u64)>;

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
    /// One line for people.
    pub reason: String,
}

/// Compares the canary's mix of requests (first count) with stable's (second).
pub fn representativeness(mix: &Mix) -> Representativeness {
    let canary: u64 = mix.values().map(|(canary, _)| canary).sum();
    let stable: u64 = mix.values().map(|(_, stable)| stable).sum();
    if canary < ENOUGH || stable < ENOUGH {
        return Representativeness {
            score: 0.0,
            representative: None,
            largest: None,
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
    for (kind, (c, b)) in mix {
        let (c, b) = (*c as f64 / n_c, *b as f64 / n_b);
        distance += (c - b).abs() / 2.0;
        // Mean absolute deviation of a normal difference with this kind's pooled share.
        let p = (c * n_c + b * n_b) / (n_c + n_b);
        chance +=
            (p * (1.0 - p) * (1.0 / n_c + 1.0 / n_b) * std::f64::consts::FRAC_2_PI).sqrt() / 2.0;
        if largest
            .as_ref()
            .is_none_or(|(_, was_c, was_b)| (c - b).abs() > (was_c - was_b).abs())
        {
            largest = Some((kind.clone(), c, b));
        }
    }
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
        reason,
    }
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
    /// A route that stable serves and the canary has not been asked for.
    Unseen {
        /// The route.
        route: String,
        /// Its share of stable's requests.
        share: f64,
    },
}

impl std::fmt::Display for BlindSpot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoData { sli } => write!(f, "`{sli}` is declared but has no data"),
            Self::Uncovered { route, share } => {
                write!(
                    f,
                    "`{route}` gets {} of the requests and no SLI covers it",
                    words::percent(*share)
                )
            }
            Self::Unseen { route, share } => {
                write!(
                    f,
                    "`{route}` is {} of stable's requests and the canary has not served it",
                    words::percent(*share)
                )
            }
        }
    }
}

/// Names what the verdict does not see. `covered` says whether an SLI covers a route; `silent` are
/// the declared SLIs without data.
pub fn blind_spots(
    routes: &Mix,
    covered: impl Fn(&str) -> bool,
    silent: &[&str],
) -> Vec<BlindSpot> {
    let mut spots: Vec<BlindSpot> = silent
        .iter()
        .map(|sli| BlindSpot::NoData {
            sli: (*sli).to_owned(),
        })
        .collect();
    let (canary, stable) = routes
        .values()
        .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    for (route, (c, b)) in routes {
        let share = (c + b) as f64 / (canary + stable).max(1) as f64;
        let stable_share = *b as f64 / stable.max(1) as f64;
        if share >= NOTEWORTHY && !covered(route) {
            spots.push(BlindSpot::Uncovered {
                route: route.clone(),
                share,
            });
        }
        // Twenty expected requests and none seen is no chance (e^-20).
        if *c == 0 && stable_share * canary as f64 >= 20.0 {
            spots.push(BlindSpot::Unseen {
                route: route.clone(),
                share: stable_share,
            });
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
    fn uncovered_unseen_and_silent_parts_are_named() {
        let routes = mix(&[
            ("GET /", 900, 9000),
            ("POST /pay", 0, 1000),
            ("GET /rare", 0, 5),
        ]);
        let spots = blind_spots(&routes, |route| route != "GET /", &["latency"]);
        let text: Vec<String> = spots.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 3, "{text:?}");
        assert!(
            text[0].contains("`latency`")
                && text[1].contains("`GET /`")
                && text[2].contains("`POST /pay`")
        );
    }
}
