//! One SLI's state: its tests, its totals, and when it last had data.

use serde::{Deserialize, Serialize};

use crate::{
    ArmTick, Config, Rate, Tick,
    absolute::AbsoluteGuard,
    blocks::CLUMP_CAP,
    calibration::{self, SliCalibration, StepDiscounts},
    config::{Better, Margin, SliConfig, SliKind},
    dispersion::Dispersion,
    events,
    external::External,
    gauge::GaugeTest,
    judge::add,
    latency::{self, Buckets, LatencyDiscounts, LatencyTest},
    member::{Discount, RatioMember},
    mixture::Tempering,
    strangers::{Run, Witnesses},
    suspects::Suspects,
    throughput::ThroughputTest,
};

/// The first guess of an event's chance per slot: about one in three instance-hours.
const RARE: f64 = 1e-7;

/// Log-evidence below which nobody is suspected.
const NO_EVIDENCE: f64 = 0.7;

/// How events and completions are discounted, whose clumps no history tells of: a few of them look like a
/// small effect for a while, never like a large one.
const UNMEASURED: Discount = {
    let mut fail = Tempering::flat(1.0, Some(CLUMP_CAP));
    let mut k = 0;
    while k < 5 {
        fail.etas[k] = 1.0 / 3.0;
        k += 1;
    }
    Discount {
        fail,
        pass_eta: 1.0 / 3.0,
    }
};

/// What every SLI needs of a tick.
pub(crate) struct TickContext<'a> {
    pub(crate) tick: &'a Tick,
    pub(crate) canary_numbers: Vec<usize>,
    pub(crate) baseline_numbers: Vec<usize>,
    pub(crate) edges: &'a [f64],
    /// Log-evidence that fails a release.
    pub(crate) fail_at: f64,
}

/// The tests of one SLI.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Test {
    Ratio(Box<RatioMember>),
    Latency(Box<LatencyTest>),
    Gauge(Box<GaugeTest>),
    Throughput(Box<ThroughputTest>),
}

/// One SLI's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SliState {
    pub(crate) test: Test,
    pub(crate) guard: Option<AbsoluteGuard>,
    pub(crate) external: External,
    pub(crate) dispersion: Dispersion,
    /// What a history says of the evidence, by canary weight.
    calibrated: Vec<StepDiscounts>,
    /// The entry of `calibrated` for this step.
    step: Option<usize>,
    pub(crate) canary: Rate,
    pub(crate) baseline: Rate,
    pub(crate) suspects: Suspects,
    /// When both arms last had data in the same second.
    pub(crate) last_data: Option<u64>,
    /// When each arm had: the canary, stable.
    #[serde(default)]
    pub(crate) heard: [Option<u64>; 2],
    /// Ticks with data in this step.
    pub(crate) ticks: u64,
    /// Gross seconds in a row, where no history tells how instances stall.
    #[serde(default)]
    run: Run,
}

impl SliState {
    pub(crate) fn new(sli: &SliConfig, config: &Config, history: Option<&SliCalibration>) -> Self {
        let (fail, pass) = (sli.fail_margin(), sli.pass_margin());
        let level = history.and_then(|history| history.level);
        let level = level.filter(|level| (0.0..=1.0).contains(level));
        let guess = sli.objective.map(|objective| 1.0 - objective);
        let test = match sli.kind {
            SliKind::Ratio { better } => {
                Test::Ratio(Box::new(RatioMember::new(better, fail, pass, level, guess)))
            }
            SliKind::Latency { under_ms } => Test::Latency(Box::new(LatencyTest::new(
                &config.latency_edges_ms,
                under_ms,
                fail,
                pass,
                history.map(|history| history.shape.as_slice()),
            ))),
            SliKind::Events => Test::Ratio(Box::new(RatioMember::new(
                Better::Lower,
                events::margin(fail),
                events::margin(pass),
                None,
                Some(RARE),
            ))),
            SliKind::Gauge { better } => {
                let spread = history.and_then(|history| history.spread);
                Test::Gauge(Box::new(GaugeTest::new(better, fail, spread)))
            }
            SliKind::Throughput => Test::Throughput(Box::new(ThroughputTest::new(fail.rho))),
        };
        Self {
            test,
            guard: guarded(sli).map(|objective| AbsoluteGuard::new(objective, config.burn)),
            external: External::new(level),
            dispersion: history
                .map_or_else(Dispersion::default, |history| history.dispersion.clone()),
            calibrated: history.map_or_else(Vec::new, |history| history.steps.clone()),
            step: None,
            canary: Rate::default(),
            baseline: Rate::default(),
            suspects: Suspects::default(),
            last_data: None,
            heard: [None; 2],
            ticks: 0,
            run: Run::default(),
        }
    }

    pub(crate) fn start_step(&mut self, weight: f64, pass: Margin) {
        self.ticks = 0;
        self.step = calibration::nearest(&self.calibrated, weight);
        match &mut self.test {
            Test::Ratio(member) => member.start_step(pass),
            Test::Latency(test) => test.start_step(pass),
            Test::Gauge(_) | Test::Throughput(_) => {}
        }
        if let Some(guard) = &mut self.guard {
            guard.start_step();
        }
    }

    /// Judges one tick; returns how many rows were refused.
    pub(crate) fn observe(
        &mut self,
        index: usize,
        sli: &SliConfig,
        context: &TickContext<'_>,
    ) -> u64 {
        match sli.kind {
            SliKind::Ratio { better } => {
                self.observe_ratio(index, better, sli.fail_margin(), context)
            }
            SliKind::Latency { .. } => self.observe_latency(sli.fail_margin(), context),
            SliKind::Events => self.observe_events(index, context),
            SliKind::Gauge { .. } => self.observe_gauge(index, context),
            SliKind::Throughput => self.observe_throughput(index, context),
        }
    }

    fn observe_ratio(
        &mut self,
        index: usize,
        better: Better,
        margin: Margin,
        context: &TickContext<'_>,
    ) -> u64 {
        let tick = context.tick;
        let (mut refused, mut witnesses) = (0, Witnesses::default());
        let bound = self.bound(false);
        let mut canary = None;
        for (row, number) in tick.canary.instances.iter().zip(&context.canary_numbers) {
            if self.suspects.is_aside(tick.t, *number) {
                continue;
            }
            match row.rate(index) {
                Ok(Some(rate)) => {
                    add(canary.get_or_insert_default(), rate);
                    self.suspects.count(*number, rate);
                    witnesses.hear(better.excess(rate, bound));
                }
                Ok(None) => {}
                Err(()) => refused += 1,
            }
        }
        let baseline = tick
            .baseline
            .as_ref()
            .map(|arm| arm.sum(index))
            .unwrap_or_default();
        refused += baseline.refused;
        let any = |rate: Option<Rate>| rate.is_some_and(|rate| rate.requests > 0);
        self.hear(tick.t, any(canary), any(baseline.rate));
        match (canary, baseline.rate) {
            (Some(c), Some(b)) if c.requests > 0 && b.requests > 0 => {
                let unknown = self.run.discount(tick.t, witnesses, &self.dispersion);
                let discounts = discounts(&self.calibrated, self.step, &unknown);
                let Test::Ratio(member) = &mut self.test else {
                    return refused;
                };
                let evidence = member.observe(tick.t, c, b, discounts.threshold);
                self.run.observe(tick.t, unknown.fail.largest(&evidence));
                self.conclude(context, better, margin, c, b);
                let arms = tick.baseline.iter().flat_map(|arm| &arm.instances);
                let rates = arms.map(|row| row.rate(index).ok().flatten().unwrap_or_default());
                let numbers = context.baseline_numbers.iter().copied();
                let rows: Vec<(usize, Rate)> = numbers.zip(rates).collect();
                self.measure_clumps(tick.t, &rows);
            }
            (Some(c), None) if tick.baseline.is_none() && c.requests > 0 => {
                self.observe_alone(tick.t, c, better);
            }
            _ => {}
        }
        refused
    }

    fn observe_latency(&mut self, margin: Margin, context: &TickContext<'_>) -> u64 {
        let Test::Latency(test) = &self.test else {
            return 0;
        };
        // The cut may move while the tick is learnt, so it is read first.
        let ((cut, _), (_, threshold)) = (test.shown(), test.cuts());
        let tick = context.tick;
        let slots = context.edges.len() + 1;
        let mut counts = Buckets {
            canary: vec![0; slots],
            baseline: vec![0; slots],
        };
        let (mut refused, mut witnesses) = (0, Witnesses::default());
        let bound = self.bound(false);
        for (row, number) in tick.canary.instances.iter().zip(&context.canary_numbers) {
            if self.suspects.is_aside(tick.t, *number) {
                continue;
            }
            if let Some(rate) = row.add_latency(&mut counts.canary, cut) {
                self.suspects.count(*number, rate);
                witnesses.hear(Better::Lower.excess(rate, bound));
            } else {
                refused += 1;
            }
        }
        let stable = tick.baseline.iter().flat_map(|arm| &arm.instances);
        let mut slow = Vec::with_capacity(context.baseline_numbers.len());
        for (row, number) in stable.zip(&context.baseline_numbers) {
            let rate = row.add_latency(&mut counts.baseline, cut);
            refused += u64::from(rate.is_none());
            slow.push((*number, rate.unwrap_or_default()));
        }
        let [n_c, n_b] = [&counts.canary, &counts.baseline].map(|counts| latency::total(counts));
        self.hear(tick.t, n_c > 0, n_b > 0);
        if n_c == 0 || (n_b == 0 && tick.baseline.is_some()) {
            return refused;
        }
        if tick.baseline.is_none() {
            if let Some(cut) = threshold {
                self.observe_alone(
                    tick.t,
                    latency::above(&counts.canary, cut, n_c),
                    Better::Lower,
                );
            }
            return refused;
        }
        let unknown = self.run.discount(tick.t, witnesses, &self.dispersion);
        let discounts = discounts(&self.calibrated, self.step, &unknown);
        if let Test::Latency(test) = &mut self.test {
            let evidence = test.observe(tick.t, &counts, context.edges, &discounts);
            let gain = evidence.map_or(0.0, |evidence| evidence.largest(&unknown.fail));
            self.run.observe(tick.t, gain);
        }
        let c = latency::above(&counts.canary, cut, n_c);
        let b = latency::above(&counts.baseline, cut, n_b);
        self.conclude(context, Better::Lower, margin, c, b);
        self.measure_clumps(tick.t, &slow);
        refused
    }

    /// An outage of everything hits some instances more than others; that makes no clumpy service.
    fn measure_clumps(&mut self, t: u64, rows: &[(usize, Rate)]) {
        if self.external.both_suffer() {
            self.dispersion.skip();
        } else {
            self.dispersion.observe(t, rows);
        }
    }

    /// What follows a tick of both arms whatever the test: totals, the outside, sick instances.
    fn conclude(
        &mut self,
        context: &TickContext<'_>,
        better: Better,
        margin: Margin,
        c: Rate,
        b: Rate,
    ) {
        let t = context.tick.t;
        if better == Better::Lower {
            self.external.observe(t, c, b);
            let (external, usual) = (self.external.both_suffer(), self.external.usual());
            match &mut self.test {
                Test::Ratio(member) => member.set_external(external, usual),
                Test::Latency(test) => test.set_external(external, usual),
                Test::Gauge(_) | Test::Throughput(_) => {}
            }
        }
        self.count(t, c, b);
        self.suspects.count_baseline(b);
        let log_e = self.e().ln();
        if log_e < NO_EVIDENCE {
            self.suspects.clear();
        } else if log_e >= 0.5 * context.fail_at
            && self
                .suspects
                .judge(t, better, margin, self.dispersion.phi(), context.fail_at)
        {
            match &mut self.test {
                Test::Ratio(member) => member.give_up(),
                Test::Latency(test) => test.give_up(),
                Test::Gauge(_) | Test::Throughput(_) => {}
            }
        }
    }

    /// Without a baseline there is nothing to compare with; that there is data is known all the same.
    fn hear_alone(&mut self, t: u64, has: bool) {
        self.hear(t, has, false);
        if has {
            self.last_data = Some(t);
        }
    }

    fn observe_events(&mut self, index: usize, context: &TickContext<'_>) -> u64 {
        let Some(baseline) = &context.tick.baseline else {
            let mut rows = context.tick.canary.instances.iter();
            let has = rows.any(|row| row.events(index).is_some());
            self.hear_alone(context.tick.t, has);
            return 0;
        };
        let mut refused = 0;
        let mut of = |arm: &ArmTick| {
            let found = arm
                .instances
                .iter()
                .filter_map(|row| row.events(index))
                .collect::<Vec<u64>>();
            let events = found
                .iter()
                .fold(0_u64, |sum, events| sum.saturating_add(*events));
            let rate = events::slots(events, found.len() as u64);
            refused += u64::from(rate.is_none());
            rate.filter(|rate| rate.requests > 0)
        };
        let (canary, baseline) = (of(&context.tick.canary), of(baseline));
        self.hear(context.tick.t, canary.is_some(), baseline.is_some());
        if let (Some(c), Some(b)) = (canary, baseline) {
            let discount = UNMEASURED;
            if let Test::Ratio(member) = &mut self.test {
                member.observe(context.tick.t, c, b, &discount);
            }
            self.count(context.tick.t, c, b);
        }
        refused
    }

    fn observe_gauge(&mut self, index: usize, context: &TickContext<'_>) -> u64 {
        let Some(baseline) = &context.tick.baseline else {
            let mut rows = context.tick.canary.instances.iter();
            let has = rows.any(|row| row.gauge(index).flatten().is_some());
            self.hear_alone(context.tick.t, has);
            return 0;
        };
        let mut refused = 0;
        let mut mean = |arm: &ArmTick| {
            let (mut sum, mut count) = (0.0, 0.0);
            for row in &arm.instances {
                match row.gauge(index) {
                    Some(Some(value)) => (sum, count) = (sum + value, count + 1.0),
                    Some(None) => refused += 1,
                    None => {}
                }
            }
            (count > 0.0).then(|| sum / count)
        };
        let (canary, baseline) = (mean(&context.tick.canary), mean(baseline));
        self.hear(context.tick.t, canary.is_some(), baseline.is_some());
        if let (Some(c), Some(b), Test::Gauge(test)) = (canary, baseline, &mut self.test) {
            test.observe(context.tick.t, c, b);
            self.count(context.tick.t, Rate::default(), Rate::default());
        }
        refused
    }

    fn observe_throughput(&mut self, index: usize, context: &TickContext<'_>) -> u64 {
        let tick = context.tick;
        let Some(baseline) = &tick.baseline else {
            return 0;
        };
        let of = |arm: &ArmTick| {
            let found = arm.instances.iter().filter_map(|row| row.events(index));
            found.reduce(u64::saturating_add)
        };
        let sent = [tick.canary.requests(), baseline.requests()].map(|requests| requests as f64);
        let share = if sent[0] > 0.0 && sent[1] > 0.0 {
            Some(sent[0] / (sent[0] + sent[1]))
        } else {
            tick.weight
        };
        let (canary, baseline) = (of(&tick.canary), of(baseline));
        self.hear(tick.t, canary.is_some(), baseline.is_some());
        if let (Some(c), Some(b), Some(share), Test::Throughput(test)) =
            (canary, baseline, share, &mut self.test)
        {
            test.observe(tick.t, c, b, share, &UNMEASURED.fail);
            let all = c.saturating_add(b);
            self.count(
                tick.t,
                Rate {
                    bad: c,
                    requests: all,
                },
                Rate {
                    bad: b,
                    requests: all,
                },
            );
        }
        0
    }

    fn hear(&mut self, t: u64, canary: bool, baseline: bool) {
        for (heard, has) in self.heard.iter_mut().zip([canary, baseline]) {
            if has {
                *heard = Some(t);
            }
        }
    }

    fn count(&mut self, t: u64, canary: Rate, baseline: Rate) {
        add(&mut self.canary, canary);
        add(&mut self.baseline, baseline);
        self.last_data = Some(t);
        self.ticks += 1;
    }

    fn observe_alone(&mut self, t: u64, rate: Rate, better: Better) {
        let bad = if better == Better::Lower {
            rate.bad
        } else {
            rate.requests - rate.bad
        };
        if let Some(guard) = &mut self.guard {
            guard.observe(t, Rate { bad, ..rate }, CLUMP_CAP);
        }
        add(&mut self.canary, rate);
        self.last_data = Some(t);
        self.ticks += 1;
    }

    /// Evidence against the release; 1 is none. With a baseline and without one are two tests of
    /// the same promise, so they share the SLI's capital.
    pub(crate) fn e(&self) -> f64 {
        let compared = match &self.test {
            Test::Ratio(member) => member.e(),
            Test::Latency(test) => test.e(),
            Test::Gauge(test) => test.e(),
            Test::Throughput(test) => test.e(),
        };
        match &self.guard {
            Some(guard) => 0.5 * (compared + guard.e()),
            None => compared,
        }
    }

    /// Natural logarithm of the proof that the step is within its margin.
    pub(crate) fn log_pass(&self, alone: bool) -> f64 {
        if alone {
            return self.guard.as_ref().map_or(0.0, AbsoluteGuard::log_pass);
        }
        match &self.test {
            Test::Ratio(member) => member.log_pass(),
            Test::Latency(test) => test.log_pass(),
            Test::Gauge(_) | Test::Throughput(_) => 0.0,
        }
    }

    /// Seconds until the step's proof reaches `needed`, if the canary is healthy.
    pub(crate) fn seconds_to_pass(&self, needed: f64, alone: bool) -> Option<f64> {
        if alone {
            let guard = self.guard.as_ref()?;
            let left = (needed - guard.log_pass()).max(0.0);
            let information = guard.pass_information();
            return (information > 1e-9).then(|| left / information);
        }
        let unknown = (self.run).discount(0, Witnesses::default(), &self.dispersion);
        let discounts = discounts(&self.calibrated, self.step, &unknown);
        match &self.test {
            Test::Ratio(member) => member.seconds_to_pass(needed, discounts.threshold),
            Test::Latency(test) => test.seconds_to_pass(needed, &discounts),
            Test::Gauge(_) | Test::Throughput(_) => None,
        }
    }

    /// Seconds that a gauge must be watched still before it could have spoken.
    pub(crate) fn seconds_to_look(&self) -> u64 {
        match &self.test {
            Test::Gauge(test) => test.seconds_to_look(),
            _ => 0,
        }
    }

    /// The ratio up to which the canary is within its margin.
    pub(crate) fn bound(&self, alone: bool) -> f64 {
        if alone {
            return self.guard.as_ref().map_or(1.0, AbsoluteGuard::limit);
        }
        match &self.test {
            Test::Ratio(member) => member.bound(),
            Test::Latency(test) => test.shown().1.bound(),
            Test::Gauge(_) | Test::Throughput(_) => 1.0,
        }
    }
}

fn guarded(sli: &SliConfig) -> Option<f64> {
    match sli.kind {
        SliKind::Ratio { .. } | SliKind::Latency { under_ms: Some(_) } => sli.objective,
        _ => None,
    }
}

/// The calibrated discounts of this step, else `unknown`.
fn discounts<'a>(
    calibrated: &'a [StepDiscounts],
    step: Option<usize>,
    unknown: &'a Discount,
) -> LatencyDiscounts<'a> {
    step.and_then(|step| LatencyDiscounts::by_member(&calibrated.get(step)?.members))
        .unwrap_or_else(|| LatencyDiscounts::all(unknown))
}
