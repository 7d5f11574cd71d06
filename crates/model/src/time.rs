//! Points in time and spans of time, as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time with its zone in UTC. It is always an argument of pure code, never read there.
pub type Timestamp = jiff::Timestamp;

/// `later - earlier`, zero where the order is reversed (a clock was set back).
pub fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    later
        .duration_since(earlier)
        .try_into()
        .unwrap_or(Duration::ZERO)
}

/// `at + by`, held at the end of representable time.
pub fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// `at - by`, held at the beginning of representable time.
pub fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// A span of time as a person writes it: `250ms`, `10s`, `1m30s`, `20m`, `1h`, `7d`.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = r"^\s*(\d+(ms|s|m|h|d))+\s*$", "examples" = ["250ms", "10s", "1m30s", "1h"]))]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
    /// A span of whole milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, size) in UNITS {
            if rest >= size {
                text += &format!("{}{unit}", rest / size);
                rest %= size;
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}
impl TryFrom<String> for Span {
    type Error = InvalidSpan;
    fn try_from(text: String) -> Result<Self, InvalidSpan> {
        text.parse()
    }
}

/// Why a text is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a span of time: write it as `250ms`, `10s`, `1m30s`, `20m`, `1h` or `7d`")]
pub struct InvalidSpan {
    /// The offending text.
    pub text: String,
}

impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let fail = || InvalidSpan {
            text: text.to_owned(),
        };
        let mut rest = text.trim();
        let mut total = 0_u64;
        if rest.is_empty() {
            return Err(fail());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?;
            let value: u64 = rest[..digits].parse().map_err(|_| fail())?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(rest.len());
            let (_, size) = UNITS
                .iter()
                .find(|(unit, _)| *unit == &rest[..letters])
                .ok_or_else(fail)?;
            total = value
                .checked_mul(*size)
                .and_then(|ms| total.checked_add(ms))
                .ok_or_else(fail)?;
            rest = &rest[letters..];
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_span_reads_back_as_written(ms in 0_u64..10_000_000_000) {
            let span = Span::millis(ms);
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn a_span_without_a_unit_is_refused() {
        for bad in ["", "10", "s", "10x", "-5s", "1.5s", "99999999999999999999s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
