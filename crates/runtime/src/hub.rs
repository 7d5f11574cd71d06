//! The controller's half of what agents and controller say to each other.
//!
//! The hub keeps, in memory only, what every lane's target shall look like and what the agent
//! last reported. Nothing here needs to survive a crash: the desired states are in the lanes'
//! committed states and are handed in again at each start, and agents report whole states.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airboss_model::target::{Desired, InstanceState, Observed};
use airboss_model::traffic::Counts;
use airboss_model::{ArmId, LaneId, Timestamp};
use airboss_targets::process::protocol::{DesiredSet, LogAnswer, LogRequest, Report, ReportAck};
use tokio::sync::{oneshot, watch};

use crate::roster::Roster;

/// How recent a lane's last completed turn must be for its exposure lease to be renewed.
const WATCHED_WITHIN: Duration = Duration::from_secs(5);

/// The installation's own agent may be another one after so long a silence.
const OTHER_AFTER: Duration = Duration::from_secs(30);

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
    /// Two agents show a token, and nobody could tell which lanes are whose.
    #[error(
        "agent {offered} is refused: agent {known} shows a token of this installation too, last heard {last_seen}. Stop one of the two, or let one join with a key of its own: `airboss agent token`"
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
    /// Lanes that run on its host and are another agent's, or nobody's that it is.
    pub strays: Vec<LaneId>,
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
    agents: BTreeMap<String, AgentInfo>,
    roster: Arc<Roster>,
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

    /// The last report of the agent that carries a lane, or this hub's start where none came yet.
    pub fn last_seen(&self, lane: &LaneId) -> Timestamp {
        self.agent(lane)
            .map_or(self.started, |agent| agent.last_seen)
    }

    /// The agent that carries a lane, where it has reported.
    pub fn agent(&self, lane: &LaneId) -> Option<AgentInfo> {
        let inner = self.inner();
        match inner.roster.carrier(lane) {
            Some(member) => inner.agents.get(&member.id).cloned(),
            None => inner.local().cloned(),
        }
    }

    /// Every agent that has reported and is not revoked.
    pub fn agents(&self) -> Vec<AgentInfo> {
        self.inner().agents.values().cloned().collect()
    }

    /// Agents with keys of their own.
    pub fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.inner().roster)
    }

    /// Learns which agents have keys of their own.
    pub fn know(&self, roster: Roster) {
        {
            let mut inner = self.inner();
            if *inner.roster == roster {
                return;
            }
            let before = std::mem::replace(&mut inner.roster, Arc::new(roster));
            let Inner { agents, roster, .. } = &mut *inner;
            // A revoked one is nobody's local agent either.
            agents.retain(|id, _| before.member(id).is_none() || roster.member(id).is_some());
        }
        // Everybody's part may be another.
        self.change(|_| {});
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

    /// An agent's desired set as soon as its version is above `after`, or what there is after `wait`.
    pub async fn desired(&self, agent: &str, after: u64, wait: Duration) -> Arc<DesiredSet> {
        let mut watched = self.desired.subscribe();
        // The sender lives as long as the hub: the only way out without news is the time.
        let _ = tokio::time::timeout(wait, watched.wait_for(|set| set.version > after)).await;
        let set = Arc::clone(&self.desired.borrow());
        let roster = self.roster();
        if roster.members().is_empty() {
            return set;
        }
        let mut part = DesiredSet::clone(&set);
        part.lanes
            .retain(|desired| roster.is_carried_by(agent, &desired.lane));
        part.log_requests
            .retain(|request| roster.is_carried_by(agent, &request.lane));
        Arc::new(part)
    }

    /// Takes a report in. The same report again is acknowledged and not counted.
    pub fn report(&self, report: Report, now: Timestamp) -> Result<ReportAck, HubError> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let roster = Arc::clone(&inner.roster);
        let is_local = roster.member(&report.agent).is_none();
        if is_local && let Some(known) = inner.local() {
            let silent = airboss_model::time::since(known.last_seen, now);
            if known.id != report.agent && silent < OTHER_AFTER {
                return Err(HubError::OtherAgent {
                    known: known.id.clone(),
                    offered: report.agent,
                    last_seen: known.last_seen,
                });
            }
            if known.id != report.agent {
                let gone = known.id.clone();
                inner.agents.remove(&gone);
            }
        }
        let again = inner
            .agents
            .get(&report.agent)
            .is_some_and(|known| known.boot == report.boot && known.number >= report.number);
        let is_carried = |lane: &LaneId| roster.is_carried_by(&report.agent, lane);
        let strays = report.observed.iter().filter(|it| !is_carried(&it.lane));
        let info = AgentInfo {
            id: report.agent.clone(),
            version: report.version,
            last_seen: now,
            strays: strays
                .filter(|it| runs(it))
                .map(|it| it.lane.clone())
                .collect(),
            boot: report.boot,
            number: report.number,
        };
        inner.agents.insert(report.agent.clone(), info);
        if !again {
            for increment in report.traffic.into_iter().filter(|it| is_carried(&it.lane)) {
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
        for observed in report
            .observed
            .into_iter()
            .filter(|it| is_carried(&it.lane))
        {
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

impl Inner {
    /// The installation's own agent.
    fn local(&self) -> Option<&AgentInfo> {
        let mut agents = self.agents.values();
        agents.find(|agent| self.roster.member(&agent.id).is_none())
    }
}

/// Whether anything of a lane is alive.
fn runs(observed: &Observed) -> bool {
    let mut instances = observed.arms.iter().flat_map(|arm| &arm.instances);
    instances.any(|it| it.state != InstanceState::Stopped)
}

fn link<'a>(inner: &'a mut Inner, lane: &LaneId) -> &'a mut Link {
    inner.links.entry(lane.clone()).or_insert_with(|| Link {
        observed: watch::Sender::new(None),
        traffic: LaneTraffic::default(),
        last_turn: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::at;
    use airboss_model::target::DesiredTraffic;
    use airboss_model::{Digest, Span};
    use airboss_store::AgentRow;

    fn row(id: &str, carries: &str) -> AgentRow {
        AgentRow {
            id: id.to_owned(),
            name: id.to_owned(),
            carries: carries.to_owned(),
            invite: Digest::from_sha256([1; 32]),
            invited_by: "ann".to_owned(),
            invited_at: at(0),
            invited_till: at(9),
            public_key: None,
            joined_at: None,
            revoked_by: None,
            revoked_at: None,
        }
    }

    fn report(agent: &str, number: u64, lanes: &[&str]) -> Report {
        let observed = lanes.iter().map(|lane| Observed {
            lane: lane.parse().unwrap(),
            generation: number,
            epoch: 0,
            traffic: None,
            arms: Vec::new(),
            problems: Vec::new(),
            at: at(number),
        });
        Report {
            agent: agent.to_owned(),
            boot: "b".to_owned(),
            number,
            version: "0".to_owned(),
            sent_at: at(number),
            observed: observed.collect(),
            traffic: Vec::new(),
            covers_ms: 250,
        }
    }

    #[tokio::test]
    async fn each_agent_hears_of_its_lanes_and_is_heard_of_them_alone() {
        let hub = Hub::new("1".to_owned(), at(0));
        let lanes: [LaneId; 3] =
            ["shop/production", "shop/staging", "shop/test"].map(|lane| lane.parse().unwrap());
        for lane in &lanes {
            hub.apply(Desired {
                lane: lane.clone(),
                generation: 1,
                epoch: 1,
                arms: Vec::new(),
                traffic: DesiredTraffic::default(),
                exposure_lease: Span::secs(60),
            });
        }
        hub.know(Roster::of(&[
            row("one", "*/production"),
            row("two", "*/staging"),
        ]));
        for (agent, carries) in [("one", 0), ("two", 1), ("own", 2)] {
            let set = hub.desired(agent, 0, Duration::ZERO).await;
            let told: Vec<_> = set.lanes.iter().map(|it| &it.lane).collect();
            assert_eq!(told, [&lanes[carries]], "{agent}");
            // Whatever it reports, only its lane's is taken.
            let all = ["shop/production", "shop/staging", "shop/test"];
            let second = 10 + carries as u64;
            let report = report(agent, second, &all);
            hub.report(report, at(second)).unwrap();
        }
        for (carries, lane) in lanes.iter().enumerate() {
            let second = 10 + carries as u64;
            assert_eq!(hub.last_seen(lane), at(second));
            let seen = hub.follow(lane).borrow().clone().unwrap();
            assert_eq!(seen.generation, second);
        }
        // Another agent with a token is refused while the first one lives; one with a key is not.
        let other = hub.report(report("another", 1, &[]), at(13));
        assert!(matches!(other, Err(HubError::OtherAgent { .. })));
        // Without the first one, its lanes are the next one's.
        hub.know(Roster::of(&[row("two", "*")]));
        assert_eq!(hub.agent(&lanes[0]).unwrap().id, "two");
        assert!(hub.agents().iter().all(|agent| agent.id != "one"));
    }
}
