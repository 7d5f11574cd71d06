//! Walking a whole log from its first entry, trusting nothing on the way.

use std::collections::HashMap;

use crate::frontier::Frontier;
use crate::hash::Hash;
use crate::record::{EntryTooLarge, Record};

/// The first thing on the way that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// Another number than the next one.
    #[error("event {expected} is missing: event {found} stands in its place")]
    Missing {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The event before it in its lane is another one than it says.
    #[error(
        "event {number} of {lane} says that event {told} is the one before it; it is event {found}"
    )]
    Chain {
        /// The event.
        number: u64,
        /// Its lane.
        lane: String,
        /// What it says.
        told: u64,
        /// What was there.
        found: u64,
    },
    /// An entry that cannot be a leaf.
    #[error(transparent)]
    TooLarge(#[from] EntryTooLarge),
}

/// A walk over records in their order. It keeps O(lanes) of memory.
#[derive(Debug, Default)]
pub struct Walk {
    frontier: Frontier,
    newest: HashMap<String, u64>,
    removed: HashMap<String, u64>,
}

impl Walk {
    /// Takes the next record; its leaf's hash.
    ///
    /// # Errors
    /// The first thing that is wrong. The walk ends there.
    pub fn step(&mut self, record: &Record) -> Result<Hash, WalkError> {
        let expected = self.frontier.size() + 1;
        if record.number != expected {
            return Err(WalkError::Missing {
                expected,
                found: record.number,
            });
        }
        let found = self.newest.get(&record.lane).copied().unwrap_or(0);
        if record.previous != found {
            return Err(WalkError::Chain {
                number: record.number,
                lane: record.lane.clone(),
                told: record.previous,
                found,
            });
        }
        let leaf = record.leaf()?;
        self.frontier.append(leaf, |_, _, _| {});
        if record.removed.is_some() {
            self.removed.insert(record.lane.clone(), record.seq);
        }
        match self.newest.get_mut(&record.lane) {
            Some(newest) => *newest = record.number,
            None => {
                self.newest.insert(record.lane.clone(), record.number);
            }
        }
        Ok(leaf)
    }

    /// The lanes of which words were removed, with the last such commit of each. That this was
    /// allowed is for the caller to see from what the records say.
    pub fn removed(&self) -> &HashMap<String, u64> {
        &self.removed
    }

    /// The tree over the records so far.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }
}
