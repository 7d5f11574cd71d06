//! Who stands behind a document.

use airboss_model::time::{after, before};
use airboss_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::dsse::Envelope;
use crate::facts::Facts;
use crate::trust::{CLOCK_SKEW, Trust, TrustedKey};

/// What the check of a document's signatures came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The sum of it.
    pub verdict: Verdict,
    /// Why, in one sentence for people.
    pub reason: String,
    /// Each signature, in the envelope's order.
    pub signatures: Vec<Checked>,
    /// When it was checked.
    pub at: Timestamp,
    /// From when on another check may come to another end, because it is dated ahead of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_from: Option<Timestamp>,
}

impl Verification {
    /// Who signed it, of those that are trusted; Airboss itself included.
    pub fn signers(&self) -> impl Iterator<Item = &Signer> {
        self.signatures
            .iter()
            .filter(|it| it.state == SignatureState::Good)
            .filter_map(|it| it.by.as_ref())
    }

    /// True where somebody else than Airboss stands behind it.
    pub fn is_by_others(&self) -> bool {
        self.verdict == Verdict::Verified && self.signers().any(|signer| !signer.own)
    }
}

/// The sum of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is about the artifact, at least one trusted signature is good, and none is bad.
    Verified,
    /// It is about the artifact and carries no signature: as true as whoever brought it.
    Unsigned,
    /// It is about the artifact, and nobody who signed it is trusted.
    Untrusted,
    /// It is about something else, from the future, or a signature is bad, expired or revoked: it
    /// counts for nothing.
    Refused,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// How it stands.
    pub state: SignatureState,
    /// Whose it is, where that is known.
    pub by: Option<Signer>,
    /// Why, in one sentence.
    pub reason: String,
}

/// How a signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureState {
    /// By a trusted key or identity, over these bytes, within its validity.
    Good,
    /// By nobody who is trusted.
    Unknown,
    /// It names a trusted key or identity, and is not theirs over these bytes.
    Bad,
    /// The document was first seen after the key's end.
    Expired,
    /// The document was first seen before the key's beginning.
    NotYet,
    /// By a key or identity that was revoked.
    Revoked,
}

/// Whose signature it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// What people call the key or identity.
    pub name: String,
    /// The key's id, or the identity as its certificate names it.
    pub id: String,
    /// True for Airboss itself.
    #[serde(default)]
    pub own: bool,
}

/// Checks who stands behind a document about `subject`.
///
/// `seen` is when Airboss first saw it, which is `now` for a new one. A key's validity is judged
/// by it: an envelope has no time of its own that could be believed, and what was accepted before
/// a key was rotated stays good after. A revoked key counts for nothing, whenever it signed.
///
/// The whole is refused where any signature is bad, also beside a good one: somebody changed it.
/// Where a good one stands beside an expired or revoked one, the good one counts.
pub fn verify(
    document: &Document,
    subject: &Digest,
    trust: &Trust,
    seen: Timestamp,
    now: Timestamp,
) -> Verification {
    let judged = |verdict, reason: String, signatures| Verification {
        verdict,
        reason,
        signatures,
        at: now,
        counts_from: None,
    };
    if !document.statement.is_about(subject) {
        let reason = format!("it is about {}, not about {subject}", about(document));
        return judged(Verdict::Refused, reason, Vec::new());
    }
    if let Some(ahead) = claimed_time(&document.facts).filter(|at| *at > after(now, CLOCK_SKEW)) {
        let reason = format!(
            "it is dated {ahead}, and here it is {now}: one of the clocks is wrong; it counts from \
             then on"
        );
        return Verification {
            counts_from: Some(before(ahead, CLOCK_SKEW)),
            ..judged(Verdict::Refused, reason, Vec::new())
        };
    }
    let signatures = match (&document.envelope, &document.bundle) {
        (_, Some(bundle)) if bundle.has_certificate() => {
            vec![bundle.check(subject, &trust.identities)]
        }
        (Some(envelope), _) => check_keys(envelope, &trust.keys, seen),
        (None, _) => Vec::new(),
    };
    let (verdict, reason) = sum_up(&signatures);
    judged(verdict, reason, signatures)
}

/// What the document is about, for a message.
fn about(document: &Document) -> String {
    let subjects = &document.statement.subject;
    let first = subjects.iter().find_map(|it| it.digest.get("sha256"));
    match (first, subjects.len()) {
        (Some(hex), 1) => format!("sha256:{hex}"),
        (Some(hex), more) => format!("{more} others, sha256:{hex} among them"),
        (None, _) => "something without a SHA-256".to_owned(),
    }
}

/// When the thing that the document speaks of is said to have been over.
fn claimed_time(facts: &Facts) -> Option<Timestamp> {
    match facts {
        Facts::Provenance(it) => it.finished.max(it.started),
        Facts::Tests(it) => it.at,
        Facts::Scan(it) => it.at,
        Facts::Sbom(it) => it.at,
        Facts::Summary(it) => it.at,
        Facts::Other => None,
    }
}

fn sum_up(signatures: &[Checked]) -> (Verdict, String) {
    use SignatureState::{Bad, Expired, Good, NotYet, Revoked, Unknown};
    let first = |states: &[SignatureState]| {
        signatures
            .iter()
            .find(|it| states.contains(&it.state))
            .map(|it| it.reason.clone())
    };
    if signatures.is_empty() {
        let reason = "it is not signed: it is as true as whoever brought it".to_owned();
        return (Verdict::Unsigned, reason);
    }
    if let Some(reason) = first(&[Bad]) {
        return (Verdict::Refused, reason);
    }
    if let Some(reason) = first(&[Good]) {
        return (Verdict::Verified, reason);
    }
    if let Some(reason) = first(&[Revoked, Expired, NotYet]) {
        return (Verdict::Refused, reason);
    }
    let reason = first(&[Unknown]).unwrap_or_default();
    (Verdict::Untrusted, reason)
}

fn check_keys(envelope: &Envelope, keys: &[TrustedKey], seen: Timestamp) -> Vec<Checked> {
    let message = envelope.message();
    envelope
        .signatures
        .iter()
        .map(|(hint, signature)| check_key(&message, hint, signature, keys, seen))
        .collect()
}

fn check_key(
    message: &[u8],
    hint: &str,
    signature: &[u8],
    keys: &[TrustedKey],
    seen: Timestamp,
) -> Checked {
    // A hint proves nothing and may be anything: every key is tried, the named one first.
    let accepting = keys
        .iter()
        .filter(|it| it.key.accepts(message, signature))
        // The same key under two names is as bad as the worse of them.
        .max_by_key(|it| it.revoked.is_some());
    let Some(key) = accepting else {
        let named = keys.iter().find(|it| it.is_named(hint));
        return match named {
            Some(key) => Checked {
                state: SignatureState::Bad,
                by: Some(signer(key)),
                reason: format!(
                    "it names the key `{}`, and is not signed by it: it was changed after signing, \
                     or never signed",
                    key.name
                ),
            },
            None => Checked {
                state: SignatureState::Unknown,
                by: None,
                reason: format!(
                    "it is signed by a key that nobody trusts here{}",
                    if hint.is_empty() {
                        String::new()
                    } else {
                        format!(" ({})", crate::document::shorten(hint))
                    }
                ),
            },
        };
    };
    let name = &key.name;
    let (state, reason) = if let Some(revocation) = &key.revoked {
        let why = match revocation.reason.trim() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        let at = revocation.at;
        let reason = format!("it is signed by the key `{name}`, which was revoked at {at}{why}");
        (SignatureState::Revoked, reason)
    } else if let Some(until) = key.until.filter(|until| seen > after(*until, CLOCK_SKEW)) {
        let reason = format!(
            "it is signed by the key `{name}`, which ended at {until}, and was first seen at {seen}"
        );
        (SignatureState::Expired, reason)
    } else if let Some(from) = key.from.filter(|from| after(seen, CLOCK_SKEW) < *from) {
        let reason = format!(
            "it is signed by the key `{name}`, which begins at {from}, and was first seen at {seen}"
        );
        (SignatureState::NotYet, reason)
    } else {
        let reason = format!("it is signed by the key `{name}`");
        (SignatureState::Good, reason)
    };
    Checked {
        state,
        by: Some(signer(key)),
        reason,
    }
}

fn signer(key: &TrustedKey) -> Signer {
    Signer {
        name: key.name.clone(),
        id: key.key.id(),
        own: key.own,
    }
}
