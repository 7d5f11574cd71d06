//! Lanes and who owns them.

use airboss_model::{LaneId, Timestamp};

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::writer::Write;
use crate::{LaneRow, StoreError};

/// `owned_until` of a lane that nobody owns: before every time, so one comparison finds it.
pub(super) const NOBODY: i64 = i64::MIN;

const CREATE: &str = "INSERT INTO lanes (lane, seq, epoch, active, pending, owner, owned_until)
    VALUES ($1, 0, 0, 0, 0, NULL, $2) ON CONFLICT (lane) DO NOTHING";
// The condition on work is written as in the index `lanes_with_work`, so that idle lanes and
// those with a living owner are never visited.
const CLAIM: &str = "UPDATE lanes SET owner = $1, owned_until = $2, epoch = epoch + 1
    WHERE lane IN (
        SELECT lane FROM lanes WHERE active + pending > 0 AND owned_until < $3
        ORDER BY owned_until LIMIT $4
    )
    RETURNING lane, seq, epoch, active, owner, owned_until,
        (SELECT state FROM lane_states AS s WHERE s.lane = lanes.lane) AS state";
const CLAIM_ONE: &str = "UPDATE lanes SET owner = $1, owned_until = $2, epoch = epoch + 1
    WHERE lane = $4 AND (owned_until < $3 OR owner = $1)
    RETURNING lane, seq, epoch, active, owner, owned_until,
        (SELECT state FROM lane_states AS s WHERE s.lane = lanes.lane) AS state";
const RENEW: &str = "UPDATE lanes SET owned_until = $2 WHERE owner = $1 AND owned_until >= $3
    RETURNING lane";
const RELEASE: &str = "UPDATE lanes SET owner = NULL, owned_until = $2 WHERE owner = $1";
const GET: &str = "SELECT lanes.lane, seq, epoch, active, owner, owned_until, state
    FROM lanes LEFT JOIN lane_states ON lane_states.lane = lanes.lane WHERE lanes.lane = $1";
const ALL: &str = "SELECT lanes.lane, seq, epoch, active, owner, owned_until, state
    FROM lanes LEFT JOIN lane_states ON lane_states.lane = lanes.lane
    WHERE lanes.lane <> 'airboss/installation' ORDER BY lanes.lane";

const HAS_EPOCH: &str = "SELECT count(*) AS here FROM lanes WHERE lane = $1 AND epoch = $2";
const RAISE: &str = "UPDATE lanes SET epoch = $3 WHERE lane = $1 AND epoch = $2";
const WAITING: &str = "SELECT lane FROM lanes WHERE owner = $1 AND pending > 0 ORDER BY lane";

/// Refuses who writes under a claim that is no longer the newest.
pub(super) async fn fence(db: &mut Db, lane: &LaneId, epoch: u64) -> Result<(), Fault> {
    let here = Sql::new(HAS_EPOCH)
        .bind(lane.as_str())
        .bind(integer(epoch)?)
        .fetch_one(db)
        .await?;
    match here.count("here")? {
        0 => Err(fenced(lane, epoch)),
        _ => Ok(()),
    }
}

fn fenced(lane: &LaneId, epoch: u64) -> Fault {
    Fault::Refused(StoreError::Fenced {
        lane: lane.clone(),
        seq: None,
        epoch,
    })
}

/// A higher epoch for the claim in force.
pub(super) struct Raise {
    pub(super) lane: LaneId,
    pub(super) epoch: u64,
    pub(super) to: u64,
}

impl Write for Raise {
    type Answer = ();
    const WHAT: &'static str = "the raising of an epoch";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let raised = Sql::new(RAISE)
            .bind(self.lane.as_str())
            .bind(integer(self.epoch)?)
            .bind(integer(self.to.max(self.epoch))?)
            .execute(db)
            .await?;
        match raised {
            0 => Err(fenced(&self.lane, self.epoch)),
            _ => Ok(()),
        }
    }
}

pub(super) async fn waiting(db: &Pool, owner: &str) -> Result<Vec<LaneId>, Fault> {
    let rows = Sql::new(WAITING).bind(owner).fetch_all(db).await?;
    rows.iter().map(|row| row.id("lane")).collect()
}

/// Creates the lane where it is new.
pub(super) async fn create(db: &mut Db, lane: &str) -> Result<(), Fault> {
    Sql::new(CREATE).bind(lane).bind(NOBODY).execute(db).await?;
    Ok(())
}

/// A claim of any lanes with work.
pub(super) struct Claim {
    owner: String,
    until: i64,
    now: i64,
    limit: u32,
}

impl Claim {
    pub(super) fn new(owner: &str, until: Timestamp, now: Timestamp, limit: u32) -> Self {
        Self {
            owner: owner.to_owned(),
            until: micros(until),
            now: micros(now),
            limit,
        }
    }
}

impl Write for Claim {
    type Answer = Vec<LaneRow>;
    const WHAT: &'static str = "the claim of lanes";

    async fn apply(&self, db: &mut Db) -> Result<Vec<LaneRow>, Fault> {
        let rows = Sql::new(CLAIM)
            .bind(&self.owner)
            .bind(self.until)
            .bind(self.now)
            .bind(i64::from(self.limit))
            .fetch_all(db)
            .await?;
        rows.iter().map(read).collect()
    }
}

/// A claim of one lane.
pub(super) struct ClaimOne {
    lane: String,
    owner: String,
    until: i64,
    now: i64,
}

impl ClaimOne {
    pub(super) fn new(lane: &LaneId, owner: &str, until: Timestamp, now: Timestamp) -> Self {
        Self {
            lane: lane.to_string(),
            owner: owner.to_owned(),
            until: micros(until),
            now: micros(now),
        }
    }
}

impl Write for ClaimOne {
    type Answer = Option<LaneRow>;
    const WHAT: &'static str = "the claim of a lane";

    async fn apply(&self, db: &mut Db) -> Result<Option<LaneRow>, Fault> {
        create(db, &self.lane).await?;
        let row = Sql::new(CLAIM_ONE)
            .bind(&self.owner)
            .bind(self.until)
            .bind(self.now)
            .bind(&self.lane)
            .fetch_optional(db)
            .await?;
        row.as_ref().map(read).transpose()
    }
}

/// Longer life for an owner's claims that have not run out.
pub(super) struct Renew {
    owner: String,
    until: i64,
    now: i64,
}

impl Renew {
    pub(super) fn new(owner: &str, until: Timestamp, now: Timestamp) -> Self {
        Self {
            owner: owner.to_owned(),
            until: micros(until),
            now: micros(now),
        }
    }
}

impl Write for Renew {
    type Answer = Vec<LaneId>;
    const WHAT: &'static str = "the renewal of claims";

    async fn apply(&self, db: &mut Db) -> Result<Vec<LaneId>, Fault> {
        let rows = Sql::new(RENEW)
            .bind(&self.owner)
            .bind(self.until)
            .bind(self.now)
            .fetch_all(db)
            .await?;
        rows.iter().map(|row| row.id("lane")).collect()
    }
}

/// The end of all claims of an owner.
pub(super) struct Release(pub(super) String);

impl Write for Release {
    type Answer = ();
    const WHAT: &'static str = "the return of claims";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        Sql::new(RELEASE)
            .bind(&self.0)
            .bind(NOBODY)
            .execute(db)
            .await?;
        Ok(())
    }
}

pub(super) async fn get(db: &Pool, lane: &str) -> Result<Option<LaneRow>, Fault> {
    let row = Sql::new(GET).bind(lane).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(db: &Pool) -> Result<Vec<LaneRow>, Fault> {
    let rows = Sql::new(ALL).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<LaneRow, Fault> {
    let owner = row.maybe_text("owner")?;
    let owned_until = match &owner {
        Some(_) => row.maybe_time("owned_until")?,
        None => None,
    };
    Ok(LaneRow {
        lane: row.id("lane")?,
        seq: row.count("seq")?,
        epoch: row.count("epoch")?,
        owner,
        owned_until,
        state: row.maybe_json("state")?,
        active: row.integer("active")? != 0,
    })
}

#[cfg(test)]
mod tests {

    use super::*;

    /// However many lanes are idle or owned, a claim looks only at those it may take.
    #[tokio::test]
    async fn a_claim_visits_only_lanes_that_it_may_take() {
        let mut db = super::super::fresh().await.unwrap();
        let steps = Sql::begin(&format!("EXPLAIN QUERY PLAN {CLAIM}"))
            .fetch_all(&mut db)
            .await
            .unwrap();
        let plan: Vec<String> = steps.iter().map(|it| it.text("detail").unwrap()).collect();
        let narrow = |step: &String| step.contains("lanes_with_work (owned_until<?)");
        assert!(plan.iter().any(narrow), "{plan:?}");
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN")),
            "{plan:?}"
        );
    }
}
