//! The rows that readers list, made from events as they are committed.

use airboss_engine::{Event, Lane, Outcome, Request, Rollout};
use airboss_model::{LaneId, RolloutId, Timestamp};
use airboss_store::{NewEvent, RolloutRow};

/// The rollout that each event belongs to, in order: its own, or the one in progress.
fn owner(event: &Event, active: &mut Option<RolloutId>) -> Option<RolloutId> {
    match event {
        Event::Requested { request, .. } => Some(request.rollout.clone()),
        Event::Withdrawn { rollout, .. } | Event::EvidenceChanged { rollout, .. } => {
            Some(rollout.clone())
        }
        Event::Started { rollout, .. } => {
            *active = Some(rollout.clone());
            active.clone()
        }
        Event::Ended { .. } => active.take(),
        _ => active.clone(),
    }
}

/// Events as the store keeps them.
pub fn new_events(before: &Lane, events: &[Event]) -> serde_json::Result<Vec<NewEvent>> {
    let mut active = before.active.as_ref().map(|rollout| rollout.id().clone());
    events
        .iter()
        .map(|event| {
            Ok(NewEvent {
                rollout: owner(event, &mut active),
                kind: event.kind().to_owned(),
                message: event.message(),
                body: serde_json::to_value(event)?,
            })
        })
        .collect()
}

/// The rows of every rollout that the events concern.
pub fn rollout_rows(
    before: &Lane,
    after: &Lane,
    events: &[Event],
    now: Timestamp,
) -> Vec<RolloutRow> {
    let mut active = before.active.as_ref().map(|rollout| rollout.id().clone());
    let mut rows: Vec<RolloutRow> = Vec::new();
    let mut requests: Vec<&Request> = before
        .queue
        .iter()
        .chain(before.active.as_ref().map(|r| &r.request))
        .collect();
    for event in events {
        if let Event::Requested { request, .. } = event {
            requests.push(request);
        }
        let Some(id) = owner(event, &mut active) else {
            continue;
        };
        let Some(request) = requests.iter().find(|request| request.rollout == id) else {
            continue;
        };
        let at = rows.iter().position(|row| row.id == id).unwrap_or_else(|| {
            rows.push(first_row(&before.id, request, now));
            rows.len() - 1
        });
        let row = &mut rows[at];
        row.reason = event.message();
        if let Event::Ended {
            outcome, reason, ..
        }
        | Event::Withdrawn {
            outcome, reason, ..
        } = event
        {
            end(row, *outcome, reason, now);
        }
    }
    for row in rows.iter_mut().filter(|row| row.outcome.is_none()) {
        let running = [after, before]
            .iter()
            .find_map(|lane| lane.active.as_ref().filter(|active| *active.id() == row.id));
        let waiting = after.queue.iter().find(|it| it.rollout == row.id);
        let blocked = waiting.is_some_and(|it| !after.lacking(it, now).is_empty());
        let waits = if blocked { "blocked" } else { "queued" };
        row.phase = running.map_or(waits, Rollout::phase_name).to_owned();
        // What readers want to know of a rollout is not its target's newest twitch.
        if let Some(rollout) = running {
            row.reason = headline(rollout, &row.reason);
        }
    }
    rows
}

fn first_row(lane: &LaneId, request: &Request, now: Timestamp) -> RolloutRow {
    RolloutRow {
        id: request.rollout.clone(),
        lane: lane.clone(),
        release: request.release.clone(),
        digest: request.digest,
        phase: "queued".to_owned(),
        outcome: None,
        reason: String::new(),
        created_by: request.by.clone(),
        created_at: request.at,
        updated_at: now,
        ended_at: None,
    }
}

fn end(row: &mut RolloutRow, outcome: Outcome, reason: &str, now: Timestamp) {
    row.phase = "ended".to_owned();
    row.outcome = Some(outcome.as_str().to_owned());
    row.reason = reason.to_owned();
    row.ended_at = Some(now);
}

/// The newest thing to know about a rollout in progress.
pub fn headline(rollout: &Rollout, newest: &str) -> String {
    use airboss_engine::Phase;
    match &rollout.phase {
        Phase::RollingBack { reason, .. } => format!("rolling back: {reason}"),
        _ if !rollout.shaken().is_empty() => {
            let lacking: Vec<String> = rollout.shaken().iter().map(ToString::to_string).collect();
            format!(
                "holds: its evidence holds no longer: {}",
                lacking.join("; ")
            )
        }
        _ if rollout.stalled_since.is_some() => {
            "stalled: the data plane has not confirmed the weight".to_owned()
        }
        _ => match (&rollout.verdict, rollout.phase.step()) {
            (Some(note), Some(step)) if note.step == step => note.reason.clone(),
            _ => newest.to_owned(),
        },
    }
}
