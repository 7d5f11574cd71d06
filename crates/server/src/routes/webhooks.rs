//! Where others push events, and the list of what they pushed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::Timestamp;
use airboss_store::{DeliveryFilter, DeliveryRow};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::deliveries::{DeliveryList, DeliveryQuery, DeliveryView, Received};
use crate::problem::{Failure, Result};
use crate::webhook::{Built, Sender, check, read, take};
use crate::{Here, Site};

/// The largest event that is taken, in bytes.
const EVENT_MAX: usize = 4 << 20;
/// How long a delivery is remembered: so long one that comes again is not taken twice, and a
/// version that is registered later learns from it.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// The longest text of an event that a delivery keeps, in bytes.
const KEPT_MAX: usize = 200;

/// Outside of `/api/v1`: a signature stands in for the token.
pub fn receiver() -> Router<Arc<Site>> {
    Router::new()
        .route("/webhooks/{sender}", post(receive))
        .layer(DefaultBodyLimit::max(EVENT_MAX))
        .layer(axum::middleware::from_fn(crate::bounded))
}

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Events that others pushed, newest first, with what became of them. Refused ones are in the log alone.
#[utoipa::path(
    get, path = "/api/v1/deliveries", tag = "artifacts", params(DeliveryQuery),
    responses((status = 200, body = DeliveryList))
)]
async fn list(State(site): Here, Query(query): Query<DeliveryQuery>) -> Result<Json<DeliveryList>> {
    let limit = query.limit.unwrap_or(50).clamp(1, 500);
    let store = site.runtime.store();
    let rows = store.deliveries(&DeliveryFilter::All, limit).await?;
    let senders = site.webhooks.configured();
    Ok(Json(DeliveryList {
        senders: senders.iter().map(ToString::to_string).collect(),
        deliveries: rows.into_iter().map(view).collect(),
    }))
}

fn view(row: DeliveryRow) -> DeliveryView {
    let id = row.id.strip_prefix(&format!("{}/", row.sender));
    DeliveryView {
        id: id.unwrap_or(&row.id).to_owned(),
        sender: row.sender,
        event: row.event,
        outcome: row.outcome,
        commit: row.commit,
        run: row.run,
        release: row.release.map(|it| it.to_string()),
        at: row.at.to_string(),
    }
}

/// Takes an event in. What is refused is told in a few words to whoever sent it, and in full to the log.
async fn receive(
    State(site): Here,
    Path(sender): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (sender, body) = match known(&site, &sender).and_then(|it| Ok((it, whole(body)?))) {
        Ok(known) => known,
        Err(failure) => return stranger(&site, failure),
    };
    let secrets = match site.webhooks.secrets(sender) {
        Ok(secrets) => secrets,
        Err(why) => {
            tracing::error!(%sender, "an event cannot be checked: {why}");
            let said = "the secret of this webhook cannot be read here; the server's log says why";
            return unavailable(said).into_response();
        }
    };
    let now = site.runtime.clock().now();
    let proof = match check(sender, &headers, &body, &secrets, now) {
        Ok(proof) => proof,
        Err(refusal) => {
            tracing::warn!(%sender, bytes = body.len(), "an event is refused: {refusal}");
            let failure = Failure::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                refusal.to_string(),
            );
            return stranger(&site, failure);
        }
    };
    if !site.limits.allows(&format!("webhook/{sender}")) {
        tracing::warn!(%sender, delivery = proof.id, "an event is refused: too many within a second");
        return Failure::too_many("events of this sender").into_response();
    }
    let workflow = query.get("workflow").map(String::as_str);
    let told = match read(sender, proof.event.as_deref(), workflow, &body) {
        Ok(told) => told,
        Err(why) => {
            tracing::warn!(%sender, delivery = proof.id, event = proof.event, "an event cannot be read: {why}");
            return Failure::invalid(why).into_response();
        }
    };
    match keep(&site, sender, &proof.id, &told.event, told.build, now).await {
        Ok(received) => {
            tracing::info!(%sender, delivery = proof.id, event = told.event, repeated = received.repeated, "an event came: {}", received.outcome);
            Json(received).into_response()
        }
        Err(failure) => {
            tracing::warn!(%sender, delivery = proof.id, event = told.event, "an event is not taken: {failure}");
            failure.into_response()
        }
    }
}

fn known(site: &Site, sender: &str) -> Result<Sender> {
    let sender: Sender = sender.parse().map_err(Failure::not_found)?;
    if site.webhooks.configured().contains(&sender) {
        return Ok(sender);
    }
    tracing::warn!(%sender, "an event is refused: no secret is configured; start the server with --webhook {sender}=file:PATH");
    Err(Failure::not_found(format!(
        "no webhook of {sender} is configured here"
    )))
}

fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes> {
    body.map_err(|refused| {
        let status = refused.status();
        tracing::warn!(%status, "an event is refused: {refused}");
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "too_large",
            _ => "invalid",
        };
        let most = EVENT_MAX >> 20;
        Failure::new(status, code, format!("{refused}; {most} MiB are the most"))
    })
}

/// Whoever cannot prove anything shares one allowance with all who cannot.
fn stranger(site: &Site, failure: Failure) -> Response {
    match site.limits.allows_stranger() {
        true => failure.into_response(),
        false => Failure::too_many("events that nobody signed").into_response(),
    }
}

fn unavailable(said: &str) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", said)
}

/// Does what an event asks for, and remembers that it came. In this order: what is lost in between
/// is sent again, and doing it twice changes nothing.
async fn keep(
    site: &Site,
    sender: Sender,
    id: &str,
    event: &str,
    told: Result<Built, String>,
    now: Timestamp,
) -> Result<Received> {
    let store = site.runtime.store();
    let id = format!("{sender}/{id}");
    let before = store.deliveries(&DeliveryFilter::Id(id.clone()), 1).await?;
    if let Some(before) = before.into_iter().next() {
        return Ok(Received {
            outcome: before.outcome,
            repeated: true,
        });
    }
    let outcome = match &told {
        Ok(built) => take(site, sender, built).await?,
        Err(why) => format!("ignored: {why}"),
    };
    let built = told.ok();
    let of = |field: fn(&Built) -> Option<String>| built.as_ref().and_then(field);
    let row = DeliveryRow {
        id,
        sender: sender.to_string(),
        event: event.chars().take(KEPT_MAX).collect(),
        outcome: outcome.clone(),
        build: built.as_ref().and_then(|it| serde_json::to_value(it).ok()),
        commit: of(|it| it.build.commit.clone()),
        run: of(|it| it.build.run.clone()),
        release: built.as_ref().and_then(|it| it.release.clone()),
        at: now,
    };
    let forget = airboss_model::time::before(now, REMEMBERED);
    store.put_delivery(&row, forget).await?;
    Ok(Received {
        outcome,
        repeated: false,
    })
}
