//! Tiles: the tree cut into files that never change, as C2SP's tlog-tiles names them.

use std::fmt;

use crate::hash::Hash;
use crate::record::ENTRY_BYTES_MAX;

/// Hashes in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// The highest level that is spoken of: 256^8 leaves are more than a counter holds.
const LEVEL_MAX: u8 = 7;

/// A piece of the tree: hashes of level `8 × level`, from `256 × index` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Its height in tiles; 0 holds the leaves.
    pub level: u8,
    /// Its place in its level.
    pub index: u64,
    /// How many hashes it has: 1 to 256. Less than 256 is a partial tile at the right edge.
    pub width: u16,
}

/// A path that names no tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` names no tile: {why}")]
pub struct InvalidTile {
    /// The path.
    pub path: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl Tile {
    /// The tile that holds hash `place` of a tile level, in a tree of `size` leaves; as wide as
    /// that tree has it. None where the tree has no such hash.
    pub fn of(level: u8, place: u64, size: u64) -> Option<Self> {
        let have = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        if place >= have {
            return None;
        }
        let index = place / u64::from(TILE_WIDTH);
        let rest = have - index * u64::from(TILE_WIDTH);
        Some(Self {
            level,
            index,
            width: u16::try_from(rest).unwrap_or(TILE_WIDTH).min(TILE_WIDTH),
        })
    }

    /// The first of its hashes' places in its level.
    pub fn first(self) -> u64 {
        self.index.saturating_mul(u64::from(TILE_WIDTH))
    }

    /// Whether a tree of `size` leaves has all of it.
    pub fn fits(self, size: u64) -> bool {
        let have = size.checked_shr(8 * u32::from(self.level)).unwrap_or(0);
        self.first()
            .checked_add(u64::from(self.width))
            .is_some_and(|end| end <= have)
    }

    /// Reads what stands behind `tile/`: a level and an index, such as `0/x001/x234/067` or
    /// `1/000.p/5`; with `entries` in the level's place it is the entries of a tile of level 0
    /// and the answer's flag is true.
    ///
    /// # Errors
    /// Where the path is not exactly the one of a tile.
    pub fn parse(path: &str) -> Result<(Self, bool), InvalidTile> {
        let fail = |why| InvalidTile {
            path: path.to_owned(),
            why,
        };
        let (level, rest) = path
            .split_once('/')
            .ok_or_else(|| fail("it has no index behind the level"))?;
        let entries = level == "entries";
        let level = match level {
            "entries" => 0,
            digits => digits
                .parse()
                .ok()
                .filter(|level| *level <= LEVEL_MAX)
                .ok_or_else(|| fail("the level is `entries` or a number from 0 to 7"))?,
        };
        let (index, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((index, width)) => (
                index,
                width
                    .parse()
                    .ok()
                    .filter(|width| (1..TILE_WIDTH).contains(width))
                    .ok_or_else(|| fail("a partial tile has 1 to 255 hashes"))?,
            ),
        };
        let mut number: u64 = 0;
        for part in index.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            let thousands = Some(digits)
                .filter(|it| it.len() == 3 && it.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|it| it.parse::<u64>().ok())
                .ok_or_else(|| fail("an index is groups of three digits"))?;
            number = number
                .checked_mul(1_000)
                .and_then(|it| it.checked_add(thousands))
                .ok_or_else(|| fail("the index is too large"))?;
        }
        let tile = Self {
            level,
            index: number,
            width,
        };
        // One tile has one path: no `+1`, no missing or further `x`, no leading zeros.
        let canonical = if entries {
            tile.entries_path()
        } else {
            tile.to_string()
        };
        if canonical == path {
            Ok((tile, entries))
        } else {
            Err(fail("it is not written as tlog-tiles writes it"))
        }
    }

    /// The path of the entries below a tile of level 0.
    pub fn entries_path(self) -> String {
        format!("entries/{}", self.place())
    }

    fn place(self) -> String {
        let mut groups = format!("{:03}", self.index % 1_000);
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups = format!("x{:03}/{groups}", rest % 1_000);
            rest /= 1_000;
        }
        if self.width < TILE_WIDTH {
            groups += &format!(".p/{}", self.width);
        }
        groups
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.level, self.place())
    }
}

/// Bytes that are no bundle of entries, or entries that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleOfEntriesError {
    /// The bytes end inside an entry.
    #[error("the bytes end inside entry {0} of the bundle")]
    Truncated(usize),
    /// An entry is longer than its length field can say.
    #[error("entry {0} of the bundle is longer than 65,535 bytes")]
    TooLong(usize),
}

/// Entries as tlog-tiles bundles them: each with its length in two bytes, the high one first.
///
/// # Errors
/// Where an entry is longer than 65,535 bytes.
pub fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleOfEntriesError> {
    let mut bytes = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len())
            .ok()
            .filter(|_| entry.len() <= ENTRY_BYTES_MAX)
            .ok_or(BundleOfEntriesError::TooLong(place))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle.
///
/// # Errors
/// Where the bytes end inside an entry.
pub fn decode_entries(mut bytes: &[u8]) -> Result<Vec<&[u8]>, BundleOfEntriesError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let truncated = BundleOfEntriesError::Truncated(entries.len());
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
            return Err(truncated);
        };
        let Some((entry, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
            return Err(truncated);
        };
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// The root of a complete subtree from its lowest hashes; None where their number is no power
/// of two.
pub(crate) fn fold(hashes: &[Hash]) -> Option<Hash> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| Hash::node(*left, *right))
            .collect();
    }
    row.first().copied()
}
