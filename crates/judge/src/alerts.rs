//! What burn-rate rules do: how soon they alert, what is spent by then, when they end, and what they would
//! have done on a recorded past.
//!
//! While a share `e` of the requests is bad, the long window reaches the rate `r` after `long r b / e`
//! seconds, `b` being the error budget `1 - objective`; by then `r long / period` of the budget is spent,
//! whatever `e` is. When all is well again, the short window falls below the rate after
//! `short (1 - r b / e)` (The Site Reliability Workbook, chapter 5).

use std::fmt;

use serde::Serialize;

use crate::{
    Rate,
    burn::{BurnRule, ErrorBudget, PERIOD_SECONDS},
    words,
};

/// A page that comes when more of the budget is gone is late ...
const LATE: f64 = 0.1;
/// ... and one that comes when less is gone is not worth waking for.
const TRIFLE: f64 = 0.005;
/// A page that goes on for so long after the trouble hides the next one, in seconds.
const LINGERS: f64 = 3600.0;

/// What a rule does while a share of the requests is bad.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Detection {
    /// The bad share, 0 to 1.
    pub bad: f64,
    /// Seconds until it alerts. None: never.
    pub after: Option<f64>,
    /// Seconds from the end of the trouble to that of the alert.
    pub resets: Option<f64>,
}

impl BurnRule {
    /// What it does while `bad` of the requests are bad, at an objective such as 0.999.
    pub fn detection(&self, objective: f64, bad: f64) -> Detection {
        let needed = self.rate * (1.0 - objective);
        let fires = bad > 0.0 && bad >= needed;
        let part = needed / bad;
        let longer = self.long.max(self.short) as f64;
        Detection {
            bad,
            after: fires.then_some(longer * part),
            resets: fires.then_some(self.short.min(self.long) as f64 * (1.0 - part)),
        }
    }

    /// The share of 30 days' budget that is spent when it alerts; below 1 for a rule that is of use.
    pub fn spent(&self) -> f64 {
        self.rate * self.long.max(self.short) as f64 / PERIOD_SECONDS as f64
    }

    /// What is wrong with it for a service with this objective and so many requests a second, where
    /// that is known.
    pub fn pitfalls(&self, objective: f64, requests_per_second: Option<f64>) -> Vec<Pitfall> {
        let needed = self.rate * (1.0 - objective);
        if needed > 1.0 {
            return vec![Pitfall::CannotAlert { needed }];
        }
        let mut found = Vec::new();
        if self.short >= self.long {
            found.push(Pitfall::ShortIsNotShorter);
        }
        if self.page && self.spent() > LATE {
            found.push(Pitfall::Late(self.spent()));
        }
        if self.page && self.spent() < TRIFLE {
            found.push(Pitfall::Trifle(self.spent()));
        }
        if self.page
            && let Some(resets) = self.detection(objective, 1.0).resets
            && resets > LINGERS
        {
            found.push(Pitfall::Lingers(resets));
        }
        if let Some(rate) = requests_per_second
            && rate > 0.0
        {
            let allowed = needed * rate * self.long.min(PERIOD_SECONDS) as f64;
            if allowed < 1.0 {
                found.push(Pitfall::OneRequest { allowed });
            }
        }
        found
    }
}

/// What is wrong with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "pitfall", content = "what")]
pub enum Pitfall {
    /// More bad requests than there are requests would be needed.
    CannotAlert {
        /// The bad share at which it would alert.
        needed: f64,
    },
    /// The second window makes the alert no shorter.
    ShortIsNotShorter,
    /// So much of the budget is gone before anybody is woken.
    Late(f64),
    /// So little is gone when somebody is woken.
    Trifle(f64),
    /// The alert goes on for so many seconds after the trouble.
    Lingers(f64),
    /// One bad request alerts: fewer than one are allowed in the long window.
    OneRequest {
        /// Bad requests in the long window at which it alerts.
        allowed: f64,
    },
}

impl fmt::Display for Pitfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotAlert { needed } => write!(
                f,
                "cannot alert: {} of the requests would have to be bad; lower the rate",
                words::percent(*needed)
            ),
            Self::ShortIsNotShorter => f.write_str(
                "does not end soon: its second window is not shorter than the first; a twelfth of it is usual",
            ),
            Self::Late(spent) => write!(
                f,
                "wakes somebody when {} of the budget are gone already; shorten the windows or lower the rate",
                words::percent(*spent)
            ),
            Self::Trifle(spent) => write!(
                f,
                "wakes somebody for {} of the budget; lengthen the windows, or make it a ticket",
                words::percent(*spent)
            ),
            Self::Lingers(seconds) => write!(
                f,
                "goes on for up to {} after the trouble; shorten the second window",
                words::duration(*seconds)
            ),
            Self::OneRequest { allowed } => write!(
                f,
                "alerts at a single bad request: {} in the long window are enough at this traffic; lengthen the windows or add synthetic load",
                words::significant(*allowed)
            ),
        }
    }
}

/// An alert that a rule would have raised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Alert {
    /// The recording's second in which it began.
    pub from: u64,
    /// Seconds that it went on; to the recording's end where it had not ended.
    pub seconds: u64,
    /// Bad requests of the long window then, and all of them.
    pub seen: Rate,
}

/// What a rule would have done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleReplay {
    /// The rule.
    pub rule: BurnRule,
    /// Seconds on which it was tried: those with a whole long window before them.
    pub tried: u64,
    /// Its alerts, in order.
    pub alerts: Vec<Alert>,
}

/// What `rules` would have done on a past of seconds in order. None where the objective is no share
/// between 0 and 1.
pub fn replay(
    objective: f64,
    rules: &[BurnRule],
    seconds: impl Iterator<Item = (u64, Rate)>,
) -> Option<Vec<RuleReplay>> {
    let mut budget = ErrorBudget::new(objective)?;
    let mut replays: Vec<RuleReplay> = rules
        .iter()
        .map(|rule| RuleReplay {
            rule: *rule,
            tried: 0,
            alerts: Vec::new(),
        })
        .collect();
    let mut raised = vec![false; rules.len()];
    let mut first = None;
    for (t, rate) in seconds {
        budget.observe(t, rate);
        let known = t - *first.get_or_insert(t) + 1;
        for (replay, raised) in replays.iter_mut().zip(&mut raised) {
            if known < replay.rule.long {
                continue;
            }
            replay.tried += 1;
            let is = !budget.alerts(std::slice::from_ref(&replay.rule)).is_empty();
            match (is, replay.alerts.last_mut()) {
                (true, Some(alert)) if *raised => alert.seconds = t - alert.from + 1,
                (true, _) => replay.alerts.push(Alert {
                    from: t,
                    seconds: 1,
                    seen: budget.window(replay.rule.long),
                }),
                (false, _) => {}
            }
            *raised = is;
        }
    }
    Some(replays)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::WORKBOOK;

    #[test]
    fn the_workbooks_rules_alert_when_it_says_and_none_is_a_pitfall() {
        // Its table: 2 %, 5 % and 10 % of the budget.
        let spent = WORKBOOK.map(|rule| (rule.spent() * 1000.0).round() / 1000.0);
        assert_eq!(spent, [0.02, 0.05, 0.1]);
        // A total outage at 99.9 %: 3,600 s x 14.4 x 0.1 %.
        let outage = WORKBOOK[0].detection(0.999, 1.0);
        assert!((outage.after.unwrap() - 51.84).abs() < 1e-9);
        assert!((outage.resets.unwrap() - 300.0 * (1.0 - 0.0144)).abs() < 1e-9);
        assert_eq!(WORKBOOK[0].detection(0.999, 0.01).after, None);
        for rule in WORKBOOK {
            assert_eq!(rule.pitfalls(0.999, Some(500.0)), []);
        }
    }

    #[test]
    fn each_pitfall_is_named_and_gone_when_it_is_mended() {
        let rule = |long, short, rate| BurnRule {
            long,
            short,
            rate,
            page: true,
        };
        let told = |rule: BurnRule, objective, rps| {
            let found = rule.pitfalls(objective, Some(rps));
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for (rule, objective, rps, what) in [
            (rule(3600, 300, 14.4), 0.9, 500.0, "cannot alert"),
            (rule(3600, 3600, 14.4), 0.999, 500.0, "does not end soon"),
            (rule(86_400, 7_200, 6.0), 0.999, 500.0, "gone already"),
            (rule(300, 60, 14.4), 0.999, 500.0, "wakes somebody for"),
            (rule(86_400, 43_200, 1.0), 0.999, 500.0, "goes on for up to"),
            (rule(3600, 300, 14.4), 0.999, 0.01, "a single bad request"),
        ] {
            let told = told(rule, objective, rps);
            assert!(told.iter().any(|it| it.contains(what)), "{what}: {told:?}");
        }
    }

    #[test]
    fn a_rule_alerts_on_the_past_as_soon_as_the_formula_says() {
        // Six hours, ten minutes of which a tenth is bad.
        let second = |t: u64| {
            let bad = if (10_000..10_600).contains(&t) { 10 } else { 0 };
            (t, Rate { bad, requests: 100 })
        };
        let replays = replay(0.999, &WORKBOOK, (0..21_600).map(second)).unwrap();
        let [fast, _, slow] = &replays[..] else {
            panic!("three rules");
        };
        let (alert, expected) = (fast.alerts[0], WORKBOOK[0].detection(0.999, 0.1));
        let late = (alert.from - 10_000) as f64 - expected.after.unwrap();
        assert!((-1.0..=11.0).contains(&late), "{late} s");
        assert_eq!(fast.alerts.len(), 1);
        let ended = (alert.from + alert.seconds - 10_600) as f64;
        assert!((ended - expected.resets.unwrap()).abs() < 12.0, "{ended} s");
        assert_eq!(
            (slow.tried, slow.alerts.len()),
            (0, 0),
            "three days are not there"
        );
    }
}
