//! Simulated services: drift, shared bursts, clumped errors, stalls, sick instances.

use airboss_judge::{ArmTick, InstanceTick, Sample, Tick};

use crate::random::Random;

/// How bad requests clump on an instance.
#[derive(Clone, Copy, PartialEq)]
pub struct Clump {
    pub mean: f64,
    /// Seconds over which a clump is spread; 1 is at once.
    pub spread: u64,
}

/// One kind of service and what its new version does.
#[derive(Clone, Copy, PartialEq)]
pub struct World {
    pub name: &'static str,
    pub rps: f64,
    pub weight: f64,
    pub stable_instances: usize,
    /// Bad ratio of a healthy version.
    pub base: f64,
    /// +-40 % slow drift of the bad ratio and of the traffic, and shared bursts.
    pub restless: bool,
    pub clump: Option<Clump>,
    pub stalls: bool,
    /// Every instance now and then fails 20 % for 30 s, on average every 2 h.
    pub sick: bool,
    /// Half a minute in, every instance of both versions fails 20 % for a minute.
    pub outage: bool,
    pub history: u64,
    pub seconds: u64,
    /// From here on the canary is different, in seconds.
    pub onset: f64,
    /// The canary's bad ratio from then on, relative to none of the drift.
    pub canary: f64,
    /// The canary's latencies above p95 are multiplied by this.
    pub tail: f64,
}

impl World {
    pub const fn healthy(name: &'static str) -> Self {
        Self {
            name,
            rps: 500.0,
            weight: 0.1,
            stable_instances: 10,
            base: 0.001,
            restless: false,
            clump: None,
            stalls: false,
            sick: false,
            outage: false,
            history: 3600,
            seconds: 900,
            onset: 0.0,
            canary: 0.001,
            tail: 1.0,
        }
    }

    /// What of it makes its stable version, and so its history.
    pub fn stable(&self) -> Self {
        Self {
            name: "",
            outage: false,
            history: 0,
            seconds: 0,
            onset: 0.0,
            canary: self.base,
            tail: 1.0,
            ..*self
        }
    }

    pub fn canary_instances(&self) -> usize {
        let ratio = self.weight / (1.0 - self.weight).max(0.05);
        ((self.stable_instances as f64 * ratio).round() as usize).clamp(1, 10)
    }
}

/// Upper bucket edges of the latency histogram: 42 from 5 ms to 5 s.
pub fn edges() -> Vec<f64> {
    (0..42).map(|k| 5.0 * 1.185f64.powi(k)).collect()
}

/// When both versions suffer, in a world with an outage.
const OUTAGE: std::ops::Range<u64> = 30..90;
const CELLS: usize = 1 << 14;
/// Drift moves all latencies by up to +-8 %, in these steps.
const SHIFTS: [f64; 5] = [0.92, 0.96, 1.0, 1.04, 1.08];

/// Latency buckets by random number; log-normal around 40 ms, p99 at 140 ms.
pub struct Latencies(Vec<Vec<u8>>);

impl Latencies {
    pub fn new(tail: f64) -> Self {
        let edges = edges();
        let mut draws: Vec<f64> = Vec::with_capacity(CELLS);
        // Quantiles of the normal by bisection on its distribution function.
        for cell in 0..CELLS {
            let u = (cell as f64 + 0.5) / CELLS as f64;
            let value = 40.0 * (0.54 * normal_quantile(u)).exp();
            draws.push(if u > 0.95 { value * tail } else { value });
        }
        let table = |shift: f64| {
            draws
                .iter()
                .map(|ms| edges.partition_point(|edge| *edge <= ms * shift) as u8)
                .collect()
        };
        Self(SHIFTS.map(table).to_vec())
    }
}

impl Latencies {
    /// Of a stable version and of one whose tail is longer by this factor.
    pub fn pair(tail: f64) -> [std::rc::Rc<Self>; 2] {
        [1.0, tail].map(|tail| std::rc::Rc::new(Self::new(tail)))
    }
}

fn normal_quantile(u: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < u {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

/// Zelen and Severo's approximation, 7.5e-8.
pub fn normal_cdf(x: f64) -> f64 {
    if x < 0.0 {
        return 1.0 - normal_cdf(-x);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let poly = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    1.0 - (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt() * poly
}

#[derive(Clone, Default)]
struct Instance {
    stalled_until: u64,
    sick_until: u64,
    /// When bad requests of clumps are still to come.
    pending: Vec<u64>,
}

/// A running service.
pub struct Traffic {
    world: World,
    random: Random,
    instances: [Vec<Instance>; 2],
    phase: f64,
    period: f64,
    burst_until: u64,
    stable_latency: std::rc::Rc<Latencies>,
    canary_latency: std::rc::Rc<Latencies>,
}

impl Traffic {
    pub fn new(world: World, seed: u64, latencies: &[std::rc::Rc<Latencies>; 2]) -> Self {
        let mut random = Random::new(seed);
        let phase = random.unit();
        let period = 600.0 + 3000.0 * random.unit();
        Self {
            instances: [
                vec![Instance::default(); 10],
                vec![Instance::default(); world.stable_instances],
            ],
            world,
            phase,
            period,
            burst_until: 0,
            random,
            stable_latency: latencies[0].clone(),
            canary_latency: latencies[1].clone(),
        }
    }

    /// One second into `tick`, whose rows are used again. `weight` 0 gives no canary; without `latency`
    /// only counts are drawn.
    pub fn tick(&mut self, t: u64, weight: f64, latency: bool, tick: &mut Tick) {
        let world = self.world;
        let swing = (std::f64::consts::TAU * (t as f64 / self.period + self.phase)).sin();
        let (mut level, mut rps) = (1.0, world.rps);
        if world.restless {
            level += 0.4 * swing;
            rps *= 1.0 - 0.3 * swing;
            if t >= self.burst_until && self.random.chance(1.0 / 600.0) {
                self.burst_until = t + 5 + self.random.bits() % 15;
            }
            if t < self.burst_until {
                level *= 5.0;
            }
        }
        let shift = if world.restless {
            (2.0 + 2.0 * swing).round() as usize
        } else {
            2
        };
        // The part of this second that lies behind the onset.
        let changed = (t as f64 + 1.0 - world.onset).clamp(0.0, 1.0);
        let canary_level = level * (1.0 + changed * (world.canary / world.base - 1.0));
        tick.t = t;
        let canary = Side {
            arm: 0,
            rps: rps * weight,
            count: World { weight, ..world }.canary_instances(),
            level: canary_level,
            shift: latency.then_some(shift),
            slow: changed > 0.5,
        };
        self.side(t, canary, &mut tick.canary);
        let stable = Side {
            arm: 1,
            rps: rps * (1.0 - weight),
            count: world.stable_instances,
            level,
            slow: false,
            ..canary
        };
        self.side(t, stable, tick.baseline.get_or_insert_default());
    }

    fn side(&mut self, t: u64, side: Side, tick: &mut ArmTick) {
        let rows = &mut tick.instances;
        if side.rps <= 0.0 {
            rows.clear();
            return;
        }
        rows.truncate(side.count);
        for index in rows.len()..side.count {
            rows.push(InstanceTick {
                instance: format!("{}{index}", ["c", "b"][side.arm]),
                samples: vec![Sample::Missing],
                ..InstanceTick::default()
            });
        }
        for (index, row) in rows.iter_mut().enumerate() {
            row.requests = self.random.poisson(side.rps / side.count as f64);
            row.samples[0] = Sample::Count(self.bad(side.arm, index, t, row.requests, side.level));
            row.latency.clear();
            if let Some(shift) = side.shift {
                self.latency(row.requests, shift, side.slow, &mut row.latency);
            }
        }
    }

    fn bad(&mut self, arm: usize, index: usize, t: u64, requests: u64, level: f64) -> u64 {
        let world = self.world;
        let (random, instance) = (&mut self.random, &mut self.instances[arm][index]);
        let mut p = world.base * level;
        if world.stalls {
            if t >= instance.stalled_until && random.chance(1.0 / 1800.0) {
                instance.stalled_until = t + 2 + random.bits() % 3;
            }
            if t < instance.stalled_until {
                p += 0.2;
            }
        }
        if world.sick {
            if t >= instance.sick_until && random.chance(1.0 / 7200.0) {
                instance.sick_until = t + 30;
            }
            if t < instance.sick_until {
                p += 0.2;
            }
        }
        if world.outage && OUTAGE.contains(&t) {
            p += 0.2;
        }
        let Some(clump) = world.clump else {
            return random.binomial(requests, p.min(1.0));
        };
        let clumps = random.poisson(requests as f64 * p / clump.mean);
        for _ in 0..clumps {
            for _ in 0..random.geometric(clump.mean) {
                let at = t + if clump.spread > 1 {
                    random.bits() % clump.spread
                } else {
                    0
                };
                instance.pending.push(at);
            }
        }
        let before = instance.pending.len();
        instance.pending.retain(|at| *at > t);
        ((before - instance.pending.len()) as u64).min(requests)
    }

    fn latency(&mut self, requests: u64, shift: usize, slow: bool, row: &mut Vec<(u32, u64)>) {
        let latencies = if slow {
            &self.canary_latency
        } else {
            &self.stable_latency
        };
        let table = &latencies.0[shift];
        let mut counts = [0_u64; 43];
        let mut bits = 0;
        for request in 0..requests {
            // Four draws of 14 bits from each random number.
            bits = match request % 4 {
                0 => self.random.bits(),
                _ => bits >> 14,
            };
            counts[table[bits as usize % CELLS] as usize] += 1;
        }
        let seen = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        row.extend(seen.map(|(bucket, count)| (bucket as u32, *count)));
    }
}

/// One arm's second.
#[derive(Clone, Copy)]
struct Side {
    arm: usize,
    rps: f64,
    count: usize,
    level: f64,
    /// None: no latencies are drawn.
    shift: Option<usize>,
    slow: bool,
}
