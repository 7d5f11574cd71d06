//! Test results: JUnit's XML and in-toto's test-result.

use airboss_model::Timestamp;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::xml::{Seen, walk};
use super::{ReadError, predicate, shorten};
use crate::facts::{Facts, LISTED_MAX, Suite, Tests};

/// The predicate type of in-toto's test results.
pub(super) const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// How a test came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Outcome {
    failed: bool,
    skipped: bool,
    /// It failed at first and passed when run again, as Surefire and others write it.
    flaky: bool,
}

/// What a report's `testsuite` says of itself, against what was counted in it.
#[derive(Debug, Default)]
struct Open {
    suite: Suite,
    claimed: Suite,
    /// It holds suites of its own, whose numbers its attributes repeat.
    outer: bool,
}

/// A hash of a set of names that does not depend on their order and grows no larger with them.
#[derive(Default)]
struct NameSet {
    sum: u128,
    any: bool,
}

impl NameSet {
    fn add(&mut self, name: &str) {
        let hash: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let first = hash.first_chunk::<16>().copied().unwrap_or_default();
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(first));
        self.any = true;
    }

    fn text(&self) -> Option<String> {
        self.any.then(|| format!("{:032x}", self.sum))
    }
}

/// JUnit's XML as the many tools write it. Tests are counted one by one; where a suite claims
/// more failures than it shows, its claim counts.
pub(super) fn junit(text: &str) -> Result<Facts, ReadError> {
    let mut tests = Tests::default();
    let mut open: Vec<Open> = Vec::new();
    let mut case: Option<(String, Outcome)> = None;
    let mut root: Option<String> = None;
    let mut set = NameSet::default();
    walk(text, |seen| match seen {
        Seen::Open(name, attributes) => {
            let attribute = |name: &str| attributes.get(name).map(String::as_str);
            if root.is_none() {
                root = Some(name.to_owned());
                tests.name = attribute("name").map(shorten).filter(|it| !it.is_empty());
            }
            match name {
                "testsuite" => {
                    if let Some(outer) = open.last_mut() {
                        outer.outer = true;
                    }
                    open.push(begin(&attribute));
                    tests.at = tests.at.max(attribute("timestamp").and_then(time));
                }
                "testcase" => {
                    let (class, name) = (attribute("classname"), attribute("name"));
                    let parts: Vec<_> = [class, name]
                        .into_iter()
                        .flatten()
                        .filter(|part| !part.is_empty())
                        .collect();
                    let outcome = Outcome {
                        skipped: matches!(attribute("status"), Some("skipped" | "disabled")),
                        ..Outcome::default()
                    };
                    case = Some((shorten(&parts.join(" › ")), outcome));
                }
                other => {
                    if let Some((_, outcome)) = &mut case {
                        match other {
                            "failure" | "error" => outcome.failed = true,
                            "skipped" => outcome.skipped = true,
                            "flakyFailure" | "flakyError" => outcome.flaky = true,
                            _ => {}
                        }
                    }
                }
            }
        }
        Seen::Close("testcase") => {
            if let Some((name, outcome)) = case.take() {
                // A case outside any suite is of a suite without a name.
                if open.is_empty() {
                    open.push(Open::default());
                }
                if let Some(last) = open.last_mut() {
                    count(&mut last.suite, outcome);
                }
                set.add(&name);
                if outcome.failed && tests.failures.len() < LISTED_MAX {
                    tests.failures.push(name);
                }
            }
        }
        Seen::Close("testsuite") => {
            if let Some(suite) = open.pop() {
                close(&mut tests, suite);
            }
        }
        Seen::Close(_) | Seen::Text(_) => {}
    })?;
    for suite in open {
        close(&mut tests, suite);
    }
    tests.set = set.text();
    match root.as_deref() {
        Some("testsuites" | "testsuite") => Ok(Facts::Tests(tests)),
        Some(other) => Err(ReadError::Unknown(format!(
            "its root element is <{}>; JUnit's XML has <testsuites> or <testsuite>",
            shorten(other)
        ))),
        None => Err(ReadError::Unknown("it has no element".to_owned())),
    }
}

fn begin<'a>(attribute: &impl Fn(&str) -> Option<&'a str>) -> Open {
    let number = |name: &str| {
        attribute(name)
            .and_then(|text| text.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    let failed = number("failures").saturating_add(number("errors"));
    let skipped = number("skipped").saturating_add(number("disabled"));
    let name = shorten(attribute("name").unwrap_or_default());
    Open {
        claimed: Suite {
            name: name.clone(),
            passed: number("tests").saturating_sub(failed.saturating_add(skipped)),
            failed,
            skipped,
            flaky: 0,
        },
        suite: Suite {
            name,
            ..Suite::default()
        },
        outer: false,
    }
}

fn count(suite: &mut Suite, outcome: Outcome) {
    if outcome.failed {
        suite.failed += 1;
    } else if outcome.skipped {
        suite.skipped += 1;
    } else {
        suite.passed += 1;
        suite.flaky += u64::from(outcome.flaky);
    }
}

fn close(tests: &mut Tests, open: Open) {
    let counted = open.suite.passed + open.suite.failed + open.suite.skipped;
    let mut suite = open.suite;
    if open.outer && counted == 0 {
        return;
    }
    if !open.outer {
        if counted == 0 {
            suite = open.claimed;
        } else {
            suite.failed = suite.failed.max(open.claimed.failed);
        }
    }
    tests.passed = tests.passed.saturating_add(suite.passed);
    tests.failed = tests.failed.saturating_add(suite.failed);
    tests.skipped = tests.skipped.saturating_add(suite.skipped);
    tests.flaky = tests.flaky.saturating_add(suite.flaky);
    tests.suites_total += 1;
    if tests.suites.len() < LISTED_MAX {
        tests.suites.push(suite);
    }
}

/// A time with its zone; one without could be anybody's.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestResult {
    result: String,
    #[serde(default)]
    configuration: Vec<Configuration>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    passed_tests: Vec<String>,
    #[serde(default)]
    warned_tests: Vec<String>,
    #[serde(default)]
    failed_tests: Vec<String>,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    name: Option<String>,
}

/// What Airboss adds to the predicate for reports that give numbers and no names.
#[derive(Deserialize)]
struct Counted {
    airboss_tests: Option<Tests>,
}

/// Facts that a statement brings along are as bounded as those that we draw ourselves.
fn bounded(mut tests: Tests) -> Tests {
    tests.name = tests.name.as_deref().map(shorten);
    tests.set = tests.set.as_deref().map(shorten);
    tests.suites.truncate(LISTED_MAX);
    for suite in &mut tests.suites {
        suite.name = shorten(&suite.name);
    }
    tests.failures.truncate(LISTED_MAX);
    tests.failures = tests.failures.iter().map(|it| shorten(it)).collect();
    tests
}

/// in-toto's test-result.
pub(super) fn test_result(predicate: &str) -> Result<Facts, ReadError> {
    let read: TestResult = predicate::parse(predicate)?;
    let count = |tests: &Vec<String>| tests.len() as u64;
    let failed = match read.result.as_str() {
        "PASSED" | "WARNED" => count(&read.failed_tests),
        // It failed, although no test is named.
        "FAILED" => count(&read.failed_tests).max(1),
        other => {
            return Err(predicate::invalid(&format!(
                "`result` is `{}`; PASSED, WARNED or FAILED is expected",
                shorten(other)
            )));
        }
    };
    if let Some(tests) = predicate::parse::<Counted>(predicate)?.airboss_tests {
        return Ok(Facts::Tests(Tests {
            failed: tests.failed.max(failed),
            ..bounded(tests)
        }));
    }
    let mut set = NameSet::default();
    let all = [&read.passed_tests, &read.warned_tests, &read.failed_tests];
    for name in all.into_iter().flatten() {
        set.add(name);
    }
    let name = read.configuration.into_iter().find_map(|it| it.name);
    Ok(Facts::Tests(Tests {
        name: name.or(read.url).as_deref().map(shorten),
        passed: count(&read.passed_tests) + count(&read.warned_tests),
        failed,
        set: set.text(),
        failures: read
            .failed_tests
            .iter()
            .take(LISTED_MAX)
            .map(|name| shorten(name))
            .collect(),
        ..Tests::default()
    }))
}

/// The predicate in which Airboss words a report.
pub(super) fn word(tests: &Tests) -> serde_json::Value {
    json!({
        "result": if tests.failed > 0 { "FAILED" } else { "PASSED" },
        "configuration": tests.name.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "failedTests": tests.failures,
        "airboss_tests": tests,
    })
}
