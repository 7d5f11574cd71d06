//! Bills of materials: CycloneDX 1.3 to 1.7 (JSON and XML) and SPDX 2.3 (JSON).

use std::collections::BTreeMap;

use airboss_model::Digest;
use serde::Deserialize;
use serde_json::json;

use super::xml::{Seen, walk};
use super::{ReadError, lenient_time, predicate, shorten};
use crate::facts::{Facts, LISTED_MAX, Sbom};

/// The predicate type of CycloneDX.
pub(super) const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// The predicate type of SPDX.
pub(super) const SPDX: &str = "https://spdx.dev/Document";
/// CycloneDX's versions that are understood.
const CYCLONEDX_VERSIONS: [&str; 5] = ["1.3", "1.4", "1.5", "1.6", "1.7"];
/// Most different licences that are told apart while counting.
const LICENCES_MAX: usize = 10_000;

/// Counts components and their licences.
#[derive(Default)]
struct Count {
    components: u64,
    unlicensed: u64,
    licences: BTreeMap<String, u64>,
}

impl Count {
    /// One component; several licences of it are one entry, joined with AND.
    fn add(&mut self, licences: &[String]) {
        self.components += 1;
        let mut named: Vec<&str> = licences
            .iter()
            .map(|it| it.trim())
            .filter(|it| !matches!(*it, "" | "NOASSERTION" | "NONE"))
            .collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() {
            self.unlicensed += 1;
            return;
        }
        let name = shorten(&named.join(" AND "));
        if self.licences.len() < LICENCES_MAX || self.licences.contains_key(&name) {
            *self.licences.entry(name).or_default() += 1;
        }
    }

    fn facts(self, format: String, name: Option<String>, at: Option<&str>) -> Facts {
        let licences_total = self.licences.len() as u64;
        let mut frequent: Vec<(String, u64)> = self.licences.into_iter().collect();
        frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        frequent.truncate(LISTED_MAX);
        Facts::Sbom(Sbom {
            format,
            name: name.as_deref().map(shorten),
            components: self.components,
            licences: frequent.into_iter().collect(),
            licences_total,
            unlicensed: self.unlicensed,
            at: at.and_then(lenient_time),
        })
    }
}

fn check_version(version: &str) -> Result<(), ReadError> {
    if CYCLONEDX_VERSIONS.contains(&version) {
        return Ok(());
    }
    Err(ReadError::Unknown(format!(
        "it is CycloneDX {}; 1.3 to 1.7 are understood",
        shorten(version)
    )))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bom {
    spec_version: String,
    metadata: Option<BomMetadata>,
    components: Option<Vec<BomComponent>>,
}

#[derive(Deserialize)]
struct BomMetadata {
    timestamp: Option<String>,
    component: Option<BomName>,
}

#[derive(Deserialize)]
struct BomName {
    name: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct BomComponent {
    licenses: Option<Vec<BomLicence>>,
    components: Option<Vec<BomComponent>>,
}

#[derive(Deserialize)]
struct BomLicence {
    license: Option<BomLicenceName>,
    expression: Option<String>,
}

#[derive(Deserialize)]
struct BomLicenceName {
    id: Option<String>,
    name: Option<String>,
}

impl Count {
    fn add_nested(&mut self, components: Vec<BomComponent>) {
        for component in components {
            let licences: Vec<String> = component
                .licenses
                .into_iter()
                .flatten()
                .filter_map(|it| {
                    it.expression
                        .or(it.license.and_then(|license| license.id.or(license.name)))
                })
                .collect();
            self.add(&licences);
            // The JSON's own limit of nesting bounds this recursion.
            self.add_nested(component.components.unwrap_or_default());
        }
    }
}

impl BomName {
    fn full(self) -> Option<String> {
        match (self.name?, self.version) {
            (name, Some(version)) => Some(format!("{name}@{version}")),
            (name, None) => Some(name),
        }
    }
}

/// CycloneDX as JSON.
pub(super) fn cyclonedx(text: &str) -> Result<Facts, ReadError> {
    let bom: Bom = predicate::parse(text)?;
    check_version(&bom.spec_version)?;
    let mut count = Count::default();
    count.add_nested(bom.components.unwrap_or_default());
    let (at, component) = bom
        .metadata
        .map_or((None, None), |it| (it.timestamp, it.component));
    let name = component.and_then(BomName::full);
    let format = format!("CycloneDX {}", bom.spec_version);
    Ok(count.facts(format, name, at.as_deref()))
}

/// CycloneDX as XML; its version is in the name space.
pub(super) fn cyclonedx_xml(text: &str) -> Result<Facts, ReadError> {
    let mut count = Count::default();
    let mut path: Vec<String> = Vec::new();
    // Licences of the components that are open, the innermost last.
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut version = None;
    let mut at = String::new();
    let (mut name, mut of) = (String::new(), String::new());
    walk(text, |seen| match seen {
        Seen::Open(element, attributes) => {
            if path.is_empty() && element == "bom" {
                version = attributes
                    .get("xmlns")
                    .and_then(|it| it.strip_prefix("http://cyclonedx.org/schema/bom/"))
                    .map(str::to_owned);
            }
            path.push(element.to_owned());
            if is_component(&path) {
                open.push(Vec::new());
            }
            if let (Some(licences), "id" | "name" | "expression") = (open.last_mut(), element)
                && is_licence(&path)
            {
                licences.push(String::new());
            }
        }
        Seen::Text(text) => {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            match parts.as_slice() {
                ["bom", "metadata", "timestamp"] => at.push_str(text.trim()),
                ["bom", "metadata", "component", "name"] => name.push_str(text),
                ["bom", "metadata", "component", "version"] => of.push_str(text),
                [.., "id" | "name" | "expression"] if is_licence(&path) => {
                    if let Some(licence) = open.last_mut().and_then(|it| it.last_mut()) {
                        licence.push_str(text);
                    }
                }
                _ => {}
            }
        }
        Seen::Close(_) => {
            if is_component(&path)
                && let Some(licences) = open.pop()
            {
                count.add(&licences);
            }
            path.pop();
        }
    })?;
    let version = version.ok_or_else(|| {
        ReadError::Unknown("its root is not CycloneDX's <bom> with its name space".to_owned())
    })?;
    check_version(&version)?;
    let named = BomName {
        name: Some(name).filter(|it| !it.is_empty()),
        version: Some(of).filter(|it| !it.is_empty()),
    };
    Ok(count.facts(format!("CycloneDX {version}"), named.full(), Some(&at)))
}

/// A component of the list, and not the one that the whole is about, nor a tool.
fn is_component(path: &[String]) -> bool {
    path.last().is_some_and(|it| it == "component")
        && path.get(1).is_some_and(|it| it == "components")
}

fn is_licence(path: &[String]) -> bool {
    let tail: Vec<&str> = path.iter().rev().take(4).map(String::as_str).collect();
    matches!(
        tail.as_slice(),
        ["id" | "name", "license", "licenses", "component"]
            | ["expression", "licenses", "component", ..]
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spdx {
    spdx_version: String,
    name: Option<String>,
    creation_info: Option<SpdxCreation>,
    packages: Option<Vec<SpdxPackage>>,
}

#[derive(Deserialize)]
struct SpdxCreation {
    created: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    license_concluded: Option<String>,
    license_declared: Option<String>,
}

/// SPDX 2.3 (2.2 as well) as JSON.
pub(super) fn spdx(text: &str) -> Result<Facts, ReadError> {
    let read: Spdx = predicate::parse(text)?;
    let version = read.spdx_version.strip_prefix("SPDX-").unwrap_or_default();
    if !matches!(version, "2.2" | "2.3") {
        return Err(ReadError::Unknown(format!(
            "it is `{}`; SPDX-2.3 is understood",
            shorten(&read.spdx_version)
        )));
    }
    let mut count = Count::default();
    for package in read.packages.unwrap_or_default() {
        let known = |it: &Option<String>| {
            it.clone()
                .filter(|text| !matches!(text.as_str(), "NOASSERTION" | "NONE" | ""))
        };
        let licence = known(&package.license_concluded).or(known(&package.license_declared));
        count.add(licence.as_slice());
    }
    let at = read.creation_info.and_then(|it| it.created);
    Ok(count.facts(format!("SPDX {version}"), read.name, at.as_deref()))
}

#[derive(Deserialize)]
struct Reference {
    airboss_sbom: Option<Sbom>,
}

/// A reference to a document elsewhere: a bill where Airboss worded it.
pub(super) fn reference(text: &str) -> Result<Facts, ReadError> {
    let read: Reference = predicate::parse(text)?;
    Ok(match read.airboss_sbom {
        // As bounded as what we draw ourselves.
        Some(sbom) => Facts::Sbom(Sbom {
            format: shorten(&sbom.format),
            name: sbom.name.as_deref().map(shorten),
            licences: sbom
                .licences
                .iter()
                .take(LISTED_MAX)
                .map(|(name, count)| (shorten(name), *count))
                .collect(),
            ..sbom
        }),
        None => Facts::Other,
    })
}

/// The predicate in which Airboss words a bill that a statement cannot hold (XML): a reference to
/// it by digest, with the numbers.
pub(super) fn word(sbom: &Sbom, digest: &Digest) -> serde_json::Value {
    json!({
        "attester": { "id": "urn:airboss:reader" },
        "references": [{
            "mediaType": "application/vnd.cyclonedx+xml",
            "digest": { "sha256": digest.hex() },
        }],
        "airboss_sbom": sbom,
    })
}
