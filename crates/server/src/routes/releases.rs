//! Releases, and the documents about their artifacts.

use std::sync::Arc;

use airboss_model::evidence::Requirement;
use airboss_model::{Digest, ReleaseId, ServiceName, Timestamp};
use airboss_runtime::evidence::{AddError, Offered};
use airboss_store::{BuildRow, ReleaseFilter, ReleaseRow};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::evidence::{
    AttestationList, AttestationQuery, BuildView, ReleaseList, ReleaseNeeds, ReleaseQuery,
    ReleaseRequest, ReleaseSummary, ReleaseView,
};
use crate::api::views::Problem;
use crate::dossier::{self, Known};
use crate::problem::{Failure, Result};
use crate::{Here, Site, webhook};

/// The largest file of documents that is taken, in bytes.
const DOCUMENTS_MAX: usize = airboss_attest::DOCUMENT_BYTES_MAX;
/// The longest text that a field of a build may have, in bytes.
const FIELD_MAX: usize = 1_000;

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(list, register))
        .routes(routes!(get))
        .routes(routes!(attestations))
        .routes(routes!(document))
}

/// Documents may be larger than other bodies.
pub fn documents() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(add))
        .layer(axum::extract::DefaultBodyLimit::max(DOCUMENTS_MAX))
}

/// Registers a version without shipping it.
#[utoipa::path(
    post, path = "/api/v1/releases", tag = "artifacts", request_body = ReleaseRequest,
    responses((status = 201, body = ReleaseView), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem))
)]
async fn register(
    State(site): Here,
    Json(request): Json<ReleaseRequest>,
) -> Result<(StatusCode, Json<ReleaseView>)> {
    let service: ServiceName = request
        .service
        .parse()
        .map_err(|error: airboss_model::id::InvalidId| Failure::invalid(error.to_string()))?;
    let id = ReleaseId::new(&service, &request.version)?;
    let digest: Option<Digest> = request.digest.as_deref().map(str::parse).transpose()?;
    let row = ensure(&site, &id, digest, &request.by).await?;
    let warnings = remember(&site, &id, &request.build).await?;
    webhook::fill(&site, &id).await?;
    let mut view = whole(&site, row, None).await?;
    view.warnings.splice(0..0, warnings);
    Ok((StatusCode::CREATED, Json(view)))
}

/// The release, registered where it is new.
pub(crate) async fn ensure(
    site: &Site,
    id: &ReleaseId,
    digest: Option<Digest>,
    by: &str,
) -> Result<ReleaseRow> {
    let store = site.runtime.store();
    let Some(digest) = digest else {
        return store.release(id).await?.ok_or_else(|| {
            Failure::not_found(format!(
                "{id} is not known yet: name what CI built, `airboss artifact add PATH --version {}`",
                id.version()
            ))
        });
    };
    if store.artifact(&digest).await?.is_none() {
        return Err(Failure::not_found(format!(
            "{digest} is not kept here; upload it first with POST /api/v1/artifacts"
        )));
    }
    let manifest = store.service(&id.service()).await?;
    Ok(store
        .create_release(&ReleaseRow {
            id: id.clone(),
            digest,
            // A release that is registered before its service's first manifest has none.
            manifest_hash: manifest.map_or_else(
                || Digest::from_sha256(Sha256::digest([]).into()),
                |it| it.hash,
            ),
            created_by: by.to_owned(),
            at: site.runtime.clock().now(),
        })
        .await?)
}

/// Keeps where a release comes from; what contradicts what is known is told and not kept.
pub(crate) async fn remember(
    site: &Site,
    id: &ReleaseId,
    build: &BuildView,
) -> Result<Vec<String>> {
    let told = [
        ("commit", &build.commit),
        ("ref", &build.reference),
        ("run", &build.run),
        ("actor", &build.actor),
        ("repository", &build.repository),
        ("builder", &build.builder),
    ];
    if told.iter().all(|(_, value)| value.is_none()) {
        return Ok(Vec::new());
    }
    for (name, value) in &told {
        if value.as_ref().is_some_and(|it| {
            it.trim().is_empty() || it.len() > FIELD_MAX || it.contains(char::is_control)
        }) {
            return Err(Failure::invalid(format!(
                "`{name}` is empty, longer than {FIELD_MAX} bytes, or has control characters; leave out what is not known"
            )));
        }
    }
    let hex =
        |it: &String| (7..=64).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_hexdigit());
    if build.commit.as_ref().is_some_and(|commit| !hex(commit)) {
        return Err(Failure::invalid(format!(
            "the commit {:?} is none: give 7 to 64 hexadecimal digits, such as `git rev-parse HEAD` prints",
            build.commit.as_deref().unwrap_or_default()
        )));
    }
    let kept = site
        .runtime
        .store()
        .put_build(&BuildRow {
            release: id.clone(),
            commit: build.commit.as_ref().map(|it| it.to_ascii_lowercase()),
            reference: build.reference.clone(),
            run: build.run.clone(),
            actor: build.actor.clone(),
            repository: build.repository.clone(),
            builder: build.builder.clone(),
            at: site.runtime.clock().now(),
        })
        .await?;
    let is = [
        &kept.commit,
        &kept.reference,
        &kept.run,
        &kept.actor,
        &kept.repository,
        &kept.builder,
    ];
    let differs = |(name, told): &(&str, &Option<String>), is: &Option<String>| {
        let (told, is) = (told.as_ref()?, is.as_ref()?);
        (!told.eq_ignore_ascii_case(is)).then(|| {
            format!("{name} of {id} is known as {is} already and stays so; {told} is not kept")
        })
    };
    Ok(told
        .iter()
        .zip(is)
        .filter_map(|(told, is)| differs(told, is))
        .collect())
}

/// A release with everything that is known of it.
#[utoipa::path(
    get, path = "/api/v1/releases/{id}", tag = "artifacts",
    params(("id" = String, Path, description = "such as `checkout@1.4.0`"), ReleaseNeeds),
    responses((status = 200, body = ReleaseView), (status = 404, body = Problem), (status = 422, body = Problem))
)]
async fn get(
    State(site): Here,
    Path(id): Path<String>,
    Query(query): Query<ReleaseNeeds>,
) -> Result<Json<ReleaseView>> {
    let require = query.require.as_deref().map(serde_json::from_str);
    let require = require.transpose().map_err(|error| {
        Failure::invalid(format!(
            "`require` is no list as in a manifest's `rollout.require`: {error}"
        ))
    })?;
    let id: ReleaseId = id.parse()?;
    let row = site.runtime.store().release(&id).await?;
    let row = row.ok_or_else(|| Failure::not_found(format!("there is no release {id}")))?;
    Ok(Json(whole(&site, row, require).await?))
}

async fn known(site: &Site, digest: &Digest) -> Result<Vec<Known>> {
    let rows = site.runtime.store().attestations(digest).await?;
    Ok(rows.into_iter().filter_map(Known::read).collect())
}

/// What the service's newest manifest requires.
async fn required(site: &Site, service: &ServiceName) -> Result<Vec<Requirement>> {
    let row = site.runtime.store().service(service).await?;
    let read = |manifest| serde_json::from_value::<airboss_model::manifest::Service>(manifest).ok();
    let service = row.and_then(|it| read(it.manifest));
    Ok(service.map_or_else(Vec::new, |it| it.spec.rollout.require))
}

/// `require` is what the caller asks for, instead of what the service's manifest requires.
async fn whole(
    site: &Site,
    row: ReleaseRow,
    require: Option<Vec<Requirement>>,
) -> Result<ReleaseView> {
    let store = site.runtime.store();
    let known = known(site, &row.digest).await?;
    let build = store.build(&row.id).await?;
    let (fields, warnings) = dossier::fields(build.as_ref(), &known);
    let require = match require {
        Some(require) => require,
        None => required(site, &row.id.service()).await?,
    };
    let now = site.runtime.clock().now();
    let required = site
        .runtime
        .evidence()
        .weigh(&row.digest, &row.id, &require, now)
        .await?;
    Ok(ReleaseView {
        id: row.id.to_string(),
        digest: row.digest.to_string(),
        size: store.artifact(&row.digest).await?.map(|it| it.size),
        by: row.created_by,
        at: row.at.to_string(),
        missing: dossier::missing(&fields),
        fields,
        required: required.iter().map(dossier::item).collect(),
        attestations: known.iter().map(|it| it.view(true)).collect(),
        warnings,
    })
}

/// Releases with how complete they are, newest first.
#[utoipa::path(
    get, path = "/api/v1/releases", tag = "artifacts", params(ReleaseQuery),
    responses((status = 200, body = ReleaseList), (status = 422, body = Problem))
)]
async fn list(State(site): Here, Query(query): Query<ReleaseQuery>) -> Result<Json<ReleaseList>> {
    let store = site.runtime.store();
    let since: Option<Timestamp> = match &query.since {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::invalid(format!(
                "`since` is no time: {text}; write such as 2026-01-31T00:00:00Z"
            ))
        })?),
    };
    let digest: Option<Digest> = query.digest.as_deref().map(str::parse).transpose()?;
    let limit = query.limit.unwrap_or(50).clamp(1, 500);
    // One more than is shown, to know whether there are more.
    let most = limit + 1;
    let mut rows = match (digest, &query.service) {
        (Some(digest), _) => {
            let of = ReleaseFilter::Digest(digest.to_string());
            store.find_releases(&of, most).await?
        }
        (None, Some(service)) => store.releases(&service.parse()?, most).await?,
        (None, None) => {
            let since = ReleaseFilter::Since(since.unwrap_or(Timestamp::MIN));
            store.find_releases(&since, most).await?
        }
    };
    rows.retain(|row| since.is_none_or(|since| row.at >= since));
    if let Some(service) = &query.service {
        rows.retain(|row| row.id.service().as_str() == service);
    }
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let mut releases = Vec::with_capacity(rows.len());
    for row in rows {
        let known = known(&site, &row.digest).await?;
        let build = store.build(&row.id).await?;
        let (fields, _) = dossier::fields(build.as_ref(), &known);
        let mut signers: Vec<String> = known.iter().flat_map(Known::signers).collect();
        signers.sort();
        signers.dedup();
        releases.push(ReleaseSummary {
            id: row.id.to_string(),
            digest: row.digest.to_string(),
            at: row.at.to_string(),
            commit: fields
                .iter()
                .find(|field| field.name == "commit")
                .and_then(|field| field.value.clone()),
            missing: dossier::missing(&fields),
            signers,
        });
    }
    let complete = releases.iter().filter(|it| it.missing.is_empty()).count();
    Ok(Json(ReleaseList {
        releases,
        complete: complete as u64,
        more,
    }))
}

/// Takes documents about an artifact in: a DSSE envelope or Sigstore bundle, several a line, or a
/// plain report. All of a body is kept, or nothing.
#[utoipa::path(
    post, path = "/api/v1/artifacts/{digest}/attestations", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits"), AttestationQuery),
    request_body(content_type = "application/octet-stream", description = "the document's bytes"),
    responses((status = 201, body = AttestationList), (status = 404, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem))
)]
async fn add(
    State(site): Here,
    Path(digest): Path<String>,
    Query(query): Query<AttestationQuery>,
    body: Bytes,
) -> Result<(StatusCode, Json<AttestationList>)> {
    let digest: Digest = digest.parse()?;
    if site.runtime.store().artifact(&digest).await?.is_none() {
        return Err(Failure::not_found(format!("{digest} is not kept here")));
    }
    let offered = Offered {
        bytes: &body,
        kind: query.kind.as_deref(),
        source: &query.source,
        by: &query.by,
    };
    let name = match query.name.as_str() {
        "" => digest.to_string(),
        name => name.to_owned(),
    };
    let now = site.runtime.clock().now();
    let added = site
        .runtime
        .evidence()
        .add(&digest, &name, &offered, now)
        .await?;
    site.runtime.evidence_changed();
    Ok((
        StatusCode::CREATED,
        Json(AttestationList {
            attestations: added
                .into_iter()
                .filter_map(|it| Some(Known::read(it.row)?.view(it.new)))
                .collect(),
        }),
    ))
}

impl From<AddError> for Failure {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Store(error) => error.into(),
            refused => Self::invalid(refused.to_string()),
        }
    }
}

/// The documents about an artifact, in the order of their arrival.
#[utoipa::path(
    get, path = "/api/v1/artifacts/{digest}/attestations", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits")),
    responses((status = 200, body = AttestationList), (status = 422, body = Problem))
)]
async fn attestations(
    State(site): Here,
    Path(digest): Path<String>,
) -> Result<Json<AttestationList>> {
    let known = known(&site, &digest.parse()?).await?;
    Ok(Json(AttestationList {
        attestations: known.iter().map(|it| it.view(true)).collect(),
    }))
}

#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
struct DocumentQuery {
    /// The envelope that Airboss signed about a plain report, instead of the report.
    #[serde(default)]
    envelope: bool,
}

/// A document as it was received, or the envelope that Airboss signed about it.
#[utoipa::path(
    get, path = "/api/v1/artifacts/{digest}/attestations/{id}", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits"), ("id" = String, Path, description = "SHA-256 of the document"), DocumentQuery),
    responses((status = 200, content_type = "application/octet-stream"), (status = 404, body = Problem))
)]
async fn document(
    State(site): Here,
    Path((digest, id)): Path<(String, String)>,
    Query(query): Query<DocumentQuery>,
) -> Result<Response> {
    let (digest, id): (Digest, Digest) = (digest.parse()?, id.parse()?);
    let kept = site.runtime.store().document(&digest, &id).await?;
    let bytes = kept.and_then(|kept| match query.envelope {
        true => kept.envelope.map(String::into_bytes),
        false => Some(kept.bytes),
    });
    let bytes = bytes.ok_or_else(|| {
        Failure::not_found(format!("there is no such document {id} about {digest}"))
    })?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
