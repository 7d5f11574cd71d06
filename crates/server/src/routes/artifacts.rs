//! What CI built, by digest.

use std::sync::Arc;

use airboss_model::{Digest, Origin};
use airboss_store::{ArtifactFilter, ArtifactRow, TagSeen};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::artifacts::{ArtifactDetail, ArtifactList, ArtifactView};
use crate::api::requests::{ArtifactQuery, OriginRequest, TagRequest};
use crate::api::views::Problem;
use crate::problem::{Failure, Result};
use crate::{Here, Site, origins};

/// Most bytes of a repository's name or a tag.
const NAME_MAX: usize = 500;

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(add_origin))
        .routes(routes!(add_tag))
}

/// The upload has no limit of the usual kind.
pub fn upload() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(add))
        .layer(axum::extract::DefaultBodyLimit::disable())
}

#[derive(Debug, Deserialize, IntoParams)]
struct SourceQuery {
    /// What it was made from, for people.
    #[serde(default)]
    source: String,
}

/// Keeps an artifact: a tar archive, identified by its SHA-256.
#[utoipa::path(
    post, path = "/api/v1/artifacts", tag = "artifacts", params(SourceQuery),
    request_body(content(("application/x-tar"), ("application/octet-stream")), description = "the archive, a tar file"),
    responses((status = 201, body = ArtifactView), (status = 413, body = Problem), (status = 422, body = Problem))
)]
async fn add(
    State(site): Here,
    Query(query): Query<SourceQuery>,
    body: Body,
) -> Result<(StatusCode, Json<ArtifactView>)> {
    let (digest, size, _) = site.blobs.keep(body.into_data_stream()).await?;
    let store = site.runtime.store();
    let _pin = site.blobs.pin().await;
    if site.blobs.size(&digest).await?.is_none() {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("{digest} was removed by retention in this very moment; send it again"),
        ));
    }
    let known = store.artifact(&digest).await?.is_some();
    store
        .put_artifact(&ArtifactRow {
            digest,
            size,
            source: query.source.chars().take(1_000).collect(),
            at: site.runtime.clock().now(),
        })
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(ArtifactView {
            digest: digest.to_string(),
            size,
            new: !known,
        }),
    ))
}

/// Artifacts, those kept last first.
#[utoipa::path(
    get, path = "/api/v1/artifacts", tag = "artifacts", params(ArtifactQuery),
    responses((status = 200, body = ArtifactList), (status = 422, body = Problem))
)]
async fn list(State(site): Here, Query(query): Query<ArtifactQuery>) -> Result<Json<ArtifactList>> {
    let filter = ArtifactFilter {
        manifest: query.manifest.as_deref().map(str::parse).transpose()?,
        kept: query.kept,
        limit: query.limit.unwrap_or(100).max(1),
        ..ArtifactFilter::default()
    };
    let found = site.runtime.store().artifacts(&filter).await?;
    Ok(Json(ArtifactList {
        artifacts: found.iter().map(origins::draw).collect(),
    }))
}

/// An artifact by its digest, also where its content was removed.
#[utoipa::path(
    get, path = "/api/v1/artifacts/{digest}", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits")),
    responses((status = 200, body = ArtifactDetail), (status = 404, body = Problem))
)]
async fn get(State(site): Here, Path(digest): Path<String>) -> Result<Json<ArtifactDetail>> {
    let digest: Digest = digest.parse()?;
    let kept = origins::find(site.runtime.store().as_ref(), &digest).await?;
    let kept = kept.ok_or_else(|| unknown(&digest))?;
    if kept.removed.is_none() && site.blobs.size(&digest).await?.is_none() {
        return Err(Failure::not_found(format!(
            "{digest} was kept, and its content is not in {} any more; restore it from a backup, or upload it again",
            site.blobs.place()
        )));
    }
    Ok(Json(origins::draw(&kept)))
}

fn unknown(digest: &Digest) -> Failure {
    Failure::not_found(format!("{digest} is not kept here"))
}

/// Notes where an artifact was taken from: a registry's repository, and what its tag pointed to.
#[utoipa::path(
    put, path = "/api/v1/artifacts/{digest}/origins", tag = "artifacts", request_body = OriginRequest,
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits")),
    responses((status = 200, body = ArtifactDetail), (status = 404, body = Problem), (status = 422, body = Problem))
)]
async fn add_origin(
    State(site): Here,
    Path(digest): Path<String>,
    Json(request): Json<OriginRequest>,
) -> Result<Json<ArtifactDetail>> {
    let digest: Digest = digest.parse()?;
    let store = site.runtime.store();
    if store.artifact(&digest).await?.is_none() {
        return Err(unknown(&digest));
    }
    let origin = Origin {
        repository: name(request.repository)?,
        tag: request.tag.map(name).transpose()?,
        resolved: request.resolved.parse()?,
        manifest: request.manifest.parse()?,
        platform: request.platform.map(name).transpose()?,
    };
    store
        .put_origin(&digest, &origin, site.runtime.clock().now())
        .await?;
    let kept = origins::find(store.as_ref(), &digest).await?;
    let kept = kept.ok_or_else(|| unknown(&digest))?;
    Ok(Json(origins::draw(&kept)))
}

/// Notes what a registry's tag points to now. Artifacts that were taken from it show whether it
/// was moved.
#[utoipa::path(
    post, path = "/api/v1/tags", tag = "artifacts", request_body = TagRequest,
    responses((status = 204), (status = 422, body = Problem))
)]
async fn add_tag(State(site): Here, Json(request): Json<TagRequest>) -> Result<StatusCode> {
    let seen = TagSeen {
        digest: request.digest.parse()?,
        at: site.runtime.clock().now(),
    };
    let (repository, tag) = (name(request.repository)?, name(request.tag)?);
    let store = site.runtime.store();
    store.put_tag(&repository, &tag, &seen).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn name(text: String) -> Result<String> {
    let fits = !text.is_empty() && text.len() <= NAME_MAX && !text.contains(char::is_control);
    match fits {
        true => Ok(text),
        false => Err(Failure::invalid(format!(
            "a repository, tag or platform has 1 to {NAME_MAX} visible characters"
        ))),
    }
}
