//! Kept measurements of a rollout as a recording, and judged seconds as its rows.

use std::collections::BTreeMap;

use airboss_judge::coverage::MixTick;
use airboss_judge::recording::{Arm, Mark, Row};
use airboss_judge::tick::{InstanceTick, Tick};
use airboss_judge::{Better, Calibration, Config, Sample, Silence, SliConfig, SliKind};
use airboss_model::manifest::Service;
use serde_json::{Result, Value};

use crate::record::{STRETCH, push};

/// What of an SLO or a guardrail says how sure a verdict must be, and not what is measured.
const NOT_MEASURED: [&str; 8] = [
    "objective",
    "margin",
    "critical",
    "advisory",
    "alpha",
    "beta",
    "harm_budget",
    "name",
];

/// What each SLO and guardrail of a manifest measures, by its name. Two manifests in which it is alike can be
/// tried on each other's measurements.
pub fn measures(service: &Service) -> BTreeMap<String, String> {
    let plain = |value: Result<Value>| {
        let mut value = value.unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.retain(|field, _| !NOT_MEASURED.contains(&field.as_str()));
        }
        value.to_string()
    };
    let slos = service.spec.slos.iter();
    let slos = slos.map(|slo| (slo.name.clone(), plain(serde_json::to_value(slo))));
    let guardrails = service.spec.guardrails.iter();
    let guardrails =
        guardrails.map(|guard| (guard.name.clone(), plain(serde_json::to_value(guard))));
    let none = service.spec.slos.is_empty();
    let usual = none.then(|| ("server errors".to_owned(), "status >= 500".to_owned()));
    slos.chain(guardrails).chain(usual).collect()
}

/// Writes one rollout's kept measurements as part of a recording.
#[derive(Debug)]
pub struct Replay<'a> {
    slis: &'a [SliConfig],
    start: u64,
    last: u64,
    step: Option<(f64, Option<f64>)>,
    lines: String,
}

impl<'a> Replay<'a> {
    /// The rollout `id` begins at the recording's second `next` or soon behind it.
    ///
    /// # Errors
    /// Where a number cannot be written as JSON.
    pub fn begin(
        (id, service): (&str, &Service),
        config: &'a Config,
        history: Option<Calibration>,
        next: u64,
    ) -> Result<Self> {
        let start = next.next_multiple_of(STRETCH);
        let mut lines = String::new();
        let mark = Mark::Rollout {
            t: start,
            id: id.to_owned(),
            start,
            weights: crate::forecast::weights(service),
            config: Some(Box::new(config.clone())),
            measures: measures(service),
            history: history.map(Box::new),
        };
        push(&mut lines, &mark)?;
        Ok(Self {
            slis: &config.slis,
            start,
            last: start,
            step: None,
            lines,
        })
    }

    /// A step began: its share and the next one's.
    pub fn step(&mut self, weight: f64, next: Option<f64>) {
        self.step = Some((weight, next));
    }

    /// A second of measurements, and what its requests were for.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn tick(&mut self, tick: &Tick, mix: Option<&MixTick>) -> Result<()> {
        let t = self.at(tick.t);
        let arms = [
            (Arm::Canary, Some(&tick.canary)),
            (Arm::Baseline, tick.baseline.as_ref()),
        ];
        for (arm, instances) in arms {
            let rows = instances.into_iter().flat_map(|arm| &arm.instances);
            for (at, instance) in rows.enumerate() {
                let mut instance = instance.clone();
                if arm == Arm::Baseline {
                    instance.instance = numbered(&instance.instance);
                }
                let of = |mix: &airboss_judge::coverage::Mix| -> BTreeMap<String, u64> {
                    let count = |both: &(u64, u64)| match arm {
                        Arm::Canary => both.0,
                        Arm::Baseline => both.1,
                    };
                    mix.iter()
                        .map(|(kind, both)| (kind.clone(), count(both)))
                        .collect()
                };
                // An arm's whole mix stands in its first row.
                let mix = mix.filter(|_| at == 0);
                let row = Row {
                    routes: mix.map(|mix| of(&mix.routes)).unwrap_or_default(),
                    cohorts: mix.map(|mix| of(&mix.cohorts)).unwrap_or_default(),
                    weight: self.step.map(|(weight, _)| weight),
                    next_weight: self.step.and_then(|(_, next)| next),
                    split: tick.weight,
                    alone: tick.baseline.is_none(),
                    ..row(self.slis, t, arm, instance)
                };
                push(&mut self.lines, &row)?;
            }
        }
        Ok(())
    }

    /// A second without measurements.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn silence(&mut self, t: u64, silence: Silence) -> Result<()> {
        let (t, why) = (self.at(t), silence.why());
        push(&mut self.lines, &Mark::Silence { t, why })
    }

    /// The rollout's lines, and the second behind it.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn end(mut self) -> Result<(String, u64)> {
        let t = self.last + 1;
        push(&mut self.lines, &Mark::RolloutEnd { t })?;
        Ok((self.lines, t + 1))
    }

    fn at(&mut self, t: u64) -> u64 {
        self.last = self.last.max(self.start.saturating_add(t));
        self.last
    }
}

/// An instance by its number: `shop-7.1` is `stable.1`, whichever version it ran.
fn numbered(instance: &str) -> String {
    match instance.rsplit_once('.') {
        Some((_, number)) => format!("stable.{number}"),
        None => instance.to_owned(),
    }
}

/// An instance's measurements by SLI: the first ratio's also in `bad`, each by its name.
pub(crate) fn row(slis: &[SliConfig], t: u64, arm: Arm, instance: InstanceTick) -> Row {
    let lower = SliKind::Ratio {
        better: Better::Lower,
    };
    let (mut first, mut bads, mut of) = (None, BTreeMap::new(), BTreeMap::new());
    let (mut levels, mut events) = (BTreeMap::new(), BTreeMap::new());
    for (sli, sample) in slis.iter().zip(&instance.samples) {
        match *sample {
            Sample::Count(bad) if sli.kind == lower => {
                first.get_or_insert(bad);
                bads.insert(sli.name.clone(), bad);
            }
            Sample::Of(rate) => drop(of.insert(sli.name.clone(), rate)),
            Sample::Gauge(level) => drop(levels.insert(sli.name.clone(), level)),
            Sample::Events(count) => drop(events.insert(sli.name.clone(), count)),
            Sample::Count(_) | Sample::Missing => {}
        }
    }
    Row {
        t,
        arm,
        instance: instance.instance,
        requests: instance.requests,
        bad: first.unwrap_or(0),
        latency: instance.latency,
        bads,
        of,
        levels,
        events,
        routes: BTreeMap::new(),
        cohorts: BTreeMap::new(),
        weight: None,
        next_weight: None,
        split: None,
        alone: false,
    }
}
