//! Error budgets and burn rates, for people and alerts.
//!
//! A burn rate is the bad ratio over a window relative to the error budget `1 - objective`: at 1
//! the budget lasts exactly the period. An alert needs a long window, so that it is sure, and a
//! short one, so that it ends when the trouble does (The Site Reliability Workbook, chapter 5).
//! Counts are kept in rings of 10 s, 5 min and 2 h cells: 30 days in at most 18 KB, an
//! update in O(1).

use serde::{Deserialize, Serialize};

use crate::{Rate, ring::Ring, season::STRETCH};

/// Cell length in seconds and number of cells of each ring: 1 h, 25 h, 30 days and 2 h.
const RINGS: [(u64, usize); 3] = [(10, 361), (300, 301), (STRETCH, 361)];
/// The period over which a budget is spent: 30 days.
pub const PERIOD_SECONDS: u64 = 30 * 86_400;

/// A pair of windows and the burn rate that both must exceed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BurnRule {
    /// Seconds of the long window, at most 30 days.
    pub long: u64,
    /// Seconds of the short window.
    pub short: u64,
    /// The burn rate from which it alerts.
    pub rate: f64,
    /// Whether somebody must be woken.
    pub page: bool,
}

/// The workbook's recommendation: two pages and a ticket.
pub const WORKBOOK: [BurnRule; 3] = [
    BurnRule {
        long: 3600,
        short: 300,
        rate: 14.4,
        page: true,
    },
    BurnRule {
        long: 21_600,
        short: 1800,
        rate: 6.0,
        page: true,
    },
    BurnRule {
        long: 259_200,
        short: 21_600,
        rate: 1.0,
        page: false,
    },
];

/// One SLO's consumption of its error budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBudget {
    objective: f64,
    rings: Vec<Ring>,
    first: Option<u64>,
}

/// How a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// What is left of the period's budget, 1 for all, below 0 where overspent.
    pub left: f64,
    /// Seconds until it is spent at the last hour's burn rate. None where it grows back or is
    /// not being spent.
    pub exhausted_in: Option<f64>,
    /// The last hour's burn rate, where there were requests.
    pub burn_rate: Option<f64>,
}

impl ErrorBudget {
    /// A budget that nothing was spent of. The objective is a share such as 0.999; one that is not
    /// between 0 and 1 is None.
    pub fn new(objective: f64) -> Option<Self> {
        (objective > 0.0 && objective < 1.0).then(|| Self {
            objective,
            rings: RINGS.into_iter().map(Ring::new).collect(),
            first: None,
        })
    }

    /// Adds the requests of second `t`. Seconds before the newest count as the newest.
    pub fn observe(&mut self, t: u64, rate: Rate) {
        self.first.get_or_insert(t);
        for ring in &mut self.rings {
            ring.add(t, rate);
        }
    }

    /// The requests of the last `window` seconds, up to one cell less. Windows beyond 30 days are
    /// cut to it.
    pub fn window(&self, window: u64) -> Rate {
        let fits = |ring: &&Ring| window <= ring.reach();
        self.rings
            .iter()
            .find(fits)
            .or(self.rings.last())
            .map_or(Rate::default(), |ring| ring.sum(window))
    }

    /// The counts of each two hours that are wholly over, with their first second; those without requests are left
    /// out. Thirty days at the most.
    pub fn stretches(&self) -> Vec<(u64, Rate)> {
        let over = self.rings.last().into_iter().flat_map(Ring::over);
        over.filter(|(_, rate)| rate.requests > 0).collect()
    }

    /// The burn rate over a window; None without requests.
    pub fn burn_rate(&self, window: u64) -> Option<f64> {
        self.window(window)
            .ratio()
            .map(|ratio| ratio / (1.0 - self.objective))
    }

    /// The rules whose long and short window both burn too fast.
    pub fn alerts<'a>(&self, rules: &'a [BurnRule]) -> Vec<&'a BurnRule> {
        let burns = |window, rate| self.burn_rate(window).is_some_and(|burn| burn >= rate);
        rules
            .iter()
            .filter(|rule| burns(rule.long, rule.rate) && burns(rule.short, rule.rate))
            .collect()
    }

    /// What is left of the 30 days' budget. With less than 30 days of data the requests still to
    /// come are taken to be like those seen, so that a young service is not out of budget at once.
    pub fn status(&self, now: u64) -> BudgetStatus {
        let seen = self.window(PERIOD_SECONDS);
        let covered = self
            .first
            .map_or(0, |first| now.saturating_sub(first) + 1)
            .clamp(1, PERIOD_SECONDS);
        let expected = seen.requests as f64 * PERIOD_SECONDS as f64 / covered as f64;
        let budget = expected * (1.0 - self.objective);
        let left = if budget > 0.0 {
            1.0 - seen.bad as f64 / budget
        } else {
            1.0
        };
        let burn_rate = self.burn_rate(3600);
        let exhausted_in = burn_rate
            .filter(|burn| *burn > 0.0)
            .map(|burn| left.max(0.0) * PERIOD_SECONDS as f64 / burn);
        BudgetStatus {
            left,
            exhausted_in,
            burn_rate,
        }
    }
}

/// What a budget allows releases to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetPolicy {
    /// Below this share of the budget releases go slower.
    pub slow_below: f64,
    /// Below this share releases wait.
    pub hold_below: f64,
    /// Releases that are declared to be fixes go all the same.
    pub fixes_exempt: bool,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            slow_below: 0.25,
            hold_below: 0.0,
            fixes_exempt: true,
        }
    }
}

/// What the policy says of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetDecision {
    /// Go.
    Allow,
    /// Go, with half the harm budget.
    Slow,
    /// Wait until the budget has recovered.
    Hold,
}

impl BudgetPolicy {
    /// What a release may do with this much of the budget left.
    pub fn decide(&self, status: BudgetStatus, is_fix: bool) -> BudgetDecision {
        match status.left {
            _ if is_fix && self.fixes_exempt => BudgetDecision::Allow,
            left if left <= self.hold_below => BudgetDecision::Hold,
            left if left <= self.slow_below => BudgetDecision::Slow,
            _ => BudgetDecision::Allow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bad: u64) -> Rate {
        Rate {
            bad,
            requests: 1000,
        }
    }

    #[test]
    fn a_fast_burn_pages_after_its_short_window_and_stops_with_the_trouble() {
        let mut budget = ErrorBudget::new(0.999).unwrap();
        for t in 0..3600 {
            budget.observe(t, rate(0));
        }
        assert!(budget.alerts(&WORKBOOK).is_empty());
        for t in 3600..4200 {
            budget.observe(t, rate(100));
        }
        assert!(
            budget
                .alerts(&WORKBOOK)
                .iter()
                .any(|rule| rule.rate == 14.4)
        );
        for t in 4200..4600 {
            budget.observe(t, rate(0));
        }
        assert!(
            budget
                .alerts(&WORKBOOK)
                .iter()
                .all(|rule| rule.rate != 14.4)
        );
    }

    #[test]
    fn thirty_days_are_kept_and_no_more() {
        let mut budget = ErrorBudget::new(0.99).unwrap();
        for t in (0..40 * 86_400).step_by(600) {
            budget.observe(t, rate(10));
        }
        let month = budget.window(PERIOD_SECONDS).requests / 1000;
        assert!((4320..=4332).contains(&month), "{month}");
        assert_eq!(budget.window(3600).requests, 6000);
        let stretches = budget.stretches();
        assert_eq!(stretches.len(), 360);
        let whole = |(t, rate): &(u64, Rate)| t % 7_200 == 0 && rate.requests == 12_000;
        assert!(stretches.iter().all(whole), "{stretches:?}");
        assert_eq!(stretches.last().unwrap().0, 40 * 86_400 - 2 * 7_200);
        let status = budget.status(40 * 86_400);
        assert!(
            status.left.abs() < 0.01
                && status
                    .burn_rate
                    .is_some_and(|burn| (burn - 1.0).abs() < 1e-9)
        );
    }

    #[test]
    fn an_empty_budget_holds_releases_but_not_fixes() {
        let policy = BudgetPolicy::default();
        let status = |left| BudgetStatus {
            left,
            exhausted_in: None,
            burn_rate: None,
        };
        assert_eq!(policy.decide(status(-0.2), false), BudgetDecision::Hold);
        assert_eq!(policy.decide(status(-0.2), true), BudgetDecision::Allow);
        assert_eq!(policy.decide(status(0.2), false), BudgetDecision::Slow);
        assert_eq!(policy.decide(status(0.9), false), BudgetDecision::Allow);
        assert!(ErrorBudget::new(1.0).is_none());
    }
}
