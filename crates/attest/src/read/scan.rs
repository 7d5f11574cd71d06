//! What scanners write: in-toto's vulns; SARIF and OSV-scanner's JSON in files of their own.

mod osv;
mod sarif;

use std::cmp::Reverse;

use airboss_model::evidence::Severity;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ReadError, lenient_time, predicate, shorten};
use crate::facts::{Facts, Finding, LISTED_MAX, Scan};

pub(super) use osv::osv;
pub(super) use sarif::sarif;

/// A severity and a score, as far as they are told.
type Rating = (Option<Severity>, Option<f64>);

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
fn rate(text: &str) -> Rating {
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
fn worse(one: Rating, other: Rating) -> Rating {
    if other.0 > one.0 || (other.0 == one.0 && other.1 > one.1) {
        other
    } else {
        one
    }
}

fn line(text: &str) -> String {
    shorten(text.trim().lines().next().unwrap_or_default())
}

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
fn vulns_rating(severity: &Value) -> Rating {
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
