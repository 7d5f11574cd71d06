//! What `osv-scanner --format json` writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::super::{ReadError, predicate, shorten};
use super::{Rating, line, rate, worse};
use crate::facts::{Facts, Finding, Scan};

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
    fn rating(&self) -> Rating {
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
pub fn osv(text: &str) -> Result<Facts, ReadError> {
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
