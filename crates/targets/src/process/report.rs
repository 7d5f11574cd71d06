//! Reports that wait to be acknowledged. No request is lost and none is counted twice: a
//! report whose answer did not come is sent again, the same; what is counted meanwhile is added
//! up for the one behind it. One entry an instance, so a long absence costs no memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::metrics::Reading;
use airboss_model::target::Observed;
use airboss_model::traffic::Counts;
use airboss_model::{ArmId, LaneId, Timestamp};
use airboss_proxy::InstanceCounts;
use tokio::time::Instant;

use super::protocol::{Report, TrafficIncrement};

/// Longest wait before an unanswered report is sent again.
const RETRY_MOST: Duration = Duration::from_secs(1);

pub(super) struct Reports {
    agent: String,
    boot: String,
    every: Duration,
    number: u64,
    /// Sent or to be sent, not acknowledged.
    open: Option<Arc<Report>>,
    sending: bool,
    failures: u32,
    last_try: Instant,
    pending: BTreeMap<(LaneId, ArmId, String), (Counts, Counts)>,
    since: Instant,
    changed: bool,
}

impl Reports {
    pub fn new(agent: String, boot: String, every: Duration) -> Self {
        let now = Instant::now();
        Self {
            agent,
            boot,
            every,
            number: 0,
            open: None,
            sending: false,
            failures: 0,
            last_try: now,
            pending: BTreeMap::new(),
            since: now,
            changed: true,
        }
    }

    /// Adds what a lane's splitter counted.
    pub fn count(&mut self, lane: &LaneId, counted: &[InstanceCounts]) {
        for one in counted {
            let key = (lane.clone(), one.arm.clone(), one.instance.clone());
            let (users, mirrored) = self.pending.entry(key).or_default();
            users.add(&one.counts);
            mirrored.add(&one.mirrored);
        }
    }

    /// Adds what an instance published.
    pub fn read(
        &mut self,
        lane: &LaneId,
        arm: &ArmId,
        instance: &str,
        read: &BTreeMap<String, Reading>,
    ) {
        let key = (lane.clone(), arm.clone(), instance.to_owned());
        let (users, _) = self.pending.entry(key).or_default();
        for (series, reading) in read {
            users
                .metrics
                .entry(series.clone())
                .or_default()
                .add(reading);
        }
    }

    /// Something changed that the controller should know at once.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// The report to send now, if any: an open one first, then a new one when something changed
    /// or the interval is over.
    pub fn next(
        &mut self,
        at: Timestamp,
        observed: impl FnOnce() -> Vec<Observed>,
    ) -> Option<Arc<Report>> {
        if self.sending {
            return None;
        }
        let waited = self.last_try.elapsed();
        if let Some(open) = &self.open {
            let wait = (self.every * self.failures.max(1)).min(RETRY_MOST);
            if waited < wait {
                return None;
            }
            let open = Arc::clone(open);
            self.sent();
            return Some(open);
        }
        if !self.changed && waited < self.every {
            return None;
        }
        let now = Instant::now();
        let covered = now.duration_since(self.since);
        self.since = now;
        self.number += 1;
        self.changed = false;
        let traffic = std::mem::take(&mut self.pending)
            .into_iter()
            .map(
                |((lane, arm, instance), (counts, mirrored))| TrafficIncrement {
                    lane,
                    arm,
                    instance,
                    counts,
                    mirrored,
                },
            )
            .collect();
        let report = Arc::new(Report {
            agent: self.agent.clone(),
            boot: self.boot.clone(),
            number: self.number,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sent_at: at,
            observed: observed(),
            traffic,
            covers_ms: u64::try_from(covered.as_millis()).unwrap_or(u64::MAX),
        });
        self.open = Some(Arc::clone(&report));
        self.sent();
        Some(report)
    }

    fn sent(&mut self) {
        self.sending = true;
        self.last_try = Instant::now();
    }

    /// True while a report is under way.
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    /// The controller has counted the open report.
    pub fn acknowledged(&mut self) {
        self.open = None;
        self.sending = false;
        self.failures = 0;
    }

    /// No answer came: the open report goes out again. True for the first of a row.
    pub fn unanswered(&mut self) -> bool {
        self.sending = false;
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }
}
