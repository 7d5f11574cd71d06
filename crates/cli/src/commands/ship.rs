//! `airboss ship`.

use std::io;
use std::path::Path;

use airboss_model::manifest::{self, Resource, Severity};
use airboss_server::api::artifacts::ArtifactView;
use airboss_server::api::evidence::{BuildView, ReleaseRequest};
use airboss_server::api::requests::ShipRequest;
use anyhow::{Context as _, bail};

use super::artifact::Ci;
use super::source::{self, Supplied};
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
    if let Some(path) = &args.path {
        source::check(path)?;
    }
    let client = context.client()?;
    // Asked first, so that a wrong token or address is told before gigabytes are packed.
    client.system().await?;
    let by = identity::by(args.by.by.as_deref());
    let Supplied {
        artifact,
        build,
        mut notes,
    } = match &args.path {
        Some(path) => source::supply(&client, path, &args.registry, &by).await?,
        None => registered(&client, &service, &args.version).await?,
    };
    let request = ShipRequest {
        manifest: text,
        manifest_name: path.display().to_string(),
        service: Some(service.clone()),
        version: args.version.clone(),
        digest: artifact.digest.clone(),
        environment: args.environment,
        by: by.clone(),
        fix: args.fix,
    };
    let key = uuid::Uuid::now_v7().to_string();
    let accepted = client.ship(&request, &key).await?;
    // Only now: a version that is refused must stay free for other content.
    let build = source::told(Ci::here().as_ref(), build);
    if build != BuildView::default() {
        let release = ReleaseRequest {
            service,
            version: args.version,
            digest: None,
            build,
            by,
        };
        match client.register(&release).await {
            Ok(release) => notes.extend(release.warnings),
            Err(error) => notes.push(format!("where it comes from is not noted: {error}")),
        }
    }
    if !args.output.is_json() {
        let lines: Vec<Line> = notes
            .iter()
            .map(|note| Line::indented(2, vec![Chunk::styled(note, Style::Dim)]))
            .collect();
        context.console.lines(&lines)?;
    }
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

/// The content of a version that was registered before.
async fn registered(client: &Client, service: &str, version: &str) -> anyhow::Result<Supplied> {
    match client.release(&format!("{service}@{version}")).await {
        Ok(release) => Ok(Supplied {
            artifact: ArtifactView {
                size: release.size.unwrap_or_default(),
                digest: release.digest,
                new: false,
            },
            build: BuildView::default(),
            notes: Vec::new(),
        }),
        Err(error) if error.is_not_found() => bail!(UsageError(format!(
            "{service}@{version} is not known yet: name the folder, file or .tar archive that CI built\n  airboss ship PATH --version {version}"
        ))),
        Err(error) => Err(error.into()),
    }
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
pub(super) fn read(path: &Path, named: Option<&str>) -> anyhow::Result<(String, String)> {
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
