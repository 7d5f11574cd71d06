//! How much more bad requests vary than independent ones would, measured on stable alone.
//!
//! Given their sum, independent bad requests fall to stable's instances like a hypergeometric draw.
//! `phi` is the measured squared deviation relative to that, over blocks of 1, 10 and 60 seconds, the
//! largest of the three: about the size of a clump, counted by its requests. With one instance two
//! stretches of time are compared instead, which counts drift as dispersion and so errs towards caution.

use serde::{Deserialize, Serialize};

use crate::{Rate, tick::clock};

/// Block lengths in seconds over which clumps are looked for.
pub const BLOCKS: [u64; 3] = [1, 10, 60];

/// In longer blocks instances beyond so many are counted together: groups of them clump as they do.
const MAX_CELLS: usize = 16;

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

impl From<Rate> for Cell {
    fn from(rate: Rate) -> Self {
        Self {
            bad: narrow(rate.bad),
            requests: narrow(rate.requests),
        }
    }
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Sums over closed blocks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Block {
    number: u32,
    cells: Vec<Cell>,
    /// Squared deviations, what independent requests would give, and the square of the latter.
    squares: f32,
    variance: f32,
    doubles: f32,
}

impl Block {
    fn add(&mut self, index: usize, rate: Rate) {
        if self.cells.len() <= index {
            self.cells.resize(index + 1, Cell::default());
        }
        let cell = &mut self.cells[index];
        cell.bad = cell.bad.saturating_add(narrow(rate.bad));
        cell.requests = cell.requests.saturating_add(narrow(rate.requests));
    }

    fn close(&mut self) {
        let mut cells = std::mem::take(&mut self.cells);
        self.close_with(cells.iter().copied());
        cells.fill(Cell::default());
        self.cells = cells;
    }

    /// Takes a whole block, whose cells need not be kept.
    fn close_with(&mut self, cells: impl Iterator<Item = Cell> + Clone) {
        let (mut bad, mut requests) = (0.0, 0.0);
        for cell in cells.clone() {
            bad += f64::from(cell.bad);
            requests += f64::from(cell.requests);
        }
        if bad <= 0.0 || requests < 2.0 {
            return;
        }
        let finite = (requests - bad) / (requests - 1.0);
        let one = 1.0 / requests;
        let (mut squares, mut all, mut doubles) = (0.0, 0.0, 0.0);
        for cell in cells {
            let share = f64::from(cell.requests) * one;
            let deviation = f64::from(cell.bad) - bad * share;
            let variance = bad * share * (1.0 - share) * finite;
            squares += deviation * deviation;
            all += variance;
            doubles += variance * variance;
        }
        self.squares += squares as f32;
        self.variance += all as f32;
        self.doubles += doubles as f32;
    }

    /// `phi` where it is taken to be `guess` with the weight of `prior` bad requests.
    fn phi(&self, guess: f64, prior: f64) -> f64 {
        (f64::from(self.squares) + guess * prior) / (f64::from(self.variance) + prior)
    }

    /// The same and its standard error. Clumps are what is counted: of `variance / phi` of them each adds about `phi` squared.
    fn phi_and_error(&self, guess: f64, prior: f64) -> (f64, f64) {
        let phi = self.phi(guess, prior);
        let whole = f64::from(self.variance) + prior;
        let doubles = f64::from(self.doubles);
        let error = phi * (phi / whole + 2.0 * doubles / (whole * whole)).sqrt();
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
    pub fn observe(&mut self, t: u64, rows: &[(usize, Rate)]) {
        let alone = rows.len() == 1;
        let period = |length| if alone { 2 * length } else { length };
        for (block, length) in self.blocks.iter_mut().zip(BLOCKS) {
            let number = clock(t / period(length));
            if block.number != number {
                block.close();
                block.number = number;
            }
            if length == 1 && !alone {
                // A block of a second is whole as it comes.
                block.close_with(rows.iter().map(|(_, rate)| Cell::from(*rate)));
                continue;
            }
            let half = (t / length % 2) as usize;
            for (number, rate) in rows {
                block.add(if alone { half } else { number % MAX_CELLS }, *rate);
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
            let (phi, error) = block.phi_and_error(1.0, PRIOR_BLAND);
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
        self.assume(|block, guess, prior| {
            let (phi, error) = block.phi_and_error(guess, prior);
            phi + (phi - 1.0).clamp(0.0, 1.0) * CAUTION * error
        })
    }

    /// The same without the error, where caps bound besides what clumps may do.
    pub fn likely(&self) -> f64 {
        self.assume(Block::phi)
    }

    /// The largest `of` all blocks, given each with its guess and prior.
    fn assume(&self, of: impl Fn(&Block, f64, f64) -> f64) -> f64 {
        let [second, ten, minute] = &self.blocks;
        let known = second.phi(GUESS, PRIOR).max(ten.phi(GUESS, PRIOR_LONGER));
        of(second, GUESS, PRIOR)
            .max(of(ten, GUESS, PRIOR_LONGER))
            .max(of(minute, known, PRIOR_LONGER))
            .max(1.0)
    }
}
