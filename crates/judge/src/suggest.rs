//! Objectives and margins from a service's history.

use serde::{Deserialize, Serialize};

use crate::{Margin, Rate, words};

/// Objectives are proposed from these: nobody promises 99.93 %.
const LADDER: [f64; 12] = [
    0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995, 0.99999,
];
/// A proposed objective leaves this many times the usual bad ratio as budget.
const HEADROOM: f64 = 2.0;
/// An objective that allows this many times the usual bad ratio protects nobody.
const LOOSE: f64 = 20.0;
/// Fewer requests than this tell too little.
const ENOUGH: u64 = 1000;

/// A proposal for an SLO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The proposed objective, such as 0.999.
    pub objective: f64,
    /// Beyond this a release should fail: what the history's own restlessness asks for.
    pub fail: Margin,
    /// Why.
    pub reason: String,
}

/// What the history says of an objective that is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The service keeps it with room to spare, but not too much.
    Good,
    /// The service did not keep it: the budget is spent before any release.
    NotReachable,
    /// It allows far more than ever happens.
    TooLoose,
    /// Too few requests to say.
    Unknown,
}

/// Proposes an objective from the counts of equal stretches of history (hours, say). The worst
/// tenth of the stretches sets the pace, so that a normal bad hour does not break the promise.
/// None with fewer than 1,000 requests.
pub fn suggest(stretches: &[Rate], dispersion: f64) -> Option<Suggestion> {
    let (usual, restless) = levels(stretches)?;
    let wanted = HEADROOM * restless;
    let objective = LADDER
        .iter()
        .rev()
        .copied()
        .find(|objective| 1.0 - objective >= wanted)
        .unwrap_or(LADDER[0]);
    // Clumps make the ratio of a few minutes jump; the added part grows with them.
    let delta = (1e-4 * dispersion.max(1.0)).max(usual * 0.05);
    let reason = format!(
        "usually {} are bad, in the worst tenth of the time {}; {} leaves room for {}",
        words::percent(usual),
        words::percent(restless),
        words::percent(objective),
        words::percent(1.0 - objective)
    );
    Some(Suggestion {
        objective,
        fail: Margin { rho: 1.1, delta },
        reason,
    })
}

/// Whether an objective fits the history.
pub fn fit(objective: f64, stretches: &[Rate]) -> Fit {
    let Some((usual, _)) = levels(stretches) else {
        return Fit::Unknown;
    };
    let budget = 1.0 - objective;
    match usual {
        usual if usual > budget => Fit::NotReachable,
        // A service that never fails is measured by one bad request in ten thousand.
        usual if budget > LOOSE * usual.max(1e-4) => Fit::TooLoose,
        _ => Fit::Good,
    }
}

/// The overall ratio and that of the worst tenth's mildest stretch.
fn levels(stretches: &[Rate]) -> Option<(f64, f64)> {
    let bad: u64 = stretches.iter().map(|rate| rate.bad).sum();
    let requests: u64 = stretches.iter().map(|rate| rate.requests).sum();
    if requests < ENOUGH {
        return None;
    }
    let mut ratios: Vec<f64> = stretches.iter().filter_map(|rate| rate.ratio()).collect();
    ratios.sort_by(f64::total_cmp);
    let worst = ratios
        .get((ratios.len() * 9 / 10).min(ratios.len().checked_sub(1)?))
        .copied()?;
    let usual = bad as f64 / requests as f64;
    Some((usual, worst.max(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(bad: u64) -> Vec<Rate> {
        (0..24)
            .map(|hour| Rate {
                bad: bad + hour % 3,
                requests: 100_000,
            })
            .collect()
    }

    #[test]
    fn a_proposed_objective_is_kept_by_the_history_it_came_from() {
        for bad in [0, 5, 50, 500, 4000] {
            let suggestion = suggest(&hours(bad), 1.0).unwrap();
            assert_eq!(
                fit(suggestion.objective, &hours(bad)),
                Fit::Good,
                "{suggestion:?}"
            );
        }
    }

    #[test]
    fn objectives_out_of_reach_and_too_loose_are_told_apart() {
        assert_eq!(fit(0.9999, &hours(500)), Fit::NotReachable);
        assert_eq!(fit(0.9, &hours(50)), Fit::TooLoose);
        assert_eq!(fit(0.9, &[]), Fit::Unknown);
        assert!(
            suggest(
                &[Rate {
                    bad: 0,
                    requests: 10
                }],
                1.0
            )
            .is_none()
        );
    }
}
