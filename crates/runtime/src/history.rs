//! What a lane's own traffic teaches: how high its errors usually are and how clumped they come,
//! how much traffic is usual, and how much of each error budget is left.
//!
//! Stable's seconds while no rollout is exposed calibrate the judge of the next rollout. Budgets
//! are spent by every second of every arm: users do not care which version failed them. Each
//! second costs O(1) in the length of the history; what is kept is bounded: one calibrator that
//! starts anew each hour, the last hour's result, and 18 KB a budget. Both are notes in the
//! store; a crash loses the minutes since the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use airboss_engine::Lane;
use airboss_judge::burn::ErrorBudget;
use airboss_judge::calibration::ENOUGH_SECONDS;
use airboss_judge::{Calibration, Calibrator, Rate};
use airboss_model::manifest::{Service, Slo, Strategy};
use airboss_model::traffic::{Counts, Weight};
use airboss_model::{ArmId, LaneId, Timestamp};
use airboss_store::{NoteRow, Store, StoreError};
use airboss_telemetry::{Gauge, Usual};
use serde::{Deserialize, Serialize};

use crate::hub::LaneTraffic;

/// Seconds after which a calibrator has learnt enough and the next one starts.
const TURN_OVER: u64 = 3_600;
/// Seconds between two notes of what was learnt about the lane.
const KEEP_EVERY: u64 = 60;
/// Seconds between two notes of the budgets, which are larger.
const KEEP_BUDGETS_EVERY: u64 = 300;
/// Seconds between two summaries for readers.
const TELL_EVERY: u64 = 10;
/// Canary weights that are calibrated at most; others use the nearest one.
const WEIGHTS_MAX: usize = 6;

const LEARNT: &str = "history";
const BUDGETS: &str = "budgets";

/// What an hour of stable taught.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Lesson {
    /// The promises that it was measured by.
    slos: Vec<Slo>,
    latency_edges_ms: Vec<f64>,
    calibration: Calibration,
    requests: u64,
}

impl Lesson {
    /// What of it holds for a manifest: SLOs that are declared alike there.
    fn for_service(&self, service: &Service) -> Calibration {
        let slos = &service.spec.slos;
        let same_edges = *Gauge::new(service).config().latency_edges_ms == *self.latency_edges_ms;
        let slis = self.calibration.slis.iter().filter(|sli| {
            let find = |slos: &[Slo]| slos.iter().find(|slo| slo.name == sli.name).cloned();
            let (then, now) = (find(&self.slos), find(slos));
            let is_latency = !sli.shape.is_empty();
            // Without SLOs both are judged by their server errors.
            then == now
                && (then.is_some() || (self.slos.is_empty() && slos.is_empty()))
                && (same_edges || !is_latency)
        });
        Calibration {
            slis: slis.cloned().collect(),
            seconds: self.calibration.seconds,
        }
    }
}

/// One SLO over the last 30 days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Spent {
    slo: String,
    objective: f64,
    budget: ErrorBudget,
}

/// How one SLO stands, for readers.
#[derive(Debug, Clone, PartialEq)]
pub struct SloRecord {
    /// The SLO's name.
    pub name: String,
    /// The promised share of good requests, 0 to 1.
    pub objective: f64,
    /// Its budget with everything that was spent of it.
    pub budget: Arc<ErrorBudget>,
    /// How much more restless it is than independent requests would be; 1 where that is not known.
    pub dispersion: f64,
}

/// What is known of a lane, for readers.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    /// The second that it holds for, since 1970.
    pub at: u64,
    /// Usual traffic. None before any was seen.
    pub usual: Option<Usual>,
    /// Seconds of stable's history that the next rollout is judged with.
    pub seconds: u64,
    /// Every SLO.
    pub slos: Vec<SloRecord>,
}

/// A calibrator at work.
struct Lessons {
    arm: ArmId,
    slos: Vec<Slo>,
    gauge: Gauge,
    calibrator: Calibrator,
    requests: u64,
}

impl Lessons {
    fn new(arm: ArmId, service: &Service) -> Result<Self, airboss_judge::ConfigError> {
        let gauge = Gauge::new(service);
        let calibrator = Calibrator::new(gauge.config().clone(), &weights(service))?;
        Ok(Self {
            arm,
            slos: service.spec.slos.clone(),
            gauge,
            calibrator,
            requests: 0,
        })
    }

    fn lesson(&self) -> Lesson {
        Lesson {
            slos: self.slos.clone(),
            latency_edges_ms: self.gauge.config().latency_edges_ms.clone(),
            calibration: self.calibrator.finish(),
            requests: self.requests,
        }
    }
}

/// The weights that releases of a service are judged at.
fn weights(service: &Service) -> Vec<f64> {
    let Strategy::Canary(canary) = service.spec.rollout.strategy() else {
        return Vec::new();
    };
    let all: Vec<f64> = canary
        .steps
        .iter()
        .filter(|weight| **weight > Weight::ZERO && **weight < Weight::FULL)
        .map(|weight| weight.ratio())
        .collect();
    let stride = all.len().div_ceil(WEIGHTS_MAX).max(1);
    all.into_iter().step_by(stride).collect()
}

/// The history of one lane.
pub struct History {
    lane: LaneId,
    lessons: Option<Lessons>,
    kept: Option<Lesson>,
    spent: Vec<Spent>,
    gauge: Option<(Vec<Slo>, Gauge)>,
    seconds: u64,
    learnt: Option<Arc<Learnt>>,
}

impl History {
    /// A lane's history as it was kept last.
    ///
    /// # Errors
    /// Where the store does not answer. A note that is not understood is begun anew, and logged.
    pub async fn load(lane: &LaneId, store: &dyn Store) -> Result<Self, StoreError> {
        let kept = note(lane, LEARNT, store).await?;
        let spent = note(lane, BUDGETS, store).await?;
        Ok(Self {
            lane: lane.clone(),
            lessons: None,
            kept,
            spent: spent.unwrap_or_default(),
            gauge: None,
            seconds: 0,
            learnt: None,
        })
    }

    /// Takes one second of the lane in; returns the notes that are due.
    ///
    /// # Errors
    /// Where a note cannot be written as JSON.
    pub fn observe(
        &mut self,
        lane: &Lane,
        traffic: &LaneTraffic,
        now: Timestamp,
    ) -> serde_json::Result<Vec<NoteRow>> {
        let Some(stable) = &lane.stable else {
            return Ok(Vec::new());
        };
        if traffic.reports == 0 {
            return Ok(Vec::new());
        }
        self.seconds += 1;
        let second = u64::try_from(now.as_second()).unwrap_or(0);
        self.spend(&stable.service, traffic, second);
        if !lane.active.as_ref().is_some_and(|rollout| rollout.exposed) {
            self.learn(&stable.arm, &stable.service, traffic, second);
        }
        if self.learnt.is_none() || self.seconds.is_multiple_of(TELL_EVERY) {
            self.learnt = Some(Arc::new(self.tell(&stable.service, second)));
        }
        let mut notes = Vec::new();
        let mut note = |topic: &str, body| {
            notes.push(NoteRow {
                lane: self.lane.clone(),
                topic: topic.to_owned(),
                body,
                at: now,
            });
        };
        if self.seconds.is_multiple_of(KEEP_EVERY)
            && let Some(lesson) = self.best()
        {
            note(LEARNT, serde_json::to_value(lesson)?);
        }
        if self.seconds.is_multiple_of(KEEP_BUDGETS_EVERY) {
            note(BUDGETS, serde_json::to_value(&self.spent)?);
        }
        Ok(notes)
    }

    fn learn(&mut self, arm: &ArmId, service: &Service, traffic: &LaneTraffic, second: u64) {
        let goes_on = self
            .lessons
            .as_ref()
            .is_some_and(|lessons| lessons.arm == *arm && lessons.calibrator.seconds() < TURN_OVER);
        if !goes_on {
            self.kept = self.best();
            self.lessons = Lessons::new(arm.clone(), service)
                .inspect_err(|error| {
                    tracing::error!(lane = %self.lane, %error, "nothing is learnt from this lane's traffic");
                })
                .ok();
        }
        let (Some(lessons), Some(counts)) = (&mut self.lessons, traffic.arms.get(arm)) else {
            return;
        };
        let tick = lessons
            .gauge
            .tick(second, Weight::ZERO, None, Some(counts), false);
        if let Some(baseline) = &tick.baseline {
            lessons.requests += baseline.requests();
            lessons.calibrator.observe(second, baseline);
        }
    }

    /// What a new rollout is judged with: this hour's lesson once it is long enough, else the
    /// last one.
    fn best(&self) -> Option<Lesson> {
        let current = self.lessons.as_ref();
        let seconds = current.map_or(0, |lessons| lessons.calibrator.seconds());
        let kept = self.kept.as_ref();
        if seconds >= ENOUGH_SECONDS || kept.is_none_or(|kept| kept.calibration.seconds < seconds) {
            current.map(Lessons::lesson).or_else(|| kept.cloned())
        } else {
            kept.cloned()
        }
    }

    /// What is known for the judge of a release with this manifest. None where nothing is.
    pub fn calibration(&self, service: &Service) -> Option<Calibration> {
        let calibration = self.best()?.for_service(service);
        (!calibration.slis.is_empty()).then_some(calibration)
    }

    fn spend(&mut self, service: &Service, traffic: &LaneTraffic, second: u64) {
        let slos = &service.spec.slos;
        if self.gauge.as_ref().is_none_or(|(known, _)| known != slos) {
            let gauge = Gauge::new(service);
            let old = std::mem::take(&mut self.spent);
            // A budget goes on where name and promise are the same; anything else is a new one.
            self.spent = gauge
                .config()
                .slis
                .iter()
                .filter_map(|sli| {
                    let objective = sli.objective?;
                    let known = old
                        .iter()
                        .find(|spent| spent.slo == sli.name && spent.objective == objective);
                    Some(match known {
                        Some(spent) => spent.clone(),
                        None => Spent {
                            slo: sli.name.clone(),
                            objective,
                            budget: ErrorBudget::new(objective)?,
                        },
                    })
                })
                .collect();
            self.gauge = Some((slos.clone(), gauge));
        }
        let Some((_, gauge)) = &self.gauge else {
            return;
        };
        let mut sum = Counts::default();
        for counts in traffic.arms.values().flat_map(BTreeMap::values) {
            sum.add(counts);
        }
        for (sli, rate) in gauge.config().slis.iter().zip(gauge.rates(&sum)) {
            if let Some(spent) = self.spent.iter_mut().find(|spent| spent.slo == sli.name) {
                spent.budget.observe(second, rate);
            }
        }
    }

    fn tell(&self, service: &Service, second: u64) -> Learnt {
        let lesson = self.best();
        let calibration = lesson.as_ref().map(|lesson| lesson.for_service(service));
        let sli = |name: &str| calibration.as_ref().and_then(|known| known.sli(name));
        let slos = self.spent.iter().map(|spent| {
            let discount = sli(&spent.slo)
                .and_then(|sli| sli.steps.first())
                .and_then(|step| step.members.last());
            SloRecord {
                name: spent.slo.clone(),
                objective: spent.objective,
                budget: Arc::new(spent.budget.clone()),
                dispersion: discount.map_or(1.0, |discount| 1.0 / discount.pass_eta.max(1e-3)),
            }
        });
        // Latency has a shape in place of a level: its usual ratio is the last hour's.
        let ratios = self.spent.iter().filter_map(|spent| {
            let level = sli(&spent.slo)
                .filter(|sli| sli.shape.is_empty())
                .and_then(|sli| sli.level);
            let hour = || spent.budget.window(3_600).ratio();
            Some((spent.slo.clone(), level.or_else(hour)?))
        });
        Learnt {
            at: second,
            usual: lesson
                .filter(|lesson| lesson.requests > 0)
                .map(|lesson| Usual {
                    requests_per_second: lesson.requests as f64
                        / lesson.calibration.seconds.max(1) as f64,
                    ratios: ratios.collect(),
                }),
            seconds: calibration.as_ref().map_or(0, |known| known.seconds),
            slos: slos.collect(),
        }
    }

    /// What readers may know, at most ten seconds old.
    pub fn learnt(&self) -> Option<&Arc<Learnt>> {
        self.learnt.as_ref()
    }
}

/// The counts of each two hours of a budget's period, newest first, those without requests left
/// out: what objectives are proposed from.
pub fn stretches(budget: &ErrorBudget) -> Vec<Rate> {
    const STRETCH: u64 = 7_200;
    let mut before = Rate::default();
    (1..=airboss_judge::burn::PERIOD_SECONDS / STRETCH)
        .filter_map(|number| {
            let sum = budget.window(number * STRETCH);
            let rate = Rate {
                bad: sum.bad.saturating_sub(before.bad),
                requests: sum.requests.saturating_sub(before.requests),
            };
            before = sum;
            (rate.requests > 0).then_some(rate)
        })
        .collect()
}

async fn note<T: serde::de::DeserializeOwned>(
    lane: &LaneId,
    topic: &str,
    store: &dyn Store,
) -> Result<Option<T>, StoreError> {
    let row = store.note(lane, topic).await?;
    Ok(row.and_then(|row| {
        serde_json::from_value(row.body)
            .inspect_err(|error| {
                tracing::warn!(%lane, topic, %error, "what was kept is not understood; it is learnt anew");
            })
            .ok()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::{Home, at, availability, home, lane, on_trial, service, traffic};
    use serde_json::json;

    async fn load(home: &Home) -> History {
        let lane = "shop/production".parse().unwrap();
        History::load(&lane, &*home.store).await.unwrap()
    }

    /// Seconds with a bad request now and then, the notes kept as they are due.
    async fn live(history: &mut History, lane: &Lane, seconds: std::ops::Range<u64>, home: &Home) {
        for second in seconds {
            let traffic = traffic(u64::from(second % 5 == 0), None);
            for note in history.observe(lane, &traffic, at(second)).unwrap() {
                home.store.put_note(&note).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_quarter_of_an_hour_of_stable_calibrates_and_survives_a_restart() {
        let home = home().await;
        let service = service(availability());
        let lane = lane(&service);
        let mut history = load(&home).await;
        assert_eq!(history.calibration(&service), None);
        live(&mut history, &lane, 0..ENOUGH_SECONDS + KEEP_EVERY, &home).await;
        let again = load(&home).await;
        let known = again.calibration(&service).unwrap();
        let sli = known.sli("availability").unwrap();
        assert!((sli.level.unwrap() - 0.2 / 225.0).abs() < 1e-5, "{known:?}");
        assert_eq!(sli.steps.len(), 2, "each step below 100 %");
        // After the restart, a minute of new traffic does not displace the lesson.
        let mut again = again;
        live(&mut again, &lane, 2_000..2_060, &home).await;
        assert_eq!(again.calibration(&service), Some(known));
        let usual = again.learnt().unwrap().usual.clone().unwrap();
        assert_eq!(usual.requests_per_second, 900.0);
    }

    #[tokio::test]
    async fn a_promise_that_changed_is_learnt_anew() {
        let home = home().await;
        let then = service(availability());
        let mut history = load(&home).await;
        live(&mut history, &lane(&then), 0..100, &home).await;
        let now = service(
            json!([{ "name": "availability", "objective": "99%", "bad": "status == 404" }]),
        );
        assert!(history.calibration(&then).is_some());
        assert_eq!(history.calibration(&now), None);
    }

    #[tokio::test]
    async fn exposed_seconds_spend_budgets_and_teach_nothing() {
        let home = home().await;
        let service = service(availability());
        let trial = on_trial(&service);
        let mut history = load(&home).await;
        for second in 0..20 {
            history
                .observe(&trial, &traffic(0, Some(50)), at(second))
                .unwrap();
        }
        assert_eq!(history.calibration(&service), None);
        let learnt = history.learnt().unwrap();
        assert_eq!(learnt.usual, None);
        let spent = learnt.slos[0].budget.window(3_600);
        assert_eq!(
            (spent.bad * 20, spent.requests % 1_000),
            (spent.requests, 0)
        );
        let list = stretches(&learnt.slos[0].budget);
        assert_eq!(list, [spent]);
    }

    #[tokio::test]
    async fn budgets_go_on_where_they_were_after_a_restart() {
        let home = home().await;
        let lane = lane(&service(availability()));
        let mut history = load(&home).await;
        live(&mut history, &lane, 0..KEEP_BUDGETS_EVERY, &home).await;
        let mut again = load(&home).await;
        live(
            &mut again,
            &lane,
            KEEP_BUDGETS_EVERY..KEEP_BUDGETS_EVERY + 1,
            &home,
        )
        .await;
        let requests = again.learnt().unwrap().slos[0]
            .budget
            .window(3_600)
            .requests;
        assert_eq!(requests, (KEEP_BUDGETS_EVERY + 1) * 900);
    }
}
