//! Whether a release changed the usual share of bad requests, seasons aside.
//!
//! Monday morning is worse than Sunday night, whoever ships. So each two hours behind a release are compared
//! with the same two hours of earlier weeks, and so are those before it: what the service was already off its
//! season before the release is no fault of it. Both sets of differences give a mean and a spread; the
//! change is their means' difference, and it is said to be one where it is more than three of its standard
//! errors, at least a tenth of what was to be expected, and one request in ten thousand.

use serde::{Deserialize, Serialize};

use crate::Rate;

/// Length of the compared stretches in seconds.
pub const STRETCH: u64 = 7_200;
/// Stretches that are compared on either side of a release at the most: a day.
const SIDE: usize = 12;
/// The least on either side: six hours.
const SIDE_LEAST: usize = 3;
const WEEK: u64 = 7 * 86_400;
/// Earlier weeks that a stretch is compared with at the most.
const WEEKS: u64 = 4;
const SURE: f64 = 3.0;
const LEAST_SHARE: f64 = 0.1;
const LEAST: f64 = 1e-4;

/// What became of the share of bad requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// As was to be expected of these hours.
    Unchanged,
    /// More are bad.
    Worse,
    /// Fewer are.
    Better,
    /// Too little is known: not six hours behind the release, or no earlier week.
    Unknown,
}

/// The days around a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// The day before.
    pub before: Rate,
    /// The day behind, as far as it is over.
    pub after: Rate,
    /// The bad ratio that the season and the day before let expect of `after`.
    pub expected: Option<f64>,
    /// What became of it.
    pub change: Change,
}

/// One stretch against its season.
struct Pair {
    now: Rate,
    usual: f64,
}

impl Pair {
    fn difference(&self) -> f64 {
        self.now.ratio().unwrap_or(0.0) - self.usual
    }
}

/// What a release at second `at` changed. `stretches` have their first second, are [`STRETCH`] long and may be in
/// any order; those without requests are left out.
pub fn delta(stretches: &[(u64, Rate)], at: u64) -> Delta {
    let number = |t: u64| t / STRETCH;
    let find = |wanted: u64| {
        let mut all = stretches.iter();
        all.find(|(t, rate)| number(*t) == wanted && rate.requests > 0)
            .map(|(_, rate)| *rate)
    };
    // The stretch in which it was shipped belongs to neither side.
    let release = number(at);
    let side = |numbers: &mut dyn Iterator<Item = u64>| {
        let mut sum = Rate::default();
        let pairs: Vec<Pair> = numbers
            .filter_map(|number| {
                let now = find(number)?;
                crate::judge::add(&mut sum, now);
                let mut usual = Rate::default();
                for week in 1..=WEEKS {
                    let then = number.checked_sub(week * WEEK / STRETCH);
                    // Weeks before the release only: what it changed is no season.
                    let then = then.filter(|then| *then < release).and_then(find);
                    crate::judge::add(&mut usual, then.unwrap_or_default());
                }
                let usual = usual.ratio()?;
                Some(Pair { now, usual })
            })
            .collect();
        (sum, pairs)
    };
    let (before, early) = side(&mut (release.saturating_sub(SIDE as u64)..release));
    let (after, late) = side(&mut (release + 1..=release + SIDE as u64));
    let unknown = Delta {
        before,
        after,
        expected: None,
        change: Change::Unknown,
    };
    if early.len() < SIDE_LEAST || late.len() < SIDE_LEAST {
        return unknown;
    }
    let (off, off_error) = mean(&early);
    let (moved, moved_error) = mean(&late);
    let change = moved - off;
    let observed = after.ratio().unwrap_or(0.0);
    let expected = (observed - change).max(0.0);
    let error = off_error.hypot(moved_error);
    let is = change.abs() > SURE * error
        && change.abs() > LEAST_SHARE * expected
        && change.abs() > LEAST;
    Delta {
        expected: Some(expected),
        change: match is {
            true if change > 0.0 => Change::Worse,
            true => Change::Better,
            false => Change::Unchanged,
        },
        ..unknown
    }
}

/// The mean of differences and its standard error, which is at least that of counting.
fn mean(pairs: &[Pair]) -> (f64, f64) {
    let count = pairs.len() as f64;
    let mean = pairs.iter().map(Pair::difference).sum::<f64>() / count;
    let squares = pairs.iter().map(|pair| (pair.difference() - mean).powi(2));
    let spread = squares.sum::<f64>() / (count - 1.0).max(1.0);
    let counting = pairs.iter().map(|pair| {
        let usual = pair.usual.clamp(1e-6, 1.0);
        usual / pair.now.requests.max(1) as f64
    });
    let counting = counting.sum::<f64>() / count;
    (mean, (spread.max(counting) / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    /// Four weeks in which working hours and working days are far worse than the others.
    fn weeks(from: u64, change: impl Fn(u64) -> f64) -> Vec<(u64, Rate)> {
        let all = (0..28 * DAY).step_by(STRETCH as usize).map(|t| {
            let (day, hour) = (t / DAY % 7, t % DAY / 3_600);
            let busy = day < 5 && (8..18).contains(&hour);
            let usual = if busy { 0.01 } else { 0.001 };
            // The odd restless hour.
            let noise = 1.0 + 0.1 * ((t / STRETCH) as f64 * 2.399).sin();
            let requests = if busy { 400_000 } else { 50_000 };
            let bad = requests as f64 * (usual * noise + change(t));
            let bad = bad.round() as u64;
            (t, Rate { bad, requests })
        });
        all.filter(|(t, _)| *t >= from).collect()
    }

    #[test]
    fn a_week_with_its_seasons_shows_no_change_whenever_is_shipped() {
        for hour in (21 * 24 + 14..27 * 24).step_by(5) {
            let told = delta(&weeks(0, |_| 0.0), hour * 3_600);
            assert_eq!(told.change, Change::Unchanged, "hour {hour}: {told:?}");
        }
        // The naive comparison of before and after would be wrong by a factor: Sunday to Monday.
        let told = delta(&weeks(0, |_| 0.0), 21 * DAY);
        assert!(told.after.ratio().unwrap() > 4.0 * told.before.ratio().unwrap());
        assert_eq!(told.change, Change::Unchanged, "{told:?}");
    }

    #[test]
    fn a_true_change_is_found_behind_the_season_and_a_drift_from_before_is_no_change() {
        for hour in (21 * 24 + 14..26 * 24).step_by(7) {
            let at = hour * 3_600;
            let worse = delta(&weeks(0, |t| if t > at { 0.004 } else { 0.0 }), at);
            assert_eq!(worse.change, Change::Worse, "hour {hour}: {worse:?}");
            let expected = worse.after.ratio().unwrap() - worse.expected.unwrap();
            assert!((expected - 0.004).abs() < 0.002, "{worse:?}");
            let better = delta(&weeks(0, |t| if t > at { 0.0 } else { 0.004 }), at);
            assert_eq!(better.change, Change::Better, "hour {hour}: {better:?}");
            // It was worse for two days already.
            let drifted = |t: u64| if t + 2 * DAY > at { 0.004 } else { 0.0 };
            assert_eq!(
                delta(&weeks(0, drifted), at).change,
                Change::Unchanged,
                "hour {hour}"
            );
        }
    }

    #[test]
    fn without_an_earlier_week_or_six_hours_behind_it_nothing_is_said() {
        let at = 25 * DAY;
        assert_eq!(delta(&weeks(21 * DAY, |_| 0.0), at).change, Change::Unknown);
        let mut short = weeks(0, |_| 0.0);
        short.retain(|(t, _)| *t < at + 3 * STRETCH);
        assert_eq!(delta(&short, at).change, Change::Unknown);
        assert_eq!(delta(&[], at).change, Change::Unknown);
    }
}
