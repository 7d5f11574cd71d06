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
use axum::{Extension, Json, Router};
use serde::Deserialize;

use crate::access::Caller;
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
    agent: String,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait_ms: u64,
}

/// Refuses one agent in the name of another.
fn is_itself(site: &Site, caller: &Caller, agent: &str) -> Result<()> {
    let is = match caller {
        Caller::Agent { id } => id == agent,
        // Who shows a token has none of the keys that others joined with.
        _ => site.runtime.hub().roster().member(agent).is_none(),
    };
    if is {
        return Ok(());
    }
    let why = format!("{agent} is the id of another agent, which has a key of its own");
    Err(Failure::new(StatusCode::FORBIDDEN, "forbidden", why))
}

async fn desired(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    Query(query): Query<DesiredQuery>,
) -> Result<Json<Arc<DesiredSet>>> {
    is_itself(&site, &caller, &query.agent)?;
    let wait = Duration::from_millis(query.wait_ms).min(WAIT_MAX);
    let hub = site.runtime.hub();
    Ok(Json(hub.desired(&query.agent, query.after, wait).await))
}

async fn report(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    Json(report): Json<Report>,
) -> Result<Json<ReportAck>> {
    is_itself(&site, &caller, &report.agent)?;
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
