//! Random operations against a model that is plain enough to be obviously right.

use std::collections::BTreeMap;

use airboss_model::LaneId;
use airboss_store::{Commit, EventFilter, Store, StoreError};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::make::{at, command, event, lane, rollout};

const LANES: [&str; 3] = ["a/production", "a/staging", "b/production"];
const OWNERS: [&str; 2] = ["one", "two"];
/// How long a claim lasts, in seconds.
const LEASE: i64 = 10;

#[derive(Debug, Clone)]
enum Op {
    Enqueue { lane: usize, key: u8 },
    Claim { owner: usize, now: i64, limit: u32 },
    ClaimLane { lane: usize, owner: usize, now: i64 },
    Renew { owner: usize, now: i64 },
    GiveBack { owner: usize },
    Commit(Try),
    Finish { lane: usize, seq: u64, ordinal: u32 },
}

#[derive(Debug, Clone)]
struct Try {
    lane: usize,
    old_seq: bool,
    old_epoch: bool,
    consume: bool,
    fails_late: bool,
    active: bool,
    events: usize,
    effects: usize,
}

fn op() -> impl Strategy<Value = Op> {
    let (lane, owner, now) = (0..LANES.len(), 0..OWNERS.len(), 0..40_i64);
    let rarely = || prop::bool::weighted(0.15);
    let attempt = (
        lane.clone(),
        rarely(),
        rarely(),
        any::<bool>(),
        rarely(),
        any::<bool>(),
        0..4_usize,
        0..3_usize,
    )
        .prop_map(
            |(lane, old_seq, old_epoch, consume, fails_late, active, events, effects)| {
                Op::Commit(Try {
                    lane,
                    old_seq,
                    old_epoch,
                    consume,
                    fails_late,
                    active,
                    events,
                    effects,
                })
            },
        );
    prop_oneof![
        2 => (lane.clone(), 0..12_u8).prop_map(|(lane, key)| Op::Enqueue { lane, key }),
        2 => (owner.clone(), now.clone(), 0..4_u32)
            .prop_map(|(owner, now, limit)| Op::Claim { owner, now, limit }),
        1 => (lane.clone(), owner.clone(), now.clone())
            .prop_map(|(lane, owner, now)| Op::ClaimLane { lane, owner, now }),
        1 => (owner.clone(), now).prop_map(|(owner, now)| Op::Renew { owner, now }),
        1 => owner.prop_map(|owner| Op::GiveBack { owner }),
        5 => attempt,
        1 => (lane, 1..6_u64, 0..3_u32)
            .prop_map(|(lane, seq, ordinal)| Op::Finish { lane, seq, ordinal }),
    ]
}

#[derive(Debug, Default)]
struct Lane {
    seq: u64,
    epoch: u64,
    active: bool,
    owner: Option<(usize, i64)>,
    state: Option<Value>,
    /// Id and key of commands that wait.
    waiting: Vec<(u64, String)>,
    /// Commit and place, and whether it is finished.
    effects: BTreeMap<(u64, u32), bool>,
}

impl Lane {
    fn is_free(&self, now: i64) -> bool {
        self.owner.is_none_or(|(_, until)| until < now)
    }
    fn has_work(&self) -> bool {
        self.active || !self.waiting.is_empty()
    }
    fn take(&mut self, owner: usize, now: i64) {
        self.owner = Some((owner, now + LEASE));
        self.epoch += 1;
    }
}

#[derive(Debug, Default)]
struct World {
    lanes: BTreeMap<LaneId, Lane>,
    keys: BTreeMap<String, u64>,
    events: u64,
}

impl World {
    async fn step(&mut self, store: &dyn Store, op: &Op) {
        match op {
            Op::Enqueue { lane: index, key } => {
                let (id, key) = (lane(LANES[*index]), format!("key-{key}"));
                let entry = store.enqueue(&command(&id, &key)).await.unwrap();
                self.lanes.entry(id.clone()).or_default();
                match self.keys.get(&key) {
                    Some(known) => assert_eq!(entry.id, *known),
                    None => {
                        assert!(self.keys.values().all(|known| *known < entry.id));
                        self.keys.insert(key.clone(), entry.id);
                        let waiting = &mut self.lanes.get_mut(&id).unwrap().waiting;
                        waiting.push((entry.id, key));
                    }
                }
            }
            Op::Claim { owner, now, limit } => {
                let free = |lane: &Lane| lane.has_work() && lane.is_free(*now);
                let claimable = self.lanes.values().filter(|lane| free(lane)).count();
                let got = store
                    .claim(OWNERS[*owner], at(now + LEASE), at(*now), *limit)
                    .await
                    .unwrap();
                assert_eq!(got.len(), claimable.min(*limit as usize));
                for row in got {
                    let lane = self.lanes.get_mut(&row.lane).unwrap();
                    assert!(free(lane), "{lane:?}");
                    lane.take(*owner, *now);
                    assert_eq!((row.seq, row.epoch), (lane.seq, lane.epoch));
                    assert_eq!(row.state, lane.state);
                }
            }
            Op::ClaimLane {
                lane: index,
                owner,
                now,
            } => {
                let id = lane(LANES[*index]);
                let got = store
                    .claim_lane(&id, OWNERS[*owner], at(now + LEASE), at(*now))
                    .await
                    .unwrap();
                let lane = self.lanes.entry(id).or_default();
                let own = lane.owner.is_some_and(|(by, _)| by == *owner);
                assert_eq!(got.is_some(), own || lane.is_free(*now));
                if let Some(row) = got {
                    lane.take(*owner, *now);
                    assert_eq!(row.epoch, lane.epoch);
                }
            }
            Op::Renew { owner, now } => {
                let mut kept = store
                    .renew(OWNERS[*owner], at(now + LEASE), at(*now))
                    .await
                    .unwrap();
                kept.sort();
                let mut expected = Vec::new();
                for (id, lane) in &mut self.lanes {
                    if lane
                        .owner
                        .is_some_and(|(by, until)| by == *owner && until >= *now)
                    {
                        lane.owner = Some((*owner, now + LEASE));
                        expected.push(id.clone());
                    }
                }
                assert_eq!(kept, expected);
            }
            Op::GiveBack { owner } => {
                store.release_claims(OWNERS[*owner]).await.unwrap();
                for lane in self.lanes.values_mut() {
                    lane.owner = lane.owner.filter(|(by, _)| by != owner);
                }
            }
            Op::Commit(attempt) => self.commit(store, attempt).await,
            Op::Finish {
                lane: index,
                seq,
                ordinal,
            } => {
                let id = lane(LANES[*index]);
                let epoch = self.lanes.get(&id).map_or(0, |lane| lane.epoch);
                let known = self
                    .lanes
                    .get_mut(&id)
                    .and_then(|lane| lane.effects.get_mut(&(*seq, *ordinal)));
                let done = store
                    .finish_effect(&id, epoch, *seq, *ordinal, "done")
                    .await;
                match known {
                    Some(finished) => {
                        done.unwrap();
                        *finished = true;
                    }
                    // A lane that nobody claimed has no epoch that anybody could finish under.
                    None => match self.lanes.contains_key(&id) {
                        true => assert!(matches!(done, Err(StoreError::Conflict { .. }))),
                        false => assert!(matches!(done, Err(StoreError::Fenced { .. }))),
                    },
                }
            }
        }
    }

    async fn commit(&mut self, store: &dyn Store, attempt: &Try) {
        let id = lane(LANES[attempt.lane]);
        let known = self.lanes.get(&id);
        let (seq, epoch) = known.map_or((0, 0), |lane| (lane.seq, lane.epoch));
        let first = known.and_then(|lane| lane.waiting.first().cloned());
        let consumes = first.filter(|_| attempt.consume);
        let state = json!({ "after": seq, "events": self.events });
        let stranger = rollout("x-1", &lane("nobody/production"), None);
        let commit = Commit {
            lane: id.clone(),
            seq: seq + u64::from(attempt.old_seq),
            epoch: epoch + u64::from(attempt.old_epoch),
            at: at(0),
            input: json!(seq),
            consumes: consumes.as_ref().map(|(entry, _)| (*entry, json!("ok"))),
            events: vec![event(None, "x"); attempt.events],
            state: state.clone(),
            active: attempt.active,
            effects: vec![json!("do"); attempt.effects],
            rollouts: if attempt.fails_late {
                vec![stranger]
            } else {
                vec![]
            },
        };
        let done = store.commit(&commit).await;
        let Some(lane) = self.lanes.get_mut(&id) else {
            assert!(matches!(done, Err(StoreError::Fenced { .. })));
            return;
        };
        if attempt.old_seq || attempt.old_epoch {
            assert!(matches!(done, Err(StoreError::Fenced { .. })));
            return;
        }
        if attempt.fails_late {
            assert!(matches!(done, Err(StoreError::Conflict { .. })));
            return;
        }
        let done = done.unwrap();
        lane.seq += 1;
        lane.active = attempt.active;
        lane.state = Some(state);
        if let Some((_, key)) = consumes {
            lane.waiting.remove(0);
            let entry = store.inbox_entry(&key).await.unwrap().unwrap();
            assert_eq!(entry.answer, Some(json!("ok")));
        }
        for ordinal in 0..attempt.effects {
            lane.effects.insert((lane.seq, ordinal as u32), false);
        }
        assert_eq!(done.seq, lane.seq);
        let last = self.events + attempt.events as u64;
        assert_eq!(done.events, (self.events + 1..=last).collect::<Vec<_>>());
        self.events = last;
    }

    /// Compares all that can be read.
    async fn compare(&self, store: &dyn Store) {
        let rows = store.lanes().await.unwrap();
        assert_eq!(rows.len(), self.lanes.len());
        for (row, (id, lane)) in rows.into_iter().zip(&self.lanes) {
            assert_eq!(row.lane, *id);
            assert_eq!(
                (row.seq, row.epoch, row.active),
                (lane.seq, lane.epoch, lane.active)
            );
            assert_eq!(row.state, lane.state);
            assert_eq!(
                row.owner.as_deref(),
                lane.owner.map(|(owner, _)| OWNERS[owner])
            );
            assert_eq!(row.owned_until, lane.owner.map(|(_, until)| at(until)));
            let waiting = store.inbox(id, 0).await.unwrap();
            let waiting: Vec<_> = waiting.into_iter().map(|e| (e.id, e.key)).collect();
            assert_eq!(waiting, lane.waiting);
            let pending = store.pending_effects(id).await.unwrap();
            let pending: Vec<_> = pending.iter().map(|e| (e.seq, e.ordinal)).collect();
            let unfinished = lane.effects.iter().filter(|(_, finished)| !**finished);
            assert_eq!(
                pending,
                unfinished.map(|(place, _)| *place).collect::<Vec<_>>()
            );
        }
        assert_eq!(store.last_event().await.unwrap(), self.events);
        let events = store.events(&EventFilter::default()).await.unwrap();
        let numbers: Vec<_> = events.iter().map(|e| e.number).collect();
        assert_eq!(numbers, (1..=self.events).collect::<Vec<_>>());
        assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
    }
}

/// Runs random sequences, each on a store of its own.
pub async fn check<H, F>(make: impl Fn() -> F, store: impl Fn(&H) -> &dyn Store)
where
    F: Future<Output = H>,
{
    let runtime = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(Config {
        cases: 32,
        failure_persistence: None,
        ..Config::default()
    });
    let run = |ops: Vec<Op>| {
        runtime.block_on(async {
            let home = make().await;
            let mut world = World::default();
            for op in &ops {
                world.step(store(&home), op).await;
            }
            world.compare(store(&home)).await;
        });
        Ok(())
    };
    let result =
        tokio::task::block_in_place(|| runner.run(&prop::collection::vec(op(), 1..60), run));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
