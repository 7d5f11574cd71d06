//! A simulated host: the agent with its instances and its splitter, as a state machine.
//!
//! What it does of itself follows the real agent (`targets::process`), whose own rules say when a
//! division of traffic may come into force. Faults are switches that a world turns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use airboss_model::target::{
    Desired, DesiredTraffic, InstanceState, Observed, ObservedArm, ObservedInstance,
    ObservedTraffic,
};
use airboss_model::time::after;
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, Digest, LaneId, Timestamp};
use airboss_targets::process::{needs_a_watch, routed, waits_for};

/// How long things take on this host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habits {
    /// From the start of an instance to its first answer to the health check.
    pub start_takes: Duration,
    /// From the end of an instance to its end as a process; its requests are finished by then.
    pub drain_takes: Duration,
    /// From the end of an instance by itself to its next start.
    pub restart_takes: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            start_takes: Duration::from_secs(2),
            drain_takes: Duration::from_secs(1),
            restart_takes: Duration::from_secs(1),
        }
    }
}

/// How the instances of one artifact live.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Nature {
    /// None becomes ready.
    pub never_ready: bool,
    /// From this time on each ends as soon as it is ready.
    pub crashes_from: Option<Timestamp>,
}

/// A host with any number of lanes.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// How long things take.
    pub habits: Habits,
    /// What is special about an artifact.
    pub natures: BTreeMap<Digest, Nature>,
    /// The splitter keeps what it has, whatever it is told.
    pub stuck: bool,
    lanes: BTreeMap<LaneId, Place>,
}

/// What one lane has here.
#[derive(Debug, Clone)]
struct Place {
    desired: Desired,
    applied: Option<Applied>,
    arms: BTreeMap<ArmId, Arm>,
    /// When a controller watched last.
    watched: Option<Timestamp>,
    lease_until: Option<Timestamp>,
}

/// A division of traffic in force.
#[derive(Debug, Clone, PartialEq)]
struct Applied {
    generation: u64,
    traffic: DesiredTraffic,
    /// When the lease ran out, and under which generation.
    expired: Option<(Timestamp, u64)>,
}

#[derive(Debug, Clone)]
struct Arm {
    digest: Digest,
    wanted: u32,
    ready_within: Duration,
    members: BTreeMap<u32, Member>,
    proven: bool,
    failed: Option<String>,
}

#[derive(Debug, Clone)]
struct Member {
    state: InstanceState,
    began: Timestamp,
    /// When the next thing happens to it.
    due: Option<Timestamp>,
    restarts: u32,
}

impl Arm {
    fn ready(&self) -> u32 {
        let ready = |member: &&Member| member.state == InstanceState::Ready;
        u32::try_from(self.members.values().filter(ready).count()).unwrap_or(u32::MAX)
    }
}

impl Host {
    /// A host with nothing on it.
    pub fn new(habits: Habits) -> Self {
        Self {
            habits,
            ..Self::default()
        }
    }

    /// Takes in what shall be true. An older generation than it has, and another state under the
    /// same one, are refused. True where it changed something.
    pub fn take_in(&mut self, desired: &Desired, now: Timestamp) -> bool {
        let place = self
            .lanes
            .entry(desired.lane.clone())
            .or_insert_with(|| Place {
                desired: Desired {
                    generation: 0,
                    arms: Vec::new(),
                    ..desired.clone()
                },
                applied: None,
                arms: BTreeMap::new(),
                watched: None,
                lease_until: None,
            });
        if desired.generation <= place.desired.generation {
            return false;
        }
        place.desired = desired.clone();
        self.advance(now);
        true
    }

    /// Everything that is due by now.
    pub fn advance(&mut self, now: Timestamp) {
        let Self {
            habits,
            natures,
            stuck,
            lanes,
        } = self;
        for place in lanes.values_mut() {
            place.start_missing(now, habits, natures);
            for arm in place.arms.values_mut() {
                arm.advance(now, habits, natures);
            }
            if !*stuck {
                place.expire_lease(now);
                place.divide(now);
            }
            place.lease_begins();
            place.drain(now, habits);
            place.forget();
        }
    }

    /// When something happens by itself next.
    pub fn next_change(&self) -> Option<Timestamp> {
        let members = |place: &Place| -> Option<Timestamp> {
            let arms = place.arms.values();
            arms.flat_map(|arm| arm.members.values().filter_map(|member| member.due))
                .min()
        };
        let lease = |place: &Place| place.lease_until.filter(|_| !self.stuck);
        self.lanes
            .values()
            .flat_map(|place| [members(place), lease(place)])
            .flatten()
            .min()
    }

    /// The lanes that it has heard of.
    pub fn lanes(&self) -> impl Iterator<Item = &LaneId> {
        self.lanes.keys()
    }

    /// A lane as it is. None where it was never heard of.
    pub fn observe(&self, lane: &LaneId, now: Timestamp) -> Option<Observed> {
        let place = self.lanes.get(lane)?;
        let traffic = place.applied.as_ref().map(|applied| ObservedTraffic {
            generation: applied.generation,
            stable: applied.traffic.stable.clone(),
            canary: applied.traffic.canary.clone(),
            canary_weight: applied.traffic.canary_weight,
            lease_expired_at: applied.expired.map(|(at, _)| at),
        });
        let arms = place.arms.iter().map(|(id, arm)| ObservedArm {
            arm: id.clone(),
            instances: arm
                .members
                .iter()
                .map(|(index, member)| ObservedInstance {
                    name: instance(id, *index),
                    state: member.state,
                    pid: None,
                    address: None,
                    restarts: member.restarts,
                    last_error: None,
                })
                .collect(),
            failed: arm.failed.clone(),
        });
        Some(Observed {
            lane: lane.clone(),
            epoch: place.desired.epoch,
            generation: place.desired.generation,
            arms: arms.collect(),
            traffic,
            problems: Vec::new(),
            at: now,
        })
    }

    /// A controller watches this lane.
    pub fn renew(&mut self, lane: &LaneId, now: Timestamp) {
        if let Some(place) = self.lanes.get_mut(lane) {
            place.watched = Some(now);
            if place.exposed() {
                place.lease_until = place.watched_until();
            }
        }
    }

    /// The canary's share in force, and until when its lease holds.
    pub fn exposure(&self, lane: &LaneId) -> (Weight, Option<Timestamp>) {
        let place = self.lanes.get(lane);
        let weight = place
            .filter(|place| place.exposed())
            .and_then(|place| place.applied.as_ref())
            .map_or(Weight::ZERO, |applied| applied.traffic.canary_weight);
        (weight, place.and_then(|place| place.lease_until))
    }

    /// Where requests to a lane go: each arm's share, content and ready instances.
    pub fn routes(&self, lane: &LaneId) -> Vec<Route> {
        let Some((place, applied)) = self
            .lanes
            .get(lane)
            .and_then(|place| Some((place, place.applied.as_ref()?)))
        else {
            return Vec::new();
        };
        let traffic = &applied.traffic;
        let route = |arm: Option<&ArmId>, share: Weight| {
            let id = arm?;
            let arm = place.arms.get(id)?;
            let ready = arm
                .members
                .iter()
                .filter(|(_, member)| member.state == InstanceState::Ready)
                .map(|(index, _)| instance(id, *index));
            Some(Route {
                arm: id.clone(),
                digest: arm.digest,
                share,
                instances: ready.collect(),
            })
        };
        let weight = match traffic.canary {
            Some(_) => traffic.canary_weight,
            None => Weight::ZERO,
        };
        [
            route(traffic.stable.as_ref(), weight.rest()),
            route(traffic.canary.as_ref(), weight),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The host's agent is started anew: instances live on, the lease too, faults end.
    pub fn restart(&mut self) {
        self.stuck = false;
    }

    /// The newest generation that was taken in of a lane, 0 where there is none.
    pub fn generation(&self, lane: &LaneId) -> u64 {
        self.lanes
            .get(lane)
            .map_or(0, |place| place.desired.generation)
    }
}

/// Where a share of requests goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Which version.
    pub arm: ArmId,
    /// What runs in it.
    pub digest: Digest,
    /// Its share.
    pub share: Weight,
    /// The instances that answer.
    pub instances: Vec<String>,
}

fn instance(arm: &ArmId, index: u32) -> String {
    format!("{arm}.{index}")
}

impl Place {
    fn exposed(&self) -> bool {
        self.applied.as_ref().is_some_and(|applied| {
            applied.traffic.canary_weight > Weight::ZERO && applied.traffic.canary.is_some()
        })
    }

    fn start_missing(
        &mut self,
        now: Timestamp,
        habits: &Habits,
        natures: &BTreeMap<Digest, Nature>,
    ) {
        let named: BTreeSet<&ArmId> = self.desired.arms.iter().map(|spec| &spec.arm).collect();
        for (id, arm) in &mut self.arms {
            if !named.contains(id) {
                arm.wanted = 0;
            }
        }
        for spec in &self.desired.arms {
            let arm = self.arms.entry(spec.arm.clone()).or_insert_with(|| Arm {
                digest: spec.digest,
                wanted: 0,
                ready_within: spec.process.health.ready_within.0,
                members: BTreeMap::new(),
                proven: false,
                failed: None,
            });
            arm.wanted = spec.instances;
            let never = natures
                .get(&arm.digest)
                .is_some_and(|nature| nature.never_ready);
            for index in 0..spec.instances {
                let takes = if never {
                    arm.ready_within
                } else {
                    habits.start_takes
                };
                arm.members.entry(index).or_insert(Member {
                    state: InstanceState::Starting,
                    began: now,
                    due: Some(after(now, takes)),
                    restarts: 0,
                });
            }
        }
    }

    /// As the real agent: back to stable, where stable can take users.
    fn expire_lease(&mut self, now: Timestamp) {
        let Some(applied) = &mut self.applied else {
            return;
        };
        let overdue = self.lease_until.is_some_and(|end| now >= end);
        let stable = applied.traffic.stable.as_ref();
        let ready = stable
            .and_then(|stable| self.arms.get(stable))
            .map_or(0, Arm::ready);
        if !overdue || applied.traffic.canary_weight == Weight::ZERO || ready == 0 {
            return;
        }
        applied.traffic.canary_weight = Weight::ZERO;
        applied.traffic.mirror = Weight::ZERO;
        applied.expired = Some((now, self.desired.generation));
    }

    /// How long the last watch allows an exposure.
    fn watched_until(&self) -> Option<Timestamp> {
        let lease = self.desired.exposure_lease.0;
        self.watched.map(|at| after(at, lease))
    }

    fn divide(&mut self, at: Timestamp) {
        let asked = self.desired.generation;
        let applied = self.applied.as_ref();
        let newer = applied.is_none_or(|applied| {
            asked > applied.generation
                && applied
                    .expired
                    .is_none_or(|(_, generation)| asked > generation)
        });
        if !newer {
            return;
        }
        let ready = |arm: &ArmId| self.arms.get(arm).map_or(0, Arm::ready);
        let now = applied.map(|applied| &applied.traffic);
        let is_watched = self.watched_until().is_some_and(|end| at < end);
        if !is_watched && needs_a_watch(&self.desired.traffic, now) {
            return;
        }
        if waits_for(&self.desired.traffic, now, ready).is_none() {
            self.applied = Some(Applied {
                generation: asked,
                traffic: self.desired.traffic.clone(),
                expired: None,
            });
        }
    }

    /// A lease counts from the watch that let the exposure begin.
    fn lease_begins(&mut self) {
        let exposed = self.exposed()
            && self
                .applied
                .as_ref()
                .is_some_and(|applied| applied.traffic.stable.is_some());
        if !exposed {
            self.lease_until = None;
        } else if self.lease_until.is_none() {
            self.lease_until = self.watched_until();
        }
    }

    /// Instances that are too many go, unless users may still be sent to them.
    fn drain(&mut self, now: Timestamp, habits: &Habits) {
        for (id, arm) in &mut self.arms {
            let in_use = self
                .applied
                .as_ref()
                .is_some_and(|applied| routed(&applied.traffic, id));
            let mut staying = arm.members.range(..arm.wanted);
            if in_use && !staying.any(|(_, member)| member.state == InstanceState::Ready) {
                continue;
            }
            for (_, member) in arm.members.range_mut(arm.wanted..) {
                if member.state != InstanceState::Draining {
                    member.state = InstanceState::Draining;
                    member.due = Some(after(now, habits.drain_takes));
                }
            }
        }
    }

    fn forget(&mut self) {
        let desired = &self.desired;
        self.arms.retain(|id, arm| {
            !arm.members.is_empty() || desired.arms.iter().any(|spec| spec.arm == *id)
        });
    }
}

impl Arm {
    fn advance(&mut self, now: Timestamp, habits: &Habits, natures: &BTreeMap<Digest, Nature>) {
        let nature = natures.get(&self.digest).copied().unwrap_or_default();
        let crashes = nature.crashes_from.is_some_and(|from| from <= now);
        for member in self.members.values_mut() {
            if member.state == InstanceState::Ready && member.due.is_none() {
                member.due = nature.crashes_from.filter(|from| *from > now);
                if crashes {
                    member.state = InstanceState::Crashed;
                    member.due = Some(after(now, habits.restart_takes));
                }
            }
            if member.due.is_none_or(|due| due > now) {
                continue;
            }
            member.due = None;
            match member.state {
                InstanceState::Starting if nature.never_ready => {
                    self.failed = Some(format!(
                        "not ready within {}",
                        airboss_model::Span(self.ready_within)
                    ));
                }
                InstanceState::Starting => member.state = InstanceState::Ready,
                InstanceState::Ready if crashes => {
                    member.state = InstanceState::Crashed;
                    member.due = Some(after(now, habits.restart_takes));
                }
                InstanceState::Crashed => {
                    member.state = InstanceState::Starting;
                    member.began = now;
                    member.restarts += 1;
                    member.due = Some(after(now, habits.start_takes));
                }
                InstanceState::Draining => member.state = InstanceState::Stopped,
                InstanceState::Ready | InstanceState::Unready | InstanceState::Stopped => {}
            }
        }
        self.members
            .retain(|_, member| member.state != InstanceState::Stopped);
        if self.wanted > 0 && self.ready() >= self.wanted {
            self.proven = true;
        }
        if self.proven {
            self.failed = None;
        }
    }
}
