//! The ledger: a record that cannot be rewritten unnoticed, and how to prove it offline.
//!
//! * **Is for**: the append-only hash tree of RFC 6962 ([`Frontier`]), its tiles and proofs,
//!   signed checkpoints, what a leaf is made of ([`Record`]), and audit bundles ([`Bundle`]).
//! * **Must never**: do I/O, read a clock or draw a random number; say what an event means.
//! * **Start reading** at [`Record`], the bytes that are sealed; then [`Frontier`], how the tree
//!   grows; then [`Checkpoint`], what is signed; then [`Bundle::verify`], what a stranger checks.
//!
//! Formats: RFC 6962 section 2 (hashing, proofs) with the verification of RFC 9162 section 2.1,
//! and C2SP's signed-note, tlog-checkpoint and tlog-tiles.

mod bundle;
mod checkpoint;
mod frontier;
mod hash;
mod note;
mod proof;
mod record;
mod tile;
mod walk;

pub use bundle::{
    BUNDLE_FORMAT, Bundle, BundleError, Document, FIRST_BUNDLE_FORMAT, LaneRecords,
    SECOND_BUNDLE_FORMAT, Sealed,
};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use frontier::{BadFrontier, Frontier};
pub use hash::{HASH_BYTES, Hash, InvalidHash};
pub use note::{KeyError, Note, NoteError, SigningKey, VerifyingKey};
pub use proof::{
    ProofError, ReadTiles, TileNotRead, Tiles, consistency_tiles, inclusion_tiles,
    prove_consistency, prove_inclusion, verify_consistency, verify_inclusion,
};
pub use record::{ENTRY_BYTES_MAX, ENTRY_FORMAT, Entry, EntryTooLarge, Record, TextHash, Texts};
pub use tile::{
    BundleOfEntriesError, InvalidTile, TILE_WIDTH, Tile, decode_entries, encode_entries,
};
pub use walk::{Walk, WalkError};
