//! The Dead Simple Signing Envelope: bytes, their type, and signatures over both.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The payload type of in-toto statements.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// Most signatures that an envelope may carry.
pub const SIGNATURES_MAX: usize = 8;

/// Why an envelope cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// A field that is not Base64.
    #[error("`{0}` is not Base64")]
    Base64(&'static str),
    /// No signature at all.
    #[error("the envelope has no signature")]
    NoSignature,
    /// More than anybody needs.
    #[error("the envelope has {0} signatures; {SIGNATURES_MAX} are the most")]
    Signatures(usize),
    /// Another payload than a statement.
    #[error("the payload is of type `{0}`; `{PAYLOAD_TYPE}` is the only one that is understood")]
    PayloadType(String),
}

/// Bytes with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// The bytes that are signed, together with their type.
    pub payload: Vec<u8>,
    /// Signatures, each with a hint of its key, which may be empty and proves nothing.
    pub signatures: Vec<(String, Vec<u8>)>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wire {
    payload_type: String,
    payload: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    #[serde(default)]
    keyid: Option<String>,
    sig: String,
}

/// Base64 in any of the alphabets and paddings that the standard lets writers choose from.
fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, EnvelopeError> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok())
        .ok_or(EnvelopeError::Base64(field))
}

impl TryFrom<Wire> for Envelope {
    type Error = EnvelopeError;
    fn try_from(wire: Wire) -> Result<Self, EnvelopeError> {
        match wire.signatures.len() {
            0 => return Err(EnvelopeError::NoSignature),
            1..=SIGNATURES_MAX => {}
            more => return Err(EnvelopeError::Signatures(more)),
        }
        if wire.payload_type != PAYLOAD_TYPE {
            return Err(EnvelopeError::PayloadType(wire.payload_type));
        }
        Ok(Self {
            payload: decode("payload", &wire.payload)?,
            payload_type: wire.payload_type,
            signatures: wire
                .signatures
                .into_iter()
                .map(|it| Ok((it.keyid.unwrap_or_default(), decode("sig", &it.sig)?)))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Envelope {
    /// What is signed: DSSE's pre-authentication encoding of type and payload.
    pub fn message(&self) -> Vec<u8> {
        sigstore_verify::types::pae(&self.payload_type, &self.payload)
    }

    /// The envelope as JSON in one line, which DSSE tools read (`.intoto.jsonl`).
    pub fn to_json(&self) -> String {
        let wire = Wire {
            payload_type: self.payload_type.clone(),
            payload: STANDARD.encode(&self.payload),
            signatures: self
                .signatures
                .iter()
                .map(|(keyid, sig)| WireSignature {
                    keyid: Some(keyid.clone()),
                    sig: STANDARD.encode(sig),
                })
                .collect(),
        };
        serde_json::json!(wire).to_string()
    }

    /// The envelope as a Sigstore bundle v0.3, which cosign reads. It carries no proof that a public
    /// log has it. None where there is not exactly one signature, which a bundle must have.
    pub fn to_bundle_json(&self) -> Option<String> {
        let [(hint, signature)] = self.signatures.as_slice() else {
            return None;
        };
        // cosign passes over a signature that names another id than one of its own making, so the
        // key is named beside the envelope only.
        let unnamed = Self {
            signatures: vec![(String::new(), signature.clone())],
            ..self.clone()
        };
        let envelope: serde_json::Value = serde_json::from_str(&unnamed.to_json()).ok()?;
        let bundle = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": hint }, "tlogEntries": [] },
            "dsseEnvelope": envelope,
        });
        Some(bundle.to_string())
    }
}
