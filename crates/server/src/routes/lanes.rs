//! A service in an environment, as it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::LaneId;
use airboss_runtime::Snapshot;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::last_event;
use crate::api::views::{LaneList, LaneView, Problem};
use crate::problem::{Failure, Result};
use crate::{Here, Site, draw};

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(live))
}

fn view(site: &Site, snapshot: &Snapshot) -> LaneView {
    draw::lane(
        snapshot,
        site.runtime.hub().agent().as_ref(),
        site.runtime.clock().now(),
        last_event(&site.runtime),
    )
}

fn id(service: &str, environment: &str) -> Result<LaneId> {
    Ok(LaneId::new(&service.parse()?, &environment.parse()?))
}

fn unknown(lane: &LaneId) -> Failure {
    Failure::not_found(format!(
        "nothing was ever shipped to {lane}; `airboss status` lists what was"
    ))
}

/// Every service in every environment.
#[utoipa::path(get, path = "/api/v1/lanes", tag = "lanes", responses((status = 200, body = LaneList)))]
async fn list(State(site): Here) -> Json<LaneList> {
    Json(LaneList {
        lanes: site
            .runtime
            .snapshots()
            .iter()
            .map(|snapshot| view(&site, snapshot))
            .collect(),
    })
}

/// One service in one environment.
#[utoipa::path(
    get, path = "/api/v1/lanes/{service}/{environment}", tag = "lanes",
    params(("service" = String, Path, description = "the service"), ("environment" = String, Path, description = "the environment")),
    responses((status = 200, body = LaneView), (status = 404, body = Problem))
)]
async fn get(
    State(site): Here,
    Path((service, environment)): Path<(String, String)>,
) -> Result<Json<LaneView>> {
    let lane = id(&service, &environment)?;
    let snapshot = site.runtime.snapshot(&lane).ok_or_else(|| unknown(&lane))?;
    Ok(Json(view(&site, &snapshot)))
}

/// The same as a stream: an event `lane` with the whole view at every change and every second.
#[utoipa::path(
    get, path = "/api/v1/lanes/{service}/{environment}/live", tag = "lanes",
    params(("service" = String, Path, description = "the service"), ("environment" = String, Path, description = "the environment")),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem))
)]
async fn live(
    State(site): Here,
    Path((service, environment)): Path<(String, String)>,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>>>> {
    let lane = id(&service, &environment)?;
    let watched = site.runtime.follow(&lane).ok_or_else(|| unknown(&lane))?;
    let stream = WatchStream::new(watched).map(move |snapshot| {
        // A view is plain data: writing it as JSON cannot fail; an empty event is skipped by clients.
        Ok(Event::default()
            .event("lane")
            .json_data(view(&site, &snapshot))
            .unwrap_or_default())
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
}
