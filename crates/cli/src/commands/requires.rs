//! What a manifest requires of an artifact, in words, and how to hand it in.

use std::path::Path;

use airboss_model::evidence::Requirement;
use airboss_model::manifest::{self, Resource};
use airboss_server::api::evidence::ReleaseView;

use super::manifest_path;

/// What is required, how all of it is handed in, and how the newest version stands.
pub fn lines(require: &[Requirement], newest: Option<&ReleaseView>) -> Vec<String> {
    if require.is_empty() {
        return Vec::new();
    }
    let mut lines: Vec<String> = require.iter().map(item).collect();
    let mut flags: Vec<&str> = require.iter().map(flag).collect();
    flags.dedup();
    lines.push(format!(
        "in CI: airboss artifact add PATH --version VERSION {}",
        flags.join(" ")
    ));
    let Some(newest) = newest else { return lines };
    let passed: Vec<&str> = newest
        .required
        .iter()
        .filter(|it| it.state == "passed")
        .map(|it| it.name.as_str())
        .collect();
    let there = match passed.as_slice() {
        [] => "nothing of it yet".to_owned(),
        some => some.join(", "),
    };
    lines.push(format!("{} has {there}", newest.id));
    for open in newest.required.iter().filter(|it| it.state != "passed") {
        let remedy = open.remedy.as_deref().unwrap_or("-");
        lines.push(format!("  not {}: {}; {remedy}", open.name, open.reason));
    }
    lines
}

fn item(item: &Requirement) -> String {
    match item {
        Requirement::Signed => {
            "signed: by a key or identity that is trusted on the server (airboss keys trust list)"
                .to_owned()
        }
        Requirement::Provenance => {
            "provenance: builder, source, commit and run, as SLSA writes them".to_owned()
        }
        Requirement::Tests => "tests: results without a failure".to_owned(),
        Requirement::Scan(limit) => format!(
            "scan: nothing worse than {}, not older than {}",
            limit.max, limit.age
        ),
        Requirement::Sbom => "sbom: a bill of materials, CycloneDX or SPDX".to_owned(),
    }
}

fn flag(item: &Requirement) -> &'static str {
    match item {
        Requirement::Signed => "--attestation FILE",
        Requirement::Provenance => "--provenance FILE",
        Requirement::Tests => "--junit FILE",
        Requirement::Scan(_) => "--sarif FILE",
        Requirement::Sbom => "--sbom FILE",
    }
}

/// What the manifest in a file requires of a service's artifacts. None where there is no such file
/// or service in it; what is wrong with it is for `airboss check` and `ship` to say.
pub fn of_file(file: &Path, service: &str) -> Option<Vec<Requirement>> {
    let path = manifest_path(file);
    let bytes = std::fs::read(&path).ok()?;
    let documents = manifest::parse_bytes(&path.display().to_string(), &bytes).ok()?;
    documents.into_iter().find_map(|document| {
        let Resource::Service(found) = document.resource;
        (found.metadata.name.as_str() == service).then_some(found.spec.rollout.require)
    })
}
