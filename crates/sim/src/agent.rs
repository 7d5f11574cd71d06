//! The agent's side of a world: a simulated host and one conversation with each controller.

use std::collections::BTreeMap;

use airboss_model::target::Observed;
use airboss_model::traffic::{Counts, Weight};
use airboss_model::{ArmId, LaneId, Timestamp};
use airboss_rehearsal::{Host, Traffic};
use airboss_targets::process::protocol::{Report, TrafficIncrement};
use tokio::time::Instant;

/// What is wrong with the agent now.
#[derive(Debug, Clone, Default)]
pub struct AgentFaults {
    /// It does not run.
    pub down_until: Option<Instant>,
    /// Its splitter keeps what it has.
    pub stuck_until: Option<Instant>,
    /// It reports this share whatever is in force.
    pub lie: Option<(Weight, Instant)>,
    /// Half of what acknowledges its reports is lost.
    pub lost_acks_until: Option<Instant>,
    /// Every report is delivered twice.
    pub duplicates_until: Option<Instant>,
    /// Messages take up to so many milliseconds.
    pub delays: Option<(u64, Instant)>,
    /// Reports come without measurements.
    pub mute_until: Option<Instant>,
    /// Measurements wait.
    pub old_until: Option<Instant>,
    /// Measurements are nonsense.
    pub absurd_until: Option<Instant>,
}

/// True while a fault lasts.
pub fn lasts(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until > Instant::now())
}

/// One conversation.
#[derive(Default)]
pub struct Link {
    /// Grows with each start of the agent or the controller.
    pub boot: u32,
    number: u64,
    pending: BTreeMap<(LaneId, ArmId, String), Counts>,
    open: Option<Report>,
    /// True while a message is under way.
    pub busy: bool,
}

impl Link {
    /// One of the two was started anew: what was counted and not acknowledged is lost with it.
    pub fn begin_anew(&mut self) {
        *self = Self {
            boot: self.boot + 1,
            ..Self::default()
        };
    }
}

/// The agent.
pub struct Agent {
    /// Instances and splitter.
    pub host: Host,
    /// Users.
    pub traffic: BTreeMap<LaneId, Traffic>,
    /// What is wrong.
    pub faults: AgentFaults,
    /// A conversation with each controller.
    pub links: Vec<Link>,
    /// A deliberately broken agent: its exposures never run out.
    pub ignores_leases: bool,
}

impl Agent {
    /// Lets users be served for so long and whatever is due happen.
    pub fn pass(&mut self, seconds: f64, now: Timestamp) {
        self.host.stuck =
            lasts(self.faults.stuck_until) || self.ignores_leases && self.is_expiring(now);
        let lanes: Vec<LaneId> = self.host.lanes().cloned().collect();
        for lane in &lanes {
            let routes = self.host.routes(lane);
            let Some(traffic) = self.traffic.get_mut(lane) else {
                continue;
            };
            for (arm, instances) in traffic.pass(seconds, &routes) {
                for (instance, counts) in instances {
                    for link in &mut self.links {
                        let place = (lane.clone(), arm.clone(), instance.clone());
                        link.pending.entry(place).or_default().add(&counts);
                    }
                }
            }
        }
        self.host.advance(now);
    }

    fn is_expiring(&self, now: Timestamp) -> bool {
        self.host
            .lanes()
            .any(|lane| self.host.exposure(lane).1.is_some_and(|until| until <= now))
    }

    /// The report to send to a controller now: the one that was not acknowledged, or a new one.
    pub fn report(&mut self, link: usize, now: Timestamp) -> Report {
        let lie = self.faults.lie.filter(|(_, until)| lasts(Some(*until)));
        let observed = self.observe(lie.map(|(weight, _)| weight), now);
        let faults = &self.faults;
        let (mute, old, absurd) = (
            lasts(faults.mute_until),
            lasts(faults.old_until),
            lasts(faults.absurd_until),
        );
        let link = &mut self.links[link];
        if let Some(open) = &link.open {
            return open.clone();
        }
        link.number += 1;
        let counted = if old {
            BTreeMap::new()
        } else {
            std::mem::take(&mut link.pending)
        };
        let traffic = counted
            .into_iter()
            .filter(|_| !mute)
            .map(|((lane, arm, instance), counts)| TrafficIncrement {
                lane,
                arm,
                instance,
                counts: if absurd {
                    nonsense(link.number)
                } else {
                    counts
                },
                mirrored: Counts::default(),
            })
            .collect();
        let report = Report {
            agent: "agent".to_owned(),
            boot: link.boot.to_string(),
            number: link.number,
            version: "sim".to_owned(),
            sent_at: now,
            observed,
            traffic,
            covers_ms: 250,
        };
        link.open = Some(report.clone());
        report
    }

    /// The controller has counted the open report.
    pub fn acknowledged(&mut self, link: usize, renewed: &[LaneId], now: Timestamp) {
        self.links[link].open = None;
        for lane in renewed {
            self.host.renew(lane, now);
        }
    }

    fn observe(&self, lie: Option<Weight>, now: Timestamp) -> Vec<Observed> {
        let lanes = self.host.lanes();
        lanes
            .filter_map(|lane| self.host.observe(lane, now))
            .map(|mut observed| {
                if let (Some(weight), Some(traffic)) = (lie, &mut observed.traffic) {
                    traffic.canary_weight = weight;
                }
                observed
            })
            .collect()
    }

    /// The process is started anew.
    pub fn restart(&mut self) {
        self.host.restart();
        self.links.iter_mut().for_each(Link::begin_anew);
    }
}

/// Counts that cannot be true, of several kinds.
fn nonsense(number: u64) -> Counts {
    let counts = |requests, status, bad, bucket, slow| Counts {
        requests,
        by_status: [(status, bad)].into(),
        latency: [(bucket, slow)].into(),
        ..Counts::default()
    };
    match number % 4 {
        0 => counts(5, 503, 500, 3, 1),
        1 => counts(u64::MAX, 200, u64::MAX, u16::MAX, u64::MAX),
        2 => counts(0, 0, 7, 0, 7),
        _ => counts(1 << 40, 999, 1 << 39, 1_055, 1 << 40),
    }
}
