//! Metrics that instances publish: which series are read, and what a page says of them.
//!
//! A page is text in the format of Prometheus or OpenMetrics, as `GET /metrics` of most services answers
//! it. Only the series that somebody asked for are read; every other line may be whatever it likes.
//! Series whose name needs quotes (`{"my.metric"}`) are not found.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest text of a series.
pub const SERIES_BYTES_MAX: usize = 500;

/// Series of one metric: its name, and labels that they must have. Where several match, their values are
/// added up.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend(
    "pattern" = r#"^\s*[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{.*\})?\s*$"#,
    "examples" = ["queue_depth", "jobs_failed_total{queue=\"mail\"}"]
))]
pub struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

/// Why a text names no series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a metric: write its name, and labels where only some of its series count, such as `jobs_failed_total{{queue=\"mail\"}}`"
)]
pub struct InvalidSeries {
    /// The offending text.
    pub text: String,
}

impl Series {
    /// The metric's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Series {
    type Err = InvalidSeries;
    fn from_str(text: &str) -> Result<Self, InvalidSeries> {
        let read = || {
            let (name, rest) = name(text.trim())?;
            let (labels, rest) = labels(rest.trim_start())?;
            let fits = rest.is_empty() && text.len() <= SERIES_BYTES_MAX;
            fits.then(|| Self {
                name: name.to_owned(),
                labels,
            })
        };
        read().ok_or_else(|| InvalidSeries {
            text: text.to_owned(),
        })
    }
}
impl TryFrom<String> for Series {
    type Error = InvalidSeries;
    fn try_from(text: String) -> Result<Self, InvalidSeries> {
        text.parse()
    }
}
impl From<Series> for String {
    fn from(series: Series) -> String {
        series.to_string()
    }
}
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let mut mark = "{";
        for (label, value) in &self.labels {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "{mark}{label}=\"{}\"", value.replace('\n', "\\n"))?;
            mark = ",";
        }
        f.write_str(if mark == "," { "}" } else { "" })
    }
}

/// What a page says of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen {
    /// Nothing, or something that is no finite number.
    Nothing,
    /// The metric is there and has no such series yet: a counter of events that did not happen.
    Declared,
    /// The sum of the series that match.
    Value(f64),
}

/// Reads a page for the `wanted` series, in their order.
pub fn read(page: &str, wanted: &[Series]) -> Vec<Seen> {
    let mut found = vec![Found::default(); wanted.len()];
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_whitespace();
            if let (Some("TYPE"), Some(family)) = (words.next(), words.next()) {
                for (found, series) in found.iter_mut().zip(wanted) {
                    found.declared |= is_of(&series.name, family);
                }
            }
            continue;
        }
        // Most lines are about something else.
        let Some((name, rest)) = name(line.trim_start()) else {
            continue;
        };
        if !wanted.iter().any(|series| series.name == name) {
            continue;
        }
        let Some((labels, rest)) = labels(rest.trim_start()) else {
            continue;
        };
        let value = rest
            .split_whitespace()
            .next()
            .and_then(|it| it.parse().ok());
        let is_like = |series: &Series| {
            let mut all = series.labels.iter();
            all.all(|(label, value)| labels.get(label) == Some(value))
        };
        for (found, series) in found.iter_mut().zip(wanted) {
            if series.name != name {
                continue;
            }
            found.declared = true;
            if is_like(series) {
                *found.sum.get_or_insert(0.0) += value.unwrap_or(f64::NAN);
            }
        }
    }
    let seen = |found: Found| match found.sum {
        Some(sum) if sum.is_finite() => Seen::Value(sum),
        None if found.declared => Seen::Declared,
        _ => Seen::Nothing,
    };
    found.into_iter().map(seen).collect()
}

#[derive(Debug, Clone, Copy, Default)]
struct Found {
    sum: Option<f64>,
    declared: bool,
}

/// Whether a sample's name belongs to a family: OpenMetrics leaves the suffix out where it declares one.
fn is_of(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|suffix| matches!(suffix, "" | "_total" | "_sum" | "_count" | "_bucket"))
}

/// A name at the beginning of `text`, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let end = text.find(|c| !fits(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

/// Labels in braces at the beginning of `text`, or none, and what follows them.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return Some((labels, text));
    };
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (label, after) = name(rest)?;
        let after = after.trim_start().strip_prefix('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.insert(label.to_owned(), value);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// A text up to its closing quote, with its escapes undone, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    None
}

/// What was read of one series of one instance in an interval. Readings of several intervals or
/// instances add up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The sum of the values that were read.
    #[serde(default)]
    pub level: f64,
    /// How often a value was read.
    #[serde(default)]
    pub readings: u32,
    /// By how much a counter rose. One that fell began anew, so all that it shows is new.
    #[serde(default)]
    pub rise: f64,
    /// The milliseconds that `rise` covers; 0 where nothing is known of it.
    #[serde(default)]
    pub over_ms: u64,
}

impl Reading {
    /// A value, with the one before of this series and how long ago that was.
    pub fn of(value: f64, before: Option<(f64, u64)>) -> Self {
        let (rise, over_ms) = before.map_or((0.0, 0), |(before, ago_ms)| {
            let rise = if value < before {
                value
            } else {
                value - before
            };
            (rise.max(0.0), ago_ms)
        });
        Self {
            level: value,
            readings: 1,
            rise,
            over_ms,
        }
    }

    /// Adds another interval's or instance's.
    pub fn add(&mut self, other: &Self) {
        self.level += other.level;
        self.readings = self.readings.saturating_add(other.readings);
        self.rise += other.rise;
        self.over_ms = self.over_ms.saturating_add(other.over_ms);
    }

    /// The mean of the values that were read.
    pub fn mean(&self) -> Option<f64> {
        (self.readings > 0).then(|| self.level / f64::from(self.readings))
    }

    /// By how much the counter rose, where that is known.
    pub fn risen(&self) -> Option<f64> {
        (self.over_ms > 0).then_some(self.rise)
    }

    /// The rise a second.
    pub fn per_second(&self) -> Option<f64> {
        Some(self.risen()? * 1_000.0 / self.over_ms as f64)
    }

    /// True where it can have been read.
    pub(crate) fn is_possible(&self) -> bool {
        self.level.is_finite() && self.rise.is_finite() && self.rise >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(page: &str, series: &str) -> Seen {
        read(page, &[series.parse().unwrap()])[0]
    }

    const PAGE: &str = "# HELP queue_depth Jobs that wait.
# TYPE queue_depth gauge
queue_depth{queue=\"mail\",host=\"a\"} 3
queue_depth{queue=\"mail\",host=\"b\"} 4.5 1700000000000
queue_depth { queue = \"pay \\\"now\\\"\" , } +1e2
# TYPE jobs_failed counter
# TYPE jobs counter
jobs_total 17 # {trace=\"a\"} 1 1700000000
odd_value NaN
endless +Inf
not a line at all {
broken{x=\"y 3
# EOF
";

    #[test]
    fn series_are_found_by_name_and_labels_and_added_up() {
        for (series, value) in [
            ("queue_depth", Seen::Value(107.5)),
            ("queue_depth{queue=\"mail\"}", Seen::Value(7.5)),
            ("queue_depth{host=\"b\"}", Seen::Value(4.5)),
            ("queue_depth{queue=\"pay \\\"now\\\"\"}", Seen::Value(100.0)),
            ("queue_depth{queue=\"none\"}", Seen::Declared),
            ("jobs_total", Seen::Value(17.0)),
            ("jobs_failed_total", Seen::Declared),
            ("jobs_failed_total{why=\"late\"}", Seen::Declared),
            ("odd_value", Seen::Nothing),
            ("endless", Seen::Nothing),
            ("broken", Seen::Nothing),
            ("queue", Seen::Nothing),
        ] {
            assert_eq!(seen(PAGE, series), value, "{series}");
        }
    }

    #[test]
    fn a_counter_that_fell_began_anew() {
        assert_eq!(Reading::of(5.0, None).risen(), None);
        assert_eq!(Reading::of(5.0, Some((3.0, 1_000))).risen(), Some(2.0));
        assert_eq!(Reading::of(2.0, Some((3.0, 500))).per_second(), Some(4.0));
        let mut both = Reading::of(5.0, Some((3.0, 1_000)));
        both.add(&Reading::of(7.0, Some((5.0, 1_000))));
        assert_eq!((both.mean(), both.per_second()), (Some(6.0), Some(2.0)));
    }

    proptest! {
        #[test]
        fn no_page_is_too_odd_to_be_read(page in "[ -~\n\\\\\"{}=,#é]{0,200}") {
            read(&page, &["a".parse().unwrap(), "a{b=\"c\"}".parse().unwrap()]);
        }

        #[test]
        fn a_series_reads_back_as_it_is_written(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,9}",
            labels in prop::collection::btree_map("[a-z_]{1,4}", ".{0,8}", 0..3),
            value in -1e9..1e9_f64,
        ) {
            let series = Series { name, labels };
            let text = series.to_string();
            prop_assert_eq!(&text.parse::<Series>().unwrap(), &series);
            let page = format!("other 1\n{text} {value}\n");
            // A line break in a label's value is written as two characters, other separators are not.
            prop_assume!(page.lines().count() == 2);
            prop_assert_eq!(read(&page, &[series]), [Seen::Value(value)]);
        }
    }
}
