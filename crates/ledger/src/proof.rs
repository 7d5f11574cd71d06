//! Proofs: that an entry is in a tree, and that a tree only grew.
//!
//! Proofs are made from tiles. Whoever keeps the tiles behind something slow asks first which
//! ones a proof takes ([`inclusion_tiles`], [`consistency_tiles`]), reads them into [`Tiles`],
//! and then proves.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::hash::Hash;
use crate::tile::{Tile, fold};

/// A tile that could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tile {0} was not read or is shorter than its name says")]
pub struct TileNotRead(pub Tile);

/// Where tiles come from.
pub trait ReadTiles {
    /// The hashes of a tile, `tile.width` of them.
    ///
    /// # Errors
    /// Where the tile is not there.
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, TileNotRead>;
}

/// Tiles that were read before.
pub type Tiles = BTreeMap<Tile, Vec<Hash>>;

impl ReadTiles for Tiles {
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, TileNotRead> {
        self.get(&tile).cloned().ok_or(TileNotRead(tile))
    }
}

/// Notes which tiles are asked for; its hashes mean nothing.
#[derive(Default)]
struct Wanted(RefCell<BTreeSet<Tile>>);

impl ReadTiles for Wanted {
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, TileNotRead> {
        self.0.borrow_mut().insert(tile);
        Ok(vec![Hash([0; 32]); tile.width.into()])
    }
}

/// Why a proof cannot be made or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such entry.
    #[error("entry {index} is not in a tree of {size} entries")]
    NoEntry {
        /// The entry's index, from 0.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tree does not become smaller.
    #[error("a tree of {from} entries cannot have grown into one of {to}")]
    Shrunk {
        /// The earlier size.
        from: u64,
        /// The later size.
        to: u64,
    },
    /// A tile is missing.
    #[error(transparent)]
    Tile(#[from] TileNotRead),
    /// The proof has too few or too many hashes for its tree.
    #[error("the proof has {hashes} hashes, which is not what a tree of {size} entries takes")]
    Length {
        /// Its hashes.
        hashes: usize,
        /// The tree's size.
        size: u64,
    },
    /// The entry is not what the tree holds in its place.
    #[error("entry {index} is not the one that the tree of {size} entries holds in its place")]
    WrongEntry {
        /// The entry's index, from 0.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The later tree does not hold the earlier one unchanged.
    #[error(
        "the tree of {to} entries does not begin with the tree of {from} entries: the log was rewritten"
    )]
    Rewritten {
        /// The earlier size.
        from: u64,
        /// The later size.
        to: u64,
    },
}

/// A complete subtree's root, `height` levels above the leaves.
fn subtree(tiles: &impl ReadTiles, height: u32, index: u64, size: u64) -> Result<Hash, ProofError> {
    let level = (height / 8) as u8;
    let lowest = 1_u64 << (height % 8);
    let first = index * lowest;
    let Some(tile) = Tile::of(level, first, size) else {
        return Err(ProofError::NoEntry { index: first, size });
    };
    let hashes = tiles.tile(tile)?;
    let from = (first - tile.first()) as usize;
    hashes
        .get(from..from + lowest as usize)
        .and_then(fold)
        .ok_or(ProofError::Tile(TileNotRead(tile)))
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// The root over the entries `from..to` of a tree of `size`.
fn range(tiles: &impl ReadTiles, from: u64, to: u64, size: u64) -> Result<Hash, ProofError> {
    let count = to - from;
    if count.is_power_of_two() {
        let height = count.trailing_zeros();
        return subtree(tiles, height, from >> height, size);
    }
    let middle = from + split(count);
    Ok(Hash::node(
        range(tiles, from, middle, size)?,
        range(tiles, middle, to, size)?,
    ))
}

/// Proves that entry `index` (from 0) is in the tree of `size` entries: RFC 6962, 2.1.1.
///
/// # Errors
/// Where there is no such entry, or a tile is missing.
pub fn prove_inclusion(
    tiles: &impl ReadTiles,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProofError> {
    if index >= size {
        return Err(ProofError::NoEntry { index, size });
    }
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range(tiles, middle, to, size)?);
            to = middle;
        } else {
            path.push(range(tiles, from, middle, size)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proves that the tree of `to` entries begins with the tree of `from`: RFC 6962, 2.1.2. The
/// proof for an empty or an equal tree is empty.
///
/// # Errors
/// Where `from` is more than `to`, or a tile is missing.
pub fn prove_consistency(
    tiles: &impl ReadTiles,
    from: u64,
    to: u64,
) -> Result<Vec<Hash>, ProofError> {
    if from > to {
        return Err(ProofError::Shrunk { from, to });
    }
    let mut path = Vec::new();
    if from == 0 || from == to {
        return Ok(path);
    }
    // The part of the later tree in which the earlier one ends, narrowed down until it ends
    // with it.
    let (mut first, mut last, mut is_whole) = (0, to, true);
    while from != last {
        let middle = first + split(last - first);
        if from <= middle {
            path.push(range(tiles, middle, last, to)?);
            last = middle;
        } else {
            path.push(range(tiles, first, middle, to)?);
            first = middle;
            is_whole = false;
        }
    }
    if !is_whole {
        path.push(range(tiles, first, last, to)?);
    }
    path.reverse();
    Ok(path)
}

/// The tiles that [`prove_inclusion`] reads.
///
/// # Errors
/// Where there is no such entry.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<BTreeSet<Tile>, ProofError> {
    let wanted = Wanted::default();
    prove_inclusion(&wanted, index, size)?;
    Ok(wanted.0.into_inner())
}

/// The tiles that [`prove_consistency`] reads.
///
/// # Errors
/// Where `from` is more than `to`.
pub fn consistency_tiles(from: u64, to: u64) -> Result<BTreeSet<Tile>, ProofError> {
    let wanted = Wanted::default();
    prove_consistency(&wanted, from, to)?;
    Ok(wanted.0.into_inner())
}

/// Checks that `leaf` is entry `index` of the tree of `size` entries with this root: RFC 9162,
/// 2.1.3.2.
///
/// # Errors
/// Where it is not, with the entry.
pub fn verify_inclusion(
    proof: &[Hash],
    index: u64,
    leaf: Hash,
    size: u64,
    root: Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::NoEntry { index, size });
    }
    let length = ProofError::Length {
        hashes: proof.len(),
        size,
    };
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return Err(length);
        }
        if place & 1 == 1 || place == last {
            hash = Hash::node(*sibling, hash);
            // Levels at the right edge where the node has no sibling are passed over.
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(hash, *sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(length);
    }
    if hash == root {
        Ok(())
    } else {
        Err(ProofError::WrongEntry { index, size })
    }
}

/// Checks that a tree of `to` entries begins with one of `from`, by their roots: RFC 9162,
/// 2.1.4.2. Every tree begins with the empty one.
///
/// # Errors
/// Where it does not.
pub fn verify_consistency(
    proof: &[Hash],
    from: u64,
    from_root: Hash,
    to: u64,
    to_root: Hash,
) -> Result<(), ProofError> {
    if from > to {
        return Err(ProofError::Shrunk { from, to });
    }
    let rewritten = ProofError::Rewritten { from, to };
    let length = ProofError::Length {
        hashes: proof.len(),
        size: to,
    };
    if from == 0 || from == to {
        let expected = if from == 0 { Hash::empty() } else { to_root };
        return match (proof.is_empty(), from_root == expected) {
            (false, _) => Err(length),
            (true, false) => Err(rewritten),
            (true, true) => Ok(()),
        };
    }
    // Where the earlier tree is complete its root is the first hash, and the proof omits it.
    let (start, rest) = if from.is_power_of_two() {
        (from_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(length)?;
        (*first, rest)
    };
    let (mut place, mut last) = (from - 1, to - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (start, start);
    for sibling in rest {
        if last == 0 {
            return Err(length);
        }
        if place & 1 == 1 || place == last {
            old = Hash::node(*sibling, old);
            new = Hash::node(*sibling, new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new = Hash::node(new, *sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(length);
    }
    if old == from_root && new == to_root {
        Ok(())
    } else {
        Err(rewritten)
    }
}
