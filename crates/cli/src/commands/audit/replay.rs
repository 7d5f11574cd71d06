//! Making decisions again.

use std::sync::Arc;

use airboss_engine::{Event, Input, Lane, decide};
use airboss_ledger::{Bundle, LaneRecords, Record};
use airboss_model::{LaneId, Timestamp};
use airboss_server::retention::log::{REMOVAL, SETTING};
use serde_json::Value;

/// What was decided again, to the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Decisions.
    pub decisions: usize,
    /// Events that they led to.
    pub events: usize,
}

/// The first event that the recorded input does not lead to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// This program does not understand what is recorded.
    #[error("event {number}: its {what} cannot be read by this version of Airboss: {why}")]
    NotUnderstood {
        /// The event.
        number: u64,
        /// Which part.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Another event, or other words.
    #[error(
        "event {number} does not follow from its recorded input: recorded is \"{recorded}\", decided is \"{decided}\". Either it was never decided so, or another version of Airboss decided it"
    )]
    Differs {
        /// The event.
        number: u64,
        /// The recorded words.
        recorded: String,
        /// The words of the decision made again.
        decided: String,
    },
    /// An event of the decision is not recorded.
    #[error("behind event {number} the decision also led to \"{decided}\", which is not recorded")]
    Unrecorded {
        /// The decision's last recorded event.
        number: u64,
        /// The words that are missing.
        decided: String,
    },
}

/// What a lane's removed history led to, where a record of the installation says so: the number of its
/// last event, and the state.
pub fn begins(record: &Record, lane: &str) -> Option<(u64, Lane)> {
    if record.kind != REMOVAL || record.lane != LaneId::installation().as_str() {
        return None;
    }
    let body: Value = serde_json::from_str(&record.body).ok()?;
    let row = super::evidence::rows(&body, "pruned_to").next()?;
    let state = serde_json::from_value(body["state"].clone()).ok()?;
    (row["lane"] == lane).then_some((body["last"].as_u64()?, state))
}

/// What a bundle's lane lacks and why, where its history was removed: None where it begins with its
/// first event.
pub(super) fn begun(lane: &LaneRecords) -> Option<String> {
    let record = &lane.begins.as_ref()?.record;
    let (last, _) = begins(record, &lane.lane)?;
    Some(format!(
        "the events of {} up to {last} are not in it: {} took their words on {}, for {} (event {}). The state that they led to is the one sealed then; it cannot be made again from them",
        lane.lane,
        asked_by(record),
        super::day(record.at),
        record.message.rsplit_once(": ").map_or("", |(_, why)| why),
        record.number
    ))
}

/// The records of a bundle that say how long the log keeps words, and who set it.
pub(super) fn settings(bundle: &Bundle) -> impl Iterator<Item = &Record> {
    let own = bundle.installation.iter().map(|it| &it.record);
    own.filter(|it| it.kind == SETTING && it.lane == LaneId::installation().as_str())
}

/// Who is on record for an event of the installation.
pub(super) fn asked_by(record: &Record) -> String {
    let input: Value = serde_json::from_str(&record.input).unwrap_or_default();
    input["by"].as_str().unwrap_or("somebody").to_owned()
}

/// Makes every decision of a lane again, from its first event on or from the state that its removed
/// history left, and compares the events word for word. Commits without events changed nothing and are not among the records.
///
/// # Errors
/// The first event that does not follow.
pub fn replay(records: &[Record], begin: Option<Lane>) -> Result<Replayed, ReplayError> {
    let mut done = Replayed {
        decisions: 0,
        events: 0,
    };
    let mut lane = begin.map(Arc::new);
    for commit in records.chunk_by(|a, b| a.seq == b.seq) {
        let [first, ..] = commit else { continue };
        let number = first.number;
        let not_understood = |what, why: String| ReplayError::NotUnderstood { number, what, why };
        let before = match lane.take() {
            Some(lane) => lane,
            None => Arc::new(Lane::new(
                first
                    .lane
                    .parse()
                    .map_err(|why| not_understood("lane", format!("{why}")))?,
            )),
        };
        let input: Input = serde_json::from_str(&first.input)
            .map_err(|why| not_understood("input", why.to_string()))?;
        let at = Timestamp::from_microsecond(first.at)
            .map_err(|why| not_understood("time", why.to_string()))?;
        let decision = decide(&before, &input, at);
        for (place, record) in commit.iter().enumerate() {
            same(record, first, decision.events.get(place))?;
        }
        if let (Some(last), Some(more)) = (commit.last(), decision.events.get(commit.len())) {
            return Err(ReplayError::Unrecorded {
                number: last.number,
                decided: more.message(),
            });
        }
        done.decisions += 1;
        done.events += commit.len();
        lane = Some(decision.lane);
    }
    Ok(done)
}

fn same(record: &Record, first: &Record, decided: Option<&Event>) -> Result<(), ReplayError> {
    let body: Value =
        serde_json::from_str(&record.body).map_err(|why| ReplayError::NotUnderstood {
            number: record.number,
            what: "body",
            why: why.to_string(),
        })?;
    // An older version left out what it did not know: read by this one, it is the same event.
    let known = serde_json::from_value::<Event>(body.clone())
        .and_then(serde_json::to_value)
        .unwrap_or_else(|_| body.clone());
    let holds = decided.is_some_and(|event| {
        serde_json::to_value(event).is_ok_and(|value| value == body || value == known)
            && event.kind() == record.kind
            && event.message() == record.message
    });
    if holds && record.at == first.at && record.input == first.input {
        return Ok(());
    }
    Err(ReplayError::Differs {
        number: record.number,
        recorded: record.message.clone(),
        decided: decided.map_or_else(|| "nothing".to_owned(), Event::message),
    })
}
