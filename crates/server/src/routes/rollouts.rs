//! Rollouts: ship, steer, list, explain.

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Answer, Command, Event, Input, Request};
use airboss_judge::burn::BudgetDecision;
use airboss_model::evidence::ItemVerdict;
use airboss_model::manifest::{Service, Severity};
use airboss_model::{Digest, EnvironmentName, LaneId, ReleaseId, RolloutId, ServiceName};
use airboss_store::{EventFilter, ReleaseRow, RolloutFilter, RolloutRow, ServiceRow, StoreError};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{key, who};
use crate::access::Caller;
use crate::api::requests::{ActionRequest, LogQuery, RollbackRequest, RolloutQuery, ShipRequest};
use crate::api::views::{
    Accepted, DecisionView, Explanation, LogLineView, LogView, Problem, RolloutList, RolloutView,
    VerdictView,
};
use crate::problem::{Failure, Result};
use crate::{Here, Site, draw, origins, promises};

/// How long an agent may take to hand over log lines.
const LOGS_WITHIN: Duration = Duration::from_secs(10);

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(list, ship))
        .routes(routes!(get))
        .routes(routes!(explain))
        .routes(routes!(logs))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(promote))
        .routes(routes!(abort))
        .routes(routes!(rollback))
}

/// Ships a release: registers the version and starts a rollout, or puts it in line.
#[utoipa::path(
    post, path = "/api/v1/rollouts", tag = "rollouts", request_body = ShipRequest,
    responses((status = 201, body = Accepted), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem))
)]
async fn ship(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(mut request): Json<ShipRequest>,
) -> Result<(StatusCode, Json<Accepted>)> {
    request.by = who(&caller, &request.by)?;
    let key = key(&headers)?;
    let (service, mut warnings) = read_manifest(&request)?;
    let name = service.metadata.name.clone();
    let environment: EnvironmentName = request
        .environment
        .as_deref()
        .map_or(Ok(EnvironmentName::default()), str::parse)?;
    let digest: Digest = request.digest.parse()?;
    let release = ReleaseId::new(&name, &request.version)?;
    let lane = LaneId::new(&name, &environment);
    let store = site.runtime.store();
    let known = site.runtime.snapshot(&lane);
    let mut slow = None;
    if let Some(learnt) = known.and_then(|snapshot| snapshot.learnt.clone()) {
        let spent = promises::spent(&service, &learnt);
        let allowed = promises::allowed(&service, &learnt, request.fix);
        // A repeated request is answered as it was the first time, whatever was spent since.
        if allowed == BudgetDecision::Hold && store.inbox_entry(&key).await?.is_none() {
            return Err(Failure::new(
                StatusCode::CONFLICT,
                "budget_spent",
                "an error budget is spent and the manifest says `when_spent: refuse`; a release that repairs it goes with `airboss ship --fix`",
            )
            .details(spent));
        }
        if allowed == BudgetDecision::Slow {
            slow = Some(promises::lowest(&service, &learnt));
        }
        if !request.fix {
            warnings.extend(spent);
        }
        warnings.extend(promises::unproven(&service, &learnt));
        warnings.extend(promises::unfit(&service, &learnt));
        warnings.extend(promises::blind_spots(&service, &learnt));
    }
    let now = site.runtime.clock().now();
    // Held until the engine's state names the artifact: retention waits meanwhile.
    let _pin = site.blobs.pin().await;
    if store.artifact(&digest).await?.is_none() {
        return Err(Failure::not_found(format!(
            "{digest} is not kept here; upload it first with POST /api/v1/artifacts"
        )));
    }
    let manifest_hash = Digest::from_sha256(Sha256::digest(request.manifest.as_bytes()).into());
    let manifest =
        serde_json::to_value(&service).map_err(|error| Failure::invalid(error.to_string()))?;
    store
        .put_service(&ServiceRow {
            name: name.clone(),
            text: request.manifest,
            manifest,
            hash: manifest_hash,
            at: now,
        })
        .await?;
    let pinned = store
        .create_release(&ReleaseRow {
            id: release.clone(),
            digest,
            manifest_hash,
            created_by: request.by.clone(),
            at: now,
        })
        .await;
    if let Err(error @ StoreError::VersionPinned { existing, .. }) = pinned {
        let moved = origins::tags_between(store.as_ref(), &release, &existing, &digest).await?;
        return Err(Failure::from(error).details(moved));
    }
    pinned?;
    warnings.extend(origins::to_know(store.as_ref(), &release, &digest).await?);
    let rollout = store.allocate_rollout(&name).await?;
    let evidence = site
        .runtime
        .evidence()
        .weigh(&digest, &release, &service.spec.rollout.require, now)
        .await?;
    warnings.extend(evidence.iter().filter(|it| !it.passed()).map(to_do));

    let command = Command::Ship(Request {
        rollout,
        release,
        digest,
        service: service.into(),
        by: request.by.clone(),
        at: now,
        is_return: false,
        slow,
        evidence,
    });
    let mut accepted = submit(&site, lane, key, command, request.by).await?;
    accepted.warnings = warnings;
    Ok((StatusCode::CREATED, Json(accepted)))
}

/// What to do about an item that does not pass.
fn to_do(item: &ItemVerdict) -> String {
    let state = item.state.as_str().replace('_', " ");
    let remedy = item.remedy.as_ref();
    let remedy = remedy.map_or(String::new(), |remedy| format!("\n  to do: {remedy}"));
    format!("{} ({state}): {}{remedy}", item.item.name(), item.reason)
}

fn read_manifest(request: &ShipRequest) -> Result<(Service, Vec<String>)> {
    let documents = airboss_model::manifest::parse(&request.manifest_name, &request.manifest)
        .map_err(|findings| {
            let errors = findings
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
                .count();
            let mistakes = if errors == 1 { "a mistake" } else { "mistakes" };
            Failure::invalid(format!("{} has {mistakes}", request.manifest_name))
                .details(findings.iter().map(ToString::to_string).collect())
        })?;
    let mut warnings = Vec::new();
    let mut services = Vec::new();
    for document in documents {
        warnings.extend(document.warnings.iter().map(ToString::to_string));
        let airboss_model::manifest::Resource::Service(service) = document.resource;
        services.push(*service);
    }
    let names = || {
        services
            .iter()
            .map(|service| service.metadata.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (&request.service, services.len()) {
        (None, 1) => Ok((services.remove(0), warnings)),
        (None, _) => Err(Failure::invalid(format!(
            "{} holds several services ({}); name the one to ship",
            request.manifest_name,
            names()
        ))),
        (Some(wanted), _) => {
            let found = services
                .iter()
                .position(|service| service.metadata.name.as_str() == wanted);
            let at = found.ok_or_else(|| {
                Failure::invalid(format!(
                    "{} holds no service `{wanted}`; it holds {}",
                    request.manifest_name,
                    names()
                ))
            })?;
            Ok((services.swap_remove(at), warnings))
        }
    }
}

async fn submit(
    site: &Site,
    lane: LaneId,
    key: String,
    command: Command,
    by: String,
) -> Result<Accepted> {
    match site
        .runtime
        .submit(lane, key, Input::Command { command, by })
        .await?
    {
        Answer::Accepted { rollout, message } => Ok(Accepted {
            rollout: rollout.to_string(),
            message,
            warnings: Vec::new(),
        }),
        Answer::Refused { refusal, message } => Err(Failure::refused(refusal, message)),
    }
}

async fn row(site: &Site, id: &str) -> Result<RolloutRow> {
    let id: RolloutId = id.parse()?;
    let row = site.runtime.store().rollout(&id).await?;
    row.ok_or_else(|| {
        Failure::not_found(format!(
            "there is no rollout {id}; `airboss history` lists them"
        ))
    })
}

async fn act(
    site: &Site,
    caller: &Caller,
    headers: &HeaderMap,
    id: &str,
    by: &str,
    command: impl FnOnce(RolloutId) -> Command,
) -> Result<Json<Accepted>> {
    let by = who(caller, by)?;
    let row = row(site, id).await?;
    Ok(Json(
        submit(site, row.lane, key(headers)?, command(row.id), by).await?,
    ))
}

/// Holds a rollout: no further step. It is still judged, and still taken back if it fails.
#[utoipa::path(
    post, path = "/api/v1/rollouts/{id}/pause", tag = "rollouts", request_body = ActionRequest,
    params(("id" = String, Path, description = "such as `checkout-7`")),
    responses((status = 200, body = Accepted), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn pause(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(request): Json<ActionRequest>,
) -> Result<Json<Accepted>> {
    act(&site, &caller, &headers, &id, &request.by, |rollout| {
        Command::Pause { rollout }
    })
    .await
}

/// Lets a paused rollout go on.
#[utoipa::path(
    post, path = "/api/v1/rollouts/{id}/resume", tag = "rollouts", request_body = ActionRequest,
    params(("id" = String, Path, description = "such as `checkout-7`")),
    responses((status = 200, body = Accepted), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn resume(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(request): Json<ActionRequest>,
) -> Result<Json<Accepted>> {
    act(&site, &caller, &headers, &id, &request.by, |rollout| {
        Command::Resume { rollout }
    })
    .await
}

/// Takes the next step without waiting for its evidence. The record says who did it.
#[utoipa::path(
    post, path = "/api/v1/rollouts/{id}/promote", tag = "rollouts", request_body = ActionRequest,
    params(("id" = String, Path, description = "such as `checkout-7`")),
    responses((status = 200, body = Accepted), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn promote(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(request): Json<ActionRequest>,
) -> Result<Json<Accepted>> {
    let full = request.full;
    act(&site, &caller, &headers, &id, &request.by, |rollout| {
        Command::Promote { rollout, full }
    })
    .await
}

/// Returns to stable and ends the rollout; a waiting one is taken out of the queue.
#[utoipa::path(
    post, path = "/api/v1/rollouts/{id}/abort", tag = "rollouts", request_body = ActionRequest,
    params(("id" = String, Path, description = "such as `checkout-7`")),
    responses((status = 200, body = Accepted), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn abort(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(request): Json<ActionRequest>,
) -> Result<Json<Accepted>> {
    let (force, reason) = (request.force, request.reason);
    act(&site, &caller, &headers, &id, &request.by, |rollout| {
        Command::Abort {
            rollout,
            force,
            reason,
        }
    })
    .await
}

/// Returns a service to an earlier version. While a rollout is in progress, this is its abort.
#[utoipa::path(
    post, path = "/api/v1/services/{service}/rollback", tag = "rollouts", request_body = RollbackRequest,
    params(("service" = String, Path, description = "the service's name")),
    responses((status = 200, body = Accepted), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn rollback(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(service): Path<String>,
    Json(request): Json<RollbackRequest>,
) -> Result<Json<Accepted>> {
    let by = who(&caller, &request.by)?;
    let service: ServiceName = service.parse()?;
    let environment: EnvironmentName = request
        .environment
        .as_deref()
        .map_or(Ok(EnvironmentName::default()), str::parse)?;
    let store = site.runtime.store();
    if store.service(&service).await?.is_none() {
        return Err(Failure::not_found(format!(
            "there is no service `{service}`; `airboss status` lists them"
        )));
    }
    let to = request
        .to
        .as_deref()
        .map(|version| ReleaseId::new(&service, version))
        .transpose()?;
    let rollout = store.allocate_rollout(&service).await?;
    let command = Command::Rollback {
        rollout,
        to,
        reason: request.reason,
    };
    let lane = LaneId::new(&service, &environment);
    Ok(Json(
        submit(&site, lane, key(&headers)?, command, by).await?,
    ))
}

/// Rollouts, newest first.
#[utoipa::path(
    get, path = "/api/v1/rollouts", tag = "rollouts", params(RolloutQuery),
    responses((status = 200, body = RolloutList), (status = 422, body = Problem))
)]
async fn list(State(site): Here, Query(query): Query<RolloutQuery>) -> Result<Json<RolloutList>> {
    let limit = query.limit.unwrap_or(50).clamp(1, 500);
    let filter = RolloutFilter {
        service: query.service.as_deref().map(str::parse).transpose()?,
        environment: query.environment.as_deref().map(str::parse).transpose()?,
        release: query.release.as_deref().map(str::parse).transpose()?,
        by: None,
        ended: query.ended,
        before: query.before.as_deref().map(str::parse).transpose()?,
        limit,
    };
    let rows = site.runtime.store().rollouts(&filter).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next = rows.last().filter(|_| full).map(|last| last.id.to_string());
    Ok(Json(RolloutList {
        rollouts: rows.iter().map(draw::rollout).collect(),
        next,
    }))
}

/// One rollout.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{id}", tag = "rollouts",
    params(("id" = String, Path, description = "such as `checkout-7`")),
    responses((status = 200, body = RolloutView), (status = 404, body = Problem))
)]
async fn get(State(site): Here, Path(id): Path<String>) -> Result<Json<RolloutView>> {
    Ok(Json(draw::rollout(&row(&site, &id).await?)))
}

/// Why a rollout went as it did: every decision with what it rests on.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{id}/explain", tag = "rollouts",
    params(("id" = String, Path, description = "such as `checkout-7`")),
    responses((status = 200, body = Explanation), (status = 404, body = Problem))
)]
async fn explain(State(site): Here, Path(id): Path<String>) -> Result<Json<Explanation>> {
    let row = row(&site, &id).await?;
    let mut decisions = Vec::new();
    let mut after = 0;
    let mut verdict: Option<VerdictView> = None;
    let mut wordless = 0;
    loop {
        let filter = EventFilter {
            after,
            rollout: Some(row.id.clone()),
            lane: None,
            limit: 1_000,
        };
        let events = site.runtime.store().events(&filter).await?;
        let Some(last) = events.last() else { break };
        after = last.number;
        for kept in events {
            wordless += u64::from(kept.is_wordless());
            let Ok(event) = serde_json::from_value::<Event>(kept.body) else {
                continue;
            };
            if let Event::VerdictChanged { assessment, .. } = &event {
                verdict = Some(draw::verdict(assessment));
            }
            if let Some((by, judged)) = event.decided_by() {
                let verdict = if judged { verdict.clone() } else { None };
                decisions.push(DecisionView {
                    number: kept.number,
                    at: kept.at.to_string(),
                    what: kept.message,
                    by: by.to_string(),
                    verdict,
                });
            }
        }
    }
    let view = draw::rollout(&row);
    let mut summary = match &view.outcome {
        Some(outcome) => format!(
            "{} of {} {}: {}",
            view.id,
            row.release,
            outcome.replace('_', " "),
            view.reason
        ),
        None => format!(
            "{} of {} is {}: {}",
            view.id,
            row.release,
            view.phase.replace('_', " "),
            view.reason
        ),
    };
    if wordless > 0 {
        summary += &format!(
            ". Retention removed the words of {wordless} of its events: what was decided and by whom is gone, the seals stay in the log"
        );
    }
    let snapshot = site.runtime.snapshot(&row.lane);
    Ok(Json(Explanation {
        rollout: view,
        summary,
        decisions,
        computation: site
            .runtime
            .computation(&row.id)
            .await?
            .map(|it| it.to_string()),
        lacking: snapshot
            .as_ref()
            .map(|it| draw::lacking(it, &row.id, site.runtime.clock().now()))
            .unwrap_or_default(),
        blind_spots: snapshot
            .filter(|now| {
                now.lane
                    .active
                    .as_ref()
                    .is_some_and(|it| *it.id() == row.id)
            })
            .map(|now| draw::unseen(&now))
            .unwrap_or_default(),
    }))
}

/// The last lines that a rollout's instances wrote.
#[utoipa::path(
    get, path = "/api/v1/rollouts/{id}/logs", tag = "rollouts",
    params(("id" = String, Path, description = "such as `checkout-7`"), LogQuery),
    responses((status = 200, body = LogView), (status = 404, body = Problem), (status = 504, body = Problem))
)]
async fn logs(
    State(site): Here,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogView>> {
    let row = row(&site, &id).await?;
    let lines = query.lines.unwrap_or(100).clamp(1, 1_000);
    let answer = site
        .runtime
        .hub()
        .logs(row.lane, Some(row.id), lines, LOGS_WITHIN)
        .await?;
    let lines = answer
        .lines
        .into_iter()
        .map(|line| LogLineView {
            instance: line.instance,
            text: line.text,
        })
        .collect();
    Ok(Json(LogView {
        lines,
        problem: answer.problem,
    }))
}
