//! Instances by number, bounded.

use serde::{Deserialize, Serialize};

/// Instances beyond this many share numbers.
pub const MAX_INSTANCES: usize = 64;

/// Gives each instance of an arm a small number for as long as the rollout runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Roster {
    names: Vec<String>,
}

impl Roster {
    /// The number of `name`, which is row number `row` of the tick: rows mostly keep their order.
    pub fn number(&mut self, row: usize, name: &str) -> usize {
        if self.names.get(row).is_some_and(|known| known == name) {
            return row;
        }
        if let Some(number) = self.names.iter().position(|known| known == name) {
            return number;
        }
        if self.names.len() < MAX_INSTANCES {
            self.names.push(name.to_owned());
            return self.names.len() - 1;
        }
        // FNV-1a: stable across versions, unlike the standard library's hasher.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash % MAX_INSTANCES as u64) as usize
    }

    /// How many numbers are in use.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no instance was seen.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name behind a number; beyond the bound one of several.
    pub fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("?", String::as_str)
    }
}
