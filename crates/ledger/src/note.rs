//! Signed notes: a text for people with signatures below it, as C2SP's signed-note has them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use sha2::{Digest as _, Sha256};

/// The byte that says Ed25519 in keys and key ids.
const ED25519: u8 = 1;
/// How a line with a signature begins: an em dash and a space.
const SIGNATURE: &str = "\u{2014} ";
/// Most bytes that a note may have.
const NOTE_BYTES_MAX: usize = 1_000_000;
/// Most signatures that a note may carry.
const SIGNATURES_MAX: usize = 100;

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the form `name+id+base64`.
    #[error("a key has the form NAME+ID+BASE64")]
    Form,
    /// A name that notes cannot carry.
    #[error("a key's name has at least one character and neither spaces, controls nor `+`")]
    Name,
    /// Another algorithm than Ed25519.
    #[error("the key is not an Ed25519 key, the only kind that is understood")]
    Algorithm,
    /// The id is not the one of the name and the key.
    #[error("the key's id does not belong to its name and content: it was changed")]
    Id,
}

/// A public key with its name; as text `name+id+base64`, which Go's `note.NewVerifier` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    key: ed25519_dalek::VerifyingKey,
}

fn check_name(name: &str) -> Result<(), KeyError> {
    let bad =
        |character: char| character.is_whitespace() || character.is_control() || character == '+';
    if name.is_empty() || name.contains(bad) {
        return Err(KeyError::Name);
    }
    Ok(())
}

/// The first four bytes of SHA-256 over name, line feed, algorithm and public key.
fn key_id(name: &str, key: &ed25519_dalek::VerifyingKey) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// Name, id and the 32 bytes of a key's text.
fn split_key(text: &str) -> Result<(&str, &str, [u8; 32]), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
    let (id, bytes) = rest.split_once('+').ok_or(KeyError::Form)?;
    check_name(name)?;
    let bytes = STANDARD.decode(bytes).map_err(|_| KeyError::Form)?;
    match bytes.split_first() {
        Some((&ED25519, key)) => Ok((name, id, key.try_into().map_err(|_| KeyError::Form)?)),
        Some(_) => Err(KeyError::Algorithm),
        None => Err(KeyError::Form),
    }
}

impl VerifyingKey {
    /// The key's name, which is also the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 key itself.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The id that signatures by this key carry.
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, &self.key)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        let bytes = STANDARD.encode(bytes);
        write!(f, "{}+{}+{bytes}", self.name, hex(self.id()))
    }
}

impl FromStr for VerifyingKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, bytes) = split_key(text)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Form)?;
        let key = Self {
            name: name.to_owned(),
            key,
        };
        if hex(key.id()) == id {
            Ok(key)
        } else {
            Err(KeyError::Id)
        }
    }
}

/// A private key with its name. It is wiped from memory when dropped and never shown by `Debug`.
pub struct SigningKey {
    name: String,
    key: ed25519_dalek::SigningKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a seed of 32 random bytes.
    ///
    /// # Errors
    /// Where the name cannot stand in a note.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            key: ed25519_dalek::SigningKey::from_bytes(seed),
        })
    }

    /// A key with a name made of `prefix`, `/` and 16 hexadecimal digits of the public key's
    /// SHA-256, so that no two logs share an origin.
    ///
    /// # Errors
    /// Where the prefix cannot stand in a note.
    pub fn named_after_itself(prefix: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let mut key = Self::from_seed(prefix, seed)?;
        let hash: [u8; 32] = Sha256::digest(key.key.verifying_key().as_bytes()).into();
        let digits: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        key.name = format!("{prefix}/{digits}");
        Ok(key)
    }

    /// Reads [`Self::to_secret_text`].
    ///
    /// # Errors
    /// Where it is not the text of a key.
    pub fn from_secret_text(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix("PRIVATE+KEY+").ok_or(KeyError::Form)?;
        let (name, id, seed) = split_key(rest)?;
        let key = Self::from_seed(name, &seed)?;
        if hex(key.verifying_key().id()) == id {
            Ok(key)
        } else {
            Err(KeyError::Id)
        }
    }

    /// The key as Go's `note.NewSigner` reads it: `PRIVATE+KEY+name+id+base64`. A secret.
    pub fn to_secret_text(&self) -> String {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        let id = hex(self.verifying_key().id());
        format!("PRIVATE+KEY+{}+{id}+{}", self.name, STANDARD.encode(bytes))
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// The note of a text that ends with a line feed.
    pub fn sign(&self, text: &str) -> String {
        format!("{text}\n{}", self.signature_line(text))
    }

    /// The Ed25519 signature of a text that is no note: its first line must be none that a note
    /// of this key begins with.
    pub fn sign_plain(&self, text: &str) -> [u8; 64] {
        self.key.sign(text.as_bytes()).to_bytes()
    }

    /// One more signature for a note with this text.
    pub fn signature_line(&self, text: &str) -> String {
        let mut bytes = self.verifying_key().id().to_vec();
        bytes.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{SIGNATURE}{} {}\n", self.name, STANDARD.encode(bytes))
    }
}

/// Why a note is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a note.
    #[error("this is no signed note: {0}")]
    Form(&'static str),
    /// A signature by a known key does not hold.
    #[error("the signature of {0} does not fit the text: one of them was changed")]
    BadSignature(String),
    /// No key that was given has signed.
    #[error("none of the keys that are trusted here has signed this note")]
    Unknown,
}

/// One signature as it stands in a note.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

/// A note as it was read; nothing of it is believed before [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Takes a note apart.
    ///
    /// # Errors
    /// Where it has not a note's form, more than 1 MB, or more than 100 signatures.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form("it is larger than 1 MB"));
        }
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(NoteError::Form("it has control characters"));
        }
        let end = note
            .rfind("\n\n")
            .ok_or(NoteError::Form("no empty line before the signatures"))?;
        let (text, below) = (&note[..=end], &note[end + 2..]);
        let lines = below
            .strip_suffix('\n')
            .ok_or(NoteError::Form("the last line has no end"))?;
        let signatures = lines
            .split('\n')
            .map(signature)
            .collect::<Option<Vec<_>>>()
            .ok_or(NoteError::Form("a line below the text is no signature"))?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Form("it has more than 100 signatures"));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, where a key of `keys` has signed it; signatures by others are passed over.
    ///
    /// # Errors
    /// Where none of `keys` has signed, or a signature by one of them does not hold.
    pub fn verify(&self, keys: &[VerifyingKey]) -> Result<&str, NoteError> {
        let mut is_signed = false;
        for signature in &self.signatures {
            let by = |key: &&VerifyingKey| key.name == signature.name && key.id() == signature.id;
            let Some(key) = keys.iter().find(by) else {
                continue;
            };
            let holds = ed25519_dalek::Signature::from_slice(&signature.bytes)
                .and_then(|it| key.key.verify_strict(self.text.as_bytes(), &it));
            if holds.is_err() {
                return Err(NoteError::BadSignature(signature.name.clone()));
            }
            is_signed = true;
        }
        if is_signed {
            Ok(&self.text)
        } else {
            Err(NoteError::Unknown)
        }
    }
}

fn signature(line: &str) -> Option<Signature> {
    let (name, bytes) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
    check_name(name).ok()?;
    let bytes = STANDARD.decode(bytes).ok()?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    (!bytes.is_empty()).then(|| Signature {
        name: name.to_owned(),
        id: *id,
        bytes: bytes.to_vec(),
    })
}
