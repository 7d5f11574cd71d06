//! SLSA provenance, v1 and v0.2: who built what from which commit.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{ReadError, lenient_time, predicate, shorten};
use crate::facts::{Facts, Input, LISTED_MAX, Provenance};

/// The predicate type of today.
pub(super) const PROVENANCE_V1: &str = "https://slsa.dev/provenance/v1";
/// An older one.
pub(super) const PROVENANCE_V02: &str = "https://slsa.dev/provenance/v0.2";

type Digests = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    build_definition: Definition,
    run_details: Run,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Definition {
    build_type: Option<String>,
    #[serde(default)]
    external_parameters: Value,
    resolved_dependencies: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    uri: Option<String>,
    name: Option<String>,
    digest: Option<Digests>,
}

#[derive(Deserialize)]
struct Run {
    builder: Option<Builder>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Builder {
    id: Option<String>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(
        alias = "invocationId",
        alias = "invocationID",
        alias = "buildInvocationId",
        alias = "buildInvocationID"
    )]
    run: Option<String>,
    #[serde(alias = "startedOn", alias = "buildStartedOn")]
    started: Option<String>,
    #[serde(alias = "finishedOn", alias = "buildFinishedOn")]
    finished: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct V02 {
    builder: Option<Builder>,
    build_type: Option<String>,
    invocation: Option<Invocation>,
    metadata: Option<Metadata>,
    materials: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    config_source: Option<Descriptor>,
}

/// SLSA provenance v1, as GitHub, GitLab, the SLSA generators and others write it.
pub(super) fn v1(text: &str) -> Result<Facts, ReadError> {
    let V1 {
        build_definition: definition,
        run_details: run,
    } = predicate::parse(text)?;
    let mut facts = common(run.builder, definition.build_type, run.metadata);
    let dependencies = definition.resolved_dependencies.unwrap_or_default();
    let parameters = &definition.external_parameters;
    let named = |pointer: &str| parameters.pointer(pointer).and_then(Value::as_str);
    let source = [
        "/workflow/repository",
        "/source/uri",
        "/source",
        "/sourceUri",
        "/repository",
        "/configSource/uri",
    ]
    .into_iter()
    .find_map(named);
    let reference = ["/workflow/ref", "/ref", "/source/ref", "/branch"]
        .into_iter()
        .find_map(named);
    let in_parameters = ["/source/digest", "/configSource/digest"]
        .into_iter()
        .find_map(|pointer| parameters.pointer(pointer))
        .and_then(|digest| serde_json::from_value::<Digests>(digest.clone()).ok());
    set_source(&mut facts, source, in_parameters.as_ref(), &dependencies);
    if let Some(reference) = reference {
        facts.reference = Some(shorten(reference));
    }
    Ok(Facts::Provenance(facts))
}

/// SLSA provenance v0.2.
pub(super) fn v02(text: &str) -> Result<Facts, ReadError> {
    let read: V02 = predicate::parse(text)?;
    let mut facts = common(read.builder, read.build_type, read.metadata);
    let config = read.invocation.and_then(|it| it.config_source);
    set_source(
        &mut facts,
        config.as_ref().and_then(|it| it.uri.as_deref()),
        config.as_ref().and_then(|it| it.digest.as_ref()),
        &read.materials.unwrap_or_default(),
    );
    Ok(Facts::Provenance(facts))
}

fn common(
    builder: Option<Builder>,
    build_type: Option<String>,
    metadata: Option<Metadata>,
) -> Provenance {
    let filled = |text: Option<String>| text.map(|it| shorten(&it)).filter(|it| !it.is_empty());
    let metadata = metadata.unwrap_or_default();
    Provenance {
        builder: filled(builder.and_then(|builder| builder.id)),
        build_type: filled(build_type),
        run: filled(metadata.run),
        started: metadata.started.as_deref().and_then(lenient_time),
        finished: metadata.finished.as_deref().and_then(lenient_time),
        ..Provenance::default()
    }
}

/// The repository and its commit: what the build was told, else the first dependency out of git.
fn set_source(
    facts: &mut Provenance,
    told: Option<&str>,
    told_digest: Option<&Digests>,
    dependencies: &[Descriptor],
) {
    let told = told.filter(|it| !it.is_empty()).map(split);
    let from_git = dependencies.iter().find(|dependency| {
        let uri = dependency.uri.as_deref().unwrap_or_default();
        match &told {
            Some((source, _)) => split(uri).0 == *source,
            None => uri.starts_with("git+") || uri.ends_with(".git"),
        }
    });
    let dependency = from_git.and_then(|it| it.uri.as_deref()).map(split);
    let (source, reference) = match (told, dependency) {
        (Some((source, reference)), Some((_, other))) => (Some(source), reference.or(other)),
        (Some((source, reference)), None) => (Some(source), reference),
        (None, Some((source, reference))) => (Some(source), reference),
        (None, None) => (None, None),
    };
    facts.source = source.map(|it| shorten(&it));
    facts.reference = reference.map(|it| shorten(&it));
    facts.commit = told_digest
        .and_then(commit)
        .or_else(|| from_git.and_then(|it| it.digest.as_ref()).and_then(commit));
    facts.inputs_total = dependencies.len() as u64;
    facts.inputs = dependencies
        .iter()
        .take(LISTED_MAX)
        .map(|it| Input {
            name: shorten(it.uri.as_deref().or(it.name.as_deref()).unwrap_or_default()),
            digest: it
                .digest
                .as_ref()
                .and_then(|all| all.iter().next())
                .map(|(algorithm, hex)| shorten(&format!("{algorithm}:{hex}"))),
        })
        .collect();
}

/// `git+https://host/path.git@refs/heads/main` to address and reference.
fn split(uri: &str) -> (String, Option<String>) {
    let uri = uri.strip_prefix("git+").unwrap_or(uri);
    // An `@` before the path is a user's.
    let path = uri.find("://").map_or(0, |at| at + 3);
    let at = uri[path..]
        .find('/')
        .and_then(|slash| uri[path + slash..].rfind('@').map(|at| path + slash + at));
    let (address, reference) = match at {
        Some(at) => (&uri[..at], Some(uri[at + 1..].to_owned())),
        None => (uri, None),
    };
    let address = address.trim_end_matches('/');
    let address = address.strip_suffix(".git").unwrap_or(address);
    (
        address.to_owned(),
        reference.filter(|reference| !reference.is_empty()),
    )
}

/// GitLab writes a commit's SHA-1 under `sha256`: what counts is that it is hexadecimal.
fn commit(digests: &Digests) -> Option<String> {
    ["gitCommit", "sha1", "sha256"]
        .into_iter()
        .find_map(|algorithm| digests.get(algorithm))
        .filter(|hex| matches!(hex.len(), 40 | 64) && hex.bytes().all(|it| it.is_ascii_hexdigit()))
        .map(|hex| hex.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_source_is_split_from_its_reference() {
        let of = |uri: &str| split(uri);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("git+https://github.com/acme/shop.git@refs/tags/v1"),
            (
                "https://github.com/acme/shop".to_owned(),
                some("refs/tags/v1")
            )
        );
        assert_eq!(
            of("https://bot@git.acme.test/shop"),
            ("https://bot@git.acme.test/shop".to_owned(), None)
        );
        assert_eq!(of("").0, "");
        assert_eq!(of("ü@ö"), ("ü@ö".to_owned(), None));
    }
}
