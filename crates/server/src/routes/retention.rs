//! What is removed by retention, when somebody does not wait for its next run.

use std::future::Future;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Caller;
use crate::api::artifacts::RetentionReport;
use crate::api::log::{LogRetention, RemoveWords};
use crate::api::requests::RetentionRequest;
use crate::api::views::Problem;
use crate::problem::{Failure, Result};
use crate::{Here, Site, retention};

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(artifacts))
        .routes(routes!(words))
}

/// Removes the content of artifacts that nothing keeps, as happens by itself once a day.
#[utoipa::path(
    post, path = "/api/v1/retention", tag = "artifacts", request_body = RetentionRequest,
    responses((status = 200, body = RetentionReport), (status = 409, body = Problem))
)]
async fn artifacts(
    State(site): Here,
    Json(request): Json<RetentionRequest>,
) -> Result<Json<RetentionReport>> {
    to_its_end(async move { retention::run(&site, request.dry_run).await }).await
}

/// Removes the words of events that are older than the server keeps, as happens by itself once a day.
/// Their seals stay, and the log says who asked for it.
#[utoipa::path(
    post, path = "/api/v1/log/retention", tag = "log", request_body = RemoveWords,
    responses((status = 200, body = LogRetention), (status = 409, body = Problem), (status = 422, body = Problem))
)]
async fn words(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    Json(request): Json<RemoveWords>,
) -> Result<Json<LogRetention>> {
    let by = super::who(&caller, &request.by)?;
    if site.keep_record.is_none() {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "kept",
            "this server keeps the log for ever, so nothing is old enough to go; start it with --keep-record, such as --keep-record 400d",
        ));
    }
    to_its_end(async move {
        let (store, now) = (site.runtime.store(), site.runtime.clock().now());
        let report = retention::log::run(&**store, site.keep_record, now, Some(&by)).await?;
        Ok(report)
    })
    .await
}

/// What was begun is brought to its end, whether or not somebody waits for the answer.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<Json<T>> {
    match tokio::spawn(work).await {
        Ok(done) => Ok(Json(done?)),
        Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
    }
}
