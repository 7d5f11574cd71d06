//! How releases went through their gates, and what they changed.

use airboss_engine::{Cause, Event, Outcome, PassedBy, Request};
use airboss_judge::burn::PERIOD_SECONDS;
use airboss_judge::season::{self, Change};
use airboss_model::time::since;
use airboss_model::{LaneId, RolloutId};
use airboss_runtime::Snapshot;
use airboss_store::{EventFilter, RolloutFilter, RolloutRow};

use crate::api::report::{ChangeView, ReportView};
use crate::problem::Result;
use crate::{Site, promises};

/// Rollouts that are looked at, at the most.
const ROLLOUTS_MAX: u32 = 200;
/// Releases whose changes are told.
const CHANGES_MAX: usize = 10;
const EVENTS_MAX: u32 = 5_000;

/// The requests of a lane's newest rollouts that ended, newest first.
pub async fn ended(site: &Site, lane: &LaneId, limit: u32) -> Result<Vec<Request>> {
    let mut requests = Vec::new();
    for row in rollouts(site, lane, limit).await? {
        let mut events = events(site, &row.id).await?.into_iter();
        requests.extend(events.find_map(|event| match event {
            Event::Requested { request, .. } => Some(request),
            _ => None,
        }));
    }
    Ok(requests)
}

async fn rollouts(site: &Site, lane: &LaneId, limit: u32) -> Result<Vec<RolloutRow>> {
    let filter = RolloutFilter {
        service: Some(lane.service()),
        environment: Some(lane.environment()),
        ended: Some(true),
        limit,
        ..RolloutFilter::default()
    };
    Ok(site.runtime.store().rollouts(&filter).await?)
}

/// A rollout's events; those whose words are gone are left out.
async fn events(site: &Site, rollout: &RolloutId) -> Result<Vec<Event>> {
    let filter = EventFilter {
        after: 0,
        lane: None,
        rollout: Some(rollout.clone()),
        limit: EVENTS_MAX,
    };
    let rows = site.runtime.store().events(&filter).await?.into_iter();
    Ok(rows
        .filter_map(|row| serde_json::from_value(row.body).ok())
        .collect())
}

/// How a rollout went through its gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gates {
    Evidence,
    Others,
    TakenBack,
    /// Nobody judged it.
    None,
}

fn gates(events: &[Event]) -> Gates {
    let (mut proven, mut others, mut taken_back, mut is_return) = (false, false, false, false);
    let mut outcome = None;
    for event in events {
        match event {
            Event::Requested { request, .. } => is_return = request.is_return,
            Event::StepPassed { by, .. } => match by {
                PassedBy::Evidence => proven = true,
                PassedBy::Policy | PassedBy::Person { .. } => others = true,
                PassedBy::Plan => {}
            },
            Event::RollbackStarted { cause, .. } => {
                taken_back = matches!(cause, Cause::Judge | Cause::Deadline);
            }
            Event::Ended { outcome: end, .. } => outcome = Some(*end),
            _ => {}
        }
    }
    match outcome {
        _ if is_return => Gates::None,
        Some(Outcome::Shipped) if others => Gates::Others,
        Some(Outcome::Shipped) if proven => Gates::Evidence,
        Some(Outcome::RolledBack) if taken_back => Gates::TakenBack,
        _ => Gates::None,
    }
}

/// The report of a lane as it is.
pub async fn of(site: &Site, snapshot: &Snapshot) -> Result<ReportView> {
    let lane = snapshot.id();
    let now = site.runtime.clock().now();
    let mut rows = rollouts(site, lane, ROLLOUTS_MAX).await?;
    rows.retain(|row| {
        row.ended_at
            .is_some_and(|end| since(end, now).as_secs() <= PERIOD_SECONDS)
    });
    let mut went = Vec::new();
    for row in &rows {
        went.push(gates(&events(site, &row.id).await?));
    }
    let count = |wanted: Gates| {
        let like = went.iter().filter(|gates| **gates == wanted).count();
        u32::try_from(like).unwrap_or(u32::MAX)
    };
    let [by_evidence, by_others, taken_back] =
        [Gates::Evidence, Gates::Others, Gates::TakenBack].map(count);
    let judged = by_evidence + by_others + taken_back;
    let shipped = rows
        .iter()
        .filter(|row| row.outcome.as_deref() == Some(Outcome::Shipped.as_str()));
    let learnt = snapshot.learnt.as_deref();
    let slos = learnt.iter().flat_map(|learnt| &learnt.slos);
    let slos: Vec<_> = slos.map(|slo| (slo, slo.budget.stretches())).collect();
    let stable = snapshot.lane.stable.as_ref().map(|stable| &stable.service);
    Ok(ReportView {
        service: lane.service().to_string(),
        environment: lane.environment().to_string(),
        days: u32::try_from(PERIOD_SECONDS / 86_400).unwrap_or(u32::MAX),
        judged,
        by_evidence,
        by_others,
        taken_back,
        pass_rate: (judged > 0).then(|| f64::from(by_evidence) / f64::from(judged)),
        blind_spots: stable
            .zip(learnt)
            .map(|(service, learnt)| promises::blind_spots(service, learnt))
            .unwrap_or_default(),
        changes: shipped
            .take(CHANGES_MAX)
            .flat_map(|row| {
                slos.iter().filter_map(|(slo, stretches)| {
                    let at = row.ended_at?;
                    let second = u64::try_from(at.as_second()).ok()?;
                    let delta = season::delta(stretches, second);
                    Some(ChangeView {
                        rollout: row.id.to_string(),
                        at: at.to_string(),
                        slo: slo.name.clone(),
                        before: delta.before.ratio(),
                        after: delta.after.ratio(),
                        expected: delta.expected,
                        change: word(delta.change).to_owned(),
                    })
                })
            })
            .collect(),
    })
}

fn word(change: Change) -> &'static str {
    match change {
        Change::Unchanged => "unchanged",
        Change::Worse => "worse",
        Change::Better => "better",
        Change::Unknown => "unknown",
    }
}
