//! The installation.

use std::sync::Arc;

use airboss_model::time::since;
use airboss_runtime::lane::AGENT_LOST_AFTER;
use airboss_store::RolloutFilter;
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::views::{AgentView, SystemView};
use crate::problem::Result;
use crate::{Here, Site, draw};

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new().routes(routes!(system))
}

/// The installation's health: what `airboss doctor` reads.
#[utoipa::path(get, path = "/api/v1/system", tag = "system", responses((status = 200, body = SystemView)))]
async fn system(State(site): Here) -> Result<Json<SystemView>> {
    let store = site.runtime.store();
    let now = site.runtime.clock().now();
    let hub = site.runtime.hub();
    let (agents, roster) = (hub.agents(), hub.roster());
    let mut warnings = Vec::new();
    if agents.is_empty() {
        warnings.push(
            "no agent has reported since the start: nothing can be started or shifted".to_owned(),
        );
    }
    let mut views = Vec::new();
    for agent in &agents {
        let name = roster.member(&agent.id).map(|member| member.name.clone());
        let called = name.as_ref().unwrap_or(&agent.id);
        let silent = since(agent.last_seen, now) > AGENT_LOST_AFTER;
        if silent {
            let at = agent.last_seen;
            warnings.push(format!("agent {called} has been silent since {at}"));
        }
        if !agent.strays.is_empty() {
            let lanes: Vec<_> = agent.strays.iter().map(ToString::to_string).collect();
            warnings.push(format!(
                "agent {called} runs {} still, which it does not carry: stop the agent on its host with --on-stop stop, or end the processes there",
                lanes.join(", ")
            ));
        }
        views.push(AgentView {
            name,
            ..draw::agent_view(Some(agent))
        });
    }
    for member in roster.members() {
        if member.public_key.is_some() && agents.iter().all(|agent| agent.id != member.id) {
            warnings.push(format!(
                "agent {} has joined and not reported since the start",
                member.name
            ));
        }
    }
    if let Some(apart) = site.runtime.clock().drift() {
        warnings.push(format!(
            "the system's clock has moved by {} since the start; durations are not affected",
            airboss_model::Span(apart)
        ));
    }
    let open = store
        .rollouts(&RolloutFilter {
            ended: Some(false),
            limit: 500,
            ..RolloutFilter::default()
        })
        .await?;
    Ok(Json(SystemView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now.to_string(),
        data_dir: site.data_dir.clone(),
        store: site.store.clone(),
        store_findings: store.verify().await?,
        free_bytes: free_bytes(&site.data_dir),
        agents: views,
        services: u64::try_from(store.services().await?.len()).unwrap_or(u64::MAX),
        in_progress: u64::try_from(open.len()).unwrap_or(u64::MAX),
        warnings,
    }))
}

fn free_bytes(folder: &str) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
