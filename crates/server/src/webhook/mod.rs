//! Events that others push: who may, whether one is theirs, what it tells of a build, and what
//! becomes of that.
//!
//! Start reading at [`Senders`], who may; then [`signature`], whether it is theirs; [`event`], what
//! is told; and [`taken`], what becomes of it.

mod event;
mod signature;
mod taken;

use std::fmt;
use std::str::FromStr;

use airboss_targets::secret;

pub(crate) use event::{Built, read};
pub(crate) use signature::check;
pub(crate) use taken::{fill, take};

/// Fewest bytes of a secret: what is shorter can be guessed.
pub const SECRET_MIN: usize = 16;

/// Whose way of pushing events it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// GitHub's webhooks: `X-Hub-Signature-256`.
    GitHub,
    /// GitLab's webhooks: a signing token, or `X-Gitlab-Token`.
    GitLab,
    /// Standard Webhooks, for everybody else.
    Standard,
}

impl Sender {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::GitHub, Self::GitLab, Self::Standard];

    /// Its word, as in the address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Standard => "standard",
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Sender {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|sender| sender.as_str() == word)
            .ok_or_else(|| {
                format!("`{word}` pushes no events; there are github, gitlab and standard")
            })
    }
}

/// A sender and where its secret is: `github=env:NAME` or `github=file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderSecret {
    /// Who.
    pub sender: Sender,
    /// Where the secret is; the secret itself is nowhere.
    pub reference: String,
}

impl FromStr for SenderSecret {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (sender, reference) = text.split_once('=').ok_or(
            "write SENDER=SECRET, such as github=env:GITHUB_WEBHOOK_SECRET or gitlab=file:/run/secrets/gitlab",
        )?;
        let sender = sender.parse()?;
        if !secret::is_reference(reference) {
            // Not repeated: it may be the secret.
            return Err("a secret is named as env:NAME or file:PATH, never written out".to_owned());
        }
        Ok(Self {
            sender,
            reference: reference.to_owned(),
        })
    }
}

impl fmt::Display for SenderSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.sender, self.reference)
    }
}

/// Who may push events. Several secrets of one sender are all good, so that one can be replaced.
#[derive(Debug, Clone, Default)]
pub struct Senders(Vec<SenderSecret>);

impl Senders {
    /// These, each looked at once.
    ///
    /// # Errors
    /// Where a secret cannot be read or is too short, with its reference.
    pub fn new(all: Vec<SenderSecret>) -> Result<Self, String> {
        for it in &all {
            it.secret()?;
        }
        Ok(Self(all))
    }

    /// The senders that may push.
    pub fn configured(&self) -> Vec<Sender> {
        let mut all: Vec<Sender> = self.0.iter().map(|it| it.sender).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// A sender's secrets as they are now: a file that was replaced counts at once.
    pub(crate) fn secrets(&self, sender: Sender) -> Result<Vec<String>, String> {
        let of = self.0.iter().filter(|it| it.sender == sender);
        of.map(SenderSecret::secret).collect()
    }
}

impl SenderSecret {
    fn secret(&self) -> Result<String, String> {
        let secret = secret::read(&self.reference)
            .map_err(|why| format!("the webhook secret {self} cannot be read: {why}"))?;
        if secret.len() < SECRET_MIN {
            return Err(format!(
                "the webhook secret {self} has {} bytes and needs {SECRET_MIN}: `openssl rand -hex 32` makes a good one",
                secret.len()
            ));
        }
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::{SenderSecret, Senders};

    #[test]
    fn a_secret_is_named_and_never_written_out() {
        let good: SenderSecret = "github=env:HOOK".parse().unwrap();
        assert_eq!(good.to_string(), "github=env:HOOK");
        for wrong in ["github", "jenkins=env:HOOK", "github=hush-hush-hush-hush"] {
            let why = wrong.parse::<SenderSecret>().unwrap_err();
            assert!(!why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn a_secret_that_is_missing_or_can_be_guessed_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let secret = || vec![format!("gitlab=file:{}", path.display()).parse().unwrap()];
        let why = Senders::new(secret()).unwrap_err();
        assert!(why.contains("cannot be read"), "{why}");
        std::fs::write(&path, "short\n").unwrap();
        let why = Senders::new(secret()).unwrap_err();
        assert!(why.contains("5 bytes and needs 16"), "{why}");
        std::fs::write(&path, "0123456789abcdef\n").unwrap();
        Senders::new(secret()).unwrap();
    }
}
