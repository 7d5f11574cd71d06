//! `airboss ship`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use airboss_model::manifest::{self, Resource, Severity};
use airboss_server::api::requests::ShipRequest;
use airboss_server::api::views::ArtifactView;
use airboss_targets::process::artifact;
use anyhow::{Context as _, bail};

use super::watch::{self, Followed};
use super::{Context, act, manifest_path, read_manifest};
use crate::args::ShipArgs;
use crate::client::Client;
use crate::exit::{Exit, UsageError};
use crate::identity;
use crate::render::{Chunk, Line, Style, words};

/// Packs, uploads and ships.
///
/// # Errors
/// Where the manifest or the path is wrong, the server cannot be asked or refuses.
pub async fn run(args: ShipArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let path = manifest_path(&args.file);
    let (text, service) = read(&path, args.service.as_deref())?;
    if let Err(error) = std::fs::metadata(&args.path) {
        bail!(UsageError(format!(
            "cannot ship {}: {error}\n  name the folder, file or .tar archive that CI built",
            args.path.display()
        )));
    }
    let client = context.client()?;
    // Asked first, so that a wrong token or address is told before gigabytes are packed.
    client.system().await?;
    let artifact = upload(&client, &args.path).await?;
    let request = ShipRequest {
        manifest: text,
        manifest_name: path.display().to_string(),
        service: Some(service),
        version: args.version,
        digest: artifact.digest.clone(),
        environment: args.environment,
        by: identity::by(args.by.by.as_deref()),
        fix: args.fix,
    };
    let key = uuid::Uuid::now_v7().to_string();
    let accepted = client.ship(&request, &key).await?;
    // With JSON and --watch, all that is printed is events.
    if !(args.wait.watch && args.output.is_json()) {
        act::tell(&accepted, args.output, context)?;
    }
    if !args.wait.watch {
        if !args.output.is_json() {
            context.console.lines(&[Line::indented(
                2,
                vec![
                    Chunk::styled(
                        format!("  follow it: airboss watch {}", accepted.rollout),
                        Style::Dim,
                    ),
                    Chunk::styled(kept(&artifact), Style::Dim),
                ],
            )])?;
        }
        return Ok(Exit::Done);
    }
    let rollout = client.rollout(&accepted.rollout).await?;
    let followed = Followed::Rollout(Box::new(rollout));
    watch::follow(client, followed, args.wait.timeout, args.output, context).await
}

fn kept(artifact: &ArtifactView) -> String {
    format!(
        "({} {}{})",
        words::short_digest(&artifact.digest),
        words::bytes(artifact.size),
        if artifact.new { "" } else { ", known already" }
    )
}

/// The manifest's text and the service in it that is meant.
fn read(path: &Path, named: Option<&str>) -> anyhow::Result<(String, String)> {
    let bytes = read_manifest(path, &mut io::stdin())?;
    let name = path.display().to_string();
    let documents = match manifest::parse_bytes(&name, &bytes) {
        Ok(documents) => documents,
        Err(findings) => {
            let mut text = format!("{name} is refused");
            for finding in findings
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
            {
                text += &format!("\n{finding}");
            }
            bail!(UsageError(text));
        }
    };
    let services: Vec<&str> = documents
        .iter()
        .map(|document| match &document.resource {
            Resource::Service(service) => service.metadata.name.as_str(),
        })
        .collect();
    let service = match (named, services.as_slice()) {
        (Some(named), _) if services.contains(&named) => named,
        (Some(named), _) => bail!(UsageError(format!(
            "there is no service `{named}` in {name}\n  there are: {}",
            services.join(", ")
        ))),
        (None, [only]) => only,
        (None, _) => bail!(UsageError(format!(
            "{name} holds several services; say which with --service\n  there are: {}",
            services.join(", ")
        ))),
    }
    .to_owned();
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is no UTF-8 text"))?;
    Ok((text, service))
}

/// Packs what `path` holds and sends it.
async fn upload(client: &Client, path: &Path) -> anyhow::Result<ArtifactView> {
    let archive = tempfile::NamedTempFile::new()
        .context("cannot make a temporary file for the archive; see whether $TMPDIR has space")?;
    let (from, to) = (path.to_owned(), archive.path().to_owned());
    let packed = tokio::task::spawn_blocking(move || artifact::pack(&from, &to))
        .await?
        .with_context(|| format!("cannot pack {}", path.display()))?;
    let bar = io::stderr().is_terminal().then(|| Bar::new(packed.size));
    let sent = move |gone| {
        if let Some(bar) = &bar {
            bar.show(gone);
        }
    };
    let source = path.display().to_string();
    let kept = client
        .upload(archive.path(), packed.size, &source, sent)
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
