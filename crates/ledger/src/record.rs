//! What a leaf is made of.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hash::Hash;

/// The version of the encoding, which stands in every entry. A change of the encoding is a new
/// version; entries that are sealed keep theirs.
pub const ENTRY_FORMAT: &str = "airboss-event/1";

/// Most bytes of an entry, from the length field of tlog-tiles.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// One event exactly as it is stored, with the input of its decision and its place in its lane.
///
/// Texts are the stored ones, byte for byte; nothing is parsed and written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number in the global order, from 1; its index in the tree is one less.
    pub number: u64,
    /// The number of the event before it in its lane, 0 for the first: so a lane's events are
    /// complete, or visibly not.
    pub previous: u64,
    /// The lane.
    pub lane: String,
    /// The commit of the lane that it came with.
    pub seq: u64,
    /// The rollout that it belongs to, where it belongs to one.
    pub rollout: Option<String>,
    /// When it was decided: microseconds since 1970 in UTC.
    pub at: i64,
    /// Its kind, such as `step_passed`.
    pub kind: String,
    /// One line for people.
    pub message: String,
    /// The engine's event, a JSON text.
    pub body: String,
    /// What its commit was decided on, a JSON text.
    pub input: String,
}

/// A record with texts of such length that its entry cannot be a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {number} makes an entry of {bytes} bytes; a leaf has at most 65,535")]
pub struct EntryTooLarge {
    /// The event.
    pub number: u64,
    /// Bytes of its entry.
    pub bytes: usize,
}

/// The entry's fields in their order. Texts of any length are there as their SHA-256.
#[derive(Serialize)]
struct Entry<'a> {
    format: &'static str,
    number: u64,
    previous: u64,
    lane: &'a str,
    seq: u64,
    rollout: Option<&'a str>,
    at: i64,
    kind: &'a str,
    message_sha256: String,
    body_sha256: String,
    input_sha256: String,
}

fn sha256(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

impl Record {
    /// The bytes of the leaf: a JSON object without spaces, its fields in the order `format`,
    /// `number`, `previous`, `lane`, `seq`, `rollout`, `at`, `kind`, `message_sha256`,
    /// `body_sha256`, `input_sha256`; numbers in decimal, hashes in lower-case hexadecimal.
    /// Different records have different entries.
    ///
    /// # Errors
    /// Where the entry has more than [`ENTRY_BYTES_MAX`] bytes.
    pub fn entry(&self) -> Result<Vec<u8>, EntryTooLarge> {
        let entry = Entry {
            format: ENTRY_FORMAT,
            number: self.number,
            previous: self.previous,
            lane: &self.lane,
            seq: self.seq,
            rollout: self.rollout.as_deref(),
            at: self.at,
            kind: &self.kind,
            message_sha256: sha256(&self.message),
            body_sha256: sha256(&self.body),
            input_sha256: sha256(&self.input),
        };
        // Writing strings and integers to memory cannot fail.
        let bytes = serde_json::to_vec(&entry).unwrap_or_default();
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryTooLarge {
                number: self.number,
                bytes: bytes.len(),
            });
        }
        Ok(bytes)
    }

    /// The hash of the leaf.
    ///
    /// # Errors
    /// As [`Self::entry`].
    pub fn leaf(&self) -> Result<Hash, EntryTooLarge> {
        Ok(Hash::leaf(&self.entry()?))
    }
}
