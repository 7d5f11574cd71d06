//! What goes wrong with the new version, as a person writes it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use airboss_model::Span;
use serde::{Deserialize, Serialize};

/// A fault of the new version, and when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// How long after the first users came it begins.
    pub after: Span,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// So many requests more are answered with 500, 0 to 1.
    Errors(f64),
    /// Every answer takes so much longer.
    Later(Span),
    /// Every answer takes so many times as long.
    Slower(f64),
    /// Every instance ends, however often it is started again.
    Crash,
    /// No instance becomes ready.
    NeverReady,
}

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a fault: write `errors 3%`, `latency +200ms`, `latency x3`, `crash` or `never ready`; `errors 3% after 2m` begins two minutes after the first users came"
)]
pub struct InvalidFault {
    /// The offending text.
    pub text: String,
}

impl FromStr for Fault {
    type Err = InvalidFault;
    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let wrong = || InvalidFault {
            text: text.to_owned(),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (what, after) = match words.as_slice() {
            [what @ .., "after", span] => (what, span.parse().map_err(|_| wrong())?),
            what => (what, Span::secs(0)),
        };
        let kind = match what {
            ["errors", share] => share
                .strip_suffix('%')
                .and_then(|number| number.parse::<f64>().ok())
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(|percent| FaultKind::Errors(percent / 100.0)),
            ["latency", more] => match (more.strip_prefix('+'), more.strip_prefix('x')) {
                (Some(span), _) => span.parse().ok().map(FaultKind::Later),
                (_, Some(times)) => times
                    .parse::<f64>()
                    .ok()
                    .filter(|times| *times > 1.0 && *times <= 1_000.0)
                    .map(FaultKind::Slower),
                _ => None,
            },
            ["crash"] => Some(FaultKind::Crash),
            ["never", "ready"] | ["never-ready"] => Some(FaultKind::NeverReady),
            _ => None,
        };
        kind.map(|kind| Self { kind, after }).ok_or_else(wrong)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            // Ten digits hide the rounding of the division by 100.
            FaultKind::Errors(share) => {
                let percent = format!("{:.10}", share * 100.0);
                let percent = percent.trim_end_matches('0').trim_end_matches('.');
                write!(f, "errors {percent}%")?;
            }
            FaultKind::Later(span) => write!(f, "latency +{span}")?,
            FaultKind::Slower(times) => write!(f, "latency x{times}")?,
            FaultKind::Crash => f.write_str("crash")?,
            FaultKind::NeverReady => f.write_str("never ready")?,
        }
        if self.after.0 > Duration::ZERO {
            write!(f, " after {}", self.after)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Fault {
    type Error = InvalidFault;
    fn try_from(text: String) -> Result<Self, InvalidFault> {
        text.parse()
    }
}
impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_back_as_it_is_written() {
        for text in [
            "errors 3%",
            "errors 0.1% after 2m",
            "latency +200ms",
            "latency x2.5 after 30s",
            "crash",
            "never ready",
        ] {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_fault_is_told_with_what_would_be_one() {
        for text in [
            "",
            "errors",
            "errors 3",
            "errors 101%",
            "errors 0%",
            "latency 200ms",
            "latency x0.5",
            "crash after",
            "crash after soon",
            "errors NaN%",
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.to_string().contains("`errors 3%`"), "{error}");
        }
    }
}
