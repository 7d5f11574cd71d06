//! The witness, where store and agent reach it.

use std::sync::{Mutex, MutexGuard};

use airboss_store::{Commit, EvidenceRow, LaneRow, RecordFilter};
use tokio::time::Instant;

use super::lock;
use crate::store::{Observer, Tables};
use crate::witness::{Finding, Sight, Witness};

/// What sees a world.
pub(super) struct Eye {
    pub(super) inner: Mutex<Watched>,
    pub(super) begun: Instant,
    /// Whether to keep what was seen.
    pub(super) keep: bool,
}

/// What it knows.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) witness: Witness,
    pub(super) finding: Option<Finding>,
    events: u64,
    pub(super) sights: Vec<Sight>,
}

impl Eye {
    pub(super) fn inner(&self) -> MutexGuard<'_, Watched> {
        lock(&self.inner)
    }

    /// Takes a sight in, unless a promise was broken before.
    pub(super) fn see(&self, sight: Sight) {
        let mut inner = self.inner();
        if inner.finding.is_none()
            && let Err(finding) = inner.witness.see(&sight)
        {
            inner.finding = Some(finding);
        }
        if self.keep {
            inner.sights.push(sight);
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.inner().finding.is_some()
    }
}

impl Observer for Eye {
    fn claimed(&self, owner: &str, row: &LaneRow) {
        self.see(Sight::Claimed {
            lane: row.lane.clone(),
            owner: owner.to_owned(),
            epoch: row.epoch,
        });
    }
    fn committed(&self, owner: &str, commit: &Commit, tables: &Tables) {
        let after = self.inner().events;
        let records = tables.log_records(&RecordFilter {
            after,
            limit: 5_000,
            ..RecordFilter::default()
        });
        self.inner().events = tables.last_event();
        self.see(Sight::Committed {
            owner: owner.to_owned(),
            commit: Box::new(commit.clone()),
            records,
            head: tables.log_head().clone(),
            waiting: tables.inbox(&commit.lane, 1_000).len(),
            at: self.begun.elapsed(),
        });
    }
    fn recorded(&self, _owner: &str, rows: &[EvidenceRow]) {
        for row in rows {
            self.see(Sight::Watched {
                rollout: row.rollout.clone(),
                at: self.begun.elapsed(),
            });
        }
    }
}
