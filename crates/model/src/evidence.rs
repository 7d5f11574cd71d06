//! What a rollout may require of its artifact, and what was found.
//!
//! The judging itself is in `airboss-attest`; the words are here, because manifests, engine, store
//! and API all speak them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Span;
use crate::{Digest, Timestamp};

/// How bad a finding is, in the bands of CVSS 3 and 4.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Score 0.0: known, and harmless.
    None,
    /// Score 0.1 to 3.9.
    Low,
    /// Score 4.0 to 6.9.
    Medium,
    /// Score 7.0 to 8.9.
    High,
    /// Score 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// Every severity, the least one first.
    pub const ALL: [Self; 5] = [
        Self::None,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// The band of a CVSS base score; scores outside 0 to 10 and NaN have none.
    pub fn of_score(score: f64) -> Option<Self> {
        if !(0.0..=10.0).contains(&score) {
            return None;
        }
        Some(match score {
            score if score >= 9.0 => Self::Critical,
            score if score >= 7.0 => Self::High,
            score if score >= 4.0 => Self::Medium,
            score if score > 0.0 => Self::Low,
            _ => Self::None,
        })
    }

    /// The word for it, as manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a scan may have found, and how old it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScanLimit {
    /// The worst finding that is let through.
    pub max: Severity,
    /// A scan older than this says nothing of today's vulnerabilities.
    pub age: Span,
}

impl Default for ScanLimit {
    /// Nothing critical, and a scan of the last seven days.
    fn default() -> Self {
        Self {
            max: Severity::High,
            age: Span::secs(7 * 86_400),
        }
    }
}

/// One item of `rollout.require`: evidence that must be there before a rollout starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = also_bare)]
pub enum Requirement {
    /// A statement about the artifact with a good signature by a trusted key or identity.
    Signed,
    /// SLSA provenance that names builder, source, commit and run.
    Provenance,
    /// Test results without a failure.
    Tests,
    /// A vulnerability scan, young enough and without anything too bad.
    Scan(ScanLimit),
    /// A bill of materials.
    Sbom,
}

/// Editors may also offer `scan` with nothing behind it: its limits have defaults.
fn also_bare(schema: &mut schemars::Schema) {
    let choices = schema.get_mut("oneOf").and_then(|it| it.as_array_mut());
    for choice in choices.into_iter().flatten() {
        if choice.pointer("/properties/scan").is_some() {
            let description = choice.get("description").cloned();
            let whole = choice.take();
            *choice = serde_json::json!({ "anyOf": [whole, { "const": "scan" }], "description": description });
        }
    }
}

impl Requirement {
    /// The word for it in manifests, messages and the record.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Provenance => "provenance",
            Self::Tests => "tests",
            Self::Scan(_) => "scan",
            Self::Sbom => "sbom",
        }
    }
}

/// How an item of evidence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// There, and as required.
    Passed,
    /// Not there, or not complete.
    Missing,
    /// There, and it says no: failed tests, a finding too bad.
    Failed,
    /// There, and too old to be believed.
    Stale,
    /// There, with a signature that does not hold or that nobody trusts.
    BadlySigned,
}

impl ItemState {
    /// The word for people and programs, such as `badly_signed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::BadlySigned => "badly_signed",
        }
    }
}

/// What was found for one requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemVerdict {
    /// What was required.
    pub item: Requirement,
    /// How it stands.
    pub state: ItemState,
    /// Why, in one sentence for people.
    pub reason: String,
    /// What to run or to do about it, where it does not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The documents that it rests on, by the SHA-256 of their bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<Digest>,
    /// When a passing item stops to pass by age alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_until: Option<Timestamp>,
}

impl ItemVerdict {
    /// True where the item lets the rollout start.
    pub fn passed(&self) -> bool {
        self.state == ItemState::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_reads_as_people_write_it() {
        let text = r#"["signed",{"scan":{"max":"high","age":"7d"}},{"scan":{}}]"#;
        let items: Vec<Requirement> = serde_json::from_str(text).unwrap();
        assert_eq!(
            items,
            [
                Requirement::Signed,
                Requirement::Scan(ScanLimit::default()),
                Requirement::Scan(ScanLimit::default()),
            ]
        );
        assert!(serde_json::from_str::<Requirement>(r#"{"scan":{"maximum":"high"}}"#).is_err());
    }

    #[test]
    fn severities_are_the_bands_of_cvss() {
        let band = |score| Severity::of_score(score).map(Severity::as_str);
        assert_eq!(band(0.0), Some("none"));
        assert_eq!(band(3.9), Some("low"));
        assert_eq!(band(6.9), Some("medium"));
        assert_eq!(band(7.0), Some("high"));
        assert_eq!(band(10.0), Some("critical"));
        assert_eq!(band(10.1), None);
        assert_eq!(band(f64::NAN), None);
    }
}
