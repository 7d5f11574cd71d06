//! One arm on this host: its spec, and the instances that run by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use airboss_model::LaneId;
use airboss_model::target::{DesiredArm, InstanceState};
use tokio::sync::watch;

use super::Means;
use crate::process::child::Process;
use crate::process::instance::{Goal, Status, Supervisor};

pub(super) struct Member {
    pub name: String,
    pub status: Status,
    pub goal: watch::Sender<Goal>,
}

impl Member {
    pub fn draining(&self) -> bool {
        matches!(*self.goal.borrow(), Goal::Drain(_))
    }
    pub fn ready(&self) -> bool {
        self.status.state == InstanceState::Ready && !self.draining()
    }
}

pub(super) struct Arm {
    pub spec: watch::Sender<Arc<DesiredArm>>,
    /// True once all its instances were ready together.
    pub proven: Arc<AtomicBool>,
    pub members: BTreeMap<u32, Member>,
}

impl Arm {
    pub fn new(spec: DesiredArm, proven: bool) -> Self {
        Self {
            spec: watch::Sender::new(Arc::new(spec)),
            proven: Arc::new(AtomicBool::new(proven)),
            members: BTreeMap::new(),
        }
    }
    pub fn ready(&self) -> u32 {
        let ready = self.members.values().filter(|member| member.ready());
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }
    pub fn failed(&self) -> Option<&String> {
        let mut members = self.members.values();
        members.find_map(|member| member.status.failed.as_ref())
    }

    /// Starts to look after an instance, whose process may live already.
    pub fn start(
        &mut self,
        lane: &LaneId,
        index: u32,
        status: Status,
        adopted: Option<Process>,
        means: &mut Means<'_>,
    ) {
        let name = format!("{}.{index}", self.spec.borrow().arm);
        let goal = watch::Sender::new(Goal::Run);
        let supervisor = Supervisor {
            site: Arc::clone(means.site),
            lane: lane.clone(),
            index,
            name: name.clone(),
            proven: Arc::clone(&self.proven),
            arm: self.spec.subscribe(),
            news: means.news.clone(),
            status: status.clone(),
        };
        means.tasks.spawn(supervisor.run(adopted, goal.subscribe()));
        self.members.insert(index, Member { name, status, goal });
    }
}
