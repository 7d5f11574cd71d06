//! The judge itself: takes ticks, keeps bounded state, gives assessments.

use serde::{Deserialize, Serialize};

use crate::{
    Assessment, Config, ConfigError, Rate, Tick,
    calibration::Calibration,
    config::{Margin, SliKind},
    coverage::{MixState, MixTick},
    roster::Roster,
    routing::Routing,
    sli::{SliState, TickContext},
    verdict,
};

/// The canary's share where nobody said which step this is; it only selects a calibration.
const DEFAULT_WEIGHT: f64 = 0.1;

/// A stretch of time without measurements, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Silence {
    /// The source answered, and had nothing.
    NoData,
    /// The source did not answer; the text says what it said instead.
    SourceDown(String),
}

impl Silence {
    /// Why there are no measurements, as recordings say it.
    pub fn why(self) -> String {
        match self {
            Self::SourceDown(why) => why,
            Self::NoData => "it had no measurements".to_owned(),
        }
    }
}

/// What made a tick not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refused {
    /// Ticks whose time did not lie after the previous one.
    pub late_ticks: u64,
    /// Rows with more bad requests than requests, unknown buckets or absurd numbers.
    pub rows: u64,
    /// Ticks in which only one arm reported.
    pub one_sided: u64,
}

/// Compares a canary with its baseline, tick by tick.
///
/// The state is bounded, serialisable and comparable: a judge restored from a snapshot and fed the
/// same ticks gives the same assessments, bit for bit, on the same build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    pub(crate) config: Config,
    pub(crate) weights: Vec<f64>,
    pub(crate) slis: Vec<SliState>,
    pub(crate) routing: Routing,
    pub(crate) step: Step,
    pub(crate) last_t: Option<u64>,
    pub(crate) silence: Option<(u64, Silence)>,
    pub(crate) refused: Refused,
    pub(crate) failed: Option<u64>,
    pub(crate) canary_roster: Roster,
    pub(crate) baseline_roster: Roster,
    #[serde(default)]
    pub(crate) mix: MixState,
}

/// The step that is being judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// What the next step's weight multiplies into harm.
    pub(crate) next_weight: f64,
    /// When the first tick of this step came.
    pub(crate) since: Option<u64>,
    /// Ticks with data of both arms (or of the canary, where there is no baseline).
    pub(crate) ticks: u64,
    /// Requests of the canary in this step.
    pub(crate) requests: u64,
    /// Whether this step is judged without a baseline.
    pub(crate) alone: bool,
    /// Every critical SLI's proof has once held together with the others'.
    pub(crate) passed: bool,
}

impl Judge {
    /// A judge without a history: evidence is discounted for clumps until it knows better.
    ///
    /// # Errors
    /// The config's first field that lies outside its range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Self::with_history(config, &Calibration::default())
    }

    /// A judge that knows the service: levels, shapes and how clumped its errors come.
    ///
    /// # Errors
    /// The config's first field that lies outside its range.
    pub fn with_history(config: Config, history: &Calibration) -> Result<Self, ConfigError> {
        config.validate()?;
        let slis = config
            .slis
            .iter()
            .map(|sli| SliState::new(sli, &config, history.sli(&sli.name)))
            .collect();
        let mut judge = Self {
            weights: config.weights(),
            slis,
            routing: Routing::default(),
            step: Step {
                next_weight: 1.0,
                since: None,
                ticks: 0,
                requests: 0,
                alone: false,
                passed: false,
            },
            last_t: None,
            silence: None,
            refused: Refused::default(),
            failed: None,
            canary_roster: Roster::default(),
            baseline_roster: Roster::default(),
            mix: MixState::default(),
            config,
        };
        judge.begin_step(DEFAULT_WEIGHT, 1.0);
        Ok(judge)
    }

    /// A step begins: the canary has `weight` (0 to 1) of the requests; a pass would bring it to
    /// `next_weight`, None where this is the last step. Evidence against the release goes on, the
    /// step's proof starts anew. A judge that is never told of steps takes 1 as the next weight.
    ///
    /// # Errors
    /// A weight that is not above 0 and at most 1.
    pub fn start_step(&mut self, weight: f64, next_weight: Option<f64>) -> Result<(), ConfigError> {
        for value in [Some(weight), next_weight].into_iter().flatten() {
            if !(value > 0.0 && value <= 1.0) {
                return Err(ConfigError::Weight(value));
            }
        }
        self.begin_step(weight, next_weight.unwrap_or(1.0));
        Ok(())
    }

    fn begin_step(&mut self, weight: f64, next_weight: f64) {
        self.step = Step {
            next_weight,
            since: None,
            ticks: 0,
            requests: 0,
            alone: false,
            passed: false,
        };
        self.routing.start_step();
        self.mix.start_step();
        for (state, sli) in self.slis.iter_mut().zip(&self.config.slis) {
            state.start_step(
                weight,
                step_margin(
                    sli.pass_margin(),
                    sli.kind,
                    self.config.harm_budget(sli),
                    next_weight,
                ),
            );
        }
    }

    /// Takes one second of measurements and says what they mean.
    pub fn observe(&mut self, tick: &Tick) -> Assessment {
        self.update(tick);
        self.assess()
    }

    /// Takes one second of measurements, without the words.
    pub fn update(&mut self, tick: &Tick) {
        if self.last_t.is_some_and(|last| tick.t <= last) {
            self.refused.late_ticks += 1;
            return;
        }
        self.last_t = Some(tick.t);
        self.silence = None;
        let canary_requests = tick.canary.requests();
        self.check_split(tick, canary_requests);
        let reported = !tick.canary.instances.is_empty();
        let counts = match &tick.baseline {
            Some(baseline) => reported && !baseline.instances.is_empty(),
            None => reported,
        };
        if !counts {
            self.refused.one_sided += 1;
            return;
        }
        self.step.since.get_or_insert(tick.t);
        self.step.ticks += 1;
        self.step.requests = self.step.requests.saturating_add(canary_requests);
        self.step.alone = tick.baseline.is_none();
        let number = |roster: &mut Roster, rows: &[crate::tick::InstanceTick]| -> Vec<usize> {
            rows.iter()
                .enumerate()
                .map(|(row, it)| roster.number(row, &it.instance))
                .collect()
        };
        let context = TickContext {
            tick,
            canary_numbers: number(&mut self.canary_roster, &tick.canary.instances),
            baseline_numbers: tick.baseline.as_ref().map_or_else(Vec::new, |arm| {
                number(&mut self.baseline_roster, &arm.instances)
            }),
            edges: &self.config.latency_edges_ms,
            fail_at: -self.config.alpha.ln(),
        };
        for (index, (state, sli)) in self.slis.iter_mut().zip(&self.config.slis).enumerate() {
            self.refused.rows += state.observe(index, sli, &context);
        }
        self.conclude(tick.t);
    }

    /// Takes what the requests of a second were for, where the source tells. It goes before the
    /// second itself.
    pub fn observe_mix(&mut self, tick: &MixTick) {
        self.mix.observe(tick);
    }

    fn check_split(&mut self, tick: &Tick, canary: u64) {
        if let (Some(weight), Some(baseline)) = (tick.weight, &tick.baseline)
            && weight > 0.0
            && weight < 1.0
        {
            self.routing
                .observe(tick.t, weight, canary, baseline.requests());
        }
    }

    /// Latches what Ville's inequality promises for any time: a fail, and the step's proof.
    fn conclude(&mut self, t: u64) {
        if self.failed.is_none() && verdict::fails(self) {
            self.failed = Some(t);
        }
        if !self.step.passed && verdict::proven(self) {
            self.step.passed = true;
        }
    }

    /// Says that there were no measurements at `t`. Evidence stays; nothing passes on silence.
    pub fn silence(&mut self, t: u64, silence: Silence) -> Assessment {
        if self.last_t.is_none_or(|last| t > last) {
            self.last_t = Some(t);
            let since = self.silence.take().map_or(t, |(since, _)| since);
            self.silence = Some((since, silence));
        }
        self.assess()
    }

    /// What the evidence so far means.
    pub fn assess(&self) -> Assessment {
        verdict::assess(self)
    }

    /// What was not counted, and why.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// The config it judges by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Evidence over all SLIs that decide; 1 is none.
    pub(crate) fn e(&self) -> f64 {
        self.slis
            .iter()
            .zip(&self.weights)
            .filter(|(_, weight)| **weight > 0.0)
            .map(|(state, weight)| weight * state.e())
            .sum()
    }

    /// When the release failed, in seconds since the rollout began.
    pub fn failed_at(&self) -> Option<u64> {
        self.failed
    }
}

/// The pass margin of a step: a canary that grows to `next_weight` may add `harm` bad requests per
/// request of the service, so a small next step needs far less proof than a large one.
pub fn step_margin(pass: Margin, kind: SliKind, harm: f64, next_weight: f64) -> Margin {
    let room = harm / next_weight;
    match kind {
        SliKind::Ratio {
            better: crate::config::Better::Higher,
        } => Margin {
            delta: pass.delta.min(-room),
            ..pass
        },
        SliKind::Ratio { .. } | SliKind::Latency { .. } => Margin {
            delta: pass.delta.max(room),
            ..pass
        },
        SliKind::Events | SliKind::Gauge { .. } | SliKind::Throughput => pass,
    }
}

/// Adds without overflow.
pub(crate) fn add(total: &mut Rate, rate: Rate) {
    total.bad = total.bad.saturating_add(rate.bad);
    total.requests = total.requests.saturating_add(rate.requests);
}
