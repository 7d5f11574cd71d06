//! The controller's half of what agents and controller say to each other.
//!
//! The hub keeps, in memory only, what every lane's target shall look like and what the agent
//! last reported. Nothing here needs to survive a crash: the desired states are in the lanes'
//! committed states and are handed in again at each start, and agents report whole states.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airboss_model::target::{Desired, Observed};
use airboss_model::traffic::Counts;
use airboss_model::{ArmId, LaneId, Timestamp};
use airboss_targets::process::protocol::{DesiredSet, LogAnswer, LogRequest, Report, ReportAck};
use tokio::sync::{oneshot, watch};

/// How recent a lane's last completed turn must be for its exposure lease to be renewed.
const WATCHED_WITHIN: Duration = Duration::from_secs(5);

/// How many requests for logs may be under way.
const LOG_REQUESTS_MAX: usize = 64;

/// Requests of one lane since they were taken last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaneTraffic {
    /// By arm, then by instance.
    pub arms: BTreeMap<ArmId, BTreeMap<String, Counts>>,
    /// Reports that came in. Zero: the source is silent, which is not "no requests".
    pub reports: u32,
}

impl LaneTraffic {
    /// By arm, over its instances.
    pub fn sums(&self) -> BTreeMap<ArmId, Counts> {
        let sum = |instances: &BTreeMap<String, Counts>| {
            let mut sum = Counts::default();
            instances.values().for_each(|counts| sum.add(counts));
            sum
        };
        let arms = self.arms.iter();
        arms.map(|(arm, instances)| (arm.clone(), sum(instances)))
            .collect()
    }
}

/// Why the hub refuses an agent or a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// One agent serves an installation today.
    #[error(
        "agent {offered} is refused: agent {known} serves this controller, last heard {last_seen}. Stop one of the two"
    )]
    OtherAgent {
        /// The agent that is known.
        known: String,
        /// The agent that asked.
        offered: String,
        /// The known agent's last report.
        last_seen: Timestamp,
    },
    /// Too many requests for logs are under way.
    #[error("{LOG_REQUESTS_MAX} requests for logs are under way; try again in a moment")]
    Busy,
    /// The agent did not answer in time.
    #[error("the agent did not answer within {0:?}; `airboss doctor` tells whether it runs")]
    NoAnswer(Duration),
}

/// The agent as the hub knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its id.
    pub id: String,
    /// Its version of Airboss.
    pub version: String,
    /// Its last report, by our clock.
    pub last_seen: Timestamp,
    boot: String,
    number: u64,
}

struct Link {
    observed: watch::Sender<Option<Arc<Observed>>>,
    traffic: LaneTraffic,
    last_turn: Option<Timestamp>,
}

#[derive(Default)]
struct Inner {
    agent: Option<AgentInfo>,
    links: HashMap<LaneId, Link>,
    logs: HashMap<String, oneshot::Sender<LogAnswer>>,
    log_count: u64,
}

/// The meeting point of lanes and agents.
pub struct Hub {
    inner: Mutex<Inner>,
    desired: watch::Sender<Arc<DesiredSet>>,
    started: Timestamp,
}

impl Hub {
    /// A hub that has heard of nobody. `incarnation` differs after each start.
    pub fn new(incarnation: String, started: Timestamp) -> Self {
        let empty = DesiredSet {
            version: 1,
            incarnation,
            lanes: Vec::new(),
            log_requests: Vec::new(),
        };
        Self {
            inner: Mutex::default(),
            desired: watch::Sender::new(Arc::new(empty)),
            started,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic while holding the lock leaves plain data behind, whole enough to go on with.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- for lanes -----------------------------------------------------------------------

    /// Hands a desired state to the agent. One of an older claim or generation is ignored.
    pub fn apply(&self, desired: Desired) {
        self.desired.send_if_modified(|set| {
            let known = set.lanes.iter().position(|lane| lane.lane == desired.lane);
            let age = |desired: &Desired| (desired.epoch, desired.generation);
            if known.is_some_and(|at| age(&set.lanes[at]) > age(&desired)) {
                return false;
            }
            let set = Arc::make_mut(set);
            match known {
                Some(at) => set.lanes[at] = desired,
                None => set.lanes.push(desired),
            }
            set.version += 1;
            true
        });
    }

    /// Follows what the agent reports about a lane.
    pub fn follow(&self, lane: &LaneId) -> watch::Receiver<Option<Arc<Observed>>> {
        link(&mut self.inner(), lane).observed.subscribe()
    }

    /// Takes the requests that were counted since this was called last. While no report came
    /// in, counts stay where they are and are taken with the next one.
    pub fn take_traffic(&self, lane: &LaneId) -> LaneTraffic {
        let mut inner = self.inner();
        let traffic = &mut link(&mut inner, lane).traffic;
        if traffic.reports == 0 {
            return LaneTraffic::default();
        }
        std::mem::take(traffic)
    }

    /// Forgets what was counted before a claim: another owner may have judged it, and all of it at
    /// once is no second.
    pub fn forget_traffic(&self, lane: &LaneId) {
        link(&mut self.inner(), lane).traffic = LaneTraffic::default();
    }

    /// Notes that a lane's owner is alive and its store answers: the condition for a renewal of
    /// its exposure lease.
    pub fn turned(&self, lane: &LaneId, now: Timestamp) {
        link(&mut self.inner(), lane).last_turn = Some(now);
    }

    /// The agent's last report, or this hub's start where none came yet.
    pub fn last_seen(&self) -> Timestamp {
        self.inner()
            .agent
            .as_ref()
            .map_or(self.started, |agent| agent.last_seen)
    }

    /// The agent, where one has reported.
    pub fn agent(&self) -> Option<AgentInfo> {
        self.inner().agent.clone()
    }

    /// Asks the agent for log lines.
    pub async fn logs(
        &self,
        lane: LaneId,
        arm: Option<ArmId>,
        lines: u32,
        within: Duration,
    ) -> Result<LogAnswer, HubError> {
        let (send, answer) = oneshot::channel();
        let id = {
            let mut inner = self.inner();
            inner.logs.retain(|_, waiting| !waiting.is_closed());
            if inner.logs.len() >= LOG_REQUESTS_MAX {
                return Err(HubError::Busy);
            }
            inner.log_count += 1;
            let id = format!("log-{}", inner.log_count);
            inner.logs.insert(id.clone(), send);
            id
        };
        let request = LogRequest {
            id: id.clone(),
            lane,
            arm,
            lines,
        };
        self.change(|set| set.log_requests.push(request));
        let result = tokio::time::timeout(within, answer).await;
        self.change(|set| set.log_requests.retain(|request| request.id != id));
        self.inner().logs.remove(&id);
        match result {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(HubError::NoAnswer(within)),
        }
    }

    fn change(&self, with: impl FnOnce(&mut DesiredSet)) {
        self.desired.send_modify(|set| {
            let set = Arc::make_mut(set);
            with(set);
            set.version += 1;
        });
    }

    // ---- for agents ----------------------------------------------------------------------

    /// The desired set as soon as its version is above `after`, or what there is after `wait`.
    pub async fn desired(&self, after: u64, wait: Duration) -> Arc<DesiredSet> {
        let mut watched = self.desired.subscribe();
        // The sender lives as long as the hub: the only way out without news is the time.
        let _ = tokio::time::timeout(wait, watched.wait_for(|set| set.version > after)).await;
        Arc::clone(&self.desired.borrow())
    }

    /// Takes a report in. The same report again is acknowledged and not counted.
    pub fn report(&self, report: Report, now: Timestamp) -> Result<ReportAck, HubError> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let mut again = false;
        if let Some(known) = &inner.agent {
            let silent = airboss_model::time::since(known.last_seen, now);
            if known.id != report.agent && silent < Duration::from_secs(30) {
                return Err(HubError::OtherAgent {
                    known: known.id.clone(),
                    offered: report.agent,
                    last_seen: known.last_seen,
                });
            }
            again = known.id == report.agent
                && known.boot == report.boot
                && known.number >= report.number;
        }
        inner.agent = Some(AgentInfo {
            id: report.agent,
            version: report.version,
            last_seen: now,
            boot: report.boot,
            number: report.number,
        });
        if !again {
            for increment in report.traffic {
                // One number that cannot be true must not spoil all sums behind it.
                if !increment.counts.is_possible() {
                    tracing::warn!(lane = %increment.lane, instance = increment.instance, "the agent reports counts that cannot be true; they are left out");
                    continue;
                }
                let arm = link(inner, &increment.lane)
                    .traffic
                    .arms
                    .entry(increment.arm)
                    .or_default();
                arm.entry(increment.instance)
                    .or_default()
                    .add(&increment.counts);
            }
        }
        let mut renewed = Vec::new();
        for observed in report.observed {
            let lane = observed.lane.clone();
            let link = link(inner, &lane);
            link.traffic.reports = link.traffic.reports.saturating_add(1);
            if link
                .last_turn
                .is_some_and(|at| airboss_model::time::since(at, now) <= WATCHED_WITHIN)
            {
                renewed.push(lane);
            }
            link.observed.send_replace(Some(Arc::new(observed)));
        }
        drop(guard);
        let set = self.desired.borrow();
        Ok(ReportAck {
            renewed,
            version: set.version,
            incarnation: set.incarnation.clone(),
        })
    }

    /// Takes the answer to a request for logs; false where nobody waits for it any more.
    pub fn log_answer(&self, id: &str, answer: LogAnswer) -> bool {
        let waiting = self.inner().logs.remove(id);
        waiting.is_some_and(|waiting| waiting.send(answer).is_ok())
    }
}

fn link<'a>(inner: &'a mut Inner, lane: &LaneId) -> &'a mut Link {
    inner.links.entry(lane.clone()).or_insert_with(|| Link {
        observed: watch::Sender::new(None),
        traffic: LaneTraffic::default(),
        last_turn: None,
    })
}
