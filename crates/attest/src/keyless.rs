//! Sigstore bundles, and signatures by identities instead of keys of one's own.

use airboss_model::Digest;
use sigstore_verify::crypto::parse_certificate_info;
use sigstore_verify::trust_root::{SigstoreInstance, TrustedRoot};
use sigstore_verify::types::{Sha256Hash, SignatureContent};
use sigstore_verify::{VerificationPolicy, Verifier};

use crate::document::ReadError;
use crate::dsse::{Envelope, PAYLOAD_TYPE};
use crate::trust::{Root, TrustedIdentity};
use crate::verify::{Checked, SignatureState, Signer};

/// A Sigstore bundle with an attestation in it.
#[derive(Debug, Clone)]
pub(crate) struct Bundle(Box<sigstore_verify::types::Bundle>);

impl Bundle {
    /// Reads the JSON of a bundle, v0.3 and the earlier ones.
    pub(crate) fn read(text: &str, media_type: Option<&str>) -> Result<Self, ReadError> {
        if media_type.is_none() {
            return Err(ReadError::Unknown(
                "it looks like a Sigstore bundle and has no `mediaType`".to_owned(),
            ));
        }
        match sigstore_verify::types::Bundle::from_json(text) {
            Ok(bundle) => Ok(Self(Box::new(bundle))),
            Err(error) => Err(ReadError::Unusable(format!("Sigstore bundle: {error}"))),
        }
    }

    /// The envelope within.
    pub(crate) fn envelope(&self) -> Result<Envelope, ReadError> {
        match &self.0.content {
            SignatureContent::DsseEnvelope(it) if it.payload_type == PAYLOAD_TYPE => Ok(Envelope {
                payload_type: it.payload_type.clone(),
                payload: it.payload.as_bytes().to_vec(),
                signatures: vec![(
                    it.signature.keyid.as_str().to_owned(),
                    it.signature.sig.as_bytes().to_vec(),
                )],
            }),
            SignatureContent::DsseEnvelope(it) => Err(ReadError::Envelope(
                crate::dsse::EnvelopeError::PayloadType(it.payload_type.clone()),
            )),
            _ => Err(ReadError::Unknown(
                "the bundle signs the artifact's bytes and makes no statement of them; make one \
                 with `cosign attest-blob` instead of `cosign sign-blob`"
                    .to_owned(),
            )),
        }
    }

    /// True where a certificate names who signed; otherwise it is a key.
    pub(crate) fn has_certificate(&self) -> bool {
        self.0.signing_certificate().is_some()
    }

    /// Who signed, as the certificate claims.
    fn claimed(&self) -> Option<(String, String)> {
        let certificate = parse_certificate_info(self.0.signing_certificate()?).ok()?;
        Some((
            certificate.identity?.as_str().to_owned(),
            // GitHub's releases are signed without one.
            certificate.issuer.unwrap_or_default(),
        ))
    }

    /// Checks the whole bundle against the identities that are trusted: certificate, logs,
    /// timestamps, signature, and that it is about `subject`.
    pub(crate) fn check(&self, subject: &Digest, identities: &[TrustedIdentity]) -> Checked {
        let Some((identity, issuer)) = self.claimed() else {
            return Checked {
                state: SignatureState::Bad,
                by: None,
                reason: "its certificate cannot be read, or names no identity".to_owned(),
            };
        };
        let who = format!("{identity} (by {issuer})");
        let named: Vec<_> = identities
            .iter()
            .filter(|it| it.issuer == issuer && matches(&it.identity, &identity))
            .collect();
        let Some(first) = named.first() else {
            return Checked {
                state: SignatureState::Unknown,
                by: None,
                reason: format!("it is signed by {who}, whom nobody trusts here"),
            };
        };
        let by = |it: &TrustedIdentity| {
            Some(Signer {
                name: it.name.clone(),
                id: identity.clone(),
                own: false,
            })
        };
        if let Some(it) = named.iter().find(|it| it.revoked.is_some()) {
            return Checked {
                state: SignatureState::Revoked,
                by: by(it),
                reason: format!("the trust in `{}` was revoked", it.name),
            };
        }
        let mut reason = String::new();
        for it in &named {
            match self.prove(subject, &it.root) {
                Ok(()) => {
                    return Checked {
                        state: SignatureState::Good,
                        by: by(it),
                        reason: format!("it is signed by {who}, trusted as `{}`", it.name),
                    };
                }
                Err(why) => reason = why,
            }
        }
        Checked {
            state: SignatureState::Bad,
            by: by(first),
            reason: format!("it claims to be signed by {who}, and that does not hold: {reason}"),
        }
    }

    fn prove(&self, subject: &Digest, root: &Root) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let (trusted, policy) = match root {
            Root::PublicGood => (
                TrustedRoot::from_embedded(SigstoreInstance::PublicGood),
                VerificationPolicy::any_identity(),
            ),
            // GitHub's own instance has timestamps instead of public logs.
            Root::GitHub => (
                TrustedRoot::from_embedded(SigstoreInstance::GitHub),
                VerificationPolicy::any_identity()
                    .skip_tlog_unsafe()
                    .skip_sct(),
            ),
            Root::Own(json) => (
                TrustedRoot::from_json(json),
                VerificationPolicy::any_identity(),
            ),
        };
        let trusted = trusted.map_err(|error| text(&error))?;
        let verifier = Verifier::new(&trusted).map_err(|error| text(&error))?;
        let digest = Sha256Hash::new(*subject.as_bytes());
        verifier
            .verify(digest, &self.0, &policy)
            .map(|_| ())
            .map_err(|error| text(&error))
    }
}

/// True where `text` is as `pattern`, in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_characters_and_the_rest_is_exact() {
        let own = "https://github.com/acme/shop/.github/workflows/*@refs/heads/main";
        let main = "https://github.com/acme/shop/.github/workflows/ci.yml@refs/heads/main";
        assert!(matches(own, main));
        assert!(matches(main, main));
        assert!(matches("*", main));
        assert!(!matches(own, &format!("{main}2")));
        assert!(!matches(own, &format!("x{main}")));
        assert!(!matches(main, own));
        assert!(!matches("a*a", "a"));
        assert!(!matches("", "a"));
        assert!(matches("a*b*c", "a.b.b.c"));
    }
}
