//! Short ways to write what tests are about.

use std::collections::BTreeMap;
use std::sync::Arc;

use airboss_engine::{Deployed, Lane, Phase, Plan, Request, Rollout, Seen};
use airboss_model::manifest::Service;
use airboss_model::target::ObservedTraffic;
use airboss_model::traffic::{Counts, Weight};
use airboss_model::{ArmId, Digest, Span, Timestamp};
use airboss_store::{SqliteOptions, SqliteStore, Store};
use serde_json::json;

use crate::hub::LaneTraffic;

pub fn service(slos: serde_json::Value) -> Service {
    serde_json::from_value(json!({
        "metadata": { "name": "shop" },
        "spec": {
            "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1", "instances": 4 } },
            "slos": slos,
            "rollout": { "canary": { "steps": ["10%", "50%", "100%"] } },
        }
    }))
    .unwrap()
}

pub fn availability() -> serde_json::Value {
    json!([{ "name": "availability", "objective": "99%", "bad": "status >= 500" }])
}

/// `seconds` after a full minute in 2026.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_second(1_790_000_040 + i64::try_from(seconds).unwrap()).unwrap()
}

/// A lane that `shop-1` serves.
pub fn lane(service: &Service) -> Lane {
    Lane {
        stable: Some(Deployed {
            arm: "shop-1".parse().unwrap(),
            release: "shop@1".parse().unwrap(),
            digest: Digest::from_sha256([1; 32]),
            service: Arc::new(service.clone()),
            since: at(0),
            ready_took: Span::secs(1),
        }),
        ..Lane::new("shop/production".parse().unwrap())
    }
}

/// The same with `shop-2` on trial in its first step, 10 %, since second 0.
pub fn on_trial(service: &Service) -> Lane {
    let mut lane = lane(service);
    let canary: ArmId = "shop-2".parse().unwrap();
    lane.seen = Some(Seen {
        traffic: Some(ObservedTraffic {
            generation: 1,
            stable: lane.stable.as_ref().map(|stable| stable.arm.clone()),
            canary: Some(canary.clone()),
            canary_weight: Weight::from_basis_points(1_000),
            lease_expired_at: None,
        }),
        ..Seen::default()
    });
    lane.active = Some(Rollout {
        request: Request {
            rollout: canary,
            release: "shop@2".parse().unwrap(),
            digest: Digest::from_sha256([2; 32]),
            service: Arc::new(service.clone()),
            by: "ann".to_owned(),
            at: at(0),
            is_return: false,
            slow: None,
            evidence: Vec::new(),
        },
        plan: Plan::of(&service.spec.rollout.strategy()),
        started_at: at(0),
        phase: Phase::Observing {
            step: 0,
            since: at(0),
            deadline_passed: false,
        },
        paused: None,
        verdict: None,
        stalled_since: None,
        ready_took: Span::secs(1),
        exposed: true,
        share: Weight::from_basis_points(1_000),
        unconfirmed_since: None,
        insisted: false,
    });
    lane
}

/// One second of four instances of stable and one of the canary, `bad` of 100 requests bad each.
pub fn traffic(stable_bad: u64, canary_bad: Option<u64>) -> LaneTraffic {
    let counts = |bad: u64, requests: u64| Counts {
        requests,
        by_status: [(200, requests - bad), (503, bad)].into(),
        latency: [(400, requests)].into(),
        ..Counts::default()
    };
    let stable: BTreeMap<String, Counts> = (0..4)
        .map(|number| (format!("shop-1.{number}"), counts(stable_bad, 225)))
        .collect();
    let mut arms = BTreeMap::from([("shop-1".parse().unwrap(), stable)]);
    if let Some(bad) = canary_bad {
        let canary = [("shop-2.0".to_owned(), counts(bad, 100))].into();
        arms.insert("shop-2".parse().unwrap(), canary);
    }
    LaneTraffic { arms, reports: 5 }
}

pub struct Home {
    pub store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

pub async fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("airboss.db");
    let store = SqliteStore::open(path, SqliteOptions::default())
        .await
        .unwrap();
    // Every test's lane, under its first claim.
    let lane = "shop/production".parse().unwrap();
    let claimed = store.claim_lane(&lane, "test", at(9_000), at(0)).await;
    assert_eq!(claimed.unwrap().unwrap().epoch, 1);
    Home {
        store: Arc::new(store),
        _folder: folder,
    }
}
