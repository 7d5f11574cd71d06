//! A target that makes true what it is asked, in its own time, and can be told to misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use airboss_engine::{Seen, SeenArm};
use airboss_model::target::{Desired, ObservedTraffic};
use airboss_model::time::after;
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, Timestamp};

/// Instances and a routing table, with the faults they have.
pub struct FakeTarget {
    pub start_takes: Duration,
    pub switch_takes: Duration,
    pub drain_takes: Duration,
    /// It reports nothing.
    pub silent: bool,
    /// What it is asked does not reach it.
    pub deaf: bool,
    /// Its data plane accepts a table and does not work by it.
    pub stuck: bool,
    /// It reports this share whatever is in force.
    pub lie: Option<Weight>,
    /// Arms that can never become ready, with the reason.
    pub failed: BTreeMap<ArmId, String>,
    /// Instances of an arm that are not ready.
    pub unready: BTreeMap<ArmId, u32>,
    /// Restarts of an arm's instances.
    pub restarts: BTreeMap<ArmId, u32>,
    desired: Option<Desired>,
    arms: BTreeMap<ArmId, Arm>,
    table: Option<ObservedTraffic>,
    switch: Option<(Timestamp, ObservedTraffic)>,
}

struct Arm {
    /// When each instance is ready.
    ready_at: Vec<Timestamp>,
    /// When the arm is gone, where it drains.
    gone_at: Option<Timestamp>,
}

impl Default for FakeTarget {
    fn default() -> Self {
        Self {
            start_takes: Duration::from_secs(3),
            switch_takes: Duration::from_millis(20),
            drain_takes: Duration::from_secs(2),
            silent: false,
            deaf: false,
            stuck: false,
            lie: None,
            failed: BTreeMap::new(),
            unready: BTreeMap::new(),
            restarts: BTreeMap::new(),
            desired: None,
            arms: BTreeMap::new(),
            table: None,
            switch: None,
        }
    }
}

impl FakeTarget {
    /// Takes in what is asked; an older generation than it has is refused.
    pub fn apply(&mut self, desired: &Desired, now: Timestamp) {
        let newest = self.desired.as_ref().map_or(0, |have| have.generation);
        if self.deaf || desired.generation <= newest {
            return;
        }
        for wanted in &desired.arms {
            let arm = self.arms.entry(wanted.arm.clone()).or_insert(Arm {
                ready_at: Vec::new(),
                gone_at: None,
            });
            arm.gone_at = None;
            let ready_at = after(now, self.start_takes);
            let count = usize::try_from(wanted.instances).unwrap();
            arm.ready_at.resize(count, ready_at);
        }
        for (id, arm) in &mut self.arms {
            if !desired.arms.iter().any(|wanted| wanted.arm == *id) && arm.gone_at.is_none() {
                arm.gone_at = Some(after(now, self.drain_takes));
            }
        }
        let table = ObservedTraffic {
            generation: desired.generation,
            stable: desired.traffic.stable.clone(),
            canary: desired.traffic.canary.clone(),
            canary_weight: desired.traffic.canary_weight,
            lease_expired_at: None,
        };
        self.switch = Some((after(now, self.switch_takes), table));
        self.desired = Some(desired.clone());
    }

    /// What came true by `now`.
    pub fn advance(&mut self, now: Timestamp) {
        if !self.stuck
            && let Some((_, table)) = self.switch.take_if(|(at, _)| *at <= now)
        {
            self.table = Some(table);
        }
        self.arms
            .retain(|_, arm| arm.gone_at.is_none_or(|at| at > now));
    }

    /// The next time at which it looks different.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let switch = self.switch.as_ref().map(|(at, _)| *at);
        let arms = self
            .arms
            .values()
            .flat_map(|arm| arm.ready_at.iter().copied().chain(arm.gone_at));
        arms.chain(switch.filter(|_| !self.stuck))
            .filter(|at| *at > now)
            .min()
    }

    /// What it reports.
    pub fn seen(&self, now: Timestamp) -> Seen {
        let mut traffic = self.table.clone();
        if let (Some(traffic), Some(lie)) = (&mut traffic, self.lie) {
            traffic.canary_weight = lie;
        }
        let arms = self.arms.iter().map(|(id, arm)| {
            let ready = arm.ready_at.iter().filter(|at| **at <= now).count();
            let unready = self.unready.get(id).copied().unwrap_or(0);
            let failed = self.failed.get(id).cloned();
            let draining = arm.gone_at.is_some() || failed.is_some();
            let seen = SeenArm {
                ready: if draining {
                    0
                } else {
                    u32::try_from(ready).unwrap().saturating_sub(unready)
                },
                present: u32::try_from(arm.ready_at.len()).unwrap(),
                restarts: self.restarts.get(id).copied().unwrap_or(0),
                failed,
            };
            (id.clone(), seen)
        });
        Seen {
            generation: self.desired.as_ref().map_or(0, |have| have.generation),
            traffic,
            arms: arms.collect(),
            problems: Vec::new(),
        }
    }

    /// No controller renewed the exposure: it returns traffic to stable by itself.
    pub fn expire_lease(&mut self, now: Timestamp) {
        if let Some(table) = &mut self.table
            && table.canary_weight > Weight::ZERO
        {
            table.canary_weight = Weight::ZERO;
            table.lease_expired_at = Some(now);
        }
    }

    /// As if it had been led by a later controller, whose store is lost.
    pub fn remember_generation(&mut self, generation: u64) {
        if let Some(desired) = &mut self.desired {
            desired.generation = generation;
        }
        if let Some(table) = &mut self.table {
            table.generation = generation;
        }
    }

    /// Every fault ends, and it asks what it shall be, as an agent does that comes back.
    pub fn heal(&mut self, desired: Option<&Desired>, now: Timestamp) {
        self.silent = false;
        self.deaf = false;
        self.stuck = false;
        self.lie = None;
        self.failed.clear();
        self.unready.clear();
        self.restarts.clear();
        if let Some(desired) = desired {
            self.apply(desired, now);
        }
    }

    /// The share of requests that an arm gets.
    pub fn share(&self, arm: &ArmId) -> Weight {
        self.table
            .as_ref()
            .map_or(Weight::ZERO, |table| share(table, arm))
    }
}

/// The share of requests that an arm gets by a routing table.
pub fn share(table: &ObservedTraffic, arm: &ArmId) -> Weight {
    if table.canary.as_ref() == Some(arm) {
        table.canary_weight
    } else if table.stable.as_ref() == Some(arm) {
        table.canary_weight.rest()
    } else {
        Weight::ZERO
    }
}
