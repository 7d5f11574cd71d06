//! SARIF.

use std::collections::BTreeMap;

use airboss_model::evidence::Severity;
use serde::Deserialize;
use serde_json::Value;

use super::super::{ReadError, lenient_time, predicate, shorten};
use super::{Rating, line, rate};
use crate::facts::{Facts, Finding, LISTED_MAX, Scan};

#[derive(Deserialize)]
struct Sarif {
    version: String,
    runs: Option<Vec<SarifRun>>,
}

#[derive(Deserialize)]
struct SarifRun {
    tool: SarifTool,
    results: Option<Vec<SarifResult>>,
    invocations: Option<Vec<SarifInvocation>>,
}

#[derive(Deserialize)]
struct SarifTool {
    driver: SarifDriver,
    extensions: Option<Vec<SarifDriver>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifDriver {
    name: String,
    version: Option<String>,
    semantic_version: Option<String>,
    rules: Option<Vec<SarifRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifRule {
    id: String,
    properties: Option<SarifProperties>,
    default_configuration: Option<SarifConfiguration>,
    short_description: Option<SarifText>,
}

#[derive(Deserialize)]
struct SarifConfiguration {
    level: Option<String>,
}

#[derive(Deserialize)]
struct SarifProperties {
    #[serde(rename = "security-severity")]
    severity: Option<Value>,
}

#[derive(Deserialize)]
struct SarifText {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifInvocation {
    execution_successful: Option<bool>,
    end_time_utc: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: Option<String>,
    rule_index: Option<i64>,
    rule: Option<SarifRuleReference>,
    kind: Option<String>,
    level: Option<String>,
    message: Option<SarifText>,
    locations: Option<Vec<SarifLocation>>,
    suppressions: Option<Vec<SarifSuppression>>,
    baseline_state: Option<String>,
    properties: Option<SarifProperties>,
}

#[derive(Deserialize)]
struct SarifRuleReference {
    id: Option<String>,
}

#[derive(Deserialize)]
struct SarifSuppression {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifLocation {
    physical_location: Option<SarifPhysical>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifPhysical {
    artifact_location: Option<SarifArtifact>,
    region: Option<SarifRegion>,
}

#[derive(Deserialize)]
struct SarifArtifact {
    uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifRegion {
    start_line: Option<u64>,
}

impl SarifResult {
    /// A result that says that something is wrong, and that nobody has accepted.
    fn counts(&self) -> bool {
        let fails = matches!(
            self.kind.as_deref(),
            None | Some("fail" | "open" | "review")
        );
        let gone = self.baseline_state.as_deref() == Some("absent");
        let suppressed = self.suppressions.as_ref().is_some_and(|all| {
            !all.is_empty()
                && all
                    .iter()
                    .all(|it| matches!(it.status.as_deref(), None | Some("accepted")))
        });
        fails && !gone && !suppressed
    }

    fn place(&self) -> Option<String> {
        let physical = self
            .locations
            .as_ref()?
            .first()?
            .physical_location
            .as_ref()?;
        let uri = physical.artifact_location.as_ref()?.uri.as_deref()?;
        let line = physical
            .region
            .as_ref()
            .and_then(|region| region.start_line);
        Some(shorten(&match line {
            Some(line) => format!("{uri}:{line}"),
            None => uri.to_owned(),
        }))
    }
}

impl SarifProperties {
    fn rating(&self) -> Rating {
        match &self.severity {
            Some(Value::String(text)) => rate(text),
            Some(Value::Number(number)) => rate(&number.to_string()),
            _ => (None, None),
        }
    }
}

/// SARIF 2.1. A result's severity is its `security-severity`, its rule's, else its level.
pub fn sarif(text: &str) -> Result<Facts, ReadError> {
    let read: Sarif = predicate::parse(text)?;
    if !read.version.starts_with("2.1") {
        return Err(ReadError::Unknown(format!(
            "it is SARIF {}; 2.1.0 is understood",
            shorten(&read.version)
        )));
    }
    let mut scan = Scan::default();
    let runs = read.runs.unwrap_or_default();
    if runs.is_empty() {
        return Err(predicate::invalid("it has no run: no scanner looked"));
    }
    let mut tools: Vec<String> = Vec::new();
    for run in runs {
        let driver = &run.tool.driver;
        for invocation in run.invocations.iter().flatten() {
            if invocation.execution_successful == Some(false) {
                return Err(predicate::invalid(&format!(
                    "{} says that it did not run to its end (`executionSuccessful` is false)",
                    shorten(&driver.name)
                )));
            }
            let end = invocation.end_time_utc.as_deref().and_then(lenient_time);
            scan.at = scan.at.max(end);
        }
        let name = shorten(&driver.name);
        if !tools.contains(&name) && tools.len() < LISTED_MAX {
            tools.push(name);
        }
        if scan.tool_version.is_none() {
            let version = driver
                .semantic_version
                .as_deref()
                .or(driver.version.as_deref());
            scan.tool_version = version.map(shorten);
        }
        let rules: Vec<&SarifRule> = driver.rules.iter().flatten().collect();
        let by_id: BTreeMap<&str, &SarifRule> = run
            .tool
            .extensions
            .iter()
            .flatten()
            .chain([driver])
            .flat_map(|driver| driver.rules.iter().flatten())
            .map(|rule| (rule.id.as_str(), rule))
            .collect();
        for result in run.results.iter().flatten().filter(|it| it.counts()) {
            let id = result
                .rule_id
                .as_deref()
                .or_else(|| result.rule.as_ref().and_then(|rule| rule.id.as_deref()));
            let indexed = result
                .rule_index
                .and_then(|at| usize::try_from(at).ok())
                .and_then(|at| rules.get(at).copied());
            let rule = id.and_then(|id| by_id.get(id).copied()).or(indexed);
            scan.add(sarif_finding(result, id, rule));
        }
    }
    scan.tool = tools.join(", ");
    Ok(scan.sorted())
}

fn sarif_finding(result: &SarifResult, id: Option<&str>, rule: Option<&SarifRule>) -> Finding {
    let of = |properties: &Option<SarifProperties>| {
        properties
            .as_ref()
            .map_or((None, None), SarifProperties::rating)
    };
    let mut rating = of(&result.properties);
    if rating.0.is_none() {
        rating = rule.map_or((None, None), |rule| of(&rule.properties));
    }
    if rating.0.is_none() {
        let default = rule
            .and_then(|rule| rule.default_configuration.as_ref())
            .and_then(|configuration| configuration.level.as_deref());
        rating.0 = Some(match result.level.as_deref().or(default) {
            Some("error") => Severity::High,
            Some("note") => Severity::Low,
            Some("none") => Severity::None,
            // The standard's level where none is told.
            _ => Severity::Medium,
        });
    }
    let message = result.message.as_ref().and_then(|it| it.text.as_deref());
    let described = rule
        .and_then(|rule| rule.short_description.as_ref())
        .and_then(|it| it.text.as_deref());
    Finding {
        id: shorten(
            id.or(rule.map(|rule| rule.id.as_str()))
                .unwrap_or("no rule"),
        ),
        severity: rating.0,
        score: rating.1,
        place: result.place(),
        title: described.or(message).map(line),
    }
}
