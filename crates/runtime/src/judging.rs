//! The judge of one rollout at work: measurements in, verdicts out, everything recorded first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Lane, Phase, Request, Rollout};
use airboss_judge::coverage::MixTick;
use airboss_judge::{Assessment, Calibration, Config, Explanation, Judge, Silence, Tick};
use airboss_model::manifest::Service;
use airboss_model::time::since;
use airboss_model::traffic::{Counts, Weight};
use airboss_model::{ArmId, RolloutId, Timestamp};
use airboss_store::{EvidenceRow, Store, StoreError};
use airboss_telemetry::{Gauge, Judged, Replay};
use serde::{Deserialize, Serialize};

use crate::hub::LaneTraffic;

/// How often the judge's state is kept, in ticks: what a restart has to replay at the most.
const SNAPSHOT_EVERY: u64 = 30;

/// Rows of evidence that are read at once.
const ROWS_AT_ONCE: u32 = 500;

/// How long the agent may be late with a report before the judge is told that it is silent. On a
/// loaded host a report comes a second late now and then; its counts are judged when it comes.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// What happened to the judge in one second, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Evidence {
    /// What the judge knew of the service when it began; in the first second only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    history: Option<Calibration>,
    /// A step began before this second's measurements were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Began>,
    /// The measurements; None where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tick: Option<Tick>,
    /// What the requests were for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mix: Option<MixTick>,
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
struct Snapshot<'a> {
    judge: Cow<'a, Judge>,
    step: Option<usize>,
    #[serde(default)]
    began: Option<Began>,
}

/// What a second's measurements lead to, once they are recorded.
pub struct Heard {
    /// What is to be recorded.
    pub row: EvidenceRow,
    began: Option<Began>,
    step: Option<usize>,
    t: u64,
    taken: Option<Judged>,
    about: usize,
    assessment: Arc<Assessment>,
}

/// The judge of the rollout in progress.
pub struct Judging {
    rollout: RolloutId,
    started: Timestamp,
    gauge: Gauge,
    config: Arc<Config>,
    judge: Judge,
    step: Option<usize>,
    began: Option<Began>,
    ticks: u64,
    last_t: Option<u64>,
    heard: Option<Timestamp>,
    assessment: Option<Arc<Assessment>>,
    /// What the judge is to know and has not recorded yet.
    history: Option<Calibration>,
    /// The same for those who record; not known behind a restart.
    known: Option<Arc<Calibration>>,
    service: Arc<Service>,
    judged: Option<Judged>,
}

impl Judging {
    /// The judge of a rollout: a new one, or the one that was at work before a restart, brought
    /// to where it was from its record. A new one knows `history`.
    pub async fn resume(
        rollout: &Rollout,
        store: &dyn Store,
        history: Option<Calibration>,
    ) -> Result<Self, StoreError> {
        let (snapshot, rows) = store.evidence_since_snapshot(rollout.id()).await?;
        Self::replay(rollout, snapshot, rows, history)
    }

    /// The same from the record itself: the newest row with a snapshot, and the rows behind it.
    pub fn replay(
        rollout: &Rollout,
        snapshot: Option<EvidenceRow>,
        rows: Vec<EvidenceRow>,
        history: Option<Calibration>,
    ) -> Result<Self, StoreError> {
        let gauge = Gauge::new(&rollout.request.service);
        let config = config(&rollout.request, &gauge);
        let fresh = judge(rollout.id(), &config, None)?;
        let mut judging = Self {
            rollout: rollout.id().clone(),
            started: rollout.started_at,
            gauge,
            config: Arc::new(config),
            judge: fresh,
            step: None,
            began: None,
            ticks: 0,
            last_t: None,
            heard: None,
            assessment: None,
            history: None,
            known: None,
            service: Arc::clone(&rollout.request.service),
            judged: None,
        };
        if let Some(row) = snapshot
            && let Some(kept) = row.snapshot
        {
            match serde_json::from_str::<Snapshot<'_>>(&kept) {
                Ok(kept) => {
                    judging.judge = kept.judge.into_owned();
                    judging.step = kept.step;
                    judging.began = kept.began;
                    judging.ticks = row.tick + 1;
                    judging.last_t = Some(judging.second(row.at));
                }
                Err(error) => {
                    tracing::warn!(rollout = %judging.rollout, %error, "the judge's kept state is not understood; its evidence starts anew")
                }
            }
        }
        for row in rows {
            if let Ok(evidence) = serde_json::from_str::<Evidence>(&row.body) {
                if let Some(history) = &evidence.history {
                    judging.judge = judge(&judging.rollout, &judging.config, Some(history))?;
                }
                judging.began = evidence.step.or(judging.began);
                judging.assessment = Some(Arc::new(take(&mut judging.judge, &evidence)));
                judging.step = evidence.step.map(|began| began.step).or(judging.step);
            }
            judging.ticks = row.tick + 1;
            judging.last_t = Some(judging.second(row.at));
        }
        if judging.ticks == 0
            && let Some(history) = history
        {
            judging.judge = judge(&judging.rollout, &judging.config, Some(&history))?;
            judging.known = Some(Arc::new(history.clone()));
            judging.history = Some(history);
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

    /// What the judge took the last second for; None where it was not judged.
    pub fn judged(&self) -> Option<&Judged> {
        self.judged.as_ref()
    }

    fn second(&self, at: Timestamp) -> u64 {
        since(self.started, at).as_secs()
    }

    /// Takes the measurements of the second that ends now: records them under the claim `epoch`.
    /// Returns the step that was judged and what the judge says.
    ///
    /// # Errors
    /// Where they are not recorded, or the answer was lost; then this judge is not to be used any more.
    pub async fn observe(
        &mut self,
        lane: &Lane,
        epoch: u64,
        traffic: &LaneTraffic,
        now: Timestamp,
        store: &dyn Store,
    ) -> Result<Option<(usize, Arc<Assessment>)>, StoreError> {
        let Some(heard) = self.hear(lane, traffic, now)? else {
            return Ok(None);
        };
        store
            .append_evidence(&lane.id, epoch, std::slice::from_ref(&heard.row))
            .await?;
        Ok(Some(self.accept(heard)))
    }

    /// The first half of [`Self::observe`]: what follows from a second's measurements and is to
    /// be recorded before it is used. None where there is nothing to judge yet. The judge is then
    /// ahead of its record: where the row cannot be recorded, [`Self::resume`] has the one that is not.
    pub fn hear(
        &mut self,
        lane: &Lane,
        traffic: &LaneTraffic,
        now: Timestamp,
    ) -> Result<Option<Heard>, StoreError> {
        let Some(rollout) = lane.active.as_ref().filter(|rollout| rollout.exposed) else {
            return Ok(None);
        };
        self.judged = None;
        let Some(step) = rollout.phase.step() else {
            return Ok(None);
        };
        let heard = *self.heard.get_or_insert(now);
        if traffic.reports > 0 {
            self.heard = Some(now);
        } else if since(heard, now) < SILENT_AFTER {
            return Ok(None);
        }
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
        let (weight, alone) = split(lane);
        let mut mix = None;
        let measured = (traffic.reports > 0).then(|| {
            let (canary, baseline) = arms(lane, rollout, traffic);
            if !alone {
                mix = Some(self.gauge.mix(&canary, &baseline));
            }
            self.gauge
                .tick(t, weight, Some(&canary), Some(&baseline), alone)
        });
        let evidence = Evidence {
            history: self.history.clone(),
            step: began,
            silence: measured.is_none().then(|| {
                (
                    t,
                    Silence::SourceDown("the agent did not report".to_owned()),
                )
            }),
            tick: measured,
            mix: mix.filter(|mix| *mix != MixTick::default()),
        };
        let assessment = Arc::new(take(&mut self.judge, &evidence));
        let judged = began.map(|began| began.step).or(self.step);
        let keep = began.is_some() || self.ticks.is_multiple_of(SNAPSHOT_EVERY);
        let snapshot = keep
            .then(|| {
                serde_json::to_string(&Snapshot {
                    judge: Cow::Borrowed(&self.judge),
                    step: judged,
                    began: began.or(self.began),
                })
            })
            .transpose()
            .map_err(json)?;
        let row = EvidenceRow {
            rollout: self.rollout.clone(),
            tick: self.ticks,
            at: now,
            body: serde_json::to_string(&evidence).map_err(json)?,
            snapshot,
        };
        let began = began.or(self.began);
        Ok(Some(Heard {
            row,
            began,
            step: judged,
            t,
            taken: Some(Judged {
                t,
                weight,
                alone,
                step: began.map(|began| (began.weight, began.next)),
                silence: evidence.silence.map(|(_, silence)| silence.why()),
                service: Arc::clone(&self.service),
                config: Arc::clone(&self.config),
                known: self.known.clone(),
            }),
            // Before its weight is confirmed a step has no proof of its own.
            about: if observing {
                step
            } else {
                judged.unwrap_or(step)
            },
            assessment,
        }))
    }

    /// The second half of [`Self::observe`], once the row is recorded.
    pub fn accept(&mut self, heard: Heard) -> (usize, Arc<Assessment>) {
        self.step = heard.step;
        self.began = heard.began;
        self.history = None;
        self.judged = heard.taken;
        self.ticks += 1;
        self.last_t = Some(heard.t);
        self.assessment = Some(Arc::clone(&heard.assessment));
        (heard.about, heard.assessment)
    }
}

/// What a rollout is judged by: one that goes slower may do half the harm at each step.
fn config(request: &Request, gauge: &Gauge) -> Config {
    let mut config = gauge.config().clone();
    if request.slow.is_some() {
        config.harm_budget /= 2.0;
        for own in config
            .slis
            .iter_mut()
            .filter_map(|sli| sli.harm_budget.as_mut())
        {
            *own /= 2.0;
        }
    }
    config
}

/// A new judge. One that knows nothing where the history does not fit.
fn judge(
    rollout: &RolloutId,
    config: &Config,
    history: Option<&Calibration>,
) -> Result<Judge, StoreError> {
    let known = history.cloned().unwrap_or_default();
    match Judge::with_history(config.clone(), &known) {
        Ok(judge) => Ok(judge),
        // The manifest was validated; should a config slip through, errors are still judged.
        Err(error) => {
            tracing::error!(%rollout, %error, "the manifest's SLOs cannot be judged; judging server errors only");
            Judge::new(Config::errors_and_latency(Vec::new()))
                .map_err(|error| broken(error.to_string()))
        }
    }
}

/// The canary's share that the data plane works by, and whether there is no baseline beside it.
fn split(lane: &Lane) -> (Weight, bool) {
    let weight = lane
        .seen_traffic()
        .map_or(Weight::ZERO, |seen| seen.canary_weight);
    (weight, lane.stable.is_none() || weight == Weight::FULL)
}

/// What canary and stable did in a second, by instance. The splitter reported: an arm without
/// requests had none, which is not silence.
pub fn arms(
    lane: &Lane,
    rollout: &Rollout,
    traffic: &LaneTraffic,
) -> (BTreeMap<String, Counts>, BTreeMap<String, Counts>) {
    let idle = || BTreeMap::from([("-".to_owned(), Counts::default())]);
    let arm = |arm: Option<&ArmId>| {
        arm.and_then(|arm| traffic.arms.get(arm))
            .cloned()
            .unwrap_or_else(idle)
    };
    let stable = lane.stable.as_ref().map(|stable| &stable.arm);
    (arm(Some(rollout.id())), arm(stable))
}

/// A judged rollout's measurements as lines of a recording, to be judged again by other rules; its rows of
/// stable are named by their number, alike over all versions. `next` is the recording's next second. None
/// where nothing of it is kept, or its latency was measured in other buckets than `edges`.
pub async fn recorded(
    request: &Request,
    edges: &[f64],
    next: &mut u64,
    store: &dyn Store,
) -> Result<Option<String>, StoreError> {
    let gauge = Gauge::new(&request.service);
    let config = config(request, &gauge);
    if config.latency_edges_ms != edges {
        return Ok(None);
    }
    let (mut writer, mut from) = (None, 0);
    loop {
        let rows = store.evidence(&request.rollout, from, ROWS_AT_ONCE).await?;
        let Some(last) = rows.last() else { break };
        from = last.tick + 1;
        for row in rows {
            let Ok(evidence) = serde_json::from_str::<Evidence>(&row.body) else {
                continue;
            };
            if writer.is_none() {
                let named = (request.rollout.as_str(), request.service.as_ref());
                let begun = Replay::begin(named, &config, evidence.history.clone(), *next);
                writer = Some(begun.map_err(json)?);
            }
            let Some(writer) = &mut writer else { continue };
            if let Some(began) = evidence.step {
                writer.step(began.weight, began.next);
            }
            match (&evidence.tick, evidence.silence) {
                (Some(tick), _) => writer.tick(tick, evidence.mix.as_ref()),
                (None, Some((t, silence))) => writer.silence(t, silence),
                (None, None) => Ok(()),
            }
            .map_err(json)?;
        }
    }
    Ok(writer
        .map(Replay::end)
        .transpose()
        .map_err(json)?
        .map(|(lines, after)| {
            *next = after;
            lines
        }))
}

/// The whole computation of a rollout as it stood last, from its record. None where nothing was
/// judged, or by a judge whose kept state this one does not understand.
pub async fn computation(
    rollout: &RolloutId,
    store: &dyn Store,
) -> Result<Option<Explanation>, StoreError> {
    let (snapshot, rows) = store.evidence_since_snapshot(rollout).await?;
    let kept = snapshot.and_then(|row| serde_json::from_str::<Snapshot<'_>>(&row.snapshot?).ok());
    Ok(kept.map(|kept| {
        let mut judge = kept.judge.into_owned();
        for row in rows {
            if let Ok(evidence) = serde_json::from_str::<Evidence>(&row.body) {
                take(&mut judge, &evidence);
            }
        }
        judge.explain()
    }))
}

/// What one recorded second does to a judge. The same record always does the same.
fn take(judge: &mut Judge, evidence: &Evidence) -> Assessment {
    if let Some(began) = evidence.step
        && let Err(error) = judge.start_step(began.weight, began.next)
    {
        tracing::error!(%error, "the judge refuses a step; it goes on with the one before");
    }
    if let Some(mix) = &evidence.mix {
        judge.observe_mix(mix);
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

#[cfg(test)]
mod tests;
