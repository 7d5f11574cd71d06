//! A lane told to others: to the journal and from it, and to the controller.

use std::sync::atomic::Ordering;

use airboss_model::Timestamp;
use airboss_model::target::{
    InstanceState, Observed, ObservedArm, ObservedInstance, ObservedTraffic,
};
use airboss_model::time::since;
use tokio::time::Instant;

use super::arm::{Arm, Member};
use super::{Lane, MAX_ARMS, MAX_INSTANCES, Means};
use crate::process::child::Process;
use crate::process::instance::Status;
use crate::process::journal::{ArmRecord, InstanceRecord, LaneRecord};
use crate::process::launch::address;
use crate::process::meter::Meter;

impl Lane {
    /// Takes over from an earlier agent: processes that live are adopted with their state.
    /// `same_boot` is false where the kernel was started since: then no process can live.
    pub fn recover(
        record: LaneRecord,
        now: Timestamp,
        same_boot: bool,
        means: &mut Means<'_>,
    ) -> Self {
        let mut lane = Self::new(record.desired);
        lane.applied = record.applied;
        lane.lease_written = record.lease_until;
        // A clock that was set back must not make the lease longer than it is.
        lane.lease_until = record
            .lease_until
            .map(|until| Instant::now() + since(now, until).min(lane.desired.exposure_lease.0));
        for record in record.arms {
            let id = record.spec.arm.clone();
            let mut arm = Arm::new(record.spec, record.proven);
            for instance in record.instances {
                let adopted = match (instance.pid, instance.started) {
                    (Some(pid), Some(started)) if same_boot => Process::adopt(pid, started),
                    _ => None,
                };
                // What is gone and not asked for any more has nothing to be drained.
                if adopted.is_none() && instance.index >= lane.wanted(&id) {
                    continue;
                }
                if let Some(port) = instance.port {
                    means.site.ports.keep(port);
                }
                let mut status = Status {
                    port: instance.port,
                    restarts: instance.restarts,
                    ever_ready: instance.ever_ready,
                    last_error: instance.last_error,
                    ..Status::default()
                };
                if let Some(process) = &adopted {
                    status.pid = Some(process.pid);
                    status.started = Some(process.started);
                    status.failed = instance.failed;
                    status.state = match instance.state {
                        lives @ (InstanceState::Ready | InstanceState::Unready) => lives,
                        _ => InstanceState::Starting,
                    };
                } else if instance.pid.is_some() {
                    status.restarts += 1;
                    status.last_error = Some("ended while no agent ran".to_owned());
                }
                arm.start(&lane.desired.lane, instance.index, status, adopted, means);
            }
            lane.arms.insert(id, arm);
        }
        lane
    }

    /// What the journal keeps.
    pub fn record(&self) -> LaneRecord {
        let arms = self.arms.values().map(|arm| ArmRecord {
            spec: (**arm.spec.borrow()).clone(),
            proven: arm.proven.load(Ordering::Relaxed),
            instances: arm
                .members
                .iter()
                .map(|(index, member)| InstanceRecord {
                    index: *index,
                    pid: member.status.pid,
                    started: member.status.started,
                    port: member.status.port,
                    restarts: member.status.restarts,
                    state: member.status.state,
                    ever_ready: member.status.ever_ready,
                    last_error: member.status.last_error.clone(),
                    failed: member.status.failed.clone(),
                })
                .collect(),
        });
        LaneRecord {
            desired: self.desired.clone(),
            applied: self.applied.clone(),
            lease_until: self.lease_written,
            arms: arms.collect(),
        }
    }

    /// What the controller is told. `problems` are the agent's own.
    pub fn observe(&self, at: Timestamp, problems: &[String]) -> Observed {
        let traffic = (self.applied.as_ref()).filter(|_| self.table.is_some());
        let traffic = traffic.map(|applied| ObservedTraffic {
            generation: applied.generation,
            stable: applied.traffic.stable.clone(),
            canary: applied.traffic.canary.clone(),
            canary_weight: applied.traffic.canary_weight,
            lease_expired_at: applied.lease_expired.as_ref().map(|expired| expired.at),
        });
        let arms = self.arms.iter().map(|(id, arm)| ObservedArm {
            arm: id.clone(),
            instances: arm.members.values().map(see).collect(),
            failed: arm.failed().cloned(),
        });
        let own = [&self.listen_problem, &self.table_problem, &self.refused];
        let own = own.into_iter().flatten().cloned();
        let members = self.arms.values().flat_map(|arm| arm.members.values());
        let theirs = members.filter_map(|member| member.status.problem.clone());
        let mut problems: Vec<String> = own.chain(theirs).chain(problems.iter().cloned()).collect();
        // One tells enough: the others mostly say the same.
        problems.extend(self.meters.values().find_map(Meter::problem));
        for spec in &self.desired.arms {
            if spec.instances > MAX_INSTANCES {
                problems.push(format!(
                    "{} shall have {} instances; one host runs at most {MAX_INSTANCES} of an arm",
                    spec.arm, spec.instances
                ));
            }
            if !self.arms.contains_key(&spec.arm) {
                problems.push(format!(
                    "{} waits: {MAX_ARMS} arms of this lane still run or drain here",
                    spec.arm
                ));
            }
        }
        Observed {
            lane: self.desired.lane.clone(),
            generation: self.desired.generation,
            epoch: self.desired.epoch,
            traffic,
            arms: arms.collect(),
            problems,
            at,
        }
    }
}

fn see(member: &Member) -> ObservedInstance {
    ObservedInstance {
        name: member.name.clone(),
        state: match member.draining() {
            true => InstanceState::Draining,
            false => member.status.state,
        },
        pid: member.status.pid,
        address: (member.status.port).map(|port| address(port).to_string()),
        restarts: member.status.restarts,
        last_error: member.status.last_error.clone(),
    }
}
