//! The keys of an installation: its own, with what became of them, and those of others.

use airboss_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::trust::{PublicKey, Revocation, Root, Trust, TrustedIdentity, TrustedKey};

/// Most keys and identities that a keyring holds.
pub const KEYRING_MAX: usize = 100;

/// The keys of an installation, as its file `keys.json` holds them. No private key is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keyring {
    /// Airboss's own signing keys, the newest last.
    pub own: Vec<OwnKey>,
    /// Whom else it believes.
    #[serde(flatten)]
    pub trust: Trust,
}

/// A signing key of Airboss's own; the private half is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnKey {
    /// Such as `airboss-1`.
    pub name: String,
    /// The public half.
    pub key: PublicKey,
    /// When it was made.
    pub from: Timestamp,
    /// When it ends or ended; None: when it is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Set where it must not be believed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
    /// Where the private half is: `file:NAME` in the keys' folder, `file:/PATH`, or `env:NAME`.
    pub secret: String,
}

/// Why a keyring is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The name is another's.
    #[error(
        "the name `{0}` is taken; names stay taken after revocation, so that old signatures can be explained: choose another"
    )]
    NameTaken(String),
    /// The key is there.
    #[error("this key is there already, as `{0}`")]
    KeyThere(String),
    /// Nothing of that name or id.
    #[error("no key and no identity is called `{0}`; `airboss keys list` shows all")]
    Unknown(String),
    /// The beginning of an id that several have.
    #[error("`{0}` is the beginning of several keys' ids; give more of it")]
    Ambiguous(String),
    /// It was revoked before.
    #[error("`{name}` was revoked at {at}; that stands, and cannot be made undone")]
    Revoked {
        /// Whose trust ended.
        name: String,
        /// When.
        at: Timestamp,
    },
    /// A name that would break lines and messages.
    #[error("`{0}` is no name for a key: use 1 to 63 letters, digits, `.`, `_` and `-`")]
    Name(String),
    /// It ends before it begins.
    #[error("the key would end at {until}, before it begins at {from}")]
    Backwards {
        /// Its beginning.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
    },
    /// An identity that everybody matches.
    #[error(
        "`{0}` would trust everybody whom the issuer knows: name at least the host and the owner before the first `*`"
    )]
    TooWide(String),
    /// Enough is enough.
    #[error("the keyring has {KEYRING_MAX} entries, which is the most")]
    Full,
}

impl Keyring {
    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// Where it is no keyring.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Its JSON, for people to read too.
    pub fn to_json(&self) -> String {
        // Texts, times and keys only, which always have JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Whom the installation believes, itself included.
    pub fn trust(&self) -> Trust {
        let own = self.own.iter().map(|it| TrustedKey {
            name: it.name.clone(),
            key: it.key.clone(),
            own: true,
            from: Some(it.from),
            until: it.until,
            revoked: it.revoked.clone(),
        });
        let mut trust = self.trust.clone();
        trust.keys.extend(own);
        trust
    }

    /// The key to sign with; None where there is none, or it ended or was revoked.
    pub fn current(&self, now: Timestamp) -> Option<&OwnKey> {
        self.own
            .last()
            .filter(|it| it.revoked.is_none() && it.until.is_none_or(|until| now < until))
    }

    /// Takes a new own key into use. The one before ends now, and is believed for what was first
    /// seen until then.
    ///
    /// # Errors
    /// Where the key is there already, or ends before it begins.
    pub fn rotate(
        &mut self,
        key: PublicKey,
        secret: String,
        now: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<OwnKey, KeyringError> {
        self.check_new(&key, Some(now), until)?;
        if let Some(last) = self.own.last_mut() {
            last.until = Some(last.until.map_or(now, |until| until.min(now)));
        }
        let own = OwnKey {
            name: self.next_name()?,
            key,
            from: now,
            until,
            revoked: None,
            secret,
        };
        self.own.push(own.clone());
        Ok(own)
    }

    /// Believes a key of somebody else.
    ///
    /// # Errors
    /// Where name or key are there already, or it ends before it begins.
    pub fn trust_key(
        &mut self,
        name: &str,
        key: PublicKey,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<(), KeyringError> {
        self.check_name(name)?;
        self.check_new(&key, from, until)?;
        self.trust.keys.push(TrustedKey {
            name: name.to_owned(),
            key,
            own: false,
            from,
            until,
            revoked: None,
        });
        Ok(())
    }

    /// Believes an identity that Sigstore's certificates may name.
    ///
    /// # Errors
    /// Where the name is taken, or the identity's pattern would match anybody.
    pub fn trust_identity(
        &mut self,
        name: &str,
        issuer: &str,
        identity: &str,
        root: Root,
    ) -> Result<(), KeyringError> {
        self.check_name(name)?;
        let fixed = identity.split('*').next().unwrap_or_default();
        let path = fixed.split_once("://").map_or(fixed, |(_, path)| path);
        // `https://host/owner/*` or `*@host` is the least; the latter has no fixed beginning.
        let by_host = identity.starts_with("*@") && !identity[2..].contains('*');
        if identity.contains('*') && !by_host && path.matches('/').count() < 2 {
            return Err(KeyringError::TooWide(identity.to_owned()));
        }
        self.trust.identities.push(TrustedIdentity {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            identity: identity.to_owned(),
            root,
            revoked: None,
        });
        Ok(())
    }

    /// Ends the trust in a key or identity for good, by its name or the beginning of its id.
    /// Answers with its name.
    ///
    /// # Errors
    /// Where there is no such, or it is revoked already.
    pub fn revoke(
        &mut self,
        which: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<String, KeyringError> {
        let own = self
            .own
            .iter_mut()
            .map(|it| (it.name.clone(), it.key.id(), &mut it.revoked));
        let keys = self
            .trust
            .keys
            .iter_mut()
            .map(|it| (it.name.clone(), it.key.id(), &mut it.revoked));
        let identities = self
            .trust
            .identities
            .iter_mut()
            .map(|it| (it.name.clone(), String::new(), &mut it.revoked));
        /// Fewest digits of an id that stand for a key.
        const ID_LEAST: usize = 8;
        let is_meant = |name: &str, id: &str| {
            name == which || (which.len() >= ID_LEAST && id.starts_with(which))
        };
        let mut meant: Vec<_> = own
            .chain(keys)
            .chain(identities)
            .filter(|(name, id, _)| is_meant(name, id))
            .collect();
        if meant.len() > 1 {
            return Err(KeyringError::Ambiguous(which.to_owned()));
        }
        let Some((name, _, revoked)) = meant.pop() else {
            return Err(KeyringError::Unknown(which.to_owned()));
        };
        if let Some(there) = revoked {
            return Err(KeyringError::Revoked { name, at: there.at });
        }
        *revoked = Some(Revocation {
            at: now,
            reason: reason.to_owned(),
        });
        Ok(name)
    }

    /// The name of the next own key: the first that is free.
    fn next_name(&self) -> Result<String, KeyringError> {
        let mut last = Err(KeyringError::Full);
        for number in self.own.len() + 1..=KEYRING_MAX {
            let name = format!("airboss-{number}");
            last = self.check_name(&name).map(|()| name);
            if !matches!(last, Err(KeyringError::NameTaken(_))) {
                break;
            }
        }
        last
    }

    fn check_name(&self, name: &str) -> Result<(), KeyringError> {
        let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
        if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
            return Err(KeyringError::Name(crate::document::shorten(name)));
        }
        let mut names = self
            .own
            .iter()
            .map(|it| &it.name)
            .chain(self.trust.keys.iter().map(|it| &it.name))
            .chain(self.trust.identities.iter().map(|it| &it.name));
        if names.any(|it| it == name) {
            return Err(KeyringError::NameTaken(name.to_owned()));
        }
        let entries = self.own.len() + self.trust.keys.len() + self.trust.identities.len();
        if entries >= KEYRING_MAX {
            return Err(KeyringError::Full);
        }
        Ok(())
    }

    fn check_new(
        &self,
        key: &PublicKey,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<(), KeyringError> {
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            return Err(KeyringError::Backwards { from, until });
        }
        let there = self
            .own
            .iter()
            .map(|it| (&it.name, &it.key))
            .chain(self.trust.keys.iter().map(|it| (&it.name, &it.key)))
            .find(|(_, it)| *it == key);
        match there {
            Some((name, _)) => Err(KeyringError::KeyThere(name.clone())),
            None => Ok(()),
        }
    }
}
