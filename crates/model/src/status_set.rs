//! Conditions on an HTTP status, as written behind `bad:` in an SLO.
//!
//! ```text
//! condition = comparison { ("and" | "or") comparison }      "and" binds closer than "or"
//! comparison = "status" ( ">=" | ">" | "<=" | "<" | "==" | "!=" ) NUMBER
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of HTTP statuses (100 to 599) with the condition that describes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend(
    "pattern" = r"^\s*status\s+(>=|>|<=|<|==|!=)\s+\d{3}(\s+(and|or)\s+status\s+(>=|>|<=|<|==|!=)\s+\d{3})*\s*$",
    "examples" = ["status >= 500", "status >= 500 or status == 429"]
))]
pub struct StatusSet {
    text: String,
    /// One bit a status, from 100 on.
    bits: [u64; 8],
}

impl StatusSet {
    /// True where `status` meets the condition. A status outside 100 to 599 counts as 599, so
    /// that nonsense answers are server errors.
    pub fn contains(&self, status: u16) -> bool {
        let index = usize::from(if (100..600).contains(&status) {
            status - 100
        } else {
            499
        });
        self.bits[index / 64] >> (index % 64) & 1 == 1
    }
}

impl StatusSet {
    /// True where no status meets the condition.
    pub fn is_empty(&self) -> bool {
        self.bits == [0; 8]
    }

    /// Every status that does not meet the condition.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut bits = [0; 8];
        for index in (0..500).filter(|index| self.bits[index / 64] >> (index % 64) & 1 == 0) {
            bits[index / 64] |= 1 << (index % 64);
        }
        Self {
            text: format!("not {}", self.text),
            bits,
        }
    }
}

impl Default for StatusSet {
    /// `status >= 500`.
    fn default() -> Self {
        let mut bits = [0; 8];
        for index in 400..500 {
            bits[index / 64] |= 1 << (index % 64);
        }
        Self {
            text: "status >= 500".to_owned(),
            bits,
        }
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
impl fmt::Debug for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusSet({})", self.text)
    }
}
impl From<StatusSet> for String {
    fn from(set: StatusSet) -> String {
        set.text
    }
}
impl TryFrom<String> for StatusSet {
    type Error = InvalidCondition;
    fn try_from(text: String) -> Result<Self, InvalidCondition> {
        text.parse()
    }
}

/// Why a text is not a condition on a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a condition: {why}; write for instance `status >= 500` or `status >= 500 or status == 429`"
)]
pub struct InvalidCondition {
    /// The offending text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl FromStr for StatusSet {
    type Err = InvalidCondition;
    fn from_str(text: &str) -> Result<Self, InvalidCondition> {
        let fail = |why: String| InvalidCondition {
            text: text.to_owned(),
            why,
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut bits = [0; 8];
        for alternative in words.split(|word| *word == "or") {
            let mut all = [u64::MAX; 8];
            for comparison in alternative.split(|word| *word == "and") {
                let [subject, operator, number] = comparison else {
                    return Err(fail(format!(
                        "`{}` is not `status OPERATOR NUMBER`",
                        comparison.join(" ")
                    )));
                };
                if *subject != "status" {
                    return Err(fail(format!("`{subject}` is not known, only `status` is")));
                }
                let number: u16 = number
                    .parse()
                    .ok()
                    .filter(|n| (100..600).contains(n))
                    .ok_or_else(|| {
                        fail(format!("`{number}` is not an HTTP status (100 to 599)"))
                    })?;
                let holds: fn(u16, u16) -> bool = match *operator {
                    ">=" => |a, b| a >= b,
                    ">" => |a, b| a > b,
                    "<=" => |a, b| a <= b,
                    "<" => |a, b| a < b,
                    "==" => |a, b| a == b,
                    "!=" => |a, b| a != b,
                    other => return Err(fail(format!("`{other}` is not one of >= > <= < == !="))),
                };
                for index in 0..512_u16 {
                    if !holds(index + 100, number) || index >= 500 {
                        all[usize::from(index) / 64] &= !(1 << (index % 64));
                    }
                }
            }
            for (bit, more) in bits.iter_mut().zip(all) {
                *bit |= more;
            }
        }
        if bits == [0; 8] {
            return Err(fail("no status meets it".to_owned()));
        }
        Ok(Self {
            text: words.join(" "),
            bits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn and_binds_closer_than_or() {
        let set: StatusSet = "status == 429 or status >= 500 and status != 503"
            .parse()
            .unwrap();
        let inside = [429, 500, 502, 599];
        let outside = [200, 404, 503];
        assert!(inside.iter().all(|s| set.contains(*s)));
        assert!(!outside.iter().any(|s| set.contains(*s)));
        assert_eq!(
            "status >= 500".parse::<StatusSet>().unwrap(),
            StatusSet::default()
        );
    }

    #[test]
    fn each_status_is_in_a_condition_or_in_its_complement() {
        let set: StatusSet = "status == 201 or status >= 500".parse().unwrap();
        let rest = set.complement();
        assert!((100..600).all(|status| set.contains(status) != rest.contains(status)));
    }

    #[test]
    fn conditions_that_can_never_hold_or_are_not_understood_are_refused() {
        for bad in [
            "",
            "code >= 500",
            "status => 500",
            "status >= 5000",
            "status > 599",
            "status >= 500 or",
        ] {
            assert!(bad.parse::<StatusSet>().is_err(), "{bad}");
        }
    }
}
