//! A service in an environment, as it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::LaneId;
use airboss_model::manifest::Service;
use airboss_runtime::{Second, Snapshot, judging};
use airboss_telemetry::{Gauge, Recorder};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::last_event;
use crate::api::report::{PastQuery, ReportView};
use crate::api::views::{LaneList, LaneView, Problem, SloList};
use crate::problem::{Failure, Result};
use crate::{Here, Site, draw, origins, promises, report};

/// Rollouts of the past that are told where nobody says how many, and at the most.
const PAST_USUAL: u32 = 20;
const PAST_MAX: u32 = 100;

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(live))
        .routes(routes!(slos))
        .routes(routes!(record))
        .routes(routes!(past))
        .routes(routes!(report))
}

fn view(site: &Site, snapshot: &Snapshot) -> LaneView {
    let hub = site.runtime.hub();
    let name = hub
        .roster()
        .carrier(snapshot.id())
        .map(|it| it.name.clone());
    draw::lane(
        snapshot,
        (hub.agent(snapshot.id()).as_ref(), name),
        site.runtime.clock().now(),
        last_event(&site.runtime),
    )
}

/// The view with what only the store knows.
async fn whole(site: &Site, snapshot: &Snapshot) -> Result<LaneView> {
    let mut view = view(site, snapshot);
    if let Some(stable) = &view.stable {
        let digest = stable.digest.parse()?;
        let release = format!("{}@{}", view.service, stable.version);
        let kept = origins::find(site.runtime.store().as_ref(), &digest).await?;
        view.moved_tags = kept.map_or(Vec::new(), |kept| origins::moved_tags(&kept, &release));
    }
    Ok(view)
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
async fn list(State(site): Here) -> Result<Json<LaneList>> {
    let mut lanes = Vec::new();
    for snapshot in site.runtime.snapshots() {
        lanes.push(whole(&site, &snapshot).await?);
    }
    Ok(Json(LaneList { lanes }))
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
    Ok(Json(whole(&site, &snapshot).await?))
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

/// What the service's own history says of its SLOs: whether they fit, and what would.
#[utoipa::path(
    get, path = "/api/v1/lanes/{service}/{environment}/slos", tag = "lanes",
    params(("service" = String, Path, description = "the service"), ("environment" = String, Path, description = "the environment")),
    responses((status = 200, body = SloList), (status = 404, body = Problem))
)]
async fn slos(
    State(site): Here,
    Path((service, environment)): Path<(String, String)>,
) -> Result<Json<SloList>> {
    let lane = id(&service, &environment)?;
    let snapshot = site.runtime.snapshot(&lane).ok_or_else(|| unknown(&lane))?;
    let stable = snapshot.lane.stable.as_ref().map(|stable| &stable.service);
    Ok(Json(promises::slos(
        &lane,
        stable.map(|service| &**service),
        snapshot.learnt.as_deref(),
    )))
}

/// Live traffic as a recording that `airboss judge` reads: a header, then a line for each second
/// and instance, until the client goes away. A client that reads too slowly misses seconds.
#[utoipa::path(
    get, path = "/api/v1/lanes/{service}/{environment}/record", tag = "lanes",
    params(("service" = String, Path, description = "the service"), ("environment" = String, Path, description = "the environment")),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 404, body = Problem))
)]
async fn record(
    State(site): Here,
    Path((service, environment)): Path<(String, String)>,
) -> Result<Response> {
    let lane = id(&service, &environment)?;
    let seconds = site.runtime.seconds(&lane).ok_or_else(|| unknown(&lane))?;
    let snapshot = site.runtime.snapshot(&lane).ok_or_else(|| unknown(&lane))?;
    let active = snapshot
        .lane
        .active
        .as_ref()
        .map(|rollout| &rollout.request.service);
    let stable = snapshot.lane.stable.as_ref().map(|stable| &stable.service);
    let manifest = active.or(stable).ok_or_else(|| {
        Failure::not_found(format!(
            "nothing serves {lane} yet, so there is no traffic to record"
        ))
    })?;
    let lines = ReceiverStream::new(recording(manifest, seconds, lane));
    let lines = lines.map(Ok::<_, Infallible>);
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// Rollouts of the past that are kept second by second, oldest first, as a recording that `airboss judge` reads.
/// Those whose latency was measured in other buckets than the serving version's are left out.
#[utoipa::path(
    get, path = "/api/v1/lanes/{service}/{environment}/past", tag = "lanes",
    params(("service" = String, Path, description = "the service"), ("environment" = String, Path, description = "the environment"), PastQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 404, body = Problem))
)]
async fn past(
    State(site): Here,
    Path((service, environment)): Path<(String, String)>,
    Query(query): Query<PastQuery>,
) -> Result<Response> {
    let lane = id(&service, &environment)?;
    let snapshot = site.runtime.snapshot(&lane).ok_or_else(|| unknown(&lane))?;
    let Some(stable) = &snapshot.lane.stable else {
        return Err(Failure::not_found(format!(
            "no version serves {lane} yet, so there is nothing to compare with"
        )));
    };
    let edges = Gauge::new(&stable.service)
        .config()
        .latency_edges_ms
        .clone();
    let limit = query.limit.unwrap_or(PAST_USUAL).min(PAST_MAX);
    let rollouts = report::ended(&site, &lane, limit).await?;
    let (send, receive) = mpsc::channel(2);
    tokio::spawn(async move {
        let header = airboss_judge::recording::header(&edges) + "\n";
        let mut next = 0;
        if send.send(Ok(Bytes::from(header))).await.is_err() {
            return;
        }
        for request in rollouts.into_iter().rev() {
            let store = site.runtime.store();
            let lines = judging::recorded(&request, &edges, &mut next, store.as_ref()).await;
            let part = match lines {
                Ok(None) => continue,
                Ok(Some(lines)) => Ok(Bytes::from(lines)),
                // The client sees that the answer breaks off.
                Err(error) => {
                    tracing::error!(%lane, %error, "the past cannot be read");
                    Err(std::io::Error::other(error.to_string()))
                }
            };
            if send.send(part).await.is_err() {
                return;
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(ReceiverStream::new(receive))).into_response())
}

/// How releases of the last 30 days went through their gates, what the gates did not see, and whether each
/// release changed the usual share of bad requests, compared with the same hours of earlier weeks.
#[utoipa::path(
    get, path = "/api/v1/lanes/{service}/{environment}/report", tag = "lanes",
    params(("service" = String, Path, description = "the service"), ("environment" = String, Path, description = "the environment")),
    responses((status = 200, body = ReportView), (status = 404, body = Problem))
)]
async fn report(
    State(site): Here,
    Path((service, environment)): Path<(String, String)>,
) -> Result<Json<ReportView>> {
    let lane = id(&service, &environment)?;
    let snapshot = site.runtime.snapshot(&lane).ok_or_else(|| unknown(&lane))?;
    Ok(Json(report::of(&site, &snapshot).await?))
}

fn recording(
    manifest: &Service,
    mut seconds: broadcast::Receiver<Arc<Second>>,
    lane: LaneId,
) -> mpsc::Receiver<Bytes> {
    let mut recorder = Recorder::new(manifest);
    let (send, receive) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut lines = recorder.header() + "\n";
        loop {
            if !lines.is_empty() && send.send(Bytes::from(lines)).await.is_err() {
                return;
            }
            let second = tokio::select! {
                second = seconds.recv() => second,
                () = send.closed() => return,
            };
            lines = match second {
                Ok(second) => {
                    let judged = second
                        .judged
                        .as_ref()
                        .map(|(id, judged)| (id.as_str(), judged));
                    recorder
                        .second(judged, second.canary.as_ref(), second.baseline.as_ref())
                        .unwrap_or_else(|error| {
                            tracing::error!(%lane, %error, "a second cannot be written and is missing in a recording");
                            String::new()
                        })
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(%lane, missed, "a recording misses seconds: its reader is too slow");
                    String::new()
                }
                Err(broadcast::error::RecvError::Closed) => return,
            };
        }
    });
    receive
}
