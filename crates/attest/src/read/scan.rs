//! What scanners write: SARIF, OSV-scanner's JSON, and in-toto's vulns.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use airboss_model::evidence::Severity;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ReadError, lenient_time, predicate, shorten};
use crate::facts::{Facts, Finding, LISTED_MAX, Scan};

/// The predicate type in which Airboss words scans.
pub(super) const VULNS: &str = "https://in-toto.io/attestation/vulns/v0.2";
/// Older and other predicates for the same.
pub(super) const VULNS_TOO: [&str; 3] = [
    "https://in-toto.io/attestation/vulns/v0.1",
    "https://in-toto.io/attestation/vulns",
    "https://cosign.sigstore.dev/attestation/vuln/v1",
];

impl Scan {
    /// Takes in one finding; the caller sorts with [`Self::sorted`] at the end.
    fn add(&mut self, finding: Finding) {
        self.counts.add(finding.severity);
        self.worst = self.worst.max(finding.severity);
        self.findings.push(finding);
        // The list stays bounded, and the worst ones stay in it.
        if self.findings.len() >= 4 * LISTED_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        // What nobody rated may be the worst there is: it goes first.
        self.findings
            .sort_by_key(|it| (it.severity.is_some(), Reverse(it.severity)));
        self.findings.truncate(LISTED_MAX);
    }

    fn sorted(mut self) -> Facts {
        self.cut();
        Facts::Scan(self)
    }
}

/// A severity and, where one is told, a score: from a number, a CVSS vector or a word.
fn rate(text: &str) -> (Option<Severity>, Option<f64>) {
    let text = text.trim();
    if let Ok(score) = text.parse::<f64>() {
        let severity = Severity::of_score(score);
        return (severity, severity.map(|_| score));
    }
    if text.starts_with("CVSS:") {
        let Ok(vector) = text.parse::<cvss::Cvss>() else {
            return (None, None);
        };
        let score = vector.score();
        return (Severity::of_score(score), Some(score));
    }
    let severity = match text.to_ascii_lowercase().as_str() {
        "critical" => Severity::Critical,
        "high" | "important" => Severity::High,
        "medium" | "moderate" => Severity::Medium,
        "low" | "minor" => Severity::Low,
        "none" | "negligible" | "informational" | "info" => Severity::None,
        _ => return (None, None),
    };
    (Some(severity), None)
}

/// The worse of two ratings.
fn worse(
    one: (Option<Severity>, Option<f64>),
    other: (Option<Severity>, Option<f64>),
) -> (Option<Severity>, Option<f64>) {
    if other.0 > one.0 || (other.0 == one.0 && other.1 > one.1) {
        other
    } else {
        one
    }
}

fn line(text: &str) -> String {
    shorten(text.trim().lines().next().unwrap_or_default())
}

// ---- SARIF ----

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
    fn rating(&self) -> (Option<Severity>, Option<f64>) {
        match &self.severity {
            Some(Value::String(text)) => rate(text),
            Some(Value::Number(number)) => rate(&number.to_string()),
            _ => (None, None),
        }
    }
}

/// SARIF 2.1. A result's severity is its `security-severity`, its rule's, else its level.
pub(super) fn sarif(text: &str) -> Result<Facts, ReadError> {
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

// ---- OSV-scanner ----

#[derive(Deserialize)]
struct Osv {
    results: Option<Vec<OsvResult>>,
}

#[derive(Deserialize)]
struct OsvResult {
    packages: Option<Vec<OsvPackage>>,
}

#[derive(Deserialize)]
struct OsvPackage {
    package: OsvName,
    vulnerabilities: Option<Vec<OsvEntry>>,
    groups: Option<Vec<OsvGroup>>,
}

#[derive(Deserialize)]
struct OsvName {
    name: String,
    version: Option<String>,
}

#[derive(Deserialize)]
struct OsvGroup {
    ids: Vec<String>,
    max_severity: Option<String>,
}

#[derive(Deserialize)]
struct OsvEntry {
    id: String,
    summary: Option<String>,
    severity: Option<Vec<OsvSeverity>>,
    database_specific: Option<Value>,
}

#[derive(Deserialize)]
struct OsvSeverity {
    score: String,
}

impl OsvEntry {
    fn rating(&self) -> (Option<Severity>, Option<f64>) {
        let scored = self
            .severity
            .iter()
            .flatten()
            .map(|severity| rate(&severity.score))
            .fold((None, None), worse);
        if scored.0.is_some() {
            return scored;
        }
        let word = self
            .database_specific
            .as_ref()
            .and_then(|it| it.get("severity"));
        word.and_then(Value::as_str).map_or((None, None), rate)
    }
}

/// What `osv-scanner --format json` writes: one finding for each group of aliases in a package.
pub(super) fn osv(text: &str) -> Result<Facts, ReadError> {
    let read: Osv = predicate::parse(text)?;
    let mut scan = Scan {
        tool: "osv-scanner".to_owned(),
        ..Scan::default()
    };
    let packages = read
        .results
        .into_iter()
        .flatten()
        .flat_map(|it| it.packages.unwrap_or_default());
    for package in packages {
        let name = &package.package;
        let place = shorten(&match &name.version {
            Some(version) => format!("{}@{version}", name.name),
            None => name.name.clone(),
        });
        let entries: BTreeMap<&str, &OsvEntry> = package
            .vulnerabilities
            .iter()
            .flatten()
            .map(|entry| (entry.id.as_str(), entry))
            .collect();
        let alone: Vec<OsvGroup>;
        let groups = match &package.groups {
            Some(groups) => groups,
            // Versions before groups: each entry stands for itself.
            None => {
                alone = entries
                    .keys()
                    .map(|id| OsvGroup {
                        ids: vec![(*id).to_owned()],
                        max_severity: None,
                    })
                    .collect();
                &alone
            }
        };
        for group in groups {
            let members = || group.ids.iter().filter_map(|id| entries.get(id.as_str()));
            let told = group.max_severity.as_deref().map_or((None, None), rate);
            let (severity, score) = match told.0 {
                Some(_) => told,
                None => members()
                    .map(|entry| entry.rating())
                    .fold((None, None), worse),
            };
            let id = group
                .ids
                .iter()
                .find(|id| id.starts_with("CVE-"))
                .or(group.ids.first());
            scan.add(Finding {
                id: shorten(id.map_or("no id", String::as_str)),
                severity,
                score,
                place: Some(place.clone()),
                title: members()
                    .find_map(|entry| entry.summary.as_deref())
                    .map(line),
            });
        }
    }
    Ok(scan.sorted())
}

// ---- in-toto's vulns, and cosign's ----

#[derive(Deserialize)]
struct Vulns {
    scanner: VulnsScanner,
    metadata: Option<VulnsMetadata>,
}

#[derive(Deserialize)]
struct VulnsScanner {
    uri: Option<String>,
    version: Option<String>,
    result: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VulnsMetadata {
    scan_finished_on: Option<String>,
}

#[derive(Deserialize)]
struct VulnsResult {
    id: Option<String>,
    #[serde(default)]
    severity: Value,
    #[serde(default)]
    annotations: Value,
}

/// What Airboss adds where it worded the scan itself.
#[derive(Deserialize)]
struct Counted {
    airboss_scan: Option<Scan>,
}

/// Facts that a statement brings along are as bounded as those that we draw ourselves.
fn bounded(mut scan: Scan) -> Scan {
    scan.cut();
    scan.tool = shorten(&scan.tool);
    scan.tool_version = scan.tool_version.as_deref().map(shorten);
    for finding in &mut scan.findings {
        finding.id = shorten(&finding.id);
        finding.place = finding.place.as_deref().map(shorten);
        finding.title = finding.title.as_deref().map(shorten);
        scan.worst = scan.worst.max(finding.severity);
    }
    scan
}

/// in-toto's vulns, and cosign's predicate of the same shape, whose result may be Trivy's report.
pub(super) fn vulns(text: &str) -> Result<Facts, ReadError> {
    if let Some(scan) = predicate::parse::<Counted>(text)?.airboss_scan {
        return Ok(bounded(scan).sorted());
    }
    let read: Vulns = predicate::parse(text)?;
    let finished = read.metadata.and_then(|it| it.scan_finished_on);
    let mut scan = Scan {
        tool: shorten(read.scanner.uri.as_deref().unwrap_or("an unnamed scanner")),
        tool_version: read.scanner.version.as_deref().map(shorten),
        at: finished.as_deref().and_then(lenient_time),
        ..Scan::default()
    };
    match read.scanner.result {
        Some(Value::Array(results)) => {
            for result in results {
                let result: VulnsResult = serde_json::from_value(result)
                    .map_err(|error| predicate::invalid(&format!("scanner.result: {error}")))?;
                let (severity, score) = vulns_rating(&result.severity);
                let place = result.annotations.get("package").and_then(Value::as_str);
                scan.add(Finding {
                    id: shorten(result.id.as_deref().unwrap_or("no id")),
                    severity,
                    score,
                    place: place.map(shorten),
                    title: None,
                });
            }
        }
        Some(Value::Object(report))
            if report.contains_key("Results") || report.contains_key("SchemaVersion") =>
        {
            trivy(&Value::Object(report), &mut scan);
        }
        _ => {
            return Err(predicate::invalid(
                "`scanner.result` is neither a list of vulnerabilities nor Trivy's report",
            ));
        }
    }
    Ok(scan.sorted())
}

/// A list of ratings by several methods, or one of them: a number counts before a word.
fn vulns_rating(severity: &Value) -> (Option<Severity>, Option<f64>) {
    let one = |it: &Value| match it.get("score") {
        Some(Value::String(text)) => rate(text),
        Some(Value::Number(number)) => rate(&number.to_string()),
        _ => (None, None),
    };
    match severity {
        Value::Array(all) => all.iter().map(one).fold((None, None), worse),
        Value::String(text) => rate(text),
        other => one(other),
    }
}

fn trivy(report: &Value, scan: &mut Scan) {
    let list = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    for result in list(report, "Results") {
        for found in list(&result, "Vulnerabilities") {
            let text = |key: &str| found.get(key).and_then(Value::as_str);
            let (severity, _) = text("Severity").map_or((None, None), rate);
            let package = text("PkgName").unwrap_or_default();
            let version = text("InstalledVersion").unwrap_or_default();
            scan.add(Finding {
                id: shorten(text("VulnerabilityID").unwrap_or("no id")),
                severity,
                score: None,
                place: Some(shorten(&format!("{package}@{version}"))),
                title: text("Title").map(line),
            });
        }
    }
}

/// The predicate in which Airboss words a scanner's report.
pub(super) fn word(scan: &Scan) -> Value {
    let result: Vec<Value> = scan
        .findings
        .iter()
        .map(|finding| {
            let mut severity: Vec<Value> = Vec::new();
            if let Some(score) = finding.score {
                severity.push(json!({ "method": "cvss_score", "score": score.to_string() }));
            }
            if let Some(word) = finding.severity {
                severity.push(json!({ "method": "word", "score": word }));
            }
            json!({
                "id": finding.id,
                "severity": severity,
                "annotations": { "package": finding.place },
            })
        })
        .collect();
    json!({
        "scanner": { "uri": scan.tool, "version": scan.tool_version, "result": result },
        "metadata": { "scanFinishedOn": scan.at },
        "airboss_scan": scan,
    })
}
