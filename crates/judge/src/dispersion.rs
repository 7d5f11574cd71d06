//! How much more bad requests vary than independent ones would, measured on stable alone.
//!
//! Given their sum, independent bad requests fall to stable's instances like a hypergeometric draw.
//! `phi` is the measured squared deviation relative to that, over blocks of 1, 10 and 60 seconds, the
//! largest of the three: about the size of a clump, counted by its requests. With one instance two
//! stretches of time are compared instead, which counts drift as dispersion and so errs towards caution.

use serde::{Deserialize, Serialize};

use crate::{Rate, roster::MAX_INSTANCES};

/// Block lengths in seconds over which clumps are looked for.
pub const BLOCKS: [u64; 3] = [1, 10, 60];

/// What `phi` is taken to be before anything is known: clumps of two.
const GUESS: f64 = 3.0;
/// The guess weighs as much as so many bad requests in the shortest blocks, ...
const PRIOR: f64 = 5.0;
/// ... and as so many in longer ones; the longest begin with what the others say.
const PRIOR_LONGER: f64 = 2.0;
/// Where nothing is guessed, a handful of bad requests does not make a dispersion.
const PRIOR_BLAND: f64 = 10.0;
/// Standard errors that are added where too small a `phi` would do harm.
const CAUTION: f64 = 1.0;

/// One instance's open block; saturating, four thousand million requests.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Cell {
    bad: u32,
    requests: u32,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Block {
    number: u64,
    cells: Vec<Cell>,
    /// Squared deviations, what independent requests would give, and the square of the latter.
    squares: f64,
    variance: f64,
    doubles: f64,
}

impl Block {
    fn add(&mut self, index: usize, rate: Rate) {
        if self.cells.len() <= index {
            self.cells.resize(index + 1, Cell::default());
        }
        let cell = &mut self.cells[index];
        let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        cell.bad = cell.bad.saturating_add(narrow(rate.bad));
        cell.requests = cell.requests.saturating_add(narrow(rate.requests));
    }

    fn close(&mut self) {
        let (mut bad, mut requests) = (0.0, 0.0);
        for cell in &self.cells {
            bad += f64::from(cell.bad);
            requests += f64::from(cell.requests);
        }
        if bad > 0.0 && requests >= 2.0 {
            let finite = (requests - bad) / (requests - 1.0);
            for cell in &self.cells {
                let share = f64::from(cell.requests) / requests;
                let deviation = f64::from(cell.bad) - bad * share;
                let variance = bad * share * (1.0 - share) * finite;
                self.squares += deviation * deviation;
                self.variance += variance;
                self.doubles += variance * variance;
            }
        }
        self.cells.fill(Cell::default());
    }

    /// `phi` where it is taken to be `guess` with the weight of `prior` bad requests, and its standard
    /// error. Clumps are what is counted: of `variance / phi` of them each adds about `phi` squared.
    fn phi(&self, guess: f64, prior: f64) -> (f64, f64) {
        let whole = self.variance + prior;
        let phi = (self.squares + guess * prior) / whole;
        let error = phi * (phi / whole + 2.0 * self.doubles / (whole * whole)).sqrt();
        (phi, error)
    }
}

/// Running estimate of `phi`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Dispersion {
    blocks: [Block; BLOCKS.len()],
}

impl Dispersion {
    /// One tick of stable: its instances by number, at least one.
    pub fn observe(&mut self, t: u64, rows: impl ExactSizeIterator<Item = (usize, Rate)>) {
        let alone = rows.len() == 1;
        let period = |length| if alone { 2 * length } else { length };
        for (block, length) in self.blocks.iter_mut().zip(BLOCKS) {
            if block.number != t / period(length) {
                block.close();
                block.number = t / period(length);
            }
        }
        for (number, rate) in rows {
            for (block, length) in self.blocks.iter_mut().zip(BLOCKS) {
                let half = (t / length % 2) as usize;
                let index = if alone { half } else { number };
                block.add(index.min(MAX_INSTANCES - 1), rate);
            }
        }
    }

    /// A tick that says nothing of how stable is by itself: blocks that it falls into are not counted.
    pub fn skip(&mut self) {
        for block in &mut self.blocks {
            block.cells.fill(Cell::default());
        }
    }

    /// The best guess, for evidence whose clumps are capped besides and for people: nothing is assumed.
    pub fn phi(&self) -> f64 {
        let phi = |block: &Block| {
            let (phi, error) = block.phi(1.0, PRIOR_BLAND);
            if phi <= 1.0 + 1.5 * error { 1.0 } else { phi }
        };
        self.blocks.iter().map(phi).fold(1.0, f64::max)
    }

    /// An upper limit, for what clumps would make too easy: they are assumed until the counts say
    /// otherwise, and an estimate from few of them is widened by its error.
    ///
    /// Where stable had no bad request at all, nothing can be measured. A step is then proven by requests
    /// that were all good, and of clumps of two half as many begin as there are bad requests.
    pub fn upper(&self) -> f64 {
        if self.blocks.iter().all(|block| block.variance == 0.0) {
            return f64::midpoint(GUESS, 1.0);
        }
        self.assume(CAUTION)
    }

    /// The same without the error, where caps bound besides what clumps may do.
    pub fn likely(&self) -> f64 {
        self.assume(0.0)
    }

    fn assume(&self, caution: f64) -> f64 {
        let [second, ten, minute] = &self.blocks;
        let (short, long) = (second.phi(GUESS, PRIOR), ten.phi(GUESS, PRIOR_LONGER));
        let longest = minute.phi(short.0.max(long.0), PRIOR_LONGER);
        let upper = |(phi, error): (f64, f64)| phi + (phi - 1.0).clamp(0.0, 1.0) * caution * error;
        [short, long, longest]
            .into_iter()
            .map(upper)
            .fold(1.0, f64::max)
    }
}
