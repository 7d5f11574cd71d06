//! The agents' half: see `airboss_targets::process::protocol`.

use std::sync::Arc;
use std::time::Duration;

use airboss_model::Digest;
use airboss_targets::process::protocol::{DesiredSet, LogAnswer, Report, ReportAck};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::problem::{Failure, Result};
use crate::{Here, Site};

/// The longest that a request for the desired set is held.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub fn router() -> Router<Arc<Site>> {
    Router::new()
        .route("/agent/v1/desired", get(desired))
        .route("/agent/v1/report", post(report))
        .route("/agent/v1/blobs/{digest}", get(blob))
        .route("/agent/v1/logs/{id}", post(logs))
}

#[derive(Deserialize)]
struct DesiredQuery {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

async fn desired(State(site): Here, Query(query): Query<DesiredQuery>) -> Json<Arc<DesiredSet>> {
    let wait = Duration::from_millis(query.wait_ms).min(WAIT_MAX);
    Json(site.runtime.hub().desired(query.after, wait).await)
}

async fn report(State(site): Here, Json(report): Json<Report>) -> Result<Json<ReportAck>> {
    let now = site.runtime.clock().now();
    Ok(Json(site.runtime.hub().report(report, now)?))
}

async fn blob(State(site): Here, Path(digest): Path<String>) -> Result<Response> {
    let digest: Digest = digest.parse()?;
    let found = site.blobs.get(&digest).await?;
    let (size, content) = found
        .ok_or_else(|| Failure::not_found(format!("the content of {digest} is not kept here")))?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
    ];
    Ok((headers, Body::from_stream(content)).into_response())
}

async fn logs(
    State(site): Here,
    Path(id): Path<String>,
    Json(answer): Json<LogAnswer>,
) -> StatusCode {
    // Nobody waiting any more is no mistake of the agent's.
    site.runtime.hub().log_answer(&id, answer);
    StatusCode::NO_CONTENT
}
