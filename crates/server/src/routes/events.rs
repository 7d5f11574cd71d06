//! What happened, as a list and as a stream that can be taken up again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::RolloutId;
use airboss_store::{EventFilter, EventRow};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::requests::EventQuery;
use crate::api::views::{EventList, Problem};
use crate::problem::{Failure, Result};
use crate::{Here, Site, draw};

/// Events read from the store at once for a stream.
const BATCH: u32 = 500;

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(of_rollout))
}

/// Events behind a number. With `Accept: text/event-stream` the answer goes on for ever: each
/// event has its number as `id`, so that `Last-Event-ID` takes the stream up where it broke off.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", params(EventQuery),
    responses((status = 200, body = EventList), (status = 422, body = Problem))
)]
async fn events(
    State(site): Here,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Result<Response> {
    let rollout: Option<RolloutId> = query.rollout.as_deref().map(str::parse).transpose()?;
    let resumed = match headers
        .get("last-event-id")
        .map(|value| value.to_str().ok().and_then(|text| text.parse().ok()))
    {
        None => None,
        Some(Some(number)) => Some(number),
        Some(None) => {
            return Err(Failure::invalid(
                "`Last-Event-ID` must be the number of an event",
            ));
        }
    };
    let after = super::behind(resumed.or(query.after));
    let streams = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"));
    if streams {
        let sse = Sse::new(follow(site, after, rollout))
            .keep_alive(KeepAlive::new().interval(Duration::from_secs(10)));
        return Ok(sse.into_response());
    }
    let filter = EventFilter {
        after,
        rollout,
        lane: None,
        limit: query.limit.unwrap_or(BATCH).clamp(1, 5_000),
    };
    let rows = site.runtime.store().events(&filter).await?;
    Ok(Json(EventList {
        events: rows.into_iter().map(draw::event).collect(),
    })
    .into_response())
}

/// Events of one rollout.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{id}/events", tag = "events",
    params(("id" = String, Path, description = "such as `checkout-7`"), EventQuery),
    responses((status = 200, body = EventList), (status = 422, body = Problem))
)]
async fn of_rollout(
    State(site): Here,
    Path(id): Path<String>,
    Query(query): Query<EventQuery>,
) -> Result<Json<EventList>> {
    let filter = EventFilter {
        after: super::behind(query.after),
        rollout: Some(id.parse()?),
        lane: None,
        limit: query.limit.unwrap_or(BATCH).clamp(1, 5_000),
    };
    let rows = site.runtime.store().events(&filter).await?;
    Ok(Json(EventList {
        events: rows.into_iter().map(draw::event).collect(),
    }))
}

/// Every event behind `after`, then each one as it happens. A slow reader slows only itself.
fn follow(
    site: Arc<Site>,
    mut after: u64,
    rollout: Option<RolloutId>,
) -> impl Stream<Item = std::result::Result<Event, Infallible>> {
    let (send, receive) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut newest = site.runtime.events();
        loop {
            let target = *newest.borrow_and_update();
            while after < target {
                let filter = EventFilter {
                    after,
                    rollout: rollout.clone(),
                    lane: None,
                    limit: BATCH,
                };
                let rows = match site.runtime.store().events(&filter).await {
                    Ok(rows) => rows,
                    Err(error) => {
                        tracing::warn!(%error, "a stream of events ends; its reader takes it up again");
                        return;
                    }
                };
                let full = rows.len() >= BATCH as usize;
                for row in rows {
                    after = row.number;
                    if send.send(Ok(sse(row))).await.is_err() {
                        return;
                    }
                }
                if !full {
                    after = after.max(target);
                }
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = send.closed() => return,
            }
        }
    });
    ReceiverStream::new(receive)
}

fn sse(row: EventRow) -> Event {
    let number = row.number.to_string();
    // An event is plain data: writing it as JSON cannot fail.
    Event::default()
        .id(number)
        .event("event")
        .json_data(draw::event(row))
        .unwrap_or_default()
}
