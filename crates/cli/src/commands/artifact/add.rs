//! `airboss artifact add`.

use std::path::{Path, PathBuf};

use airboss_attest::{DOCUMENT_BYTES_MAX, Hint, read_lines};
use airboss_model::Digest;
use airboss_server::api::evidence::{AttestationQuery, AttestationView, BuildView, ReleaseRequest};
use anyhow::{Context as _, bail};

use super::super::{Context, requires, source};
use super::AddArgs;
use super::ci::{Ci, Told};
use crate::client::Client;
use crate::exit::{Exit, UsageError};
use crate::identity;
use crate::render::dossier;

/// A file that goes along.
struct Evidence {
    path: PathBuf,
    kind: Option<&'static str>,
    bytes: Vec<u8>,
}

pub(super) async fn run(args: AddArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let service = super::known::service(args.service.as_deref(), &args.file)?;
    let told = Ci::here();
    let name = format!("{service}@{}", args.version);
    if let Some(path) = &args.path {
        source::check(path)?;
    }
    let client = context.client()?;
    let evidence = read(&args)?;
    let by = identity::by(args.by.by.as_deref());
    let (digest, of_image, notes) = match &args.path {
        Some(path) => {
            let supplied = source::supply(&client, path, &args.registry, &by).await?;
            (
                Some(supplied.artifact.digest),
                supplied.build,
                supplied.notes,
            )
        }
        None => (None, BuildView::default(), Vec::new()),
    };
    let build = build(&args, told.as_ref(), of_image);
    // Checked as the server will, so that one broken file leaves nothing behind.
    let known: Digest = match &digest {
        Some(digest) => digest.parse()?,
        None => client
            .release(&name)
            .await
            .with_context(|| format!("{name} has no content yet; name what CI built: airboss artifact add PATH --version {}", args.version))?
            .digest
            .parse()?,
    };
    let names = match evidence.is_empty() {
        true => Vec::new(),
        false => names(&client, &known).await?,
    };
    for file in &evidence {
        check(file, &names, &name)?;
    }
    let require = requires::of_file(&args.file, &service);
    let request = ReleaseRequest {
        service,
        version: args.version,
        digest,
        build,
        by: by.clone(),
    };
    let registered = client.register(&request).await?;
    let mut added: Vec<AttestationView> = Vec::new();
    for file in evidence {
        let query = AttestationQuery {
            kind: file.kind.map(str::to_owned),
            source: file.path.display().to_string(),
            name: name.clone(),
            by: by.clone(),
        };
        let list = client
            .attest(&registered.digest, &query, file.bytes)
            .await
            .with_context(|| format!("{} is registered; {} is not", name, file.path.display()))?;
        added.extend(list.attestations);
    }
    let mut release = client.release_for(&name, require.as_ref()).await?;
    release.warnings = [notes, registered.warnings].concat();
    if args.output.is_json() {
        context.json(&release)?;
    } else {
        let ci = told.map(|told| told.ci.name());
        context
            .console
            .lines(&dossier::added(&release, &added, ci))?;
    }
    Ok(Exit::Done)
}

/// By what statements may name an artifact: its digest, and those of the images that it was made of.
async fn names(client: &Client, artifact: &Digest) -> anyhow::Result<Vec<Digest>> {
    let mut names = vec![*artifact];
    let origins = match client.artifact(&artifact.to_string()).await {
        Ok(known) => known.origins,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for origin in origins {
        names.extend(origin.manifest.parse::<Digest>());
        names.extend(origin.resolved.parse::<Digest>());
    }
    Ok(names)
}

/// What was named goes before what CI tells, and that before what an image says of itself.
fn build(args: &AddArgs, told: Option<&Told>, of_image: BuildView) -> BuildView {
    let told = source::told(told, of_image);
    BuildView {
        commit: args.commit.clone().or(told.commit),
        reference: args.reference.clone().or(told.reference),
        run: args.run.clone().or(told.run),
        actor: args.actor.clone().or(told.actor),
        repository: args.repository.clone().or(told.repository),
        builder: args.builder.clone().or(told.builder),
    }
}

fn read(args: &AddArgs) -> anyhow::Result<Vec<Evidence>> {
    let groups = [
        (&args.junit, Some("tests")),
        (&args.sarif, Some("scan")),
        (&args.scan, Some("scan")),
        (&args.sbom, Some("sbom")),
        (&args.provenance, Some("provenance")),
        (&args.attestation, None),
    ];
    let mut evidence = Vec::new();
    for (paths, kind) in groups {
        for path in paths {
            evidence.push(Evidence {
                path: path.clone(),
                kind,
                bytes: bytes(path)?,
            });
        }
    }
    Ok(evidence)
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let size = std::fs::metadata(path)
        .with_context(|| UsageError(format!("cannot open {shown}; nothing was sent")))?
        .len();
    if size > DOCUMENT_BYTES_MAX as u64 {
        bail!(UsageError(format!(
            "{shown} has {size} bytes; {DOCUMENT_BYTES_MAX} are the most; nothing was sent"
        )));
    }
    std::fs::read(path).with_context(|| format!("cannot read {shown}"))
}

/// `names` has the artifact's own digest first.
fn check(file: &Evidence, names: &[Digest], name: &str) -> anyhow::Result<()> {
    let shown = file.path.display();
    let Some(digest) = names.first() else {
        return Ok(());
    };
    let hint = Hint {
        subject: digest,
        name,
        form: None,
    };
    let documents = read_lines(&file.bytes, &hint)
        .map_err(|error| UsageError(format!("{shown}: {error}\n  nothing was registered")))?;
    for document in documents {
        let kind = document.facts.kind();
        if file.kind.is_some_and(|expected| expected != kind) {
            bail!(UsageError(format!(
                "{shown} is {} and holds {kind}, not {}\n  hand it in with --attestation, which takes any kind; nothing was registered",
                document.form.name(),
                file.kind.unwrap_or_default()
            )));
        }
        if !names.iter().any(|it| document.statement.is_about(it)) {
            bail!(UsageError(format!(
                "{shown} is about another artifact than {digest}\n  have the digest signed that `airboss artifact digest PATH` prints; nothing was registered"
            )));
        }
    }
    Ok(())
}
