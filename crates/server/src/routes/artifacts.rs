//! What CI built, by digest.

use std::sync::Arc;

use airboss_model::Digest;
use airboss_store::ArtifactRow;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::views::{ArtifactView, Problem};
use crate::blobs::BlobError;
use crate::problem::{Failure, Result};
use crate::{Here, Site};

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new().routes(routes!(get))
}

/// The upload has no limit of the usual kind; it is documented with the others.
pub fn upload() -> Router<Arc<Site>> {
    Router::new()
        .route("/api/v1/artifacts", axum::routing::post(add))
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
    request_body(content_type = "application/x-tar", description = "the archive"),
    responses((status = 201, body = ArtifactView), (status = 413, body = Problem), (status = 422, body = Problem))
)]
async fn add(
    State(site): Here,
    Query(query): Query<SourceQuery>,
    body: Body,
) -> Result<(StatusCode, Json<ArtifactView>)> {
    let (digest, size, _) = site
        .blobs
        .keep(body.into_data_stream())
        .await
        .map_err(|error| match &error {
            BlobError::TooLarge => Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                error.to_string(),
            ),
            BlobError::Broken { .. } | BlobError::Empty => Failure::invalid(error.to_string()),
            BlobError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Failure::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "unavailable",
                    format!("the disk is full: {error}"),
                )
            }
            BlobError::Io { .. } => Failure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "unavailable",
                error.to_string(),
            ),
        })?;
    let store = site.runtime.store();
    let known = store.artifact(&digest).await?.is_some();
    if !known {
        let source = query.source.chars().take(1_000).collect();
        store
            .put_artifact(&ArtifactRow {
                digest,
                size,
                source,
                at: site.runtime.clock().now(),
            })
            .await?;
    }
    Ok((
        StatusCode::CREATED,
        Json(ArtifactView {
            digest: digest.to_string(),
            size,
            new: !known,
        }),
    ))
}

/// An artifact by its digest.
#[utoipa::path(
    get, path = "/api/v1/artifacts/{digest}", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits")),
    responses((status = 200, body = ArtifactView), (status = 404, body = Problem))
)]
async fn get(State(site): Here, Path(digest): Path<String>) -> Result<Json<ArtifactView>> {
    let digest: Digest = digest.parse()?;
    let kept = site
        .runtime
        .store()
        .artifact(&digest)
        .await?
        .filter(|_| site.blobs.path(&digest).exists());
    let row = kept.ok_or_else(|| Failure::not_found(format!("{digest} is not kept here")))?;
    Ok(Json(ArtifactView {
        digest: digest.to_string(),
        size: row.size,
        new: false,
    }))
}
