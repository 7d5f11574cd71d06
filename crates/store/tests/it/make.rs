//! Rows for tests.

use airboss_model::{Digest, LaneId, RolloutId, Timestamp};
use airboss_store::{
    Commit, EvidenceRow, LaneRow, NewEvent, NewInboxEntry, ReleaseRow, RolloutRow, ServiceRow,
    Store,
};
use serde_json::json;

/// `seconds` after a day in 2026.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

pub fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

pub fn lane(text: &str) -> LaneId {
    text.parse().unwrap()
}

pub fn rollout_id(text: &str) -> RolloutId {
    text.parse().unwrap()
}

pub fn service(name: &str, text: &str) -> ServiceRow {
    ServiceRow {
        name: name.parse().unwrap(),
        text: text.to_owned(),
        manifest: json!({ "text": text }),
        hash: digest(text.len() as u8),
        at: at(0),
    }
}

pub fn release(id: &str, content: u8) -> ReleaseRow {
    ReleaseRow {
        id: id.parse().unwrap(),
        digest: digest(content),
        manifest_hash: digest(1),
        created_by: "ada".to_owned(),
        at: at(0),
    }
}

pub fn command(lane: &LaneId, key: &str) -> NewInboxEntry {
    NewInboxEntry {
        lane: lane.clone(),
        key: key.to_owned(),
        body: json!({ "command": key }),
        at: at(1),
    }
}

pub fn event(rollout: Option<&str>, message: &str) -> NewEvent {
    NewEvent {
        rollout: rollout.map(rollout_id),
        kind: "step_passed".to_owned(),
        message: message.to_owned(),
        body: json!({ "message": message }),
    }
}

/// A commit on a lane as it was claimed, with one event and one effect.
pub fn commit(row: &LaneRow) -> Commit {
    Commit {
        lane: row.lane.clone(),
        seq: row.seq,
        epoch: row.epoch,
        at: at(2),
        input: json!({ "tick": row.seq }),
        consumes: None,
        events: vec![event(None, "it went on")],
        state: json!({ "step": row.seq + 1 }),
        active: true,
        effects: vec![json!({ "weight": "10%" })],
        rollouts: vec![],
    }
}

pub fn rollout(id: &str, lane_id: &LaneId, outcome: Option<&str>) -> RolloutRow {
    RolloutRow {
        id: rollout_id(id),
        lane: lane_id.clone(),
        release: format!("{}@1.0.0", lane_id.service()).parse().unwrap(),
        digest: digest(7),
        phase: "observing".to_owned(),
        outcome: outcome.map(str::to_owned),
        reason: "asked for".to_owned(),
        created_by: "ada".to_owned(),
        created_at: at(3),
        updated_at: at(4),
        ended_at: outcome.map(|_| at(5)),
    }
}

pub fn evidence(id: &str, tick: u64, snapshot: bool) -> EvidenceRow {
    EvidenceRow {
        rollout: rollout_id(id),
        tick,
        at: at(tick as i64),
        body: json!({ "requests": tick * 10 }).to_string(),
        snapshot: snapshot.then(|| json!({ "odds": tick }).to_string()),
    }
}

/// Claims a lane for a minute from second 0 on.
pub async fn claimed(store: &dyn Store, lane: &LaneId, owner: &str) -> LaneRow {
    store
        .claim_lane(lane, owner, at(60), at(0))
        .await
        .unwrap()
        .expect("the lane is free")
}
