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
    gauge::Apart,
    judge::{add, step_margin},
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
    /// How clumped its bad requests came; where the history is too short for `steps`, a release
    /// begins with this.
    #[serde(default)]
    pub dispersion: Dispersion,
    /// How evidence is discounted at each canary weight. Empty: not calibrated.
    pub steps: Vec<StepDiscounts>,
    /// How far apart stable's instances are in a gauge, in its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
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

/// The calibrated weight that is closest to `weight`, on a log scale.
pub(crate) fn nearest(steps: &[StepDiscounts], weight: f64) -> Option<usize> {
    let distance = |step: &StepDiscounts| (step.weight / weight).ln().abs();
    (0..steps.len()).min_by(|a, b| distance(&steps[*a]).total_cmp(&distance(&steps[*b])))
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
    dispersion: Dispersion,
    apart: Apart,
}

/// Stable's instances divided for one weight.
#[derive(Debug, Clone)]
struct Split {
    weight: f64,
    /// The subsets that play the canary.
    ring: Ring,
    /// Those that play a canary on the edge of its pass margin, which has more bad requests.
    edge: Ring,
    slis: Vec<SplitSli>,
}

#[derive(Debug, Clone)]
struct SplitSli {
    players: Vec<Player>,
    members: Vec<BlockSums>,
    /// By ratio member: the histogram proves nothing.
    proofs: Vec<BlockSums>,
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
            dispersion: Dispersion::default(),
            apart: Apart::default(),
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
                SliKind::Gauge { .. } => {
                    let rows = stable.instances.iter().zip(&numbers);
                    let levels = rows
                        .filter_map(|(row, number)| Some((*number, row.gauge(index).flatten()?)));
                    self.slis[index].apart.observe(t, levels);
                }
                SliKind::Events | SliKind::Throughput => {}
            }
        }
    }

    /// Divides the instances that report at the start; later ones only play stable.
    fn divide(&mut self, instances: usize) {
        if instances < 2 {
            return;
        }
        for weight in &self.weights {
            let higher = self.weights.iter().filter(|other| *other > weight);
            let next = higher.copied().fold(1.0, f64::min);
            let ring = Ring::new(instances, *weight, instances / 2);
            let slis = self
                .config
                .slis
                .iter()
                .map(|sli| SplitSli::new(sli, &self.config, next, ring.subsets));
            self.splits.push(Split {
                weight: *weight,
                ring,
                edge: Ring::new(instances, 2.0 * weight / (1.0 + weight), instances - 1),
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
        let rows = Rows::new(&rates, numbers);
        let whole = rows.whole;
        let history = &mut self.slis[index];
        add(&mut history.total, whole);
        let by_number: Vec<(usize, Rate)> =
            numbers.iter().copied().zip(rates.iter().copied()).collect();
        history.dispersion.observe(t, &by_number);
        for split in &mut self.splits {
            let ring = split.ring;
            let sli = &mut split.slis[index];
            if let (Some(Player::Ratio(member)), [proof]) =
                (sli.players.first(), &mut sli.proofs[..])
            {
                rows.play_edge(t, split.edge, member, proof);
            }
            for (subset, player) in sli.players.iter_mut().enumerate() {
                let Player::Ratio(member) = player else {
                    continue;
                };
                let canary = rows.of(ring, subset);
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
        for row in &stable.instances {
            row.add_latency(&mut whole, slots);
        }
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
                row.add_latency(&mut counts, slots);
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
        let above_cut = |cut| -> Vec<Rate> {
            let rates = rows
                .iter()
                .map(|counts| above(counts, cut, counts.iter().sum()));
            rates.collect()
        };
        for (order, split) in self.splits.iter_mut().enumerate() {
            let ring = split.ring;
            let sli = &mut split.slis[index];
            if let Some(Player::Latency(test)) = sli.players.first() {
                // Where the tails are cut hardly differs between subsets, so the first one tells.
                for ((cut, member), proof) in test.comparisons().zip(&mut sli.proofs) {
                    Rows::new(&above_cut(cut), numbers).play_edge(t, split.edge, member, proof);
                }
                if order == 0 {
                    let rates = above_cut(test.shown().0);
                    let shown: Vec<(usize, Rate)> = numbers.iter().copied().zip(rates).collect();
                    history.dispersion.observe(t, &shown);
                }
            }
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
                let discounts = LatencyDiscounts::all(&Discount::NONE);
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
                dispersion: history.dispersion.clone(),
                steps: if self.seconds < ENOUGH_SECONDS {
                    Vec::new()
                } else {
                    self.splits
                        .iter()
                        .filter_map(|split| split.discounts(index, history))
                        .collect()
                },
                spread: history.apart.finish(),
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
#[derive(Debug, Clone, Copy)]
struct Ring {
    size: usize,
    subsets: usize,
    instances: usize,
}

impl Ring {
    fn new(instances: usize, share: f64, largest: usize) -> Self {
        let size = (share * instances as f64).round() as usize;
        Self {
            size: size.clamp(1, largest.max(1)),
            subsets: instances.min(MAX_SUBSETS),
            instances,
        }
    }

    fn plays(self, subset: usize, number: usize) -> bool {
        let start = subset * self.instances / self.subsets;
        number < self.instances && (number + self.instances - start) % self.instances < self.size
    }

    /// The part of what its subsets see that does not overlap.
    fn apart(self) -> f64 {
        let disjoint = self.instances as f64 / self.size as f64;
        (disjoint / self.subsets as f64).min(1.0)
    }
}

/// One second of stable for one comparison, by instance.
struct Rows<'a> {
    rates: &'a [Rate],
    numbers: &'a [usize],
    whole: Rate,
}

impl<'a> Rows<'a> {
    fn new(rates: &'a [Rate], numbers: &'a [usize]) -> Self {
        let mut whole = Rate::default();
        rates.iter().for_each(|rate| add(&mut whole, *rate));
        Self {
            rates,
            numbers,
            whole,
        }
    }

    fn of(&self, ring: Ring, subset: usize) -> Rate {
        let mut sum = Rate::default();
        for (rate, number) in self.rates.iter().zip(self.numbers) {
            if ring.plays(subset, *number) {
                add(&mut sum, *rate);
            }
        }
        sum
    }

    /// Lets each subset play a canary on the edge of its pass margin: one that was sent so few
    /// requests that its bad ones are just too many. `odds` is the share of bad requests at the edge
    /// over that of a healthy canary; given the sum of bad requests, the evidence for the step is
    /// then `g x - ln E exp(g x)`, `g = -ln odds`, `x` the subset's own. Its cumulants are those of a
    /// binomial draw, smaller where a good part of all requests is bad.
    fn play_edge(&self, t: u64, edge: Ring, member: &RatioMember, sums: &mut BlockSums) {
        let Some(odds) = member.pass_odds() else {
            return;
        };
        let g = -odds.ln();
        let (bad, requests) = (self.whole.bad as f64, self.whole.requests as f64);
        let finite = 1.0 - member.baseline_ratio();
        for subset in 0..edge.subsets {
            let part = self.of(edge, subset);
            if part.requests == 0 || part.requests == self.whole.requests {
                continue;
            }
            let share = part.requests as f64 / requests;
            let cumulant = bad * ((share * g.exp_m1()).ln_1p() - g * share);
            let deviation = part.bad as f64 - bad * share;
            sums.observe(subset, t, &[g * deviation - finite * cumulant]);
        }
    }
}

impl Split {
    fn discounts(&self, index: usize, history: &History) -> Option<StepDiscounts> {
        let sli = &self.slis[index];
        if self.ring.subsets < 2 || sli.members.is_empty() {
            return None;
        }
        let caution = sli.members.iter().map(BlockSums::caution).max()?;
        // The histogram comes first and proves nothing.
        let unproven = sli.members.len() - sli.proofs.len();
        let few = 1.0 / history.dispersion.upper();
        let members = sli.members.iter().enumerate().map(|(member, sums)| {
            let proof = member.checked_sub(unproven).map(|proof| &sli.proofs[proof]);
            Discount {
                fail: sums.tempering(caution),
                pass_eta: proof.map_or(1.0, |proof| proof.proof_eta(self.edge.apart(), few)),
            }
        });
        Some(StepDiscounts {
            weight: self.weight,
            members: members.collect(),
        })
    }
}

impl SplitSli {
    fn new(sli: &SliConfig, config: &Config, next_weight: f64, subsets: usize) -> Self {
        let fail = sli.fail_margin();
        let pass = step_margin(
            sli.pass_margin(),
            sli.kind,
            config.harm_budget(sli),
            next_weight,
        );
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
                        &config.latency_edges_ms,
                        under_ms,
                        fail,
                        pass,
                        None,
                    ))),
                    alternatives,
                )
            }
            SliKind::Events | SliKind::Gauge { .. } | SliKind::Throughput => {
                (Player::None, Vec::new())
            }
        };
        let proofs = match sli.kind {
            SliKind::Latency { .. } => alternatives.len() - 1,
            _ => alternatives.len(),
        };
        let members = alternatives
            .into_iter()
            .map(|alternatives| BlockSums::new(alternatives, subsets));
        Self {
            players: vec![player; subsets],
            members: members.collect(),
            proofs: vec![BlockSums::new(1, subsets); proofs],
        }
    }
}
