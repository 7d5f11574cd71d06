//! Counts of the newest cells of time, in little memory and cheap to copy.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Rate, judge::add};

/// Cells of a block.
const BLOCK: usize = 16;

type Block = [Rate; BLOCK];

/// The newest cells of one length. A copy shares all blocks with the first; a block that is counted into
/// is then copied alone. One that nothing was counted into takes no place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub(crate) struct Ring {
    seconds: u64,
    length: usize,
    blocks: Vec<Option<Arc<Block>>>,
    /// Number of the newest cell since time 0.
    newest: u64,
}

/// A ring as it is kept.
#[derive(Serialize, Deserialize)]
struct Flat {
    seconds: u64,
    cells: Vec<Rate>,
    newest: u64,
}

impl From<Flat> for Ring {
    fn from(flat: Flat) -> Self {
        let mut ring = Self::new((flat.seconds.max(1), flat.cells.len().max(1)));
        ring.newest = flat.newest;
        for (slot, cell) in flat.cells.into_iter().enumerate() {
            if cell != Rate::default() {
                *ring.cell_mut(slot) = cell;
            }
        }
        ring
    }
}

impl From<Ring> for Flat {
    fn from(ring: Ring) -> Self {
        Self {
            seconds: ring.seconds,
            cells: ring.cells().collect(),
            newest: ring.newest,
        }
    }
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        let head = |ring: &Self| (ring.seconds, ring.length, ring.newest);
        head(self) == head(other) && self.cells().eq(other.cells())
    }
}

impl Ring {
    /// An empty ring: seconds of a cell and number of cells, both at least 1.
    pub(crate) fn new((seconds, length): (u64, usize)) -> Self {
        Self {
            seconds,
            length,
            blocks: vec![None; length.div_ceil(BLOCK)],
            newest: 0,
        }
    }

    /// Counts into the cell of second `t`, or into the newest one where that is past.
    pub(crate) fn add(&mut self, t: u64, rate: Rate) {
        let number = t / self.seconds;
        let missing = number.saturating_sub(self.newest).min(self.length as u64);
        for back in 0..missing {
            let slot = self.slot(number - back);
            if self.cell(slot) != Rate::default() {
                *self.cell_mut(slot) = Rate::default();
            }
        }
        self.newest = self.newest.max(number);
        add(self.cell_mut(self.slot(self.newest)), rate);
    }

    /// The longest window that it holds whole, in seconds.
    pub(crate) fn reach(&self) -> u64 {
        self.seconds * (self.length as u64 - 1)
    }

    /// The counts of the last `window` seconds, up to one cell less: the newest cell is not full yet.
    pub(crate) fn sum(&self, window: u64) -> Rate {
        let cells = window
            .div_ceil(self.seconds)
            .min(self.length as u64)
            .min(self.newest + 1);
        let mut sum = Rate::default();
        for back in 0..cells {
            add(&mut sum, self.cell(self.slot(self.newest - back)));
        }
        sum
    }

    /// The cells that are wholly over, oldest first, each with its first second.
    pub(crate) fn over(&self) -> impl Iterator<Item = (u64, Rate)> + '_ {
        let oldest = self.newest.saturating_sub(self.length as u64 - 1);
        let cells = oldest..self.newest;
        cells.map(|number| (number * self.seconds, self.cell(self.slot(number))))
    }

    fn slot(&self, number: u64) -> usize {
        (number % self.length as u64) as usize
    }

    fn cell(&self, slot: usize) -> Rate {
        let block = &self.blocks[slot / BLOCK];
        block
            .as_ref()
            .map_or(Rate::default(), |it| it[slot % BLOCK])
    }

    fn cell_mut(&mut self, slot: usize) -> &mut Rate {
        let block = self.blocks[slot / BLOCK].get_or_insert_default();
        &mut Arc::make_mut(block)[slot % BLOCK]
    }

    fn cells(&self) -> impl Iterator<Item = Rate> + '_ {
        (0..self.length).map(|slot| self.cell(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_holds_the_newest_cells_and_comes_back_as_it_was_kept() {
        let one = Rate {
            bad: 1,
            requests: 2,
        };
        let mut ring = Ring::new((10, 70));
        let early = serde_json::to_value(&ring).unwrap();
        assert_eq!(early["cells"].as_array().unwrap().len(), 70);
        for t in 0..2_000 {
            ring.add(t, one);
            let seconds = t + 1;
            let window = 300.min(seconds);
            let sum = ring.sum(window).requests / 2;
            assert!(sum <= window && window < sum + 10, "{t}: {sum}");
        }
        // What is past counts as now, and a long silence leaves nothing behind.
        let copy = ring.clone();
        ring.add(5, one);
        assert_eq!(ring.sum(1).requests, copy.sum(1).requests + 2);
        let kept = serde_json::to_string(&copy).unwrap();
        assert_eq!(serde_json::from_str::<Ring>(&kept).unwrap(), copy);
        ring.add(1_000_000, one);
        assert_eq!(ring.sum(ring.reach()), one);
        assert_ne!(ring, copy);
    }
}
