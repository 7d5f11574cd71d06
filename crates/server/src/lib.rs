//! The HTTP API.
//!
//! * **Is for**: `/api/v1` with its OpenAPI document, the live stream, and the agents' half in
//!   `/agent/v1`.
//! * **Must never**: decide. Every command goes into the inbox and is answered by the engine.
//! * **Start reading** at [`api::views`], what clients read; then [`app`], every route.

pub mod access;
pub mod api;
pub mod blobs;
pub mod door;
mod dossier;
mod draw;
mod listen;
mod lost;
mod origins;
mod problem;
mod promises;
mod report;
pub mod retention;
mod routes;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use airboss_runtime::Runtime;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::access::Limits;
use crate::blobs::Blobs;
use crate::problem::Failure;

pub use dossier::summary as facts_in_words;
pub use listen::{TlsError, listen, tls};

/// The largest JSON body that is taken: a manifest of 1 MiB and some.
const BODY_MAX: usize = 2 << 20;

/// The largest report that is taken from an agent.
const REPORT_MAX: usize = 32 << 20;

/// How long a request may take: its body to come in, and its answer to begin. Uploads of artifacts
/// have no such bound.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Everything that handlers need.
pub struct Site {
    /// The controller.
    pub runtime: Arc<Runtime>,
    /// Artifacts' content.
    pub blobs: Blobs,
    /// The installation's own token, which may do everything.
    pub token: String,
    /// How many requests callers may make.
    pub limits: Limits,
    /// Who may push events.
    pub webhooks: webhook::Senders,
    /// How long the log keeps its words; None: for ever.
    pub keep_record: Option<airboss_model::Span>,
    /// Agents that come with keys of their own.
    pub door: door::Door,
    /// What signs the ledger's checkpoints, and answers to agents.
    pub log_key: airboss_ledger::SigningKey,
    /// The data folder, for people.
    pub data_dir: String,
    /// The store's file, for `doctor`.
    pub store: String,
}

/// Handlers' view of the site.
type Here = State<Arc<Site>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Airboss",
        description = "Release management: ships a version a slice at a time, judges it every second, takes a bad one back.\n\nEvery request but `GET /healthz` carries `Authorization: Bearer TOKEN`; each operation says which scope the token needs. Requests that change something may carry `Idempotency-Key`: the same key again is the same request.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "artifacts", description = "What CI built, by digest"),
        (name = "rollouts", description = "One release going into one environment"),
        (name = "lanes", description = "A service in an environment, as it is"),
        (name = "events", description = "What happened"),
        (name = "log", description = "What happened, sealed so that nobody can rewrite it unnoticed"),
        (name = "trace", description = "What belongs to what"),
        (name = "system", description = "The installation")
    )
)]
struct Document;

fn api() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(routes::artifacts::router())
        .merge(routes::releases::router())
        .merge(routes::webhooks::router())
        .merge(routes::rollouts::router())
        .merge(routes::lanes::router())
        .merge(routes::events::router())
        .merge(routes::log::router())
        .merge(routes::retention::router())
        .merge(routes::trace::router())
        .merge(routes::system::router())
        .merge(routes::tokens::router())
        .merge(routes::roster::router())
}

/// What takes more bytes and more time than the others.
fn uploads() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .merge(routes::artifacts::upload())
        .merge(routes::releases::documents())
}

/// The OpenAPI 3.1 document of `/api/v1`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = api().merge(uploads()).into_openapi();
    access::describe(&mut document);
    document
}

/// Every route, ready to be served.
pub fn app(site: Arc<Site>) -> Router {
    let (api, _) = api().split_for_parts();
    let (uploads, _) = uploads().split_for_parts();
    let document = Arc::new(openapi());
    let agents = routes::agents::router().layer(DefaultBodyLimit::max(REPORT_MAX));
    api.route(
        "/api/v1/openapi.json",
        get(move || async move { axum::Json((*document).clone()) }),
    )
    .layer(DefaultBodyLimit::max(BODY_MAX))
    .layer(axum::middleware::from_fn(bounded))
    .merge(uploads.layer(axum::middleware::map_response(problem::in_json)))
    .merge(routes::log::tiles())
    .merge(agents)
    .fallback(|| async {
        Failure::not_found(
            "there is nothing at this address; `/api/v1/openapi.json` lists what there is",
        )
    })
    .layer(axum::middleware::from_fn_with_state(
        Arc::clone(&site),
        access::authorize,
    ))
    // These prove by themselves who asks.
    .route("/agent/v1/hello", get(door::hello))
    .route(
        "/agent/v1/join",
        post(door::join).layer(DefaultBodyLimit::max(BODY_MAX)),
    )
    .route("/healthz", get(|| async { "ok\n" }))
    .merge(routes::webhooks::receiver())
    .with_state(site)
}

/// Ends a request that takes too long over its body or its answer's head.
async fn bounded(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => problem::in_json(response).await,
        Err(_) => Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            "unavailable",
            format!("the request was not complete, or not answered, within {ANSWER_WITHIN:?}"),
        )
        .into_response(),
    }
}
