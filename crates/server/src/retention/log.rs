//! How long the log keeps its words: what is there, and the removal of what is too old.
//!
//! Words go by lane, from its first event on. A rollout that serves, runs or waits keeps all of its own,
//! however old it is, and so does everything behind it. How long they are kept is sealed with who set it.

use std::collections::BTreeMap;

use airboss_engine::{Event, Lane, evolve};
use airboss_ledger::Record;
use airboss_model::time::before;
use airboss_model::{LaneId, Span, Timestamp};
use airboss_runtime::setting::{self, Setting};
use airboss_store::{Pruning, RecordFilter, Store, StoreError};
use serde_json::{Value, json};

use crate::api::log::{KeepSetting, LaneRetention, LogRetention};

/// The shortest time that the log may be told to keep its words (7 days): what is younger is looked
/// for at night.
pub const LEAST: Span = Span::secs(7 * 24 * 3_600);

/// The kind of the events that say how long words are kept.
pub const SETTING: &str = "retention_set";
/// The kind of the events that say that words were removed.
pub const REMOVAL: &str = "history_removed";

/// Records that are read at once.
const AT_ONCE: u32 = 1_000;

/// A lane's history, as far as it was read.
struct History {
    told: LaneRetention,
    /// The state that its removed and its too old events led to.
    lane: Lane,
    /// The last commit whose words go.
    upto: u64,
    /// True once something must stay, so that all behind it stays too.
    stays: bool,
    /// Rollouts that serve, run or wait.
    in_use: Vec<String>,
    /// Commit, state and events that go, before the commit that is read.
    before: (u64, Lane, u64),
}

/// How long words are kept, for people.
fn in_words(keep: Option<Span>) -> String {
    keep.map_or_else(|| "for ever".to_owned(), |keep| keep.to_string())
}

/// Seals how long a controller was started to keep words, where that is not what it sealed last.
/// True where it was sealed.
///
/// # Errors
/// Where the store does not answer.
pub async fn record(
    store: &dyn Store,
    controller: &str,
    keep: Option<Span>,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let told = in_words(keep);
    let setting = Setting {
        topic: "retention",
        controller,
        body: json!({ "controller": controller, "keep": told }),
        is_default: keep.is_none(),
    };
    let message = |before: Option<&Value>| {
        let before = before.and_then(|it| it["keep"].as_str());
        let span = |keep: &str| match keep {
            "for ever" => keep.to_owned(),
            span => format!("for {span}"),
        };
        format!(
            "the server {controller} was started to keep the words of the log {}; before: {}",
            span(&told),
            span(before.unwrap_or("for ever"))
        )
    };
    setting::record(store, &setting, SETTING, message, by, now).await
}

/// What the log keeps, and what is older than `keep` (None: for ever). Where `by` names who wants it,
/// the words of that are removed.
///
/// # Errors
/// Where the store does not answer.
pub async fn run(
    store: &dyn Store,
    keep: Option<Span>,
    now: Timestamp,
    by: Option<&str>,
) -> Result<LogRetention, StoreError> {
    let oldest = keep.map(|keep| before(now, keep.0));
    let (mut lanes, settings) = begin(store).await?;
    let mut after = 0;
    loop {
        let filter = RecordFilter {
            after,
            limit: AT_ONCE,
            ..RecordFilter::default()
        };
        let records = store.log_records(&filter).await?;
        let Some(last) = records.last() else { break };
        after = last.number;
        for record in &records {
            if let Some(history) = lanes.get_mut(&record.lane) {
                history.take(record, oldest);
            }
        }
    }
    let mut report = LogRetention {
        keep: in_words(keep),
        settings,
        dry_run: by.is_none(),
        lanes: Vec::new(),
    };
    for (id, mut history) in lanes {
        if let Some(by) = by.filter(|_| history.told.goes > 0) {
            let pruning = Pruning {
                lane: id.parse().map_err(|why| unreadable(&id, &why))?,
                seq: history.upto,
                state: serde_json::to_value(&history.lane).map_err(|why| unreadable(&id, &why))?,
                at: now,
                by: by.to_owned(),
                why: format!("they are older than {}", report.keep),
            };
            history.told.goes = store.prune(&pruning).await?;
            tracing::info!(
                lane = id,
                events = history.told.goes,
                upto = history.upto,
                by,
                "the words of old events were removed; their seals stay"
            );
        }
        report.lanes.push(history.told);
    }
    Ok(report)
}

fn unreadable(lane: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Conflict {
        what: "the removal of old history",
        detail: format!("the state of {lane}: {why}"),
    }
}

/// Every lane, as the removals so far left it, and how long each controller keeps words.
async fn begin(
    store: &dyn Store,
) -> Result<(BTreeMap<String, History>, Vec<KeepSetting>), StoreError> {
    let (mut lanes, mut settings) = (BTreeMap::new(), BTreeMap::new());
    for row in store.lanes().await? {
        let state: Option<Lane> = row.state.and_then(|it| serde_json::from_value(it).ok());
        let mut in_use = Vec::new();
        if let Some(lane) = &state {
            in_use.extend(lane.stable.iter().map(|it| it.arm.to_string()));
            in_use.extend(lane.active.iter().map(|it| it.id().to_string()));
            in_use.extend(lane.queue.iter().map(|it| it.rollout.to_string()));
        }
        let history = History {
            told: LaneRetention {
                lane: row.lane.to_string(),
                ..LaneRetention::default()
            },
            lane: Lane::new(row.lane.clone()),
            upto: 0,
            // Nothing is removed where it cannot be told what is in use.
            stays: state.is_none(),
            in_use,
            before: (0, Lane::new(row.lane.clone()), 0),
        };
        lanes.insert(row.lane.to_string(), history);
    }
    let mut own = RecordFilter {
        lane: Some(LaneId::installation()),
        ..RecordFilter::default()
    };
    loop {
        let records = store.log_records(&own).await?;
        let Some(last) = records.last() else {
            return Ok((lanes, settings.into_values().collect()));
        };
        own.after = last.number;
        for record in &records {
            if record.kind == SETTING {
                let setting = set(record);
                settings.insert(setting.controller.clone(), setting);
            }
            if record.kind != REMOVAL {
                continue;
            }
            let body: Value = serde_json::from_str(&record.body).unwrap_or_default();
            let row = &body["rows"][0]["row"];
            let history = row["lane"].as_str().and_then(|lane| lanes.get_mut(lane));
            if let Some(history) = history {
                match serde_json::from_value(body["state"].clone()) {
                    Ok(lane) => history.lane = lane,
                    Err(_) => history.stays = true,
                }
            }
        }
    }
}

/// What a sealed setting says.
fn set(record: &Record) -> KeepSetting {
    let body: Value = serde_json::from_str(&record.body).unwrap_or_default();
    let input: Value = serde_json::from_str(&record.input).unwrap_or_default();
    let text = |it: &Value| it.as_str().unwrap_or("unknown").to_owned();
    KeepSetting {
        controller: text(&body["controller"]),
        keep: text(&body["keep"]),
        at: Timestamp::from_microsecond(record.at)
            .unwrap_or_default()
            .to_string(),
        by: text(&input["by"]),
        event: record.number,
    }
}

impl History {
    fn take(&mut self, record: &Record, oldest: Option<Timestamp>) {
        let told = &mut self.told;
        told.events += 1;
        if record.removed.is_some() {
            told.removed += 1;
            return;
        }
        told.bytes += (record.message.len() + record.body.len() + record.input.len()) as u64;
        let at = Timestamp::from_microsecond(record.at).unwrap_or_default();
        told.oldest.get_or_insert_with(|| at.to_string());
        let is_old = oldest.is_some_and(|oldest| at < oldest);
        let in_use = record
            .rollout
            .as_ref()
            .is_some_and(|id| self.in_use.contains(id));
        let event = serde_json::from_str::<Event>(&record.body).ok();
        // A commit goes whole or not at all: its events have one time, and where one of them
        // stays, so do those before it.
        let goes = !self.stays && is_old && !in_use;
        let Some(event) = event.filter(|_| goes) else {
            if !self.stays && record.seq == self.upto {
                self.undo_commit();
            }
            self.stays = true;
            return;
        };
        if record.seq != self.upto {
            self.before = (self.upto, self.lane.clone(), self.told.goes);
        }
        self.lane = evolve(self.lane.clone(), &event);
        self.upto = record.seq;
        self.told.goes += 1;
    }

    /// Leaves the commit that was begun where something of it must stay.
    fn undo_commit(&mut self) {
        let (upto, lane, goes) = self.before.clone();
        (self.upto, self.lane, self.told.goes) = (upto, lane, goes);
    }
}
