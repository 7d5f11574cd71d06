//! What a service's own history says about its levels and about how clumped its errors come.
//!
//! Retries, stalled instances and shared causes make bad requests come in clumps; a test that
//! takes them for independent cries wolf. So subsets of stable's instances of about the canary's
//! share are formed, each plays the canary in turn against the others, and the evidence that
//! this A/A comparison would have raised is discounted until its mean, over blocks of 1, 10 and
//! 60 s, is at most 1. The bound that follows is empirical, not a theorem: it holds as far as the
//! future is like the history. For independent requests the discount is 1 and the theorem stands.

use serde::{Deserialize, Serialize};

use crate::{
    ArmTick, Config, ConfigError, Rate,
    blocks::BlockSums,
    config::{SliConfig, SliKind},
    dispersion::Dispersion,
    judge::add,
    latency::{Buckets, LatencyDiscounts, LatencyTest, TAILS, above},
    member::{Discount, RatioMember},
    mixture::EFFECTS,
    roster::Roster,
    shape::{self, SLOWDOWNS},
};

/// A history shorter than this does not calibrate.
pub const ENOUGH_SECONDS: u64 = 900;
/// A history's latency shape counts like this many seconds of traffic.
const SHAPE_SECONDS: f64 = 300.0;
/// At most this many subsets play the canary.
const MAX_SUBSETS: usize = 10;

/// What is known of a service before the release starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// One entry per SLI, by name.
    pub slis: Vec<SliCalibration>,
    /// Seconds of history behind it.
    pub seconds: u64,
}

/// What is known of one SLI.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SliCalibration {
    /// The SLI's name.
    pub name: String,
    /// Stable's ratio over the history.
    pub level: Option<f64>,
    /// Stable's latency distribution over the history, counts by bucket.
    pub shape: Vec<f64>,
    /// How evidence is discounted at each canary weight. Empty: not calibrated.
    pub steps: Vec<StepDiscounts>,
}

/// How one SLI's evidence is discounted at one canary weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepDiscounts {
    /// The canary's share of requests.
    pub weight: f64,
    /// By member: ratio SLIs have one; latency SLIs the histogram, the exceedances of p50, p90,
    /// p99 and p99.9, and the declared threshold.
    pub members: Vec<Discount>,
}

impl Calibration {
    /// What is known of the SLI named `name`.
    pub fn sli(&self, name: &str) -> Option<&SliCalibration> {
        self.slis.iter().find(|sli| sli.name == name)
    }
}

impl SliCalibration {
    /// The discounts of the calibrated weight that is closest to `weight`, on a log scale.
    pub fn at(&self, weight: f64) -> Option<&StepDiscounts> {
        let distance = |step: &&StepDiscounts| (step.weight / weight).ln().abs();
        self.steps
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }
}

/// Takes a service's history, tick by tick, and gives its [`Calibration`].
#[derive(Debug, Clone)]
pub struct Calibrator {
    config: Config,
    weights: Vec<f64>,
    roster: Roster,
    seconds: u64,
    last: Option<u64>,
    slis: Vec<History>,
    splits: Vec<Split>,
}

/// One SLI over the whole of stable.
#[derive(Debug, Clone)]
struct History {
    total: Rate,
    shape: Vec<f64>,
    /// By ratio member; the histogram has none.
    dispersions: Vec<Dispersion>,
}

/// Stable's instances divided for one weight.
#[derive(Debug, Clone)]
struct Split {
    weight: f64,
    /// Instances per subset.
    size: usize,
    subsets: usize,
    /// Instances that take part.
    instances: usize,
    slis: Vec<SplitSli>,
}

#[derive(Debug, Clone)]
struct SplitSli {
    players: Vec<Player>,
    members: Vec<BlockSums>,
}

/// The test of one subset that plays the canary.
#[derive(Debug, Clone)]
enum Player {
    Ratio(Box<RatioMember>),
    Latency(Box<LatencyTest>),
    None,
}

impl Calibrator {
    /// A calibrator for releases that are judged by `config` at these canary weights (0 to 1).
    ///
    /// # Errors
    /// The config's first field that lies outside its range, or a weight that does.
    pub fn new(config: Config, weights: &[f64]) -> Result<Self, ConfigError> {
        config.validate()?;
        if let Some(weight) = weights
            .iter()
            .find(|weight| !(**weight > 0.0 && **weight <= 1.0))
        {
            return Err(ConfigError::Weight(*weight));
        }
        let slots = config.latency_edges_ms.len() + 1;
        let slis = config.slis.iter().map(|sli| History {
            total: Rate::default(),
            shape: vec![
                0.0;
                if matches!(sli.kind, SliKind::Latency { .. }) {
                    slots
                } else {
                    0
                }
            ],
            dispersions: vec![Dispersion::default(); 6],
        });
        Ok(Self {
            slis: slis.collect(),
            weights: weights.to_vec(),
            roster: Roster::default(),
            seconds: 0,
            last: None,
            splits: Vec::new(),
            config,
        })
    }

    /// One second of stable. Ticks that do not lie after the last one are ignored.
    pub fn observe(&mut self, t: u64, stable: &ArmTick) {
        if stable.instances.is_empty() || self.last.is_some_and(|last| t <= last) {
            return;
        }
        self.last = Some(t);
        let numbers: Vec<usize> = stable
            .instances
            .iter()
            .enumerate()
            .map(|(row, it)| self.roster.number(row, &it.instance))
            .collect();
        if self.seconds == 0 {
            self.divide(self.roster.len());
        }
        self.seconds += 1;
        for index in 0..self.config.slis.len() {
            match self.config.slis[index].kind {
                SliKind::Ratio { .. } => self.observe_ratio(t, index, stable, &numbers),
                SliKind::Latency { .. } => self.observe_latency(t, index, stable, &numbers),
                SliKind::Events | SliKind::Gauge { .. } | SliKind::Throughput => {}
            }
        }
    }

    /// Divides the instances that report at the start; later ones only play stable.
    /// Divides the instances that report at the start; later ones only play stable.
    fn divide(&mut self, instances: usize) {
        for weight in &self.weights {
            let wanted = (weight * instances as f64).round() as usize;
            let size = wanted.clamp(1, (instances / 2).max(1));
            if instances < 2 {
                continue;
            }
            let subsets = instances.min(MAX_SUBSETS);
            let slis = self
                .config
                .slis
                .iter()
                .map(|sli| SplitSli::new(sli, &self.config.latency_edges_ms, subsets));
            self.splits.push(Split {
                weight: *weight,
                size,
                subsets,
                instances,
                slis: slis.collect(),
            });
        }
    }

    fn observe_ratio(&mut self, t: u64, index: usize, stable: &ArmTick, numbers: &[usize]) {
        let rates: Vec<Rate> = stable
            .instances
            .iter()
            .map(|row| row.rate(index).ok().flatten().unwrap_or_default())
            .collect();
        let mut whole = Rate::default();
        let mut halves = [Rate::default(); 2];
        for (rate, number) in rates.iter().zip(numbers) {
            add(&mut whole, *rate);
            add(&mut halves[number % 2], *rate);
        }
        let history = &mut self.slis[index];
        add(&mut history.total, whole);
        history.dispersions[0].observe(t, halves[0], (numbers.len() > 1).then_some(halves[1]));
        for split in &mut self.splits {
            let ring = split.ring();
            let sli = &mut split.slis[index];
            for (subset, player) in sli.players.iter_mut().enumerate() {
                let plays = |number| ring.plays(subset, number);
                let Player::Ratio(member) = player else {
                    continue;
                };
                let mut canary = Rate::default();
                for (rate, number) in rates.iter().zip(numbers) {
                    if plays(*number) {
                        add(&mut canary, *rate);
                    }
                }
                let others = Rate {
                    bad: whole.bad - canary.bad,
                    requests: whole.requests - canary.requests,
                };
                if canary.requests > 0 && others.requests > 0 {
                    let evidence = member.observe(t, canary, others, &Discount::NONE);
                    sli.members[0].observe(subset, t, &evidence);
                }
            }
        }
    }

    fn observe_latency(&mut self, t: u64, index: usize, stable: &ArmTick, numbers: &[usize]) {
        let edges = &self.config.latency_edges_ms;
        let slots = edges.len() + 1;
        let mut whole = vec![0_u64; slots];
        stable.sum_latency(&mut whole);
        if whole.iter().all(|count| *count == 0) {
            return;
        }
        let history = &mut self.slis[index];
        for (slot, count) in history.shape.iter_mut().zip(&whole) {
            *slot += *count as f64;
        }
        let rows: Vec<Vec<u64>> = stable
            .instances
            .iter()
            .map(|row| {
                let mut counts = vec![0; slots];
                row.add_latency(&mut counts);
                counts
            })
            .collect();
        let of = |wanted: &dyn Fn(usize) -> bool| {
            let mut sum = vec![0_u64; slots];
            for (counts, _) in rows
                .iter()
                .zip(numbers)
                .filter(|(_, number)| wanted(**number))
            {
                for (slot, count) in sum.iter_mut().zip(counts) {
                    *slot += count;
                }
            }
            sum
        };
        let halves = [of(&|number| number % 2 == 0), of(&|number| number % 2 == 1)];
        let totals = halves.each_ref().map(|half| half.iter().sum::<u64>());
        for (order, split) in self.splits.iter_mut().enumerate() {
            let ring = split.ring();
            let sli = &mut split.slis[index];
            for (subset, player) in sli.players.iter_mut().enumerate() {
                let plays = |number| ring.plays(subset, number);
                let Player::Latency(test) = player else {
                    continue;
                };
                let canary = of(&plays);
                let baseline = whole
                    .iter()
                    .zip(&canary)
                    .map(|(all, part)| all - part)
                    .collect();
                let discounts = LatencyDiscounts::all(Discount::NONE);
                let (cuts, threshold) = test.cuts();
                if order == 0 && subset == 0 {
                    // Where the tails are cut hardly differs between subsets, so the first one tells.
                    for (dispersion, cut) in history
                        .dispersions
                        .iter_mut()
                        .zip(cuts.into_iter().flatten().chain(threshold))
                    {
                        let [first, second] =
                            [0, 1].map(|half| above(&halves[half], cut, totals[half]));
                        dispersion.observe(t, first, (numbers.len() > 1).then_some(second));
                    }
                }
                if let Some(evidence) =
                    test.observe(t, &Buckets { canary, baseline }, edges, &discounts)
                {
                    sli.members[0].observe(subset, t, &evidence.histogram);
                    let ratios = evidence
                        .exceedances
                        .iter()
                        .chain(evidence.threshold.as_ref());
                    for (member, evidence) in sli.members[1..].iter_mut().zip(ratios) {
                        member.observe(subset, t, evidence);
                    }
                }
            }
        }
    }

    /// Seconds of history so far.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    /// What the history says. Levels and shapes come from any history; discounts need 15 minutes
    /// and at least two instances.
    pub fn finish(&self) -> Calibration {
        let slis = self.config.slis.iter().enumerate().map(|(index, sli)| {
            let history = &self.slis[index];
            SliCalibration {
                name: sli.name.clone(),
                level: history.total.ratio(),
                shape: recent_shape(&history.shape, self.seconds),
                steps: if self.seconds < ENOUGH_SECONDS {
                    Vec::new()
                } else {
                    self.splits
                        .iter()
                        .filter_map(|split| split.discounts(index, history))
                        .collect()
                },
            }
        });
        Calibration {
            slis: slis.collect(),
            seconds: self.seconds,
        }
    }
}

/// The history's counts scaled to five minutes of traffic, so that the present soon weighs as much.
fn recent_shape(counts: &[f64], seconds: u64) -> Vec<f64> {
    if shape::normalised(counts).is_none() {
        return Vec::new();
    }
    let scale = (SHAPE_SECONDS / seconds.max(1) as f64).min(1.0);
    counts.iter().map(|count| count * scale).collect()
}

/// Which instances a subset holds: `size` neighbours on the ring of all, so that subsets overlap
/// where the share is large and a short history still gives many of them.
#[derive(Clone, Copy)]
struct Ring {
    size: usize,
    subsets: usize,
    instances: usize,
}

impl Ring {
    fn plays(self, subset: usize, number: usize) -> bool {
        let start = subset * self.instances / self.subsets;
        number < self.instances && (number + self.instances - start) % self.instances < self.size
    }
}

impl Split {
    fn ring(&self) -> Ring {
        Ring {
            size: self.size,
            subsets: self.subsets,
            instances: self.instances,
        }
    }

    fn discounts(&self, index: usize, history: &History) -> Option<StepDiscounts> {
        let sli = &self.slis[index];
        if self.subsets < 2 || sli.members.is_empty() {
            return None;
        }
        let caution = sli.members.iter().map(BlockSums::caution).max()?;
        let is_latency = !history.shape.is_empty();
        let members = sli.members.iter().enumerate().map(|(member, sums)| {
            // The histogram comes first, proves nothing for a step and has no dispersion.
            let dispersion = if is_latency {
                member.checked_sub(1)
            } else {
                Some(member)
            };
            let phi = dispersion
                .and_then(|index| history.dispersions.get(index))
                .map_or(1.0, Dispersion::phi_of_history);
            Discount {
                fail: sums.tempering(caution),
                pass_eta: 1.0 / phi,
            }
        });
        Some(StepDiscounts {
            weight: self.weight,
            members: members.collect(),
        })
    }
}

impl SplitSli {
    fn new(sli: &SliConfig, edges: &[f64], subsets: usize) -> Self {
        let (fail, pass) = (sli.fail_margin(), sli.pass_margin());
        let (player, alternatives) = match sli.kind {
            SliKind::Ratio { better } => (
                Player::Ratio(Box::new(RatioMember::new(better, fail, pass, None, None))),
                vec![EFFECTS.len()],
            ),
            SliKind::Latency { under_ms } => {
                let mut alternatives = vec![SLOWDOWNS.len()];
                alternatives.extend(TAILS.map(|_| EFFECTS.len()));
                alternatives.extend(under_ms.map(|_| EFFECTS.len()));
                (
                    Player::Latency(Box::new(LatencyTest::new(
                        edges, under_ms, fail, pass, None,
                    ))),
                    alternatives,
                )
            }
            SliKind::Events | SliKind::Gauge { .. } | SliKind::Throughput => {
                (Player::None, Vec::new())
            }
        };
        let members = alternatives
            .into_iter()
            .map(|alternatives| BlockSums::new(alternatives, subsets));
        Self {
            players: vec![player; subsets],
            members: members.collect(),
        }
    }
}
