//! How far evidence must be discounted so that a service's own past would not have been blamed.

use crate::{
    dispersion::BLOCKS,
    mixture::{MAX_ALTERNATIVES, SPELL_SECONDS, Tempering, within_spell},
};

/// How much a history's clumps force the judge to hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caution {
    /// No clumps: nothing is capped.
    None,
    /// Clumps: a tick's evidence is capped.
    Ticks,
    /// Faults that last: a spell's evidence is capped too.
    Spells,
}

/// The cap on a tick's log-evidence where clumps are present or not ruled out.
pub const CLUMP_CAP: f64 = 2.3;
/// The cap on a spell's log-evidence where instances fail for a while and heal by themselves: the
/// two spells that such a fault touches cannot decide.
pub const SPELL_CAP: f64 = 1.5;
/// Discounts closer to 1 than this are chance.
const CLEAN_ETA: f64 = 0.85;
/// Capped log-evidence within a minute that only a fault of some ten seconds or more gives.
const LASTING: f64 = 30.0;
const ETA_MIN: f64 = 0.02;
/// At most this part of a proof's exponent is taken off for its error.
const MOST_ERROR: f64 = 0.5;
/// A pseudo-block this much larger than the largest one seen stands for what a history has not
/// shown yet; ...
const PSEUDO: f64 = 1.25;
/// ... a shorter history than this has shown less: the block grows with the fourth root of what is
/// missing, as the largest of heavy-tailed clumps does.
const PSEUDO_SECONDS: f64 = 3_600.0;
/// Sums are kept in bins with their first two moments: exact to third order. Bins are this wide ...
const BIN: f64 = 0.05;
/// ... up to here, and a twentieth of the sum beyond, where only small exponents matter.
const FINE: f64 = 5.0;
/// Sums are clamped here; far beyond every threshold.
const EXTREME: f64 = 600.0;

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    count: f64,
    sum: f64,
    squares: f64,
}

/// The number of the bin that holds `sum`: 0 begins at 0.
fn number_of(sum: f64) -> i32 {
    let size = sum.abs();
    let bins = if size < FINE {
        size / BIN
    } else {
        FINE / BIN + (size / FINE).ln() / BIN
    };
    if sum < 0.0 {
        -1 - bins as i32
    } else {
        bins as i32
    }
}

/// The distribution of block sums of one alternative's log-evidence, for one length and cap.
#[derive(Debug, Clone, Default)]
struct Sums {
    /// Bins without a gap from the number `lowest` on.
    bins: Vec<Bin>,
    lowest: i32,
    count: f64,
    largest: f64,
}

impl Sums {
    fn add(&mut self, sum: f64) {
        let sum = sum.clamp(-EXTREME, EXTREME);
        let bin = self.bin(number_of(sum));
        bin.count += 1.0;
        bin.sum += sum;
        bin.squares += sum * sum;
        self.count += 1.0;
        self.largest = self.largest.max(sum);
    }

    fn bin(&mut self, number: i32) -> &mut Bin {
        if self.bins.is_empty() {
            self.lowest = number;
        }
        if number < self.lowest {
            let missing = (self.lowest - number) as usize;
            self.bins.splice(..0, vec![Bin::default(); missing]);
            self.lowest = number;
        }
        let index = (number - self.lowest) as usize;
        if self.bins.len() <= index {
            self.bins.resize(index + 1, Bin::default());
        }
        &mut self.bins[index]
    }

    fn sum(&self) -> f64 {
        self.bins.iter().map(|bin| bin.sum).sum()
    }

    /// Mean of exp(eta * sum), with `pseudo` added as one more block.
    fn mean(&self, eta: f64, pseudo: Option<f64>) -> f64 {
        let total: f64 = self
            .bins
            .iter()
            .filter(|bin| bin.count > 0.0)
            .map(|bin| {
                let mean = bin.sum / bin.count;
                let variance = (bin.squares / bin.count - mean * mean).max(0.0);
                bin.count * (eta * mean).exp() * (1.0 + 0.5 * eta * eta * variance)
            })
            .sum();
        match pseudo {
            Some(sum) => (total + (eta * sum).exp()) / (self.count + 1.0),
            None => total / self.count,
        }
    }

    /// The largest eta in [.02, 1] whose mean is at most 1, with a pseudo-block so many times the
    /// largest one. The mean is convex in eta and 1 at 0, so everything below that eta is sound too.
    fn eta(&self, pseudo: Option<f64>) -> f64 {
        if self.count == 0.0 {
            return 1.0;
        }
        let pseudo = pseudo.map(|times| times * self.largest);
        if self.mean(1.0, pseudo) <= 1.0 {
            return 1.0;
        }
        let (mut low, mut high) = (ETA_MIN, 1.0);
        for _ in 0..30 {
            let middle = 0.5 * (low + high);
            if self.mean(middle, pseudo) <= 1.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// One stable subset that plays the canary: the sums of its open blocks.
#[derive(Debug, Clone)]
struct Open {
    number: [u64; BLOCKS.len()],
    /// By block length, then alternative: by caution.
    sums: Vec<[f64; 3]>,
    spells: [f64; MAX_ALTERNATIVES],
    spell: u64,
    started: bool,
}

/// Block sums of one member (a ratio comparison or the histogram test), pooled over the subsets
/// that played the canary.
#[derive(Debug, Clone)]
pub struct BlockSums {
    alternatives: usize,
    open: Vec<Open>,
    /// By block length, then alternative: by caution.
    closed: Vec<[Sums; 3]>,
}

impl BlockSums {
    /// For a member with this many alternatives, played by this many subsets.
    pub fn new(alternatives: usize, subsets: usize) -> Self {
        let cells = alternatives * BLOCKS.len();
        let open = Open {
            number: [0; BLOCKS.len()],
            sums: vec![[0.0; 3]; cells],
            spells: [0.0; MAX_ALTERNATIVES],
            spell: 0,
            started: false,
        };
        Self {
            alternatives,
            open: vec![open; subsets],
            closed: vec![Default::default(); cells],
        }
    }

    /// One tick's undiscounted log-evidence of one subset.
    pub fn observe(&mut self, subset: usize, t: u64, evidence: &[f64]) {
        let open = &mut self.open[subset];
        if open.spell != t / SPELL_SECONDS {
            open.spell = t / SPELL_SECONDS;
            open.spells = [0.0; MAX_ALTERNATIVES];
        }
        let mut capped = [[0.0; 3]; MAX_ALTERNATIVES];
        for ((slots, log_e), spell) in capped.iter_mut().zip(evidence).zip(&mut open.spells) {
            let tick = log_e.min(CLUMP_CAP);
            *slots = [*log_e, tick, within_spell(spell, tick, SPELL_CAP)];
        }
        for (length, seconds) in BLOCKS.iter().enumerate() {
            let number = t / seconds;
            let cells = length * self.alternatives..(length + 1) * self.alternatives;
            if open.started && open.number[length] != number {
                for cell in cells.clone() {
                    for capped in 0..3 {
                        self.closed[cell][capped].add(open.sums[cell][capped]);
                    }
                    open.sums[cell] = [0.0; 3];
                }
            }
            open.number[length] = number;
            for (cell, added) in cells.zip(&capped) {
                for (sum, added) in open.sums[cell].iter_mut().zip(added) {
                    *sum += added;
                }
            }
        }
        open.started = true;
    }

    fn etas(&self, caution: Caution) -> impl Iterator<Item = f64> {
        (0..self.alternatives).map(move |k| {
            (0..BLOCKS.len())
                .map(|length| {
                    let sums = &self.closed[length * self.alternatives + k];
                    let sums = &sums[caution as usize];
                    let seen = sums.count * BLOCKS[length] as f64 / self.open.len() as f64;
                    let times = PSEUDO * (PSEUDO_SECONDS / seen).max(1.0).powf(0.25);
                    sums.eta((caution != Caution::None).then_some(times))
                })
                .fold(1.0, f64::min)
        })
    }

    /// What this member's history asks for.
    pub fn caution(&self) -> Caution {
        if self.etas(Caution::None).all(|eta| eta >= CLEAN_ETA) {
            return Caution::None;
        }
        let minute = BLOCKS.len() - 1;
        let largest = (0..self.alternatives)
            .map(|k| self.closed[minute * self.alternatives + k][Caution::Ticks as usize].largest)
            .fold(0.0, f64::max);
        if largest > LASTING {
            Caution::Spells
        } else {
            Caution::Ticks
        }
    }

    /// The exponent for a step's proof, for sums of one alternative of which the part `apart` does not
    /// overlap: near 1 it is taken for 1, below it is lowered by half its standard error, which is about
    /// `sqrt(2 / T)` for `T` nats of discounted evidence. `few` bounds it where little was seen.
    pub fn proof_eta(&self, apart: f64, few: f64) -> f64 {
        let of = |sums: &[Sums; 3]| {
            let sums = &sums[Caution::None as usize];
            let eta = sums.eta(None);
            if eta >= CLEAN_ETA {
                return 1.0;
            }
            let nats = (-eta * sums.sum() * apart).max(1.0);
            eta * (1.0 - (0.5 * (2.0 / nats).sqrt()).min(MOST_ERROR))
        };
        let eta = self.closed.iter().map(of).fold(1.0, f64::min);
        let eta = eta.min(few.max(ETA_MIN));
        if eta >= CLEAN_ETA { 1.0 } else { eta }
    }

    /// The discount under the caution that the whole SLI needs.
    pub fn tempering(&self, caution: Caution) -> Tempering {
        let mut tempering = Tempering {
            spell_cap: (caution == Caution::Spells).then_some(SPELL_CAP),
            ..Tempering::flat(1.0, (caution != Caution::None).then_some(CLUMP_CAP))
        };
        for (slot, eta) in tempering.etas.iter_mut().zip(self.etas(caution)) {
            *slot = eta;
        }
        tempering
    }
}
