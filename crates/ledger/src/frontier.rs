//! The right edge of the tree: all that appending needs.

use crate::hash::{HASH_BYTES, Hash};

/// The tree as it grows: its size and the roots of its complete subtrees, the largest first.
/// Appending costs O(log n) time at worst, two hashes on average; the memory is O(log n).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// Bytes that are no frontier of the size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has {} roots of 32 bytes at its edge, not {bytes} bytes", size.count_ones())]
pub struct BadFrontier {
    /// The size that was claimed.
    pub size: u64,
    /// How many bytes there are.
    pub bytes: usize,
}

impl Frontier {
    /// The frontier of `size` leaves from [`Self::to_bytes`].
    ///
    /// # Errors
    /// Where the number of bytes does not fit the size.
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Result<Self, BadFrontier> {
        let bad = BadFrontier {
            size,
            bytes: bytes.len(),
        };
        match Hash::many(bytes) {
            Some(peaks) if peaks.len() == size.count_ones() as usize => Ok(Self { size, peaks }),
            _ => Err(bad),
        }
    }

    /// The roots one behind the other, 32 bytes each, the largest subtree first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.peaks.len() * HASH_BYTES);
        for peak in &self.peaks {
            bytes.extend_from_slice(&peak.0);
        }
        bytes
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| Hash::node(left, right))
            .unwrap_or_else(Hash::empty)
    }

    /// Adds a leaf. Every node that is complete by it, the leaf itself first, is told with its
    /// level (0 for leaves) and its index in that level.
    pub fn append(&mut self, leaf: Hash, mut complete: impl FnMut(u32, u64, Hash)) {
        let (mut level, mut index, mut hash) = (0, self.size, leaf);
        complete(level, index, hash);
        while index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = Hash::node(left, hash);
            level += 1;
            index >>= 1;
            complete(level, index, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }
}
