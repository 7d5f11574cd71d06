//! Airboss's own signature.

use ed25519_dalek::Signer as _;

use crate::dsse::{Envelope, PAYLOAD_TYPE};
use crate::statement::Statement;
use crate::trust::PublicKey;

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
