//! Promises to users, and how sure a verdict about them must be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;
use crate::route::RoutePattern;
use crate::status_set::StatusSet;

/// A promise to users about one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// A short name, unique in the service.
    pub name: String,
    /// The share of good requests, such as `99.9%`.
    pub objective: Objective,
    /// A request is bad where this holds, such as `status >= 500`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<StatusSet>,
    /// In place of `bad`: a request is good where this holds, such as `status == 201` for an order
    /// that was placed. A version fails where it has too few of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<StatusSet>,
    /// A request is bad where it took longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<Span>,
    /// Counts these routes only, such as `POST /pay`. Without it every request counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub routes: Vec<RoutePattern>,
    /// A step needs this SLO's proof to pass; an SLO that is not critical can only fail it.
    #[serde(default = "yes")]
    pub critical: bool,
    /// How much worse than stable a version may be.
    #[serde(default, skip_serializing_if = "SloMargin::is_default")]
    pub margin: SloMargin,
    /// Its own part of `spec.judge.alpha`: the chance that it ever takes back a release within its
    /// margin. SLOs without one divide what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<Chance>,
    /// In place of `spec.judge.beta` for this SLO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<Chance>,
    /// In place of `spec.judge.harm_budget` for this SLO, of the requests that it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harm_budget: Option<Chance>,
    /// It only speaks: it takes no release back and holds none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advisory: bool,
}

impl Slo {
    /// The statuses of bad requests; None for an SLO of latency.
    pub fn bad_statuses(&self) -> Option<StatusSet> {
        match (&self.bad, &self.good, &self.under) {
            (Some(bad), _, _) => Some(bad.clone()),
            (None, Some(good), _) => Some(good.complement()),
            (None, None, Some(_)) => None,
            (None, None, None) => Some(StatusSet::default()),
        }
    }
}

/// Most requests are good by an SLO with `good`, though its objective is small.
const MOST_GOOD: f64 = 0.9;
/// An SLO with `good` is assumed to be kept by so much.
const GOOD_ENOUGH: f64 = 1.25;

impl Slo {
    /// The share of bad requests that is assumed before any was seen: half of what is promised; of an
    /// SLO with `good` a quarter more good ones than promised.
    pub fn assumed_bad(&self) -> f64 {
        match self.good {
            Some(_) => 1.0 - (self.objective.ratio() * GOOD_ENOUGH).min(MOST_GOOD),
            None => self.objective.budget() / 2.0,
        }
    }
}

fn yes() -> bool {
    true
}

/// A share of good requests between 0 % and 100 %, both excluded.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^\s*\d+(\.\d+)?\s*%\s*$", "examples" = ["99.9%", "99%"]))]
pub struct Objective(f64);

impl Objective {
    /// The share as a ratio, such as 0.999.
    pub fn ratio(self) -> f64 {
        self.0
    }
    /// The share of requests that may be bad, such as 0.001.
    pub fn budget(self) -> f64 {
        1.0 - self.0
    }
}

/// Why a text is not an objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an objective: write a share such as `99.9%`, above `0%` and below `100%`")]
pub struct InvalidObjective {
    /// The offending text.
    pub text: String,
}

impl TryFrom<String> for Objective {
    type Error = InvalidObjective;
    fn try_from(text: String) -> Result<Self, InvalidObjective> {
        text.trim()
            .strip_suffix('%')
            .and_then(|number| number.trim_end().parse::<f64>().ok())
            .filter(|percent| *percent > 0.0 && *percent < 100.0)
            .map(|percent| Self(percent / 100.0))
            .ok_or(InvalidObjective { text })
    }
}
impl From<Objective> for String {
    fn from(objective: Objective) -> String {
        percent(objective.0)
    }
}

/// How much worse than stable a version may be in one SLO. What is left out has a default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SloMargin {
    /// Beyond this the release is taken back, such as `1.1x + 0.01%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail: Option<Edge>,
    /// Within this a step passes, such as `1.25x + 0.1%`; what the next step may add to the
    /// service's bad requests (`spec.judge.harm_budget`) is added where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Edge>,
}

impl SloMargin {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A bound on a version's share relative to stable's: a factor and a difference. Of an SLO with
/// `good` it bounds the share of good requests from below, else that of bad ones from above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^\s*\d+(\.\d+)?x(\s*[+-]\s*\d+(\.\d+)?\s*%)?\s*$", "examples" = ["1.1x + 0.01%", "0.95x"]))]
pub struct Edge {
    /// Times stable's share.
    pub factor: f64,
    /// And so much more; 0.001 is 0.1 %.
    pub plus: f64,
}

/// Why a text is not a margin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a margin: write how many times stable's share, and how much more, such as `1.1x + 0.01%`"
)]
pub struct InvalidEdge {
    /// The offending text.
    pub text: String,
}

impl TryFrom<String> for Edge {
    type Error = InvalidEdge;
    fn try_from(text: String) -> Result<Self, InvalidEdge> {
        let digits = |text: &str| {
            let text = text.trim();
            let plain = text.starts_with(|c: char| c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_digit() || c == '.');
            plain.then(|| text.parse::<f64>().ok()).flatten()
        };
        let read = || {
            let (factor, rest) = text.split_once('x')?;
            let factor = digits(factor)?;
            let rest = rest.trim();
            let (sign, percent) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
                (Some(more), _) => (1.0, more),
                (_, Some(less)) => (-1.0, less),
                _ if rest.is_empty() => return Some(Self { factor, plus: 0.0 }),
                _ => return None,
            };
            let percent = digits(percent.trim_end().strip_suffix('%')?)?;
            let plus = sign * percent / 100.0;
            (percent <= 100.0).then_some(Self { factor, plus })
        };
        read().ok_or(InvalidEdge { text })
    }
}
impl From<Edge> for String {
    fn from(edge: Edge) -> String {
        let number = |value: f64| {
            let digits = format!("{value:.10}");
            digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        };
        let factor = number(edge.factor);
        match edge.plus {
            0.0 => format!("{factor}x"),
            plus if plus < 0.0 => format!("{factor}x - {}%", number(-plus * 100.0)),
            plus => format!("{factor}x + {}%", number(plus * 100.0)),
        }
    }
}
impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from(*self))
    }
}

/// How sure a verdict must be. Each has a default that suits most services.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Judging {
    /// The chance of ever taking back a release that is within its margins.
    pub alpha: Chance,
    /// The chance of passing a step that is beyond its pass margin.
    pub beta: Chance,
    /// Bad requests that the next step may add, as a share of all requests of the service.
    pub harm_budget: Chance,
}

impl Judging {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Judging {
    fn default() -> Self {
        Self {
            alpha: Chance(0.01),
            beta: Chance(0.05),
            harm_budget: Chance(0.001),
        }
    }
}

/// A chance or a small share: more than 0 %, at most 20 %.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^\s*\d+(\.\d+)?\s*%\s*$", "examples" = ["1%", "0.1%"]))]
pub struct Chance(f64);

impl Chance {
    /// Largest that is taken: beyond it a verdict says little.
    pub const MOST: f64 = 0.2;
    /// Smallest that is taken: below it nothing is ever proven.
    pub const LEAST: f64 = 1e-6;

    /// As a ratio, such as 0.01.
    pub fn ratio(self) -> f64 {
        self.0
    }
}

/// Why a text is not a chance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a chance: write a share such as `1%`, from `0.0001%` to `20%`")]
pub struct InvalidChance {
    /// The offending text.
    pub text: String,
}

impl TryFrom<String> for Chance {
    type Error = InvalidChance;
    fn try_from(text: String) -> Result<Self, InvalidChance> {
        text.trim()
            .strip_suffix('%')
            .and_then(|number| number.trim_end().parse::<f64>().ok())
            .map(|percent| percent / 100.0)
            .filter(|ratio| (Self::LEAST..=Self::MOST).contains(ratio))
            .map(Self)
            .ok_or(InvalidChance { text })
    }
}
impl From<Chance> for String {
    fn from(chance: Chance) -> String {
        percent(chance.0)
    }
}

/// A ratio as it is written in a manifest, such as `0.5%`.
pub(super) fn percent(ratio: f64) -> String {
    // Ten digits hide the rounding of the division by 100.
    let percent = format!("{:.10}", ratio * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}
impl std::fmt::Display for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_reads_back_as_it_is_written() {
        for text in ["1.1x + 0.01%", "1.25x", "0.95x - 0.5%", "2x + 10%"] {
            let edge = Edge::try_from(text.to_owned()).unwrap();
            assert_eq!(edge.to_string(), text);
        }
        assert_eq!(
            Edge::try_from("1.1x+0.01 %".to_owned()).unwrap(),
            Edge {
                factor: 1.1,
                plus: 0.0001
            }
        );
        for text in [
            "",
            "x",
            "1.1",
            "1.1x 0.1%",
            "1.1x + 0.1",
            "-1x",
            "1x + 200%",
            "NaNx",
            "1ex",
        ] {
            assert!(Edge::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_chance_of_nothing_or_of_a_half_is_refused() {
        for text in ["0%", "50%", "1", "-1%", "NaN%", "inf%"] {
            assert!(Chance::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert_eq!(String::from(Judging::default().alpha), "1%");
    }
}
