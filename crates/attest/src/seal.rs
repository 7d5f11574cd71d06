//! Secrets at rest: a passphrase, stretched by Argon2id, seals them with XChaCha20-Poly1305.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// How a sealed text begins; the number is the version of all that follows.
const SEALED: &str = "AIRBOSS-SEALED-1";
/// Bytes of salt.
const SALT: usize = 16;
/// Bytes of nonce.
const NONCE: usize = 24;
/// Memory that stretching takes, in KiB, and rounds: RFC 9106's second recommendation, on one lane.
const MEMORY_KIB: u32 = 64 * 1024;
const ROUNDS: u32 = 3;
/// Most memory and rounds that a file may ask for: opening one must not take a machine down.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const ROUNDS_MAX: u32 = 64;

/// Random bytes that [`seal`] needs, of which none may be used twice.
pub const SEAL_RANDOM_BYTES: usize = SALT + NONCE;

/// Why a sealed text does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Not such a text.
    #[error("it is not a sealed secret, or was cut off")]
    Form,
    /// It asks for more than opening may cost.
    #[error("it asks for {memory_kib} KiB and {rounds} rounds to be opened, which is too much")]
    Cost {
        /// Memory in KiB.
        memory_kib: u32,
        /// Rounds over it.
        rounds: u32,
    },
    /// The passphrase is another one, or a byte was changed. Nobody can tell which.
    #[error("the passphrase does not open it, or the file was changed")]
    Passphrase,
}

/// A passphrase. It is wiped from memory when dropped and never shown.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// From its bytes; a line feed at the end, as files have it, does not belong to it.
    ///
    /// # Errors
    /// Where it is empty, which protects nothing.
    pub fn new(bytes: Vec<u8>) -> Result<Self, EmptyPassphrase> {
        let mut bytes = Zeroizing::new(bytes);
        while bytes
            .last()
            .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
        {
            bytes.pop();
        }
        if bytes.is_empty() {
            return Err(EmptyPassphrase);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// A passphrase without a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase is empty")]
pub struct EmptyPassphrase;

/// True where a file's text is sealed.
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(SEALED)
}

/// Seals a secret into one line of text. `bound_to` says what it is for, such as the public key's
/// id; the text opens for that only, so that two files cannot be exchanged for each other.
///
/// # Errors
/// Where the machine has not the memory.
pub fn seal(
    secret: &[u8],
    passphrase: &Passphrase,
    bound_to: &str,
    random: &[u8; SEAL_RANDOM_BYTES],
) -> Result<String, SealError> {
    let (salt, nonce) = random.split_at(SALT);
    let cipher = cipher(passphrase, salt, MEMORY_KIB, ROUNDS)?;
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SealError::Form)?;
    let payload = Payload {
        msg: secret,
        aad: bound_to.as_bytes(),
    };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealError::Form)?;
    let bytes = [random.as_slice(), &sealed].concat();
    Ok(format!(
        "{SEALED} m={MEMORY_KIB} t={ROUNDS} {}",
        STANDARD.encode(bytes)
    ))
}

/// Opens what [`seal`] made.
///
/// # Errors
/// See [`SealError`].
pub fn open(
    text: &str,
    passphrase: &Passphrase,
    bound_to: &str,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [SEALED, memory, rounds, bytes] = parts.as_slice() else {
        return Err(SealError::Form);
    };
    let number = |text: &str, name: &str| {
        text.strip_prefix(name)
            .and_then(|digits| digits.parse::<u32>().ok())
            .ok_or(SealError::Form)
    };
    let (memory_kib, rounds) = (number(memory, "m=")?, number(rounds, "t=")?);
    if memory_kib > MEMORY_KIB_MAX || rounds > ROUNDS_MAX {
        return Err(SealError::Cost { memory_kib, rounds });
    }
    let bytes = STANDARD.decode(bytes).map_err(|_| SealError::Form)?;
    let (random, sealed) = bytes
        .split_at_checked(SEAL_RANDOM_BYTES)
        .ok_or(SealError::Form)?;
    let (salt, nonce) = random.split_at(SALT);
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| SealError::Form)?;
    let payload = Payload {
        msg: sealed,
        aad: bound_to.as_bytes(),
    };
    cipher(passphrase, salt, memory_kib, rounds)?
        .decrypt(&XNonce::from(nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| SealError::Passphrase)
}

fn cipher(
    passphrase: &Passphrase,
    salt: &[u8],
    memory_kib: u32,
    rounds: u32,
) -> Result<XChaCha20Poly1305, SealError> {
    let cost = || SealError::Cost { memory_kib, rounds };
    let mut key = Zeroizing::new([0_u8; 32]);
    let parameters = Params::new(memory_kib, rounds, 1, Some(key.len())).map_err(|_| cost())?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(&passphrase.0, salt, key.as_mut_slice())
        .map_err(|_| cost())?;
    Ok(XChaCha20Poly1305::new(&(*key).into()))
}
