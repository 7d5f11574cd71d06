//! The judge of one rollout at work: measurements in, verdicts out, everything recorded first.

use std::collections::BTreeMap;
use std::sync::Arc;

use airboss_engine::{Lane, Phase, Rollout};
use airboss_judge::{Assessment, Judge, Silence, Tick};
use airboss_model::time::since;
use airboss_model::traffic::Counts;
use airboss_model::{ArmId, RolloutId, Timestamp};
use airboss_store::{EvidenceRow, Store, StoreError};
use airboss_telemetry::Gauge;
use serde::{Deserialize, Serialize};

use crate::hub::LaneTraffic;

/// How often the judge's state is kept, in ticks: what a restart has to replay at the most.
const SNAPSHOT_EVERY: u64 = 30;

/// What happened to the judge in one second, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Evidence {
    /// A step began before this second's measurements were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Began>,
    /// The measurements; None where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tick: Option<Tick>,
    /// Why there were none, with the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silence: Option<(u64, Silence)>,
}

/// A step as the judge is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Began {
    step: usize,
    weight: f64,
    next: Option<f64>,
}

/// The judge's state as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    judge: Judge,
    step: Option<usize>,
}

/// The judge of the rollout in progress.
pub struct Judging {
    rollout: RolloutId,
    started: Timestamp,
    gauge: Gauge,
    judge: Judge,
    step: Option<usize>,
    ticks: u64,
    last_t: Option<u64>,
    assessment: Option<Arc<Assessment>>,
}

impl Judging {
    /// The judge of a rollout: a new one, or the one that was at work before a restart, brought
    /// to where it was from its record.
    pub async fn resume(rollout: &Rollout, store: &dyn Store) -> Result<Self, StoreError> {
        let gauge = Gauge::new(&rollout.request.service);
        let fresh = match Judge::new(gauge.config().clone()) {
            Ok(judge) => judge,
            // The manifest was validated; should a config slip through, errors are still judged.
            Err(error) => {
                tracing::error!(rollout = %rollout.id(), %error, "the manifest's SLOs cannot be judged; judging server errors only");
                Judge::new(airboss_judge::Config::errors_and_latency(Vec::new()))
                    .map_err(|error| broken(error.to_string()))?
            }
        };
        let mut judging = Self {
            rollout: rollout.id().clone(),
            started: rollout.started_at,
            gauge,
            judge: fresh,
            step: None,
            ticks: 0,
            last_t: None,
            assessment: None,
        };
        let (snapshot, rows) = store.evidence_since_snapshot(rollout.id()).await?;
        if let Some(row) = snapshot
            && let Some(kept) = row.snapshot
        {
            match serde_json::from_value::<Snapshot>(kept) {
                Ok(kept) => {
                    judging.judge = kept.judge;
                    judging.step = kept.step;
                    judging.ticks = row.tick + 1;
                    judging.last_t = Some(judging.second(row.at));
                }
                Err(error) => {
                    tracing::warn!(rollout = %judging.rollout, %error, "the judge's kept state is not understood; its evidence starts anew")
                }
            }
        }
        for row in rows {
            if let Ok(evidence) = serde_json::from_value::<Evidence>(row.body) {
                judging.assessment = Some(Arc::new(take(&mut judging.judge, &evidence)));
                judging.step = evidence.step.map(|began| began.step).or(judging.step);
            }
            judging.ticks = row.tick + 1;
            judging.last_t = Some(judging.second(row.at));
        }
        Ok(judging)
    }

    /// Which rollout is judged.
    pub fn rollout(&self) -> &RolloutId {
        &self.rollout
    }

    /// What the judge said last.
    pub fn assessment(&self) -> Option<&Arc<Assessment>> {
        self.assessment.as_ref()
    }

    fn second(&self, at: Timestamp) -> u64 {
        since(self.started, at).as_secs()
    }

    /// Takes the measurements of the second that ends now: records them, then judges. Returns
    /// the step that was judged and what the judge says.
    pub async fn observe(
        &mut self,
        lane: &Lane,
        traffic: &LaneTraffic,
        now: Timestamp,
        store: &dyn Store,
    ) -> Result<Option<(usize, Arc<Assessment>)>, StoreError> {
        let Some(rollout) = lane.active.as_ref().filter(|rollout| rollout.exposed) else {
            return Ok(None);
        };
        let Some(step) = rollout.phase.step() else {
            return Ok(None);
        };
        // A timer that comes a little early still ends a second of its own.
        let t = self.last_t.map_or(0, |last| last + 1).max(self.second(now));
        let observing = matches!(rollout.phase, Phase::Observing { .. });
        let began = (observing && self.step != Some(step)).then(|| Began {
            step,
            weight: rollout.plan.weight(step).ratio(),
            next: rollout
                .plan
                .steps
                .get(step + 1)
                .map(|next| next.weight.ratio()),
        });
        let evidence = self.evidence(lane, rollout, began, traffic, t);
        let mut judge = self.judge.clone();
        let assessment = Arc::new(take(&mut judge, &evidence));
        let judged = began.map(|began| began.step).or(self.step);
        let keep = began.is_some() || self.ticks.is_multiple_of(SNAPSHOT_EVERY);
        let snapshot = keep
            .then(|| {
                serde_json::to_value(Snapshot {
                    judge: judge.clone(),
                    step: judged,
                })
            })
            .transpose()
            .map_err(json)?;
        let row = EvidenceRow {
            rollout: self.rollout.clone(),
            tick: self.ticks,
            at: now,
            body: serde_json::to_value(&evidence).map_err(json)?,
            snapshot,
        };
        store.append_evidence(&[row]).await?;
        self.judge = judge;
        self.step = judged;
        self.ticks += 1;
        self.last_t = Some(t);
        self.assessment = Some(Arc::clone(&assessment));
        // Before its weight is confirmed a step has no proof of its own.
        Ok(Some((
            if observing {
                step
            } else {
                judged.unwrap_or(step)
            },
            assessment,
        )))
    }

    fn evidence(
        &self,
        lane: &Lane,
        rollout: &Rollout,
        step: Option<Began>,
        traffic: &LaneTraffic,
        t: u64,
    ) -> Evidence {
        if traffic.reports == 0 {
            return Evidence {
                step,
                tick: None,
                silence: Some((
                    t,
                    Silence::SourceDown("the agent did not report".to_owned()),
                )),
            };
        }
        let weight = lane
            .seen_traffic()
            .map_or(airboss_model::traffic::Weight::ZERO, |seen| {
                seen.canary_weight
            });
        let alone = lane.stable.is_none() || weight == airboss_model::traffic::Weight::FULL;
        let arm = |arm: &ArmId| -> Option<&BTreeMap<String, Counts>> { traffic.arms.get(arm) };
        let canary = arm(rollout.id());
        let baseline = lane.stable.as_ref().and_then(|stable| arm(&stable.arm));
        let requests = |arm: Option<&BTreeMap<String, Counts>>| {
            arm.map_or(0, |arm| {
                arm.values().map(|counts| counts.requests).sum::<u64>()
            })
        };
        if requests(canary) + requests(baseline) == 0 {
            return Evidence {
                step,
                tick: None,
                silence: Some((t, Silence::NoData)),
            };
        }
        // The splitter reported: an arm without requests had none, which is not silence.
        let idle = BTreeMap::from([("-".to_owned(), Counts::default())]);
        let tick = self.gauge.tick(
            t,
            weight,
            canary.or(Some(&idle)),
            baseline.or(Some(&idle)),
            alone,
        );
        Evidence {
            step,
            tick: Some(tick),
            silence: None,
        }
    }
}

/// What one recorded second does to a judge. The same record always does the same.
fn take(judge: &mut Judge, evidence: &Evidence) -> Assessment {
    if let Some(began) = evidence.step
        && let Err(error) = judge.start_step(began.weight, began.next)
    {
        tracing::error!(%error, "the judge refuses a step; it goes on with the one before");
    }
    match (&evidence.tick, &evidence.silence) {
        (Some(tick), _) => judge.observe(tick),
        (None, Some((t, silence))) => judge.silence(*t, silence.clone()),
        (None, None) => judge.assess(),
    }
}

fn json(error: serde_json::Error) -> StoreError {
    broken(error.to_string())
}

fn broken(detail: String) -> StoreError {
    StoreError::Unavailable {
        what: "keep the judge's state",
        source: detail.into(),
    }
}
