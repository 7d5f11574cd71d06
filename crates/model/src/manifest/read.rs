//! From text to resources: the documents of a file and what is wrong with them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::decode::decode;
use super::diagnostic::{Diagnostic, Finding, Severity, listed, nearest, quote};
use super::rules;
use super::secrets;
use super::yaml::{self, Node, Value};
use super::{API_VERSION, KINDS, ProcessTarget, Service, Target};

/// Largest file that is read, in bytes.
pub const BYTES_MAX: usize = 1 << 20;
/// Most findings that are told about one file; a last one counts the others.
pub const FINDINGS_MAX: usize = 100;

/// One document of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it describes.
    pub resource: Resource,
    /// What is allowed and yet looks wrong.
    pub warnings: Vec<Diagnostic>,
}

/// What a document describes, by its `kind`.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// `kind: Service`
    Service(Box<Service>),
}

impl Resource {
    /// The word behind `kind:`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "Service",
        }
    }
    /// The name in `metadata`.
    pub fn name(&self) -> &str {
        match self {
            Self::Service(service) => service.metadata.name.as_str(),
        }
    }
}

/// Reads a manifest from the bytes of a file: as [`parse`], with a clear answer where the file
/// is no UTF-8 text.
///
/// # Errors
/// As [`parse`].
pub fn parse_bytes(file_name: &str, bytes: &[u8]) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let refuse = |text: &str, at: usize, message: &str, help: &str| {
        let finding = Finding::error(at..at + 1, message).help(help);
        Err(vec![finding.place(file_name, text, &[])])
    };
    if bytes.len() > BYTES_MAX {
        let message = format!(
            "the file has {} bytes; a manifest has at most {BYTES_MAX}",
            bytes.len()
        );
        return refuse("", 0, &message, "is this the right file?");
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let help = "save it as UTF-8 (in most editors: Save with encoding)";
        return refuse("", 0, "the file is encoded as UTF-16", help);
    }
    if bytes.contains(&0) {
        return refuse(
            "",
            0,
            "this is a binary file, not a manifest",
            "name the YAML file",
        );
    }
    match str::from_utf8(bytes) {
        Ok(text) => parse(file_name, text),
        Err(error) => {
            let (good, _) = bytes.split_at(error.valid_up_to());
            let good = str::from_utf8(good).unwrap_or_default();
            let message = "a byte that is not UTF-8 follows here";
            refuse(good, good.len(), message, "save the file as UTF-8")
        }
    }
}

/// Reads all documents of a manifest. `file_name` is only for the findings.
///
/// A byte order mark at the start is ignored. Empty documents (between two `---`) are skipped.
/// Limits: [`BYTES_MAX`] bytes, 64 levels, 20,000 names and values with those that aliases repeat, 50
/// findings of structure a document, [`FINDINGS_MAX`] findings in all.
///
/// # Errors
/// All findings, in the order of the text, where at least one is an error: what is no YAML
/// (nothing behind it is read), unknown or missing fields, wrong types, values that cannot be
/// and combinations that are not supported. Warnings stand among them.
pub fn parse(file_name: &str, text: &str) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > BYTES_MAX || text.contains('\0') {
        return parse_bytes(file_name, text.as_bytes());
    }
    let mut tree = yaml::read(text);
    let mut findings = std::mem::take(&mut tree.findings);
    let broken = findings.iter().any(|f| f.severity == Severity::Error);
    tree.documents.retain(|node| !node.is_nothing());
    // No finding may show a secret, so these come first.
    let mut hidden = Vec::new();
    for node in &tree.documents {
        secrets::find(node, &mut hidden, &mut findings);
    }
    secrets::guess(text, &mut hidden);
    if tree.documents.is_empty() && !broken {
        findings.push(
            Finding::error(0..0, "the file holds no document")
                .help("`airboss init` writes a manifest to start from"),
        );
    }
    let mut resources = Vec::new();
    let mut ends = Vec::new();
    let mut names: HashSet<(&str, String)> = HashSet::new();
    let mut addresses: HashMap<String, String> = HashMap::new();
    for node in &mut tree.documents {
        if let Some(resource) = document(node, &mut findings) {
            let at = |path: &[&str]| rules::locate(node, path).0;
            let key = (resource.kind(), resource.name().to_owned());
            if !names.insert(key) {
                let (kind, name) = (resource.kind(), resource.name());
                let message = format!("the {kind} `{name}` is there twice");
                findings.push(
                    Finding::error(at(&["metadata", "name"]), message)
                        .help("keep one of the two, or give this one another name"),
                );
            }
            let Resource::Service(service) = &resource;
            let Target::Process(ProcessTarget { listen, .. }) = &service.spec.target;
            if let Some(other) = addresses.insert(listen.clone(), resource.name().to_owned()) {
                let message = format!("`{listen}` is the address of `{other}` already");
                findings.push(
                    Finding::error(at(&["spec", "target", "process", "listen"]), message)
                        .help("each service needs an address of its own"),
                );
            }
            resources.push(resource);
        }
        ends.push(node.at.end);
    }
    findings.sort_by_key(|finding| (finding.at.start, finding.severity == Severity::Warning));
    let refused = findings.iter().any(|f| f.severity == Severity::Error);
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    if refused && more > 0 {
        // Errors first: a warning must not push out the reason for the refusal.
        findings.sort_by_key(|finding| finding.severity == Severity::Warning);
        findings.truncate(FINDINGS_MAX);
        findings.sort_by_key(|finding| finding.at.start);
        let last = findings.last().map_or(0..0, |finding| finding.at.clone());
        findings.push(Finding::error(last, format!("and {more} more findings")));
    }
    if refused {
        let place = |finding: Finding| finding.place(file_name, text, &hidden);
        return Err(findings.into_iter().map(place).collect());
    }
    let mut findings = findings.into_iter().peekable();
    let mut documents = Vec::new();
    for (resource, end) in resources.into_iter().zip(ends) {
        let mut warnings = Vec::new();
        while let Some(finding) = findings.next_if(|finding| finding.at.start <= end) {
            warnings.push(finding.place(file_name, text, &hidden));
        }
        documents.push(Document { resource, warnings });
    }
    Ok(documents)
}

/// Reads one document by its `apiVersion` and `kind`.
fn document(node: &mut Node, findings: &mut Vec<Finding>) -> Option<Resource> {
    let (start, what) = (node.start(), node.kind());
    let Value::Map(map) = &mut node.value else {
        findings.push(
            Finding::error(start, format!("a manifest is a mapping, this is {what}"))
                .help(format!("start with `apiVersion: {API_VERSION}`")),
        );
        return None;
    };
    let mut word = |name: &str, known: &[&'static str]| {
        let Some(entry) = map.take(name) else {
            let near = map.entries.iter().find(|entry| {
                nearest(&entry.key, ["apiVersion", "kind", "metadata", "spec"]) == Some(name)
            });
            // A slip is reported below, as the unknown field that it is.
            if near.is_none() {
                let message = format!("the field `{name}` is missing");
                findings.push(
                    Finding::error(start.clone(), message)
                        .help(format!("write `{name}: {}`", known[0])),
                );
            }
            return Some(known[0]);
        };
        let text = entry.value.text().unwrap_or_default();
        if let Some(known) = known.iter().find(|known| **known == text) {
            return Some(*known);
        }
        let message = match nearest(text, known.iter().copied()) {
            _ if entry.value.is_nothing() => format!("{name} has no value"),
            _ if text.is_empty() => format!("{name} is {}", entry.value.kind()),
            Some(near) => format!(
                "{name} {} is not known; did you mean `{near}`?",
                quote(text)
            ),
            None => format!("{name} {} is not known", quote(text)),
        };
        let at: Range<usize> = if entry.value.is_nothing() {
            entry.key_at
        } else {
            entry.value.start()
        };
        findings.push(Finding::error(at, message).help(format!("write {}", listed(known, "or"))));
        nearest(text, known.iter().copied())
    };
    word("apiVersion", &[API_VERSION]);
    // Without a kind nothing can be said about the rest.
    let kind = word("kind", KINDS)?;
    match kind {
        "Service" => {
            let service = decode(&mut node.clone(), &["apiVersion", "kind"], findings).value;
            findings.extend(rules::check(node));
            service.map(|service| Resource::Service(Box::new(service)))
        }
        _ => None,
    }
}
