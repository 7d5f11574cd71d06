//! Many runs in a few figures.

use std::time::Duration;

use airboss_model::Span;
use serde::Serialize;

use crate::run::{Ending, Run};

/// A figure over many runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread<T> {
    /// One of twenty runs is below it.
    pub low: T,
    /// Half of the runs are below it.
    pub median: T,
    /// One of twenty runs is above it.
    pub high: T,
}

impl<T: Copy + Ord> Spread<T> {
    /// None of no values.
    pub fn of(values: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut values: Vec<T> = values.into_iter().collect();
        values.sort_unstable();
        let last = values.len().checked_sub(1)?;
        let at = |percent: usize| values[(last * percent + 50) / 100];
        Some(Self {
            low: at(5),
            median: at(50),
            high: at(95),
        })
    }
}

/// Many runs of one rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many runs.
    pub runs: u32,
    /// Runs that were shipped.
    pub shipped: u32,
    /// Runs that were taken back.
    pub taken_back: u32,
    /// Runs that never became ready.
    pub failed: u32,
    /// Runs that ended in waiting for evidence.
    pub held: u32,
    /// The chance of being taken back, as the runs show it.
    pub chance_taken_back: f64,
    /// With 95 % certainty it is not above this.
    pub chance_at_most: f64,
    /// From the fault's begin to the decision, of runs that were taken back.
    pub detected: Option<Spread<Span>>,
    /// From the decision to the confirmed 0 %, of those.
    pub returned: Option<Spread<Span>>,
    /// Requests that the new version was sent meanwhile, in every run.
    pub exposed: Option<Spread<u64>>,
    /// Of these, failed ones.
    pub failed_requests: Option<Spread<u64>>,
    /// From the start to the end of runs that shipped.
    pub took: Option<Spread<Span>>,
    /// The run in the middle, to tell how such a rollout goes.
    pub example: Option<Run>,
}

impl Summary {
    /// The figures of these runs.
    pub fn of(runs: Vec<Run>) -> Self {
        let count = |ending: Ending| {
            u32::try_from(runs.iter().filter(|run| run.ending == ending).count())
                .unwrap_or(u32::MAX)
        };
        let total = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let taken_back = count(Ending::TakenBack);
        let back = || runs.iter().filter(|run| run.ending == Ending::TakenBack);
        Self {
            runs: total,
            shipped: count(Ending::Shipped),
            taken_back,
            failed: count(Ending::Failed),
            held: count(Ending::Held),
            chance_taken_back: f64::from(taken_back) / f64::from(total.max(1)),
            chance_at_most: at_most(taken_back, total),
            detected: Spread::of(back().filter_map(|run| run.detected)),
            returned: Spread::of(back().filter_map(|run| run.returned)),
            exposed: Spread::of(runs.iter().map(|run| run.exposed)),
            failed_requests: Spread::of(runs.iter().map(|run| run.failed)),
            took: Spread::of(
                runs.iter()
                    .filter(|run| run.ending == Ending::Shipped)
                    .map(|run| run.took),
            ),
            example: example(&runs),
        }
    }
}

/// Of the most frequent ending, the run in the middle by its time.
fn example(runs: &[Run]) -> Option<Run> {
    let endings = [
        Ending::TakenBack,
        Ending::Shipped,
        Ending::Held,
        Ending::Failed,
    ];
    let of = |ending: Ending| runs.iter().filter(move |run| run.ending == ending);
    let most = endings
        .into_iter()
        .rev()
        .max_by_key(|ending| of(*ending).count())?;
    let mut those: Vec<&Run> = of(most).collect();
    those.sort_by_key(|run| {
        run.detected
            .filter(|_| most == Ending::TakenBack)
            .map_or(run.took.0, |span| Duration::from_nanos(1).max(span.0))
    });
    those.get(those.len() / 2).map(|run| (*run).clone())
}

/// The upper end of the one-sided 95 % interval of Clopper and Pearson for `hits` of `runs`.
fn at_most(hits: u32, runs: u32) -> f64 {
    if hits >= runs {
        return 1.0;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..60 {
        let p = f64::midpoint(low, high);
        // The chance of so few hits or fewer.
        let mut term = f64::from(runs) * (-p).ln_1p();
        let mut sum = term.exp();
        for k in 1..=hits {
            term += (f64::from(runs - k + 1) / f64::from(k)).ln() + p.ln() - (-p).ln_1p();
            sum += term.exp();
        }
        if sum > 0.05 {
            low = p;
        } else {
            high = p;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_bounded_as_clopper_and_pearson_bound_it() {
        // The rule of three, and values from a table.
        assert!(
            (at_most(0, 200) - 0.014_87).abs() < 1e-4,
            "{}",
            at_most(0, 200)
        );
        assert!(
            (at_most(1, 20) - 0.216_1).abs() < 1e-3,
            "{}",
            at_most(1, 20)
        );
        assert!(
            (at_most(3, 100) - 0.075_7).abs() < 1e-3,
            "{}",
            at_most(3, 100)
        );
        assert!((at_most(5, 5) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_spread_names_the_middle_and_what_one_of_twenty_exceeds() {
        let spread = Spread::of(0..=100).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (5, 50, 95));
        assert_eq!(Spread::of(Vec::<u64>::new()), None);
    }
}
