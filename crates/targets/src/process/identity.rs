//! Who an agent on a host of its own is, and how it and a controller prove to each other who they
//! are, on any connection.
//!
//! The agent's Ed25519 key is made on its host and never leaves it; it knows the installation's
//! public key from its join token. Each request is signed over all that it says, each answer over the
//! request that it answers. A session that the controller draws, and a number that grows, keep what
//! was overheard from being said again; no clock is asked. What is said is not secret without TLS.

use std::fmt::Write as _;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How a join token begins, so that scanners for leaked secrets find it.
pub const JOIN_PREFIX: &str = "airboss_join_";
/// The header with an answer's signature.
pub const ANSWER_HEADER: &str = "airboss-signature";
/// How an agent's `Authorization` begins.
const SCHEME: &str = "Agent ";

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Hexadecimal digits as so many bytes; None where they are not.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// True where this text was signed by who has the private half of the key.
pub fn is_signed(public: &[u8; 32], text: &str, signature: &str) -> bool {
    let key = VerifyingKey::from_bytes(public).ok();
    let signature = unhex(signature).map(|bytes| Signature::from_bytes(&bytes));
    match (key, signature) {
        (Some(key), Some(signature)) => key.verify_strict(text.as_bytes(), &signature).is_ok(),
        _ => false,
    }
}

/// The signature of a text.
fn sign(key: &SigningKey, text: &str) -> String {
    hex(&key.sign(text.as_bytes()).to_bytes())
}

/// The text that stands for an answer, to be signed by the installation: `to` is the signature of
/// the request, or the word that a greeting brought.
pub fn answer_text(to: &str, body: &[u8]) -> String {
    let body = hex(&Sha256::digest(body));
    format!("airboss agent answer 1\n{to}\n{body}\n")
}

/// The text that stands for a request, to be signed by the agent.
pub fn request_text(shown: &Shown, method: &str, path: &str, body: &[u8]) -> String {
    let Shown {
        agent,
        session,
        number,
        ..
    } = shown;
    let body = hex(&Sha256::digest(body));
    format!("airboss agent request 1\n{agent}\n{session}\n{number}\n{method}\n{path}\n{body}\n")
}

/// What an agent shows with a request, in `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub agent: String,
    /// The session that the controller drew.
    pub session: String,
    /// Grows with every request of the session.
    pub number: u64,
    /// The signature of [`request_text`].
    pub signature: String,
}

impl Shown {
    /// Reads the header's value; None where it is another kind.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.strip_prefix(SCHEME)?.split(' ');
        let shown = Self {
            agent: words.next()?.to_owned(),
            session: words.next()?.to_owned(),
            number: words.next()?.parse().ok()?,
            signature: words.next()?.to_owned(),
        };
        words.next().is_none().then_some(shown)
    }

    /// The header's value.
    pub fn to_header(&self) -> String {
        let Self {
            agent,
            session,
            number,
            signature,
        } = self;
        format!("{SCHEME}{agent} {session} {number} {signature}")
    }
}

/// What lets one agent in, once. Its text is a secret.
pub struct JoinToken {
    invite: SigningKey,
    /// The public key of the installation, which the agent believes from then on.
    pub installation: [u8; 32],
}

impl JoinToken {
    /// A new one.
    pub fn new(random: &[u8; 32], installation: [u8; 32]) -> Self {
        Self {
            invite: SigningKey::from_bytes(random),
            installation,
        }
    }

    /// Reads [`Self::to_text`]; None where it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(JOIN_PREFIX)?;
        let (seed, installation) = digits.split_at_checked(64)?;
        Some(Self::new(&unhex(seed)?, unhex(installation)?))
    }

    /// The text for the agent's host.
    pub fn to_text(&self) -> String {
        let seed = hex(self.invite.as_bytes());
        format!("{JOIN_PREFIX}{seed}{}", hex(&self.installation))
    }

    /// What the controller keeps of it: its public half.
    pub fn public(&self) -> [u8; 32] {
        self.invite.verifying_key().to_bytes()
    }

    /// Asks to be let in with an agent's public key. The secret stays here.
    pub fn request(&self, public_key: &[u8; 32]) -> JoinRequest {
        let key = hex(public_key);
        JoinRequest {
            invite: hex(&self.public()),
            signature: sign(&self.invite, &join_text(&key)),
            key,
        }
    }
}

fn join_text(key: &str) -> String {
    format!("airboss agent join 1\n{key}\n")
}

/// Asks to be let in: `POST /agent/v1/join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The public half of the join token.
    pub invite: String,
    /// The agent's public key.
    pub key: String,
    /// By the join token, over the key.
    pub signature: String,
}

impl JoinRequest {
    /// The public half of the join token, where it signed this and the key is one.
    pub fn invite(&self) -> Option<[u8; 32]> {
        let invite = unhex(&self.invite)?;
        VerifyingKey::from_bytes(&unhex(&self.key)?).ok()?;
        is_signed(&invite, &join_text(&self.key), &self.signature).then_some(invite)
    }
}

/// The answer: the agent is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its id.
    pub agent: String,
    /// Its name, for people.
    pub name: String,
    /// The lanes that it carries, as patterns.
    pub carries: Vec<String>,
}

/// The answer to a greeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The session for the requests that follow.
    pub session: String,
}

/// An agent that has joined: what its data folder keeps.
#[derive(Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub agent: String,
    /// Its name, for people.
    pub name: String,
    /// Its private key's seed in hexadecimal digits.
    key: String,
    /// The installation's public key in hexadecimal digits.
    installation: String,
    /// The addresses of its controllers.
    pub controllers: Vec<String>,
}

impl std::fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("agent", &self.agent)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// What is kept after joining.
    pub fn new(
        joined: &Joined,
        seed: &[u8; 32],
        installation: &[u8; 32],
        controllers: Vec<String>,
    ) -> Self {
        Self {
            agent: joined.agent.clone(),
            name: joined.name.clone(),
            key: hex(seed),
            installation: hex(installation),
            controllers,
        }
    }

    /// The installation's public key; None where the text is none.
    pub fn installation(&self) -> Option<[u8; 32]> {
        unhex(&self.installation)
    }

    /// The keys, ready for use; None where the texts are none.
    pub(super) fn keys(&self) -> Option<(SigningKey, [u8; 32])> {
        let key = SigningKey::from_bytes(&unhex(&self.key)?);
        Some((key, self.installation()?))
    }
}

/// The public half of a seed.
pub fn public_of(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// Signs a request; `shown` has no signature yet.
pub(super) fn sign_request(
    key: &SigningKey,
    mut shown: Shown,
    method: &str,
    path: &str,
    body: &[u8],
) -> Shown {
    shown.signature = sign(key, &request_text(&shown, method, path, body));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> Shown {
        Shown {
            agent: "a1".to_owned(),
            session: "s".to_owned(),
            number: 7,
            signature: String::new(),
        }
    }

    #[test]
    fn a_signature_holds_for_what_was_said_and_nothing_else() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let public = key.verifying_key().to_bytes();
        let signed = sign_request(&key, shown(), "POST", "/agent/v1/report", b"body");
        let holds = |shown: &Shown, method: &str, path: &str, body: &[u8]| {
            let text = request_text(shown, method, path, body);
            is_signed(&public, &text, &shown.signature)
        };
        assert!(holds(&signed, "POST", "/agent/v1/report", b"body"));
        assert!(!holds(&signed, "GET", "/agent/v1/report", b"body"));
        assert!(!holds(&signed, "POST", "/agent/v1/report?", b"body"));
        assert!(!holds(&signed, "POST", "/agent/v1/report", b"Body"));
        let changed: [fn(&mut Shown); 3] = [
            |shown| shown.agent = "a2".to_owned(),
            |shown| shown.session = "t".to_owned(),
            |shown| shown.number = 8,
        ];
        for change in changed {
            let mut other = signed.clone();
            change(&mut other);
            assert!(!holds(&other, "POST", "/agent/v1/report", b"body"));
        }
        assert_eq!(Shown::parse(&signed.to_header()), Some(signed));
        for bad in ["Bearer x", "Agent", "Agent a s x y", "Agent a s 1 y z"] {
            assert_eq!(Shown::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_join_token_lets_in_the_key_that_it_signed() {
        let token = JoinToken::new(&[1; 32], [2; 32]);
        let text = token.to_text();
        let read = JoinToken::parse(&text).unwrap();
        assert_eq!(
            (read.public(), read.installation),
            (token.public(), [2; 32])
        );
        assert!(JoinToken::parse(&text[..text.len() - 1]).is_none());
        let request = read.request(&public_of(&[3; 32]));
        assert_eq!(request.invite(), Some(token.public()));
        let stolen = JoinRequest {
            key: hex(&public_of(&[4; 32])),
            ..request
        };
        assert_eq!(stolen.invite(), None);
    }
}
