//! One lane on this host: what is asked for, what runs, where users go, and the steps from the
//! one to the other. It is level-triggered: [`Lane::reconcile`] may be called at any moment.

mod arm;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use airboss_model::manifest::ProcessTarget;
use airboss_model::metrics::Reading;
use airboss_model::target::{Desired, DesiredArm, InstanceState};
use airboss_model::time::{after, since};
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, LaneId, Timestamp};
use airboss_proxy::{InstanceCounts, Options, RoutingTable};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::process::instance::{Goal, News, Status};
use crate::process::journal::{Applied, Expired};
use crate::process::launch::{Site, address};
use crate::process::meter::{Meter, Source};
use crate::process::router::{Inherited, Router};
use crate::process::routing::{self, Seat, needs_a_watch, routed, waits_for};
use arm::Arm;

/// Most instances of one arm on one host.
pub(super) const MAX_INSTANCES: u32 = 64;
/// Most arms of one lane: stable, canary, and some that drain.
const MAX_ARMS: usize = 16;
/// Time between two attempts to listen on an address that is taken.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// What lanes share and use while they work.
pub(super) struct Means<'a> {
    pub site: &'a Arc<Site>,
    pub inherited: &'a Inherited,
    pub splitter: &'a Options,
    pub news: &'a mpsc::Sender<News>,
    pub tasks: &'a mut JoinSet<()>,
}

/// One service in one environment on this host.
pub(super) struct Lane {
    desired: Desired,
    applied: Option<Applied>,
    arms: BTreeMap<ArmId, Arm>,
    router: Option<Arc<Router>>,
    /// Routers of an earlier address that finish what they have.
    retired: Vec<Arc<Router>>,
    /// What those had counted at their end.
    last_counts: Vec<InstanceCounts>,
    /// The table that the router has.
    table: Option<RoutingTable>,
    listen_problem: Option<String>,
    /// When listening failed, and where.
    listen_failed: Option<(Instant, String)>,
    table_problem: Option<String>,
    refused: Option<String>,
    /// When a controller watched this lane last.
    watched: Option<Instant>,
    lease_until: Option<Instant>,
    /// As in the journal, where it is written in coarse steps.
    lease_written: Option<Timestamp>,
    /// Readers of ready instances' metrics, by arm and number.
    meters: BTreeMap<(ArmId, u32), Meter>,
}

impl Lane {
    pub fn new(desired: Desired) -> Self {
        Self {
            desired,
            applied: None,
            arms: BTreeMap::new(),
            router: None,
            retired: Vec::new(),
            last_counts: Vec::new(),
            table: None,
            listen_problem: None,
            listen_failed: None,
            table_problem: None,
            refused: None,
            watched: None,
            lease_until: None,
            lease_written: None,
            meters: BTreeMap::new(),
        }
    }

    /// The lane's id.
    pub fn id(&self) -> &LaneId {
        &self.desired.lane
    }

    /// Takes in a newer desired state. True where it changed something.
    pub fn take_in(&mut self, desired: Desired) -> bool {
        let claim = self.desired.epoch;
        if desired.epoch < claim {
            // It will hear from the store that the lane is another's now.
            tracing::info!(lane = %desired.lane, claim, asked_under = desired.epoch, "a controller that lost the lane is not obeyed");
            return false;
        }
        self.desired.epoch = desired.epoch;
        let newer_claim = desired.epoch > claim;
        let (have, asked) = (self.desired.generation, desired.generation);
        if asked < have || (asked == have && desired != self.desired) {
            self.refused = Some(if asked < have {
                format!(
                    "the controller asks for generation {asked} of {}, but this agent has taken in \
                     generation {have}: it keeps the newer. Was the controller's data restored from a backup?",
                    desired.lane
                )
            } else {
                format!(
                    "the controller asks for two different states of {} under generation {have}: \
                     the first one is kept",
                    desired.lane
                )
            });
            return newer_claim;
        }
        self.refused = None;
        let changed = newer_claim || desired != self.desired;
        self.desired = desired;
        for spec in &self.desired.arms {
            let Some(arm) = self.arms.get(&spec.arm) else {
                continue;
            };
            let content = arm.spec.borrow().digest;
            if content == spec.digest {
                arm.spec.send_replace(Arc::new(spec.clone()));
            } else {
                self.refused = Some(format!(
                    "arm {} runs {content} and was asked to run {}: an arm keeps its content, use a new one",
                    spec.arm, spec.digest
                ));
            }
        }
        changed
    }

    /// Takes in what an instance told. A status that is older than its arm is dropped.
    pub fn news(&mut self, arm: &ArmId, index: u32, status: Status) {
        let Some(arm) = self.arms.get_mut(arm) else {
            return;
        };
        if status.state == InstanceState::Stopped {
            arm.members.remove(&index);
        } else if let Some(member) = arm.members.get_mut(&index) {
            member.status = status;
        }
    }

    /// One step towards what is desired. Cheap where nothing is to be done.
    pub fn reconcile(&mut self, now: Timestamp, means: &mut Means<'_>) {
        self.start_missing(means);
        self.listen(means);
        for (id, arm) in &self.arms {
            let wanted = self.wanted(id);
            if wanted > 0 && arm.ready() >= wanted {
                arm.proven.store(true, Ordering::Relaxed);
            }
        }
        self.expire_lease(now);
        let before = self.applied.clone();
        self.divide();
        // Another stable arm may want another address.
        self.listen(means);
        let leaving = self.leaving();
        if self.apply(&leaving) {
            self.drain(leaving);
            self.table_problem = None;
        } else if self.applied != before {
            // What the splitter refused is not in force: the old division goes on.
            self.applied = before;
            let leaving = self.leaving();
            if self.apply(&leaving) {
                self.drain(leaving);
            }
        }
        self.lease_begins(now);
        self.arms.retain(|id, arm| {
            !arm.members.is_empty() || self.desired.arms.iter().any(|spec| spec.arm == *id)
        });
        let last_counts = &mut self.last_counts;
        self.retired.retain(|router| {
            let in_use = Arc::strong_count(router) > 1;
            if !in_use {
                last_counts.extend(router.take_counts());
            }
            in_use
        });
        self.read_metrics(means);
        self.close(means);
    }

    /// Reads the metrics of exactly those instances that are ready, where anybody asks for any.
    fn read_metrics(&mut self, means: &Means<'_>) {
        let series = &self.desired.traffic.measure.metrics;
        if series.is_empty() && self.meters.is_empty() {
            return;
        }
        let mut wanted = BTreeMap::new();
        for (id, arm) in self.arms.iter().filter(|_| !series.is_empty()) {
            for (index, member) in arm.members.iter().filter(|(_, member)| member.ready()) {
                let Some(port) = member.status.port else {
                    continue;
                };
                let source = Source {
                    address: address(port),
                    path: arm.spec.borrow().process.metrics.clone(),
                    series: series.clone(),
                };
                wanted.insert((id.clone(), *index), source);
            }
        }
        self.meters
            .retain(|seat, meter| wanted.get(seat) == Some(&meter.source));
        for (seat, source) in wanted {
            self.meters
                .entry(seat)
                .or_insert_with(|| Meter::start(source, means.site.pages.clone()));
        }
    }

    fn wanted(&self, arm: &ArmId) -> u32 {
        let mut arms = self.desired.arms.iter();
        arms.find(|spec| spec.arm == *arm)
            .map_or(0, |spec| spec.instances.min(MAX_INSTANCES))
    }

    fn start_missing(&mut self, means: &mut Means<'_>) {
        for spec in &self.desired.arms {
            if self.arms.len() >= MAX_ARMS && !self.arms.contains_key(&spec.arm) {
                continue;
            }
            let arm = self
                .arms
                .entry(spec.arm.clone())
                .or_insert_with(|| Arm::new(spec.clone(), false));
            for index in 0..spec.instances.min(MAX_INSTANCES) {
                if !arm.members.contains_key(&index) {
                    let status = Status::default();
                    arm.start(&self.desired.lane, index, status, None, means);
                }
            }
        }
    }

    /// How the arm in charge of the lane's address wants it: stable's manifest, else canary's.
    fn manifest(&self) -> Option<ProcessTarget> {
        let traffic = match &self.applied {
            Some(applied) if applied.traffic.stable.is_some() => &applied.traffic,
            _ => &self.desired.traffic,
        };
        let named = [&traffic.stable, &traffic.canary].into_iter().flatten();
        let mut arms = named.chain(self.desired.arms.iter().map(|spec| &spec.arm));
        arms.find_map(|id| self.arms.get(id))
            .map(|arm| arm.spec.borrow().process.clone())
    }

    fn listen(&mut self, means: &mut Means<'_>) {
        let Some(address) = self.manifest().map(|manifest| manifest.listen) else {
            return;
        };
        if self
            .router
            .as_ref()
            .is_some_and(|now| now.listen == address)
        {
            self.listen_problem = None;
            return;
        }
        if self
            .listen_failed
            .as_ref()
            .is_some_and(|(at, there)| *there == address && at.elapsed() < LISTEN_EVERY)
        {
            return;
        }
        match Router::open(&address, means.inherited, means.splitter.clone()) {
            Ok(router) => {
                self.listen_problem = None;
                self.table = None;
                if let Some(old) = self.router.replace(Arc::new(router)) {
                    self.retire(old, means);
                }
            }
            Err(problem) => {
                if self.listen_problem.as_ref() != Some(&problem) {
                    tracing::error!(lane = %self.desired.lane, problem, "cannot listen");
                }
                self.listen_problem = Some(problem);
                self.listen_failed = Some((Instant::now(), address));
            }
        }
    }

    fn retire(&mut self, old: Arc<Router>, means: &mut Means<'_>) {
        self.retired.push(Arc::clone(&old));
        let grace = self.longest_drain();
        means.tasks.spawn(async move { old.shutdown(grace).await });
    }

    /// The longest drain time of the arms here.
    pub fn longest_drain(&self) -> Duration {
        let arms = self.arms.values();
        arms.map(|arm| arm.spec.borrow().process.drain.0)
            .max()
            .unwrap_or_default()
    }

    /// No controller watched the exposure for as long as the lease: back to stable.
    fn expire_lease(&mut self, now: Timestamp) {
        let Some(applied) = &mut self.applied else {
            return;
        };
        let overdue = self.lease_until.is_some_and(|end| Instant::now() >= end);
        let stable = applied.traffic.stable.as_ref();
        let ready = stable
            .and_then(|stable| self.arms.get(stable))
            .map_or(0, Arm::ready);
        if !overdue || applied.traffic.canary_weight == Weight::ZERO || ready == 0 {
            return;
        }
        tracing::warn!(lane = %self.desired.lane, "the exposure lease ran out: traffic returns to stable");
        applied.traffic.canary_weight = Weight::ZERO;
        applied.traffic.mirror = Weight::ZERO;
        applied.lease_expired = Some(Expired {
            at: now,
            generation: self.desired.generation,
        });
    }

    /// Puts the desired division in force as soon as it may be.
    fn divide(&mut self) {
        let applied = self.applied.as_ref();
        let asked = self.desired.generation;
        let newer = applied.is_none_or(|applied| {
            asked > applied.generation
                && (applied.lease_expired.as_ref()).is_none_or(|expired| asked > expired.generation)
        });
        // Without a listening splitter nothing is in force, whatever is written.
        if !newer || (self.router.is_none() && self.desired.traffic.stable.is_some()) {
            return;
        }
        let now = applied.map(|applied| &applied.traffic);
        let lease = self.desired.exposure_lease.0;
        let is_watched = self.watched.is_some_and(|at| at.elapsed() < lease);
        if !is_watched && needs_a_watch(&self.desired.traffic, now) {
            return;
        }
        let ready = |arm: &ArmId| self.arms.get(arm).map_or(0, Arm::ready);
        if waits_for(&self.desired.traffic, now, ready).is_none() {
            self.applied = Some(Applied {
                generation: asked,
                traffic: self.desired.traffic.clone(),
                lease_expired: None,
            });
        }
    }

    fn lease_begins(&mut self, now: Timestamp) {
        let exposed = self.applied.as_ref().is_some_and(|applied| {
            applied.traffic.canary_weight > Weight::ZERO && applied.traffic.stable.is_some()
        });
        if !exposed {
            self.lease_until = None;
            self.lease_written = None;
        } else if self.lease_until.is_none() {
            // It counts from the watch that let the exposure begin.
            let ago = self.watched.map_or(Duration::ZERO, |at| at.elapsed());
            self.lease_from(now, ago);
        }
    }

    /// A controller watches this lane.
    pub fn renew(&mut self, now: Timestamp) {
        self.watched = Some(Instant::now());
        let exposed = self
            .applied
            .as_ref()
            .is_some_and(|applied| applied.traffic.canary_weight > Weight::ZERO);
        if exposed {
            self.lease_from(now, Duration::ZERO);
        }
    }

    fn lease_from(&mut self, now: Timestamp, ago: Duration) {
        let lease = self.desired.exposure_lease.0;
        let left = lease.saturating_sub(ago);
        self.lease_until = Some(Instant::now() + left);
        let until = after(now, left);
        let stale = self
            .lease_written
            .is_none_or(|written| since(written, until) > lease / 4 || written > until);
        if stale {
            self.lease_written = Some(until);
        }
    }

    /// Instances that shall go and may: none of an arm that still gets requests, unless another
    /// one of it is ready.
    fn leaving(&self) -> Vec<(ArmId, u32)> {
        let mut leaving = Vec::new();
        for (id, arm) in &self.arms {
            let wanted = self.wanted(id);
            let in_use = self
                .applied
                .as_ref()
                .is_some_and(|applied| routed(&applied.traffic, id));
            let mut staying = arm.members.range(..wanted);
            if in_use && !staying.any(|(_, member)| member.ready()) {
                continue;
            }
            let extra = arm.members.range(wanted..);
            leaving.extend(
                extra
                    .filter(|(_, member)| !member.draining())
                    .map(|(index, _)| (id.clone(), *index)),
            );
        }
        leaving
    }

    /// Gives the splitter the table; `leaving` are not in it. True where it is in force.
    fn apply(&mut self, leaving: &[(ArmId, u32)]) -> bool {
        let (Some(router), Some(applied)) = (&self.router, &self.applied) else {
            // Nothing routes to anything.
            return true;
        };
        let arms = self.arms.iter().map(|(id, arm)| {
            let seats = arm.members.iter().filter_map(|(index, member)| {
                let gone = leaving.iter().any(|(arm, i)| arm == id && i == index);
                let port = member.status.port?;
                (!gone && !member.draining()).then(|| Seat {
                    name: member.name.clone(),
                    address: address(port),
                    ready: member.ready(),
                })
            });
            (id.clone(), seats.collect())
        });
        let manifest = self.manifest();
        let table = routing::table(
            applied.generation,
            &applied.traffic,
            manifest.as_ref(),
            arms,
        );
        if self.table.as_ref() == Some(&table) {
            return true;
        }
        match router.apply(table.clone()) {
            Ok(()) => {
                self.table = Some(table);
                true
            }
            Err(problem) => {
                if self.table_problem.as_ref() != Some(&problem) {
                    tracing::error!(lane = %self.desired.lane, problem, "cannot route");
                }
                self.table_problem = Some(problem);
                false
            }
        }
    }

    fn drain(&mut self, leaving: Vec<(ArmId, u32)>) {
        let routers: Vec<_> = self.router.iter().chain(&self.retired).cloned().collect();
        for (id, index) in leaving {
            let member = self.arms.get(&id).and_then(|arm| arm.members.get(&index));
            if let Some(member) = member {
                member.goal.send_replace(Goal::Drain(routers.clone()));
            }
        }
    }

    /// A service that was stopped gives its address back.
    fn close(&mut self, means: &mut Means<'_>) {
        let idle = self.arms.is_empty() && self.desired.arms.is_empty();
        if idle && let Some(router) = self.router.take() {
            self.retire(router, means);
            self.table = None;
        }
    }

    /// Tells all instances to end, without waiting for requests. The routers were shut before.
    pub fn stop_all(&mut self) {
        for member in self.arms.values().flat_map(|arm| arm.members.values()) {
            member.goal.send_replace(Goal::Drain(Vec::new()));
        }
    }

    /// True where no instance is left.
    pub fn is_still(&self) -> bool {
        self.arms.values().all(|arm| arm.members.is_empty())
    }

    /// The routers that listen or finish.
    pub fn routers(&self) -> Vec<Arc<Router>> {
        self.router.iter().chain(&self.retired).cloned().collect()
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Vec<InstanceCounts> {
        let mut counts = std::mem::take(&mut self.last_counts);
        for router in self.router.iter().chain(&self.retired) {
            counts.extend(router.take_counts());
        }
        counts
    }

    /// What instances published since the last call, by arm and name.
    pub fn take_readings(&self) -> impl Iterator<Item = (&ArmId, &str, BTreeMap<String, Reading>)> {
        self.meters.iter().filter_map(|((arm, index), meter)| {
            let member = self.arms.get(arm)?.members.get(index)?;
            let read = meter.take();
            (!read.is_empty()).then_some((arm, member.name.as_str(), read))
        })
    }

    /// The arms' specs, running and draining ones.
    pub fn specs(&self) -> impl Iterator<Item = Arc<DesiredArm>> {
        self.arms.values().map(|arm| Arc::clone(&arm.spec.borrow()))
    }

    /// The instances' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let arms = self.arms.values();
        arms.flat_map(|arm| arm.members.values().map(|member| member.name.as_str()))
    }

    /// The names of those that have a process.
    pub fn running(&self) -> impl Iterator<Item = &str> {
        let members = self.arms.values().flat_map(|arm| arm.members.values());
        let running = members.filter(|member| member.status.pid.is_some());
        running.map(|member| member.name.as_str())
    }
}
