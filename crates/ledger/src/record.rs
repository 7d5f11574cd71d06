//! What a leaf is made of.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::hash::{HASH_BYTES, Hash};

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
    /// The hashes of the three texts, where retention removed the texts; then they are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Texts>,
}

/// The hashes of a record's texts, which stand for them in its leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// Of [`Record::message`].
    pub message: TextHash,
    /// Of [`Record::body`].
    pub body: TextHash,
    /// Of [`Record::input`].
    pub input: TextHash,
}

impl Texts {
    /// Bytes of [`Self::to_bytes`].
    pub const BYTES: usize = 3 * HASH_BYTES;

    /// The three hashes one behind the other.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.message.0, self.body.0, self.input.0].concat()
    }

    /// From [`Self::to_bytes`]; None where there are more or fewer.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.as_chunks::<HASH_BYTES>() {
            ([message, body, input], []) => Some(Self {
                message: TextHash(*message),
                body: TextHash(*body),
                input: TextHash(*input),
            }),
            _ => None,
        }
    }
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

/// SHA-256 of a text or a document. As text it is 64 digits of lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextHash([u8; HASH_BYTES]);

impl TextHash {
    /// The hash of a text.
    pub fn of(text: &str) -> Self {
        Self::of_bytes(text.as_bytes())
    }

    /// The hash of bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for TextHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl<'de> Deserialize<'de> for TextHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
            .collect();
        bytes
            .filter(|_| rest.is_empty())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| D::Error::custom("expected 64 digits of lower-case hexadecimal"))
    }
}
impl Serialize for TextHash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 2 * HASH_BYTES];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        }
        // Digits are ASCII, so there is always a text.
        to.serialize_str(str::from_utf8(&digits).unwrap_or_default())
    }
}

/// What a leaf is made from: an event's short columns, and hashes in the place of its texts. So
/// the texts can be hashed long before the event has its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// As [`Record::number`].
    pub number: u64,
    /// As [`Record::previous`].
    pub previous: u64,
    /// As [`Record::lane`].
    pub lane: &'a str,
    /// As [`Record::seq`].
    pub seq: u64,
    /// As [`Record::rollout`].
    pub rollout: Option<&'a str>,
    /// As [`Record::at`].
    pub at: i64,
    /// As [`Record::kind`].
    pub kind: &'a str,
    /// The hash of [`Record::message`].
    pub message: TextHash,
    /// The hash of [`Record::body`].
    pub body: TextHash,
    /// The hash of [`Record::input`].
    pub input: TextHash,
}

/// The entry's fields in their order.
#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    number: u64,
    previous: u64,
    lane: &'a str,
    seq: u64,
    rollout: Option<&'a str>,
    at: i64,
    kind: &'a str,
    message_sha256: TextHash,
    body_sha256: TextHash,
    input_sha256: TextHash,
}

impl Entry<'_> {
    /// The bytes of the leaf: a JSON object without spaces, its fields in the order `format`,
    /// `number`, `previous`, `lane`, `seq`, `rollout`, `at`, `kind`, `message_sha256`,
    /// `body_sha256`, `input_sha256`; numbers in decimal, hashes in lower-case hexadecimal.
    /// Different records have different entries.
    ///
    /// # Errors
    /// Where they are more than [`ENTRY_BYTES_MAX`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, EntryTooLarge> {
        let written = Written {
            format: ENTRY_FORMAT,
            number: self.number,
            previous: self.previous,
            lane: self.lane,
            seq: self.seq,
            rollout: self.rollout,
            at: self.at,
            kind: self.kind,
            message_sha256: self.message,
            body_sha256: self.body,
            input_sha256: self.input,
        };
        // An entry of usual length, so that the bytes are not moved while they grow.
        let mut bytes = Vec::with_capacity(512);
        // Writing strings and integers to memory cannot fail.
        if serde_json::to_writer(&mut bytes, &written).is_err() || bytes.len() > ENTRY_BYTES_MAX {
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
    /// As [`Self::to_bytes`].
    pub fn leaf(&self) -> Result<Hash, EntryTooLarge> {
        Ok(Hash::leaf(&self.to_bytes()?))
    }
}

impl Record {
    /// What its leaf is made from. Hashes stand for texts only where there are none: words that
    /// lie beside hashes of other words are never taken for those.
    pub fn entry(&self) -> Entry<'_> {
        let texts = self.removed.filter(|_| self.is_wordless());
        let texts = texts.unwrap_or_else(|| self.texts());
        Entry {
            number: self.number,
            previous: self.previous,
            lane: &self.lane,
            seq: self.seq,
            rollout: self.rollout.as_deref(),
            at: self.at,
            kind: &self.kind,
            message: texts.message,
            body: texts.body,
            input: texts.input,
        }
    }

    /// The hashes of its texts as they are.
    pub fn texts(&self) -> Texts {
        Texts {
            message: TextHash::of(&self.message),
            body: TextHash::of(&self.body),
            input: TextHash::of(&self.input),
        }
    }

    fn is_wordless(&self) -> bool {
        self.message.is_empty() && self.body.is_empty() && self.input.is_empty()
    }

    /// The hash of its leaf.
    ///
    /// # Errors
    /// As [`Entry::to_bytes`].
    pub fn leaf(&self) -> Result<Hash, EntryTooLarge> {
        self.entry().leaf()
    }
}
