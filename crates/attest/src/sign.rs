//! Airboss's own signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use zeroize::Zeroizing;

use crate::dsse::{Envelope, PAYLOAD_TYPE};
use crate::statement::Statement;
use crate::trust::PublicKey;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// What stands before the seed in an Ed25519 key as PKCS #8 (RFC 8410), behind its length.
const BEFORE_SEED: [u8; 11] = [
    0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A text that holds no private key. It says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 private key as PEM (PKCS #8, without a password)")]
pub struct SecretError;

/// An Ed25519 key that signs statements. It is wiped from memory when dropped and never shown.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a seed of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a PEM block as `openssl genpkey -algorithm ed25519` and [`Self::to_secret`] write it.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn from_secret(text: &str) -> Result<Self, SecretError> {
        let (_, rest) = text.split_once(BEGIN).ok_or(SecretError)?;
        let (body, _) = rest.split_once(END).ok_or(SecretError)?;
        let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
        let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).map_err(|_| SecretError)?);
        // Version 2 has the public half behind the seed; it follows from the seed.
        let [0x30, _, 0x02, 0x01, 0 | 1, rest @ ..] = der.as_slice() else {
            return Err(SecretError);
        };
        let seed = rest
            .strip_prefix(&BEFORE_SEED)
            .and_then(|rest| rest.first_chunk::<32>())
            .ok_or(SecretError)?;
        Ok(Self::from_seed(seed))
    }

    /// The private key as a PEM block: a secret.
    pub fn to_secret(&self) -> Zeroizing<String> {
        let mut der = Zeroizing::new(vec![0x30, 0x2e, 0x02, 0x01, 0x00]);
        der.extend_from_slice(&BEFORE_SEED);
        der.extend_from_slice(self.0.as_bytes());
        let body = Zeroizing::new(STANDARD.encode(der.as_slice()));
        Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", body.as_str()))
    }

    /// Its public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of_ed25519(self.0.verifying_key().as_bytes())
    }

    /// The statement in an envelope with one signature. The same statement gives the same bytes.
    pub fn sign(&self, statement: &Statement) -> Envelope {
        let mut envelope = Envelope {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: statement.to_json().into_bytes(),
            signatures: Vec::new(),
        };
        let signature = self.0.sign(&envelope.message()).to_bytes().to_vec();
        let id = self.public_key().id();
        envelope.signatures.push((id, signature));
        envelope
    }
}
