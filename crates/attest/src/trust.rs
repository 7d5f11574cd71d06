//! Whom an installation believes: public keys, and identities that certificates name.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use airboss_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sigstore_verify::Verifier;
use sigstore_verify::crypto::{KeyAlgorithm, VerificationKey, validate_raw_public_key};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{DerPublicKey, SignatureBytes};

/// How far apart two clocks may be before a time counts as wrong.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Whom an installation believes. It is plain data that can be stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trust {
    /// Public keys, retired and revoked ones included: they explain old signatures.
    pub keys: Vec<TrustedKey>,
    /// Identities for signatures without keys of one's own (Sigstore).
    pub identities: Vec<TrustedIdentity>,
}

/// A public key that is, or was, believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// What people call it, such as `ci`.
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// Airboss's own: it proves what Airboss says, and not that an artifact was signed by others.
    #[serde(default)]
    pub own: bool,
    /// It is believed for what was first seen from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// It is believed for what was first seen before: it expired or was rotated then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// It is believed for nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

impl TrustedKey {
    /// True where the hint of a signature names it: by its id as Airboss and others write it.
    pub(crate) fn is_named(&self, hint: &str) -> bool {
        let id = self.key.id();
        !hint.is_empty() && (hint == id || hint.strip_prefix("sha256:") == Some(&id))
    }
}

/// Why and when trust ended for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When it was revoked here.
    pub at: Timestamp,
    /// Why, in a person's words.
    #[serde(default)]
    pub reason: String,
}

/// An identity that a certificate of Sigstore may name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedIdentity {
    /// What people call it, such as `ci`.
    pub name: String,
    /// Who says who it is, such as `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// Who it is; `*` stands for any characters, as in
    /// `https://github.com/acme/checkout/.github/workflows/*`.
    pub identity: String,
    /// Which authorities are believed.
    #[serde(default)]
    pub root: Root,
    /// It is believed for nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

/// The authorities that vouch for certificates, logs and timestamps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// Sigstore's public instance, as it was when this Airboss was built.
    #[default]
    PublicGood,
    /// GitHub's instance for private repositories, likewise.
    GitHub,
    /// A `trusted_root.json` of one's own, its text.
    Own(String),
}

/// A text that is no trusted root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no trusted root: {0}")]
pub struct RootError(String);

impl Root {
    /// A `trusted_root.json` of one's own.
    ///
    /// # Errors
    /// Where it is none, or has nothing that can be used.
    pub fn own(json: String) -> Result<Self, RootError> {
        let fail = |error: &dyn fmt::Display| RootError(error.to_string());
        let root = TrustedRoot::from_json(&json).map_err(|error| fail(&error))?;
        Verifier::new(&root).map_err(|error| fail(&error))?;
        Ok(Self::Own(json))
    }
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not PEM with a public key.
    #[error("not a public key: expected a PEM block that begins with -----BEGIN PUBLIC KEY-----")]
    Form,
    /// A private key where a public one belongs.
    #[error("this is a private key and only public ones are taken: give its public half")]
    Private,
    /// Another algorithm.
    #[error("the key is not understood: take Ed25519 or ECDSA P-256 ({0})")]
    Algorithm(String),
}

/// A public key: Ed25519 or ECDSA P-256. As text it is a PEM block (SubjectPublicKeyInfo).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(DerPublicKey);

impl PublicKey {
    /// Its id: SHA-256 of the SubjectPublicKeyInfo's DER, in hexadecimal digits.
    pub fn id(&self) -> String {
        Digest::from_sha256(Sha256::digest(self.0.as_bytes()).into()).hex()
    }

    /// `Ed25519` or `ECDSA P-256`.
    pub fn algorithm(&self) -> &'static str {
        match KeyAlgorithm::from_spki(&self.0) {
            Ok(KeyAlgorithm::Ed25519) => "Ed25519",
            _ => "ECDSA P-256",
        }
    }

    /// True where `signature` is this key's over `message`.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = SignatureBytes::new(signature.to_vec());
        VerificationKey::from_spki(&self.0).is_ok_and(|key| key.verify(message, &signature).is_ok())
    }

    /// The 32 bytes of an Ed25519 key, within the constant that RFC 8410 has before them.
    pub(crate) fn of_ed25519(key: &[u8; 32]) -> Self {
        const BEFORE: [u8; 12] = [
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        Self(DerPublicKey::new([&BEFORE[..], key].concat()))
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let der = DerPublicKey::new(der.to_vec());
        match KeyAlgorithm::from_spki(&der) {
            Ok(KeyAlgorithm::Ed25519 | KeyAlgorithm::EcdsaP256) => {
                VerificationKey::from_spki(&der)
                    .and_then(|key| validate_raw_public_key(key.scheme(), key.as_bytes()))
                    .map_err(|error| KeyError::Algorithm(error.to_string()))?;
                Ok(Self(der))
            }
            Ok(other) => Err(KeyError::Algorithm(format!("it is {other:?}"))),
            Err(error) => Err(KeyError::Algorithm(error.to_string())),
        }
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.contains("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        let der = DerPublicKey::from_pem(text.trim()).map_err(|_| KeyError::Form)?;
        Self::from_der(der.as_bytes())
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    /// The PEM block, with line feeds and one at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pem = self.0.to_pem().replace("\r\n", "\n");
        writeln!(f, "{}", pem.trim_end())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm(), &self.id()[..16])
    }
}
