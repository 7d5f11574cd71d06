//! Rollouts as readers see them.

use airboss_model::LaneId;

use super::codec::{Columns as _, micros};
use super::db::{Pool, Row, Sql};
use super::fault::Fault;
use super::script::Script;
use crate::{RolloutFilter, RolloutRow};

const UPSERT: &str = "INSERT INTO rollouts (id, lane, service, environment, release, digest,
    phase, outcome, reason, created_by, created_at, updated_at, ended_at) SELECT * FROM";
// What a rollout is never changes; naming it here would rewrite its indexes each time.
const UPSERT_ROWS: &str = "WHERE column1 IS NOT NULL ON CONFLICT (id) DO UPDATE SET
    phase = excluded.phase, outcome = excluded.outcome, reason = excluded.reason,
    updated_at = excluded.updated_at, ended_at = excluded.ended_at";
const GET: &str =
    "SELECT id, lane, release, digest, phase, outcome, reason, created_by, created_at,
    updated_at, ended_at FROM rollouts WHERE id = $1";
const LIST: &str = "SELECT id, lane, release, digest, phase, outcome, reason, created_by,
    created_at, updated_at, ended_at FROM rollouts WHERE TRUE";

/// A rollout's row with its texts made.
pub(super) struct Prepared {
    id: String,
    lane: LaneId,
    release: String,
    digest: String,
    phase: String,
    outcome: Option<String>,
    reason: String,
    created_by: String,
    created_at: i64,
    updated_at: i64,
    ended_at: Option<i64>,
}

impl Prepared {
    pub(super) fn new(row: &RolloutRow) -> Self {
        Self {
            id: row.id.to_string(),
            lane: row.lane.clone(),
            release: row.release.to_string(),
            digest: row.digest.to_string(),
            phase: row.phase.clone(),
            outcome: row.outcome.clone(),
            reason: row.reason.clone(),
            created_by: row.created_by.clone(),
            created_at: micros(row.created_at),
            updated_at: micros(row.updated_at),
            ended_at: row.ended_at.map(micros),
        }
    }
}

/// Adds rows to a script, each in the place of the one that is there; its place in the order
/// stays.
pub(super) async fn upsert(script: &mut Script<'_>, rows: &[&Prepared]) -> Result<(), Fault> {
    let values = |row: &&Prepared| {
        [
            (&row.id).into(),
            row.lane.as_str().into(),
            row.lane.service().as_str().into(),
            row.lane.environment().as_str().into(),
            (&row.release).into(),
            (&row.digest).into(),
            (&row.phase).into(),
            (&row.outcome).into(),
            (&row.reason).into(),
            (&row.created_by).into(),
            row.created_at.into(),
            row.updated_at.into(),
            row.ended_at.into(),
        ]
    };
    script.rows(UPSERT, rows, UPSERT_ROWS, values).await
}

pub(super) async fn get(db: &Pool, id: &str) -> Result<Option<RolloutRow>, Fault> {
    let row = Sql::new(GET).bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn list(
    db: &Pool,
    filter: &RolloutFilter,
    limit: i64,
) -> Result<Vec<RolloutRow>, Fault> {
    let query = page(filter, limit);
    let rows = query.fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// Newest first. Each combination has an index that gives the order, so a page costs the same
/// however many rollouts there are.
fn page(filter: &RolloutFilter, limit: i64) -> Sql {
    let mut query = Sql::begin(LIST);
    match (&filter.service, &filter.environment) {
        (Some(service), Some(environment)) => {
            let lane = LaneId::new(service, environment);
            query.push(" AND lane = ").push_bind(lane.to_string());
        }
        (Some(service), None) => {
            query.push(" AND service = ").push_bind(service.to_string());
        }
        (None, Some(environment)) => {
            query
                .push(" AND environment = ")
                .push_bind(environment.to_string());
        }
        (None, None) => {}
    }
    if let Some(release) = &filter.release {
        query.push(" AND release = ").push_bind(release.as_str());
    }
    if let Some(by) = &filter.by {
        query.push(" AND created_by = ").push_bind(by);
    }
    match filter.ended {
        Some(true) => query.push(" AND outcome IS NOT NULL"),
        Some(false) => query.push(" AND outcome IS NULL"),
        None => &mut query,
    };
    if let Some(before) = &filter.before {
        query
            .push(" AND number < (SELECT number FROM rollouts WHERE id = ")
            .push_bind(before.to_string())
            .push(")");
    }
    query.push(" ORDER BY number DESC LIMIT ").push_bind(limit);
    query
}

fn read(row: &Row) -> Result<RolloutRow, Fault> {
    Ok(RolloutRow {
        id: row.id("id")?,
        lane: row.id("lane")?,
        release: row.id("release")?,
        digest: row.id("digest")?,
        phase: row.text("phase")?,
        outcome: row.maybe_text("outcome")?,
        reason: row.text("reason")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
        ended_at: row.maybe_time("ended_at")?,
    })
}

#[cfg(test)]
mod tests {
    use airboss_model::{EnvironmentName, ServiceName};

    use super::*;

    /// Every combination is found by an index in its order: nothing is scanned or sorted.
    #[tokio::test]
    async fn every_page_is_read_in_the_order_of_an_index() {
        let mut db = super::super::fresh().await.unwrap();
        let (service, environment) = ("shop".parse().unwrap(), "staging".parse().unwrap());
        for number in 0..24 {
            let filter = RolloutFilter {
                service: (number & 1 != 0).then(|| ServiceName::clone(&service)),
                environment: (number & 2 != 0).then(|| EnvironmentName::clone(&environment)),
                before: (number & 4 != 0).then(|| "shop-1".parse().unwrap()),
                ended: [None, Some(true), Some(false)][number / 8],
                ..Default::default()
            };
            let sql = format!("EXPLAIN QUERY PLAN {}", page(&filter, 50).into_text());
            let steps = Sql::begin(&sql).fetch_all(&mut db).await.unwrap();
            let plan: Vec<String> = steps.iter().map(|it| it.text("detail").unwrap()).collect();
            // Walking all rollouts in their own order is right where nothing narrows them.
            let all = filter.service.is_none() && filter.environment.is_none();
            for step in &plan {
                assert!(!step.contains("TEMP B-TREE"), "{filter:?}: {plan:?}");
                let scans = step.starts_with("SCAN") && !step.contains("rollouts_live");
                assert!(!scans || all, "{filter:?}: {plan:?}");
            }
            if filter.ended == Some(false) {
                assert!(plan[0].contains("rollouts_live"), "{filter:?}: {plan:?}");
            }
        }
    }
}
