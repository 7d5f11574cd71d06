//! Looking at releases and what is said of them.

use std::fs;
use std::path::Path;

use airboss_model::Timestamp;
use airboss_server::api::artifacts::ArtifactDetail;
use airboss_server::api::evidence::{ReleaseList, ReleaseQuery, ReleaseView};
use airboss_server::api::requests::ArtifactQuery;
use airboss_targets::process::artifact;
use anyhow::{Context as _, bail};
use serde::Serialize;

use super::super::{Context, manifest_path, ship};
use super::{AttestationsArgs, DigestArgs, LOOKED_AT, ListArgs, ShowArgs};
use crate::client::Client;
use crate::exit::{Exit, UsageError};
use crate::render::{self, dossier};

/// Most versions of one service that the server lists at once.
const VERSIONS_AT_ONCE: u32 = 500;

/// The service that is meant: the one named, or the manifest's.
pub(super) fn service(named: Option<&str>, file: &Path) -> anyhow::Result<String> {
    match named {
        Some(named) => Ok(named.to_owned()),
        None => {
            let path = manifest_path(file);
            if !path.exists() {
                bail!(UsageError(format!(
                    "which service is it? There is no {} here; name the service with --service",
                    path.display()
                )));
            }
            Ok(ship::read(&path, None)?.1)
        }
    }
}

/// The one artifact that is meant.
async fn find(client: &Client, named: &str) -> anyhow::Result<ArtifactDetail> {
    let query = ArtifactQuery {
        limit: Some(LOOKED_AT),
        ..ArtifactQuery::default()
    };
    let mut found = client.artifacts(&query).await?.artifacts;
    found.retain(|artifact| is_meant(artifact, named));
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => bail!(UsageError(format!(
            "there is no artifact `{named}`\n  list them: airboss artifact list"
        ))),
        (Some(_), others) => bail!(UsageError(format!(
            "`{named}` could be {} artifacts; name a release such as checkout@1.4.0, or more digits of the digest",
            others + 1
        ))),
    }
}

/// Fewest digits of a digest that stand for it.
const DIGITS: usize = 6;

fn is_meant(artifact: &ArtifactDetail, named: &str) -> bool {
    let digits = named.strip_prefix("sha256:").unwrap_or(named);
    let by_digest = digits.len() >= DIGITS
        && artifact.digest["sha256:".len()..].starts_with(&digits.to_ascii_lowercase());
    by_digest
        || artifact.releases.iter().any(|release| {
            release == named
                || release
                    .split_once('@')
                    .is_some_and(|(_, version)| version == named)
        })
}

/// What `show --output json` prints.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    artifact: ArtifactDetail,
    versions: Vec<ReleaseView>,
}

pub(super) async fn show(args: ShowArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let artifact = find(&client, &args.artifact).await?;
    let mut versions = Vec::new();
    for id in &artifact.releases {
        versions.push(client.release(id).await?);
    }
    if args.output.is_json() {
        context.json(&Shown { artifact, versions })?;
        return Ok(Exit::Done);
    }
    context.console.lines(&render::artifact(&artifact))?;
    for version in &versions {
        context.console.lines(&dossier::release(version))?;
    }
    Ok(Exit::Done)
}

/// What `list --output json` prints.
#[derive(Serialize)]
struct Listed {
    artifacts: Vec<ArtifactDetail>,
    #[serde(flatten)]
    versions: ReleaseList,
}

pub(super) async fn list(args: ListArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let since = args.since.map(|span| {
        let age = jiff::SignedDuration::try_from(span.0).unwrap_or(jiff::SignedDuration::MAX);
        let now = airboss_runtime::Clock::system().now();
        now.checked_sub(age).unwrap_or(Timestamp::MIN)
    });
    let client = context.client()?;
    let query = ArtifactQuery {
        limit: Some(LOOKED_AT),
        ..ArtifactQuery::default()
    };
    let mut artifacts = client.artifacts(&query).await?.artifacts;
    if let Some(service) = &args.service {
        let of_service = |id: &String| id.split_once('@').is_some_and(|(name, _)| name == service);
        artifacts.retain(|it| it.releases.iter().any(of_service));
    }
    if let Some(since) = since {
        let is_recent = |at: &str| at.parse::<Timestamp>().is_ok_and(|at| at >= since);
        artifacts.retain(|it| is_recent(&it.kept_at));
    }
    artifacts.truncate(args.limit as usize);
    let query = ReleaseQuery {
        service: args.service,
        since: since.map(|at| at.to_string()),
        digest: None,
        limit: Some(args.limit.min(VERSIONS_AT_ONCE)),
    };
    let versions = client.releases(&query).await?;
    if args.output.is_json() {
        context.json(&Listed {
            artifacts,
            versions,
        })?;
        return Ok(Exit::Done);
    }
    if !artifacts.is_empty() {
        context.console.lines(&render::artifacts(&artifacts))?;
        context.console.text("")?;
    }
    context.console.lines(&dossier::list(&versions))?;
    Ok(Exit::Done)
}

pub(super) async fn attestations(
    args: AttestationsArgs,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let digest = find(&client, &args.artifact).await?.digest;
    let list = client.attestations(&digest).await?.attestations;
    let Some(folder) = args.output else {
        context.console.lines(&dossier::documents(&list))?;
        return Ok(Exit::Done);
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut written = 0;
    for it in &list {
        let short = it.id.trim_start_matches("sha256:").get(..12).unwrap_or("0");
        let signed = matches!(it.form.as_str(), "dsse" | "sigstore_bundle");
        let extension = match it.form.as_str() {
            "dsse" => "intoto.jsonl",
            "sigstore_bundle" => "sigstore.json",
            "j_unit" | "junit" => "junit.xml",
            _ => "json",
        };
        let mut write = |extension: &str, bytes: &[u8]| {
            let path = folder.join(format!("{}-{short}.{extension}", it.kind));
            written += 1;
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        let document = client.document(&digest, &it.id, false).await?;
        write(extension, &document)?;
        let mut envelope = (it.form == "dsse").then_some(document);
        if !signed && let Ok(ours) = client.document(&digest, &it.id, true).await {
            write("intoto.jsonl", &ours)?;
            envelope = Some(ours);
        }
        if let Some(bundle) = envelope.and_then(|bytes| bundle(&bytes, &digest)) {
            write("sigstore.json", bundle.as_bytes())?;
        }
    }
    context.console.text(&format!(
        "{written} files about {digest} in {}",
        folder.display()
    ))?;
    Ok(Exit::Done)
}

/// An envelope as the bundle that cosign reads.
fn bundle(envelope: &[u8], digest: &str) -> Option<String> {
    let hint = airboss_attest::Hint {
        subject: &digest.parse().ok()?,
        name: "",
        form: None,
    };
    let document = airboss_attest::read(envelope, &hint).ok()?;
    document.envelope?.to_bundle_json()
}

pub(super) fn digest(args: &DigestArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let temporary;
    let to = match &args.save {
        Some(path) => path.as_path(),
        None => {
            temporary = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
            temporary.path()
        }
    };
    let packed = artifact::pack(&args.path, to)
        .with_context(|| format!("cannot pack {}", args.path.display()))?;
    context.console.text(&packed.digest.to_string())?;
    Ok(Exit::Done)
}
