//! Guardrails: metrics of the instances themselves that a release must not make worse.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Chance;
use crate::metrics::Series;

/// A metric that a version must not make worse, read every second off each instance's own page of
/// metrics. It can take a release back; a step waits for its data, not for its proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guardrail {
    /// A short name, unique among guardrails and SLOs.
    pub name: String,
    /// A level as it stands, such as `queue_depth`; of several instances the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gauge: Option<Series>,
    /// In place of `gauge`: a counter, by how much it rises a second, such as `cost_dollars_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Series>,
    /// In place of `gauge`: a counter of events that are rare, such as `scale_errors_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Series>,
    /// In place of `gauge`: a counter of a part of what `of` counts, such as `cache_hits_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Series>,
    /// In place of `gauge`: a counter of a sum, such as `query_seconds_sum`, divided by what `of` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Series>,
    /// The counter that `share` and `mean` are of, such as `cache_lookups_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Series>,
    /// Which direction is an improvement.
    #[serde(default, skip_serializing_if = "Better::is_lower")]
    pub better: Better,
    /// Beyond this the release is taken back: how many times stable's, and how much more, such as
    /// `1.1x + 5`, `1.1x + 0.5%` of a share, `1.5x + 2/h` of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Bound>,
    /// Its own part of `spec.judge.alpha`: the chance that it ever takes back a release within its margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<Chance>,
    /// It only speaks: it takes no release back and holds none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advisory: bool,
}

/// Which direction is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Waiting jobs, memory, cost.
    #[default]
    Lower,
    /// Cache hits, conversions.
    Higher,
}

impl Better {
    fn is_lower(&self) -> bool {
        *self == Self::Lower
    }
}

/// What a guardrail measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured<'a> {
    /// A level.
    Gauge(&'a Series),
    /// A counter's rise a second.
    Rate(&'a Series),
    /// A counter of rare events.
    Events(&'a Series),
    /// A part of a whole, both counted.
    Share(&'a Series, &'a Series),
    /// A sum by the number of its parts.
    Mean(&'a Series, &'a Series),
}

impl Guardrail {
    /// The names of the fields of which exactly one says what is measured.
    pub const KINDS: [&'static str; 5] = ["gauge", "rate", "events", "share", "mean"];

    /// The fields of [`Self::KINDS`], in that order.
    pub fn kinds(&self) -> [Option<&Series>; 5] {
        [
            &self.gauge,
            &self.rate,
            &self.events,
            &self.share,
            &self.mean,
        ]
        .map(Option::as_ref)
    }

    /// What it measures. None where it does not say, or not wholly; a checked manifest's do.
    pub fn measured(&self) -> Option<Measured<'_>> {
        let of = self.of.as_ref();
        match self.kinds() {
            [Some(gauge), ..] => Some(Measured::Gauge(gauge)),
            [_, Some(rate), ..] => Some(Measured::Rate(rate)),
            [_, _, Some(events), ..] => Some(Measured::Events(events)),
            [.., Some(share), _] => Some(Measured::Share(share, of?)),
            [.., Some(mean)] => Some(Measured::Mean(mean, of?)),
            _ => None,
        }
    }

    /// Every series that it reads.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.kinds().into_iter().chain([self.of.as_ref()]).flatten()
    }
}

/// What a bound adds to stable's value is in the metric's own unit, a share, or events an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// As the metric has it.
    Own,
    /// Of a hundred.
    Percent,
    /// Events an hour and instance.
    PerHour,
}

/// A bound on a version's value relative to stable's: a factor and a difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^\s*\d+(\.\d+)?x(\s*[+-]\s*\d+(\.\d+)?\s*(%|/h)?)?\s*$", "examples" = ["1.1x", "1.1x + 5", "1.5x + 2/h"]))]
pub struct Bound {
    /// Times stable's value.
    pub factor: f64,
    /// And so much more, in `unit`s.
    pub plus: f64,
    /// The unit of `plus`; [`Unit::Own`] where nothing is added.
    pub unit: Unit,
}

/// Why a text is not a bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a margin: write how many times stable's value, and how much more, such as `1.1x`, `1.1x + 5`, `1.1x + 0.5%` or `1.5x + 2/h`"
)]
pub struct InvalidBound {
    /// The offending text.
    pub text: String,
}

fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let number: f64 = plain.then(|| text.parse().ok()).flatten()?;
    number.is_finite().then_some(number)
}

impl TryFrom<String> for Bound {
    type Error = InvalidBound;
    fn try_from(text: String) -> Result<Self, InvalidBound> {
        let read = || {
            let (factor, rest) = text.split_once('x')?;
            let (factor, rest) = (number(factor)?, rest.trim());
            let (sign, amount) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
                (Some(more), _) => (1.0, more),
                (_, Some(less)) => (-1.0, less),
                _ if rest.is_empty() => (1.0, "0"),
                _ => return None,
            };
            let (amount, unit) = match (amount.strip_suffix('%'), amount.strip_suffix("/h")) {
                (Some(percent), _) => (percent, Unit::Percent),
                (_, Some(events)) => (events, Unit::PerHour),
                _ => (amount, Unit::Own),
            };
            let plus = sign * number(amount)?;
            Some(Self { factor, plus, unit })
        };
        read().ok_or(InvalidBound { text })
    }
}
impl From<Bound> for String {
    fn from(bound: Bound) -> String {
        let Bound { factor, plus, unit } = bound;
        let unit = match unit {
            Unit::Own => "",
            Unit::Percent => "%",
            Unit::PerHour => "/h",
        };
        match plus {
            0.0 => format!("{factor}x"),
            plus if plus < 0.0 => format!("{factor}x - {}{unit}", -plus),
            plus => format!("{factor}x + {plus}{unit}"),
        }
    }
}
impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_reads_back_as_it_is_written() {
        for text in [
            "1.1x",
            "1.1x + 5",
            "0.9x - 0.25",
            "1.1x + 0.5%",
            "1.5x + 2/h",
        ] {
            let bound = Bound::try_from(text.to_owned()).unwrap();
            assert_eq!(bound.to_string(), text);
        }
        for text in [
            "", "1.1", "x + 1", "1.1x + ", "1.1x 5", "1x + 5/s", "1x + -5", "infx",
        ] {
            assert!(Bound::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
