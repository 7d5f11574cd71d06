//! What a document says, in the few words that gates, pages and people need.

use std::collections::BTreeMap;

use airboss_model::Timestamp;
use airboss_model::evidence::Severity;
use serde::{Deserialize, Serialize};

/// Most entries of any list within [`Facts`]; what goes beyond is counted and not listed.
pub const LISTED_MAX: usize = 100;

/// What a document says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Facts {
    /// Where the artifact comes from.
    Provenance(Provenance),
    /// How its tests went.
    Tests(Tests),
    /// What a scanner found in it.
    Scan(Scan),
    /// What it is made of.
    Sbom(Sbom),
    /// What somebody concluded of it.
    Summary(Summary),
    /// A statement of a kind that Airboss keeps and verifies, and does not understand.
    Other,
}

impl Facts {
    /// The word for the kind, as serialized.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Provenance(_) => "provenance",
            Self::Tests(_) => "tests",
            Self::Scan(_) => "scan",
            Self::Sbom(_) => "sbom",
            Self::Summary(_) => "summary",
            Self::Other => "other",
        }
    }
}

/// Where an artifact comes from, as its builder says. Every field may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Who built it, such as `https://github.com/actions/runner/github-hosted`.
    pub builder: Option<String>,
    /// How, such as `https://actions.github.io/buildtypes/workflow/v1`.
    pub build_type: Option<String>,
    /// The repository, such as `https://github.com/acme/checkout`.
    pub source: Option<String>,
    /// The commit, in hexadecimal digits.
    pub commit: Option<String>,
    /// The branch or tag, such as `refs/heads/main`.
    pub reference: Option<String>,
    /// The run of the build, mostly its address.
    pub run: Option<String>,
    /// When the build began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What went into it, at most [`LISTED_MAX`].
    pub inputs: Vec<Input>,
    /// How many went into it.
    pub inputs_total: u64,
}

/// Something that went into a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its address or name.
    pub name: String,
    /// Its digest as `algorithm:hex`, where one is told.
    pub digest: Option<String>,
}

/// A field of the provenance, there or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name, such as `commit`.
    pub name: &'static str,
    /// What is known.
    pub value: Option<String>,
    /// True where provenance is not complete without it.
    pub needed: bool,
}

impl Provenance {
    /// Every field with what is known of it, the needed ones first.
    pub fn fields(&self) -> Vec<Field> {
        let field = |name, value: &Option<String>, needed| Field {
            name,
            value: value.clone(),
            needed,
        };
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let inputs = (self.inputs_total > 0).then(|| self.inputs_total.to_string());
        vec![
            field("builder", &self.builder, true),
            field("source", &self.source, true),
            field("commit", &self.commit, true),
            field("run", &self.run, true),
            field("ref", &self.reference, false),
            field("build_type", &self.build_type, false),
            field("started", &time(self.started), false),
            field("finished", &time(self.finished), false),
            field("inputs", &inputs, false),
        ]
    }

    /// The needed fields that are not known.
    pub fn missing(&self) -> Vec<&'static str> {
        self.fields()
            .into_iter()
            .filter(|field| field.needed && field.value.is_none())
            .map(|field| field.name)
            .collect()
    }
}

/// How tests went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tests {
    /// What was tested, as the report says.
    pub name: Option<String>,
    /// A hash of the set of tests by name: a later report of the same set replaces this one. None
    /// where the report names no test.
    pub set: Option<String>,
    /// Tests that passed, flaky ones included.
    pub passed: u64,
    /// Tests that failed or could not run.
    pub failed: u64,
    /// Tests that were left out.
    pub skipped: u64,
    /// Tests that failed and then passed.
    pub flaky: u64,
    /// Suites, at most [`LISTED_MAX`].
    pub suites: Vec<Suite>,
    /// How many suites there are.
    pub suites_total: u64,
    /// Names of tests that failed, at most [`LISTED_MAX`].
    pub failures: Vec<String>,
    /// When they ran.
    pub at: Option<Timestamp>,
}

/// A suite of tests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// As in [`Tests`].
    pub passed: u64,
    /// As in [`Tests`].
    pub failed: u64,
    /// As in [`Tests`].
    pub skipped: u64,
    /// As in [`Tests`].
    pub flaky: u64,
}

/// What a scanner found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scan {
    /// The scanner, so that its later report replaces this one.
    pub tool: String,
    /// Its version.
    pub tool_version: Option<String>,
    /// When it looked, where it says so.
    pub at: Option<Timestamp>,
    /// The worst rated finding.
    pub worst: Option<Severity>,
    /// Findings by severity.
    pub counts: Counts,
    /// Findings, the worst first, at most [`LISTED_MAX`].
    pub findings: Vec<Finding>,
}

/// Findings by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// See [`Severity::Critical`].
    pub critical: u64,
    /// See [`Severity::High`].
    pub high: u64,
    /// See [`Severity::Medium`].
    pub medium: u64,
    /// See [`Severity::Low`].
    pub low: u64,
    /// See [`Severity::None`].
    pub none: u64,
    /// Findings that nobody rated; malicious packages come so.
    pub unrated: u64,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, severity: Option<Severity>) {
        match severity {
            Some(Severity::Critical) => self.critical += 1,
            Some(Severity::High) => self.high += 1,
            Some(Severity::Medium) => self.medium += 1,
            Some(Severity::Low) => self.low += 1,
            Some(Severity::None) => self.none += 1,
            None => self.unrated += 1,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.critical + self.high + self.medium + self.low + self.none + self.unrated
    }
}

/// Something that a scanner found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Such as `CVE-2024-3094`.
    pub id: String,
    /// How bad; None where nobody rated it.
    pub severity: Option<Severity>,
    /// The CVSS base score, 0 to 10.
    pub score: Option<f64>,
    /// The package with its version, or the file, that it is in.
    pub place: Option<String>,
    /// What it is, in a line.
    pub title: Option<String>,
}

/// What an artifact is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sbom {
    /// Such as `CycloneDX 1.6`.
    pub format: String,
    /// What it describes, as it says.
    pub name: Option<String>,
    /// Components, nested ones included.
    pub components: u64,
    /// Components by licence, as written; at most [`LISTED_MAX`] licences, the most frequent.
    pub licences: BTreeMap<String, u64>,
    /// How many different licences there are.
    pub licences_total: u64,
    /// Components without a licence.
    pub unlicensed: u64,
    /// When it was made.
    pub at: Option<Timestamp>,
}

/// What somebody concluded of an artifact: a SLSA verification summary or an SVR.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Who.
    pub verifier: String,
    /// By which policy.
    pub policy: Option<String>,
    /// With which result.
    pub passed: bool,
    /// SLSA levels or properties that were verified, at most [`LISTED_MAX`].
    pub levels: Vec<String>,
    /// When.
    pub at: Option<Timestamp>,
}
