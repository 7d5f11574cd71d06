//! What an event tells of a build. Pure.

use airboss_model::{Digest, ReleaseId, ServiceName};
use serde::{Deserialize, Serialize};

use super::Sender;
use crate::api::evidence::BuildView;

/// The type of the one event of Airboss's own.
pub const FINISHED: &str = "airboss.build.finished";

/// What an event comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its kind, such as `workflow_run`.
    pub event: String,
    /// What it tells of a build, or why it tells nothing.
    pub build: Result<Built, String>,
}

/// A build that is over, and well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The release that it made, where it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Its content: the digest that Airboss knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Its content: the digest of an image or index in a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// Where it comes from.
    pub build: BuildView,
    /// True where this run is the one that builds, and not any that the commit led to.
    pub builds: bool,
}

/// Reads the body of an event whose sender is known to be `sender`.
///
/// `event` is what a header says of its kind. `workflow` names the workflow of GitHub's that builds;
/// runs of others are passed over then.
///
/// # Errors
/// Where it cannot be read, in words for whoever sends it.
pub fn read(
    sender: Sender,
    event: Option<&str>,
    workflow: Option<&str>,
    body: &[u8],
) -> Result<Told, String> {
    match sender {
        Sender::GitHub => github(event.unwrap_or_default(), workflow, body),
        Sender::GitLab => gitlab(body),
        Sender::Standard => own(body),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        let form = body.starts_with(b"payload=");
        match form {
            true => {
                "the body is a form: set the webhook's content type to application/json".to_owned()
            }
            false => format!("the body is no {what}: {error}"),
        }
    })
}

fn nothing(event: &str, why: impl Into<String>) -> Told {
    Told {
        event: event.to_owned(),
        build: Err(why.into()),
    }
}

#[derive(Deserialize)]
struct GitHub {
    action: String,
    workflow_run: WorkflowRun,
    repository: WebPage,
}

#[derive(Deserialize)]
struct WorkflowRun {
    name: Option<String>,
    #[serde(default)]
    path: String,
    head_sha: String,
    conclusion: Option<String>,
    html_url: String,
    #[serde(default)]
    run_attempt: u64,
    actor: Option<Login>,
    triggering_actor: Option<Login>,
}

#[derive(Deserialize)]
struct Login {
    login: String,
}

#[derive(Deserialize)]
struct WebPage {
    html_url: String,
}

fn github(event: &str, workflow: Option<&str>, body: &[u8]) -> Result<Told, String> {
    if event == "ping" {
        return Ok(nothing(event, "this is only a ping: the secret is right"));
    }
    if event != "workflow_run" {
        let why = "only `workflow_run` tells of builds; the webhook may send that alone";
        return Ok(nothing(event, why));
    }
    let it: GitHub = parse(body, "workflow_run of GitHub's")?;
    let run = it.workflow_run;
    if it.action != "completed" {
        return Ok(nothing(
            event,
            format!("the run is {}, not over", it.action),
        ));
    }
    // A path may have a branch behind it.
    let path = run.path.split('@').next().unwrap_or_default();
    let is = |wanted: &str| {
        path == wanted
            || path.rsplit('/').next() == Some(wanted)
            || run.name.as_deref() == Some(wanted)
    };
    if let Some(wanted) = workflow.filter(|wanted| !is(wanted)) {
        return Ok(nothing(
            event,
            format!("a run of {path}, and {wanted} is what builds"),
        ));
    }
    if run.conclusion.as_deref() != Some("success") {
        let how = run.conclusion.as_deref().unwrap_or("nothing");
        return Ok(nothing(event, format!("the run came to {how}")));
    }
    let actor = run.triggering_actor.or(run.actor);
    Ok(Told {
        event: event.to_owned(),
        build: Ok(Built {
            release: None,
            digest: None,
            image: None,
            build: BuildView {
                commit: Some(run.head_sha.to_ascii_lowercase()),
                // A tag or a branch: the event does not say which.
                reference: None,
                run: Some(match run.run_attempt {
                    0 | 1 => run.html_url,
                    attempt => format!("{}/attempts/{attempt}", run.html_url),
                }),
                actor: actor.map(|it| it.login),
                repository: Some(it.repository.html_url),
                builder: Some("github-actions".to_owned()),
            },
            builds: workflow.is_some(),
        }),
    })
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    object_kind: String,
}

#[derive(Deserialize)]
struct GitLab {
    object_attributes: Pipeline,
    project: Project,
    user: Option<User>,
}

#[derive(Deserialize)]
struct Pipeline {
    id: u64,
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    tag: bool,
    sha: String,
    status: String,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    web_url: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

fn gitlab(body: &[u8]) -> Result<Told, String> {
    let Kind { object_kind: event } = parse(body, "event of GitLab's")?;
    if event != "pipeline" {
        let why = "only pipeline events tell of builds; the webhook may send those alone";
        return Ok(nothing(&event, why));
    }
    let it: GitLab = parse(body, "pipeline event of GitLab's")?;
    let pipeline = it.object_attributes;
    if pipeline.status != "success" {
        return Ok(nothing(
            &event,
            format!("the pipeline is {}", pipeline.status),
        ));
    }
    let page = it.project.web_url;
    let host = page.split('/').nth(2).unwrap_or_default();
    Ok(Told {
        event,
        build: Ok(Built {
            release: None,
            digest: None,
            image: None,
            build: BuildView {
                commit: Some(pipeline.sha.to_ascii_lowercase()),
                reference: Some(match pipeline.tag {
                    true => format!("refs/tags/{}", pipeline.reference),
                    false => format!("refs/heads/{}", pipeline.reference),
                }),
                run: Some(
                    pipeline
                        .url
                        .unwrap_or_else(|| format!("{page}/-/pipelines/{}", pipeline.id)),
                ),
                actor: it.user.map(|it| it.username),
                builder: (!host.is_empty()).then(|| format!("gitlab-ci/{host}")),
                repository: Some(page),
            },
            // A pipeline is all jobs of its commit, so the one that builds is in it.
            builds: true,
        }),
    })
}

/// As Standard Webhooks and CloudEvents have it: a type, and data of it.
#[derive(Deserialize)]
struct Own {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finished {
    service: String,
    version: String,
    digest: Option<Digest>,
    image: Option<String>,
    commit: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    run: Option<String>,
    actor: Option<String>,
    repository: Option<String>,
    builder: Option<String>,
}

fn own(body: &[u8]) -> Result<Told, String> {
    let it: Own = parse(body, "event with a `type`")?;
    let event = it.kind;
    if event != FINISHED {
        return Ok(nothing(&event, format!("only `{FINISHED}` is understood")));
    }
    let data: Finished = serde_json::from_value(it.data)
        .map_err(|error| format!("the `data` of {FINISHED}: {error}"))?;
    let service: ServiceName = data
        .service
        .parse()
        .map_err(|error| format!("`service`: {error}"))?;
    let release =
        ReleaseId::new(&service, &data.version).map_err(|error| format!("`version`: {error}"))?;
    let image = data.image.map(|text| image(&text)).transpose()?;
    Ok(Told {
        event,
        build: Ok(Built {
            release: Some(release),
            digest: data.digest,
            image,
            build: BuildView {
                commit: data.commit.map(|it| it.to_ascii_lowercase()),
                reference: data.reference,
                run: data.run,
                actor: data.actor,
                repository: data.repository,
                builder: data.builder,
            },
            builds: true,
        }),
    })
}

/// The digest in a reference; a tag may point to something else by now.
fn image(reference: &str) -> Result<Digest, String> {
    let digest = reference.rsplit_once('@').map(|(_, digest)| digest);
    digest.and_then(|it| it.parse().ok()).ok_or_else(|| {
        format!("`image` is {reference:?}; name it by digest, such as ghcr.io/acme/shop@sha256:…")
    })
}
