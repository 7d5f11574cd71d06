//! What is shipped: a path on this machine, or an image or artifact of a registry.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use airboss_model::Origin;
use airboss_oci::{Credentials, OciError, Pinned, Platform, Registry, Source};
use airboss_server::api::artifacts::ArtifactView;
use airboss_server::api::evidence::{AttestationQuery, BuildView};
use airboss_server::api::requests::{ArtifactQuery, OriginRequest};
use airboss_targets::process::artifact;
use anyhow::{Context as _, bail};

use super::artifact::Told;
use crate::client::Client;
use crate::exit::UsageError;
use crate::render::words;

/// How an image is chosen and who asks for it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RegistryArgs {
    /// The platform of an image, such as linux/arm64 [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// Credentials.
    #[command(flatten)]
    pub auth: AuthArgs,
}

/// Who asks a registry.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AuthArgs {
    /// Where user:password for the registry is, env:NAME or file:PATH [default: the Docker config file]
    #[arg(long, value_name = "SECRET")]
    pub registry_auth: Option<String>,
}

impl AuthArgs {
    /// The credentials that are meant.
    pub fn credentials(&self) -> Credentials {
        match &self.registry_auth {
            Some(secret) => Credentials::Secret(secret.clone()),
            None => Credentials::DockerConfig,
        }
    }
}

/// What the server keeps now.
#[derive(Debug, Clone)]
pub struct Supplied {
    /// The artifact.
    pub artifact: ArtifactView,
    /// Where it comes from, as far as it says so itself.
    pub build: BuildView,
    /// Things to know, in one line each.
    pub notes: Vec<String>,
}

/// Hands what `path` names to the server, unless it has it.
///
/// # Errors
/// Where it cannot be read, is not accepted, or cannot be sent.
pub async fn supply(
    client: &Client,
    path: &Path,
    args: &RegistryArgs,
    by: &str,
) -> anyhow::Result<Supplied> {
    match path.to_str().filter(|text| Source::is_meant(text)) {
        Some(text) => of_registry(client, text.parse()?, args, by).await,
        None => {
            let source = path.display().to_string();
            let artifact = upload(client, path.to_owned(), &source).await?;
            Ok(Supplied {
                artifact,
                build: BuildView::default(),
                notes: stays_packed(path).into_iter().collect(),
            })
        }
    }
}

/// Says so where a file looks like something to unpack: what is shipped then is that one file.
fn stays_packed(path: &Path) -> Option<String> {
    const PACKED: [&str; 8] = ["gz", "tgz", "zip", "zst", "xz", "bz2", "txz", "tbz"];
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    (PACKED.contains(&ending.as_str()) && path.is_file()).then(|| {
        format!(
            "{} is shipped as the one file that it is, not unpacked; to ship what is in it, name its folder or a plain .tar",
            path.display()
        )
    })
}

/// Refuses what cannot be there, before anybody is asked.
///
/// # Errors
/// Where the path does not exist, or the text is no reference.
pub fn check(path: &Path) -> anyhow::Result<()> {
    if let Some(text) = path.to_str().filter(|text| Source::is_meant(text)) {
        return match text.parse::<Source>() {
            Ok(_) => Ok(()),
            Err(error) => bail!(UsageError(error.to_string())),
        };
    }
    if let Err(error) = std::fs::metadata(path) {
        bail!(UsageError(format!(
            "cannot ship {}: {error}\n  \
             name the folder, file or .tar archive that CI built, or an image: oci://REGISTRY/REPOSITORY:TAG",
            path.display()
        )));
    }
    Ok(())
}

async fn of_registry(
    client: &Client,
    source: Source,
    args: &RegistryArgs,
    by: &str,
) -> anyhow::Result<Supplied> {
    let platform = args.platform.clone().unwrap_or_else(Platform::here);
    let registry = Registry::new(source, &args.auth.credentials())?;
    let pinned = registry.resolve(&platform).await.map_err(explained)?;
    let known = known(client, &pinned).await?;
    let (artifact, notes) = match known {
        Some(artifact) => (artifact, Vec::new()),
        None => fetch(client, &registry, &pinned, &platform).await?,
    };
    let origin = &pinned.origin;
    let request = OriginRequest {
        repository: origin.repository.clone(),
        tag: origin.tag.clone(),
        resolved: origin.resolved.to_string(),
        manifest: origin.manifest.to_string(),
        platform: origin.platform.clone(),
    };
    client.put_origin(&artifact.digest, &request).await?;
    let mut notes = notes;
    notes.insert(0, format!("{} is {}", origin.reference(), origin.resolved));
    notes.extend(attach(client, &registry, origin, &artifact.digest, by).await?);
    let build = match registry.labels(&pinned).await {
        Ok(labels) => built(&labels),
        Err(error) => {
            notes.push(format!("the labels of the image cannot be read: {error}"));
            BuildView::default()
        }
    };
    Ok(Supplied {
        artifact,
        build,
        notes,
    })
}

/// What CI tells goes before what an image says of itself.
pub fn told(ci: Option<&Told>, image: BuildView) -> BuildView {
    let ci = ci.map(|it| it.build.clone()).unwrap_or_default();
    BuildView {
        commit: ci.commit.or(image.commit),
        reference: ci.reference.or(image.reference),
        run: ci.run.or(image.run),
        actor: ci.actor.or(image.actor),
        repository: ci.repository.or(image.repository),
        builder: ci.builder.or(image.builder),
    }
}

/// What an image's labels say of where it comes from.
fn built(labels: &BTreeMap<String, String>) -> BuildView {
    let of = |name: &str| {
        let value = labels.get(&format!("org.opencontainers.image.{name}"))?;
        (!value.trim().is_empty()).then(|| value.trim().to_owned())
    };
    let is_commit = |it: &String| it.len() >= 7 && it.bytes().all(|it| it.is_ascii_hexdigit());
    BuildView {
        commit: of("revision").filter(is_commit),
        repository: of("source"),
        ..BuildView::default()
    }
}

/// Media types of attached documents that Airboss reads, by a part of their name.
const READ: [&str; 6] = [
    "in-toto",
    "dsse",
    "sigstore.bundle",
    "cyclonedx",
    "spdx",
    "sarif",
];

/// Hands in what is attached to the image, and says what came of it. What cannot be used stops
/// nobody: the manifest says what must be there.
async fn attach(
    client: &Client,
    registry: &Registry,
    origin: &Origin,
    digest: &str,
    by: &str,
) -> anyhow::Result<Vec<String>> {
    let attached = match registry.attached_to(origin).await {
        Ok(attached) => attached,
        Err(error) => {
            let note = format!("what is attached to the image cannot be had: {error}");
            return Ok(vec![note]);
        }
    };
    let (mut kept, mut notes) = (0, Vec::new());
    for it in attached {
        let kind = format!("{} {}", it.media_type, it.artifact_type);
        let digest_of_it = it.digest.to_string();
        let short = words::short_digest(&digest_of_it);
        if !READ.iter().any(|part| kind.contains(part)) {
            notes.push(format!(
                "attached {short} is {}, which is not read",
                it.media_type
            ));
            continue;
        }
        let query = AttestationQuery {
            kind: None,
            source: format!("oci://{}@{}", origin.repository, it.manifest),
            name: String::new(),
            by: by.to_owned(),
        };
        match client.attest(digest, &query, it.bytes).await {
            Ok(list) => kept += list.attestations.len(),
            Err(error) if error.is_invalid() => {
                notes.push(format!("attached {short} is not kept: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if kept > 0 {
        notes.insert(
            0,
            format!("{kept} documents are attached to the image and kept with it"),
        );
    }
    Ok(notes)
}

/// The artifact that was made of this very manifest before, where its content is kept.
async fn known(client: &Client, pinned: &Pinned) -> anyhow::Result<Option<ArtifactView>> {
    let query = ArtifactQuery {
        manifest: Some(pinned.origin.manifest.to_string()),
        kept: Some(true),
        limit: Some(1),
    };
    let list = client.artifacts(&query).await?;
    Ok(list.artifacts.into_iter().next().map(|kept| ArtifactView {
        digest: kept.digest,
        size: kept.size,
        new: false,
    }))
}

async fn fetch(
    client: &Client,
    registry: &Registry,
    pinned: &Pinned,
    platform: &Platform,
) -> anyhow::Result<(ArtifactView, Vec<String>)> {
    let source = registry.source();
    if io::stderr().is_terminal() {
        // Only for the eye.
        let _ = write!(io::stderr(), "fetching {source} …");
    }
    let folder = tempfile::tempdir()
        .context("cannot make a temporary folder for the image; see whether $TMPDIR has space")?;
    let files = folder.path().join("files");
    std::fs::create_dir(&files).with_context(|| format!("cannot make {}", files.display()))?;
    let pulled = registry.pull(pinned, platform, &files).await;
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let pulled = pulled.map_err(explained)?;
    let mut notes = Vec::new();
    if pulled.unpacked.privileged > 0 {
        notes.push(format!(
            "{} of its files asked to run as their owner (setuid, setgid); they are shipped without that",
            pulled.unpacked.privileged
        ));
    }
    if let [program, rest @ ..] = pulled.entrypoint.as_slice() {
        let rest: Vec<String> = rest.iter().map(|word| format!(", {word:?}")).collect();
        notes.push(format!(
            "as a container it would run: command: [\"{{artifact}}/{}\"{}]",
            program.trim_start_matches('/'),
            rest.concat()
        ));
    }
    let path = match &pulled.file {
        Some(only) => files.join(only),
        None => files,
    };
    let artifact = upload(client, path, &format!("oci://{source}")).await?;
    Ok((artifact, notes))
}

/// What a wrong reference or missing credentials are the command line's.
fn explained(error: OciError) -> anyhow::Error {
    let usage = matches!(
        error,
        OciError::NotFound { .. }
            | OciError::Platform { .. }
            | OciError::Refused { .. }
            | OciError::Credentials { .. }
    );
    if usage {
        return UsageError(error.to_string()).into();
    }
    error.into()
}

/// Packs what `path` holds and sends it.
async fn upload(client: &Client, path: PathBuf, source: &str) -> anyhow::Result<ArtifactView> {
    let archive = tempfile::NamedTempFile::new()
        .context("cannot make a temporary file for the archive; see whether $TMPDIR has space")?;
    let to = archive.path().to_owned();
    let packed = tokio::task::spawn_blocking(move || artifact::pack(&path, &to))
        .await?
        .with_context(|| format!("cannot pack {source}"))?;
    let bar = io::stderr().is_terminal().then(|| Bar::new(packed.size));
    let sent = move |gone| {
        if let Some(bar) = &bar {
            bar.show(gone);
        }
    };
    let kept = client
        .upload(archive.path(), packed.size, source, sent)
        .await?;
    if kept.digest != packed.digest.to_string() {
        bail!(
            "the server keeps {} where {} was sent: something between here and there changes \
             the bytes; nothing was shipped",
            kept.digest,
            packed.digest
        );
    }
    Ok(kept)
}

/// A line on standard error that fills while bytes go; dropping it clears the line.
struct Bar {
    total: u64,
    drawn: Mutex<Option<Instant>>,
}

/// Pause between two drawings.
const REDRAW: Duration = Duration::from_millis(100);

impl Bar {
    fn new(total: u64) -> Self {
        Self {
            total,
            drawn: Mutex::new(None),
        }
    }

    fn show(&self, gone: u64) {
        let Ok(mut drawn) = self.drawn.lock() else {
            return;
        };
        if drawn.is_some_and(|at| at.elapsed() < REDRAW) {
            return;
        }
        *drawn = Some(Instant::now());
        // Only for the eye: where it cannot be written, nothing is missing.
        let _ = write!(io::stderr(), "\r{}\x1b[K", bar(gone, self.total));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

fn bar(gone: u64, total: u64) -> String {
    const CELLS: u64 = 24;
    let full = (gone.min(total) * CELLS)
        .checked_div(total)
        .unwrap_or(CELLS);
    let cells: String = (0..CELLS)
        .map(|cell| if cell < full { '█' } else { '░' })
        .collect();
    format!(
        "uploading {cells} {} of {}",
        words::bytes(gone),
        words::bytes(total)
    )
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn the_bar_is_full_when_all_is_sent() {
        assert_eq!(
            bar(25_000_000, 100_000_000),
            "uploading ██████░░░░░░░░░░░░░░░░░░ 25.0 MB of 100 MB"
        );
        assert!(!bar(7, 7).contains('░') && !bar(0, 0).contains('░'));
    }
}
