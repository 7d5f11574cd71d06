//! What a lane's own traffic teaches: how high its errors usually are and how clumped they come,
//! how much traffic is usual, and how much of each error budget is left.
//!
//! Stable's seconds while no rollout is exposed calibrate the judge of the next rollout. Budgets
//! are spent by every second of every arm: users do not care which version failed them.
//!
//! Each second costs O(1) in the length of the history. A calibrator at work takes some 2 ms of a
//! second and 20 MB, so a lane learns for an hour, then rests for five, and not more than
//! [`LEARNING_MAX`] lanes learn at a time. What stays is the last hour's result, some 6 KB, and
//! 18 KB a budget. Both are notes in the store; a crash loses the minutes since the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use airboss_engine::Lane;
use airboss_judge::burn::ErrorBudget;
use airboss_judge::calibration::ENOUGH_SECONDS;
use airboss_judge::season::STRETCH;
use airboss_judge::{Calibration, Calibrator, Rate};
use airboss_model::manifest::{Guardrail, Service, Slo, Strategy, Target};
use airboss_model::traffic::{Counts, Weight};
use airboss_model::{ArmId, LaneId, Timestamp};
use airboss_store::{NoteRow, Store, StoreError};
use airboss_telemetry::{Gauge, Usual};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::hub::LaneTraffic;

/// Seconds after which a calibrator has learnt enough.
const LESSON: u64 = 3_600;
/// Seconds from the end of a lesson to the start of the next one on the same version.
const REST: u64 = 5 * 3_600;
/// Lanes of this process that learn at the same time; the others wait for their turn.
pub const LEARNING_MAX: usize = 32;
static TURNS: Semaphore = Semaphore::const_new(LEARNING_MAX);
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
const ROUTES: &str = "routes";
/// Routes that are remembered at most; the least used are forgotten first.
const ROUTES_KEPT_MAX: usize = 200;
/// Counts of routes are halved after this many seconds: what is asked for no more fades.
const ROUTES_HALVED_EVERY: u64 = 86_400;

/// What an hour of stable taught.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Lesson {
    /// The version that taught it.
    arm: Option<ArmId>,
    /// When, in seconds since 1970.
    at: u64,
    /// The promises that it was measured by.
    slos: Vec<Slo>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    guardrails: Vec<Guardrail>,
    latency_edges_ms: Vec<f64>,
    calibration: Calibration,
    requests: u64,
}

impl Lesson {
    /// What of it holds for a manifest: SLOs and guardrails that are declared alike there.
    fn for_service(&self, service: &Service) -> Calibration {
        let slos = &service.spec.slos;
        let same_edges = *Gauge::new(service).config().latency_edges_ms == *self.latency_edges_ms;
        let guardrail = |list: &[Guardrail], name: &str| {
            let found = list.iter().find(|guardrail| guardrail.name == name);
            found.cloned()
        };
        let slis = self.calibration.slis.iter().filter(|sli| {
            let guards =
                [&self.guardrails, &service.spec.guardrails].map(|list| guardrail(list, &sli.name));
            if guards.iter().any(Option::is_some) {
                return guards[0] == guards[1];
            }
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

/// How often each route was asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Routes {
    counts: BTreeMap<String, u64>,
    /// When they were halved last, in seconds since 1970.
    halved: u64,
}

impl Routes {
    fn add(&mut self, counts: &Counts) {
        for (route, it) in &counts.routes {
            *self.counts.entry(route.clone()).or_default() += it.requests();
        }
    }

    fn age(&mut self, second: u64) {
        if second.saturating_sub(self.halved) >= ROUTES_HALVED_EVERY {
            if self.halved > 0 {
                self.counts.retain(|_, count| {
                    *count /= 2;
                    *count > 0
                });
            }
            self.halved = second;
        }
        while self.counts.len() > ROUTES_KEPT_MAX {
            let least = self.counts.iter().min_by_key(|(_, count)| **count);
            let Some(least) = least.map(|(route, _)| route.clone()) else {
                return;
            };
            self.counts.remove(&least);
        }
    }
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
    /// How often each route was asked for in the last days, the older half as much.
    pub routes: BTreeMap<String, u64>,
}

/// A calibrator at work.
struct Lessons {
    arm: ArmId,
    slos: Vec<Slo>,
    guardrails: Vec<Guardrail>,
    gauge: Gauge,
    calibrator: Calibrator,
    /// The newest second that it learnt from.
    last: u64,
    requests: u64,
    _turn: SemaphorePermit<'static>,
}

impl Lessons {
    fn new(
        arm: ArmId,
        service: &Service,
        turn: SemaphorePermit<'static>,
    ) -> Result<Self, airboss_judge::ConfigError> {
        let gauge = Gauge::new(service);
        let calibrator = Calibrator::new(gauge.config().clone(), &weights(service))?;
        Ok(Self {
            arm,
            slos: service.spec.slos.clone(),
            guardrails: service.spec.guardrails.clone(),
            gauge,
            calibrator,
            last: 0,
            requests: 0,
            _turn: turn,
        })
    }

    fn lesson(&self) -> Lesson {
        Lesson {
            arm: Some(self.arm.clone()),
            at: self.last,
            slos: self.slos.clone(),
            guardrails: self.guardrails.clone(),
            latency_edges_ms: self.gauge.config().latency_edges_ms.clone(),
            calibration: self.calibrator.finish(),
            requests: self.requests,
        }
    }
}

/// The weights that releases of a service are judged at. Of those that stand for the same number
/// of instances, the largest: the calibrator would learn the same from each.
fn weights(service: &Service) -> Vec<f64> {
    let Strategy::Canary(canary) = service.spec.rollout.strategy() else {
        return Vec::new();
    };
    let Target::Process(process) = &service.spec.target;
    let instances = f64::from(process.instances);
    let size = |weight: f64| {
        (weight * instances)
            .round()
            .clamp(1.0, (instances / 2.0).max(1.0))
    };
    let mut all: Vec<f64> = Vec::new();
    for weight in &canary.steps {
        let weight = weight.ratio();
        if weight <= 0.0 || weight >= 1.0 {
            continue;
        }
        if all.last().is_some_and(|last| size(*last) == size(weight)) {
            all.pop();
        }
        all.push(weight);
    }
    let stride = all.len().div_ceil(WEIGHTS_MAX).max(1);
    all.into_iter().rev().step_by(stride).collect()
}

/// The history of one lane.
pub struct History {
    lane: LaneId,
    lessons: Option<Lessons>,
    kept: Option<Lesson>,
    spent: Vec<Spent>,
    routes: Routes,
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
        let routes = note(lane, ROUTES, store).await?;
        Ok(Self {
            kept,
            spent: spent.unwrap_or_default(),
            routes: routes.unwrap_or_default(),
            ..Self::new(lane)
        })
    }

    /// The history of a lane of which nothing is known.
    pub fn new(lane: &LaneId) -> Self {
        Self {
            lane: lane.clone(),
            lessons: None,
            kept: None,
            spent: Vec::new(),
            routes: Routes::default(),
            gauge: None,
            seconds: 0,
            learnt: None,
        }
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
            note(ROUTES, serde_json::to_value(&self.routes)?);
        }
        Ok(notes)
    }

    fn learn(&mut self, arm: &ArmId, service: &Service, traffic: &LaneTraffic, second: u64) {
        let over = self
            .lessons
            .as_ref()
            .is_some_and(|lessons| lessons.arm != *arm || lessons.calibrator.seconds() >= LESSON);
        if over {
            self.kept = self.best();
            self.lessons = None;
        }
        if self.lessons.is_none() && self.is_due(arm, service, second) {
            self.lessons = self.begin(arm, service);
        }
        let (Some(lessons), Some(counts)) = (&mut self.lessons, traffic.arms.get(arm)) else {
            return;
        };
        let tick = lessons
            .gauge
            .tick(second, Weight::ZERO, None, Some(counts), false);
        if let Some(baseline) = &tick.baseline {
            lessons.requests += baseline.requests();
            lessons.last = second;
            lessons.calibrator.observe(second, baseline);
        }
    }

    /// A new version and new promises are learnt at once, what is known again after a rest.
    fn is_due(&self, arm: &ArmId, service: &Service, second: u64) -> bool {
        self.kept.as_ref().is_none_or(|kept| {
            kept.arm.as_ref() != Some(arm)
                || kept.slos != service.spec.slos
                || kept.guardrails != service.spec.guardrails
                || kept.calibration.seconds < ENOUGH_SECONDS
                || second.saturating_sub(kept.at) >= REST
        })
    }

    fn begin(&self, arm: &ArmId, service: &Service) -> Option<Lessons> {
        // Without a turn it is tried again in a second.
        let turn = TURNS.try_acquire().ok()?;
        Lessons::new(arm.clone(), service, turn)
            .inspect_err(|error| {
                tracing::error!(lane = %self.lane, %error, "nothing is learnt from this lane's traffic");
            })
            .ok()
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
        self.routes.add(&sum);
        self.routes.age(second);
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
        let slos = self.spent.iter().map(|spent| SloRecord {
            name: spent.slo.clone(),
            objective: spent.objective,
            budget: Arc::new(spent.budget.clone()),
            dispersion: sli(&spent.slo).map_or(1.0, |sli| sli.dispersion.phi()),
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
                    shares: BTreeMap::new(),
                })
                .map(|usual| usual.with_routes(service, &self.routes.counts)),
            seconds: calibration.as_ref().map_or(0, |known| known.seconds),
            slos: slos.collect(),
            routes: self.routes.counts.clone(),
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
mod tests;
