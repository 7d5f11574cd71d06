//! The installation.

use std::sync::Arc;

use airboss_store::RolloutFilter;
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::views::SystemView;
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
    let agent = site.runtime.hub().agent();
    let mut warnings = Vec::new();
    match &agent {
        None => warnings.push(
            "no agent has reported since the start: nothing can be started or shifted".to_owned(),
        ),
        Some(agent)
            if airboss_model::time::since(agent.last_seen, now)
                > airboss_runtime::lane::AGENT_LOST_AFTER =>
        {
            warnings.push(format!(
                "agent {} has been silent since {}",
                agent.id, agent.last_seen
            ));
        }
        Some(_) => {}
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
        agents: agent
            .iter()
            .map(|agent| draw::agent_view(Some(agent)))
            .collect(),
        services: u64::try_from(store.services().await?.len()).unwrap_or(u64::MAX),
        in_progress: u64::try_from(open.len()).unwrap_or(u64::MAX),
        warnings,
    }))
}

fn free_bytes(folder: &str) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
