//! Agents with keys of their own: invited, listed, revoked.

use std::sync::Arc;

use airboss_model::time::{after, since};
use airboss_model::{Digest, Span, Timestamp};
use airboss_runtime::lane::AGENT_LOST_AFTER;
use airboss_runtime::roster::{AGENTS_MAX, PATTERNS_MAX, Pattern, Roster, patterns};
use airboss_store::AgentRow;
use airboss_targets::process::identity::JoinToken;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::Caller;
use crate::api::agents::{AgentList, HostAgent, InvitedAgent, NewAgent, RevokeAgent};
use crate::api::views::Problem;
use crate::problem::{Failure, Result};
use crate::{Here, Site};

/// The longest name of an agent, in characters.
const NAME_MAX: usize = 63;
/// The longest that an invitation can be used.
const INVITED_MAX: Span = Span::secs(30 * 24 * 3_600);

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new()
        .routes(routes!(list, invite))
        .routes(routes!(revoke))
}

/// Agents, where they stand and what they carry.
#[utoipa::path(get, path = "/api/v1/agents", tag = "system", responses((status = 200, body = AgentList)))]
async fn list(State(site): Here) -> Result<Json<AgentList>> {
    let rows = site.runtime.store().agents().await?;
    let now = site.runtime.clock().now();
    let roster = site.runtime.hub().roster();
    let mut agents = own_agent(&site, &roster, now);
    agents.extend(rows.iter().map(|row| view(&site, row, now)));
    Ok(Json(AgentList {
        now: now.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        agents,
    }))
}

/// Invites an agent: makes the token by which it joins, once.
#[utoipa::path(
    post, path = "/api/v1/agents", tag = "system", request_body = NewAgent,
    responses(
        (status = 201, body = InvitedAgent), (status = 409, body = Problem), (status = 422, body = Problem)
    )
)]
async fn invite(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    Json(request): Json<NewAgent>,
) -> Result<(StatusCode, Json<InvitedAgent>)> {
    let name = request.name.trim();
    let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-_.".contains(it);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
        return Err(Failure::invalid(format!(
            "`name` must be 1 to {NAME_MAX} small letters, digits, `-`, `_` or `.`"
        )));
    }
    let carries = request.carries.iter().map(|word| word.parse());
    let carries: Vec<Pattern> = carries.collect::<std::result::Result<_, _>>().map_err(
        |error: airboss_runtime::roster::BadPattern| Failure::invalid(error.to_string()),
    )?;
    if carries.is_empty() || carries.len() > PATTERNS_MAX {
        return Err(Failure::invalid(format!(
            "`carries` must name 1 to {PATTERNS_MAX} patterns of lanes, such as `*/production`"
        )));
    }
    let span: Span = request
        .expires_in
        .parse()
        .map_err(|error| Failure::invalid(format!("`expires_in`: {error}")))?;
    if span.0.is_zero() || span > INVITED_MAX {
        return Err(Failure::invalid(format!(
            "`expires_in` must be above 0 and at most {INVITED_MAX}"
        )));
    }
    let store = site.runtime.store();
    let rows = store.agents().await?;
    let in_force: Vec<&AgentRow> = rows.iter().filter(|it| it.revoked_at.is_none()).collect();
    if in_force.len() >= AGENTS_MAX {
        return Err(conflict(format!(
            "there are {AGENTS_MAX} agents, the most there may be; revoke those that are gone"
        )));
    }
    if !request.take_over {
        refuse_moves(&site, &carries)?;
    }
    let now = site.runtime.clock().now();
    let by = caller.on_record(&request.by);
    // One that was invited and never came may be invited anew: its token is of no use then.
    if let Some(row) = in_force
        .iter()
        .find(|row| row.name == name && row.joined_at.is_none())
    {
        store.revoke_agent(&row.id, &by, now).await?;
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unavailable",
            format!("the system has no random numbers: {error}"),
        )
    })?;
    let token = JoinToken::new(&random, site.log_key.verifying_key().to_bytes());
    let id = uuid::Uuid::new_v4().simple().to_string();
    let words: Vec<String> = carries.iter().map(ToString::to_string).collect();
    let row = AgentRow {
        id: format!("a{}", &id[..12]),
        name: name.to_owned(),
        carries: words.join(" "),
        invite: Digest::from_sha256(Sha256::digest(token.public()).into()),
        invited_by: by,
        invited_at: now,
        invited_till: after(now, span.0),
        public_key: None,
        joined_at: None,
        revoked_by: None,
        revoked_at: None,
    };
    store.invite_agent(&row).await?;
    site.runtime.read_agents().await?;
    tracing::info!(
        agent = row.id,
        name,
        carries = row.carries,
        by = row.invited_by,
        "an agent was invited"
    );
    let answer = InvitedAgent {
        agent: view(&site, &row, now),
        join_token: token.to_text(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revokes an agent for good: from now on no server listens to it, and what it carried is carried
/// by whoever was invited for it next.
#[utoipa::path(
    post, path = "/api/v1/agents/{id}/revoke", tag = "system", request_body = RevokeAgent,
    params(("id" = String, Path, description = "its id, or its name")),
    responses((status = 200, body = HostAgent), (status = 404, body = Problem))
)]
async fn revoke(
    State(site): Here,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Json(request): Json<RevokeAgent>,
) -> Result<Json<HostAgent>> {
    let store = site.runtime.store();
    let rows = store.agents().await?;
    let named = rows
        .iter()
        .find(|row| row.name == id && row.revoked_at.is_none());
    let id = named.map_or(id.as_str(), |row| &row.id);
    let now = site.runtime.clock().now();
    let by = caller.on_record(&request.by);
    // What it carried is told as it was before.
    let before = rows
        .iter()
        .find(|row| row.id == id)
        .map(|row| view(&site, row, now));
    let row = store.revoke_agent(id, &by, now).await?;
    let row = row.ok_or_else(|| {
        Failure::not_found(format!(
            "there is no agent {id}; `airboss agent list` lists them"
        ))
    })?;
    site.runtime.read_agents().await?;
    tracing::info!(agent = row.id, name = row.name, by, "an agent was revoked");
    let lanes = before.map_or(Vec::new(), |before| before.lanes);
    Ok(Json(HostAgent {
        lanes,
        ..view(&site, &row, now)
    }))
}

fn conflict(why: String) -> Failure {
    Failure::new(StatusCode::CONFLICT, "conflict", why)
}

/// Refuses to take lanes from the installation's own agent that run there: they would be started a
/// second time elsewhere.
fn refuse_moves(site: &Site, carries: &[Pattern]) -> Result<()> {
    let roster = site.runtime.hub().roster();
    let runs = site.runtime.snapshots().into_iter().filter(|snapshot| {
        let desired = snapshot.lane.desired.as_ref();
        desired.is_some_and(|desired| !desired.arms.is_empty())
    });
    let moved: Vec<String> = runs
        .map(|snapshot| snapshot.id().clone())
        .filter(|lane| roster.carrier(lane).is_none() && carries.iter().any(|it| it.fits(lane)))
        .map(|lane| lane.to_string())
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    Err(conflict(format!(
        "{} runs on this installation's own agent and would be started a second time. Name other lanes; or, where the new agent joins on that very host or the other one is stopped, say --take-over",
        moved.join(", ")
    )))
}

/// The installation's own agent, where one has reported.
fn own_agent(site: &Site, roster: &Roster, now: Timestamp) -> Vec<HostAgent> {
    let agents = site.runtime.hub().agents().into_iter();
    let own = agents.filter(|agent| roster.member(&agent.id).is_none());
    own.map(|agent| HostAgent {
        id: agent.id.clone(),
        name: None,
        state: heard(Some(agent.last_seen), now).to_owned(),
        carries: Vec::new(),
        lanes: lanes(site, &agent.id),
        strays: agent.strays.iter().map(ToString::to_string).collect(),
        version: Some(agent.version),
        last_seen: Some(agent.last_seen.to_string()),
        invited_by: None,
        invited_till: None,
        joined_at: None,
        revoked_by: None,
        revoked_at: None,
    })
    .collect()
}

fn heard(last_seen: Option<Timestamp>, now: Timestamp) -> &'static str {
    match last_seen {
        Some(at) if since(at, now) <= AGENT_LOST_AFTER => "reports",
        _ => "silent",
    }
}

fn lanes(site: &Site, agent: &str) -> Vec<String> {
    let roster = site.runtime.hub().roster();
    let snapshots = site.runtime.snapshots().into_iter();
    let lanes = snapshots.map(|snapshot| snapshot.id().clone());
    lanes
        .filter(|lane| roster.is_carried_by(agent, lane))
        .map(|lane| lane.to_string())
        .collect()
}

fn view(site: &Site, row: &AgentRow, now: Timestamp) -> HostAgent {
    let agents = site.runtime.hub().agents();
    let heard_of = agents.into_iter().find(|agent| agent.id == row.id);
    let last_seen = heard_of.as_ref().map(|agent| agent.last_seen);
    let state = match (row.revoked_at, row.joined_at) {
        (Some(_), _) => "revoked",
        (None, Some(_)) => heard(last_seen, now),
        (None, None) if row.invited_till <= now => "expired",
        (None, None) => "invited",
    };
    let in_force = row.revoked_at.is_none();
    HostAgent {
        id: row.id.clone(),
        name: Some(row.name.clone()),
        state: state.to_owned(),
        carries: patterns(&row.carries)
            .iter()
            .map(ToString::to_string)
            .collect(),
        lanes: if in_force {
            lanes(site, &row.id)
        } else {
            Vec::new()
        },
        strays: heard_of
            .iter()
            .flat_map(|agent| &agent.strays)
            .map(ToString::to_string)
            .collect(),
        version: heard_of.map(|agent| agent.version),
        last_seen: last_seen.map(|at| at.to_string()),
        invited_by: Some(row.invited_by.clone()),
        invited_till: (in_force && row.joined_at.is_none()).then(|| row.invited_till.to_string()),
        joined_at: row.joined_at.map(|at| at.to_string()),
        revoked_by: row.revoked_by.clone(),
        revoked_at: row.revoked_at.map(|at| at.to_string()),
    }
}
