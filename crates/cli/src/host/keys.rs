//! The keys of a data folder: `keys.json` says whose are believed and which are its own; the
//! private halves lie in files of their own, readable by their owner only and sealed where a
//! passphrase is named, or elsewhere, by reference.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use airboss_attest::{
    Keyring, OwnKey, Passphrase, SEAL_RANDOM_BYTES, SigningKey, Trust, is_sealed, open, seal,
};
use airboss_model::Timestamp;
use airboss_runtime::evidence::Keys;
use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use crate::home::LOG_KEY_FILE;

/// The file that lists keys and identities. No private key is in it.
pub const KEYS_FILE: &str = "keys.json";
/// The folder of private keys.
const SECRETS_FOLDER: &str = "keys";
/// The variable that says where the passphrase is.
pub const PASSPHRASE_VARIABLE: &str = "AIRBOSS_KEY_PASSPHRASE";
/// Most bytes of a file with a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The keys of a data folder.
#[derive(Debug)]
pub struct KeyFolder {
    home: PathBuf,
    passphrase: Option<Passphrase>,
    /// What was read last, with the file's time then: it is read again only where that changed.
    read: Mutex<Option<(SystemTime, Arc<Trust>)>>,
}

/// What a secret's text in a file or variable is worth to whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing without the passphrase.
    Sealed,
    /// Everything: only the file's mode protects it.
    Plain,
    /// It is not in the data folder.
    Elsewhere,
    /// It is not where it should be.
    Missing,
}

impl KeyFolder {
    /// The keys of a data folder, with the passphrase that the environment names.
    ///
    /// # Errors
    /// Where a passphrase is named and cannot be read.
    pub fn of(home: &Path) -> anyhow::Result<Self> {
        let named = std::env::var(PASSPHRASE_VARIABLE).ok();
        Self::with(home, named.as_deref())
    }

    /// The same with the passphrase at `reference` (`env:NAME` or `file:PATH`).
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn with(home: &Path, reference: Option<&str>) -> anyhow::Result<Self> {
        let passphrase = match reference.filter(|it| !it.trim().is_empty()) {
            Some(reference) => Some(passphrase(reference)?),
            None => None,
        };
        Ok(Self {
            home: home.to_owned(),
            passphrase,
            read: Mutex::new(None),
        })
    }

    /// True where private keys are sealed.
    pub fn has_passphrase(&self) -> bool {
        self.passphrase.is_some()
    }

    fn file(&self) -> PathBuf {
        self.home.join(KEYS_FILE)
    }

    /// The keyring; an empty one where there is none yet.
    ///
    /// # Errors
    /// Where its file cannot be read, or is no keyring.
    pub fn ring(&self) -> anyhow::Result<Keyring> {
        let path = self.file();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("{} is no keyring: restore it from a backup", path.display())
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Keyring::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Changes the keyring, one process at a time, all or nothing.
    ///
    /// # Errors
    /// As `change` says, or where it cannot be read or written.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Keyring) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let lock = self.home.join("keys.lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock)
            .with_context(|| format!("cannot open {}", lock.display()))?;
        lock.lock().context("cannot lock the keys")?;
        let mut ring = self.ring()?;
        let made = change(&mut ring)?;
        let text = format!("{}\n", serde_json::to_string_pretty(&ring)?);
        write_whole(&self.file(), text.as_bytes())?;
        Ok(made)
    }

    /// Whom the installation believes. A file that cannot be read leaves what was believed before,
    /// or nobody, and is told in the log.
    pub fn trust(&self) -> Arc<Trust> {
        let changed = fs::metadata(self.file()).and_then(|it| it.modified());
        let changed = changed.unwrap_or(SystemTime::UNIX_EPOCH);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, trust)) = &*read
            && *at == changed
        {
            return Arc::clone(trust);
        }
        match self.ring() {
            Ok(ring) => {
                let trust = Arc::new(ring.trust());
                *read = Some((changed, Arc::clone(&trust)));
                trust
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the keys cannot be read");
                read.as_ref()
                    .map(|(_, trust)| Arc::clone(trust))
                    .unwrap_or_default()
            }
        }
    }

    /// The key to sign with; None where there is none, or it ended or was revoked.
    ///
    /// # Errors
    /// Where its private half cannot be had.
    pub fn signer(&self, now: Timestamp) -> anyhow::Result<Option<SigningKey>> {
        let ring = self.ring()?;
        let Some(own) = ring.current(now) else {
            return Ok(None);
        };
        let text = self.secret_text(&own.secret)?;
        let key = SigningKey::from_secret(&text).with_context(|| {
            format!("the private key of `{}` ({}) is none", own.name, own.secret)
        })?;
        if key.public_key() != own.key {
            bail!(
                "the private key at {} is not the one of `{}`: restore it, or make a new one with `airboss keys rotate`",
                own.secret,
                own.name
            );
        }
        Ok(Some(key))
    }

    /// Makes a new own key, or takes the one at `reference` into use; the one before ends.
    ///
    /// # Errors
    /// Where it cannot be made or written.
    pub fn rotate(
        &self,
        reference: Option<&str>,
        now: Timestamp,
        until: Option<Timestamp>,
    ) -> anyhow::Result<OwnKey> {
        self.change(|ring| {
            let (key, secret) = match reference {
                Some(reference) => {
                    let text = secret_at(reference)?;
                    let key = SigningKey::from_secret(&text).with_context(|| {
                        format!("{reference} holds no Ed25519 private key as PEM (PKCS #8); `openssl genpkey -algorithm ed25519` makes one")
                    })?;
                    (key, reference.to_owned())
                }
                None => {
                    let mut seed = Zeroizing::new([0; 32]);
                    getrandom::fill(seed.as_mut_slice()).context("the system has no random numbers")?;
                    let key = SigningKey::from_seed(&seed);
                    let name = format!("{}.key", &key.public_key().id()[..16]);
                    let reference = format!("file:{name}");
                    let text = self.text_at_rest(key.to_secret().as_bytes(), &reference)?;
                    let folder = self.home.join(SECRETS_FOLDER);
                    fs::DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(&folder)
                        .with_context(|| format!("cannot make {}", folder.display()))?;
                    write_whole(&folder.join(name), text.as_bytes())?;
                    (key, reference)
                }
            };
            Ok(ring.rotate(key.public_key(), secret, now, until)?.clone())
        })
    }

    /// Makes the first own key where there is none, and seals what is not sealed where a
    /// passphrase is named.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub fn prepare(&self, now: Timestamp) -> anyhow::Result<()> {
        if self.ring()?.own.is_empty() {
            self.rotate(None, now, None)?;
        }
        self.seal_all().map(|_| ())
    }

    /// Seals the private keys in the data folder that are not sealed; answers with their number.
    ///
    /// # Errors
    /// Where one cannot be read or written.
    pub fn seal_all(&self) -> anyhow::Result<usize> {
        if self.passphrase.is_none() {
            return Ok(0);
        }
        let mut sealed = 0;
        let log = self.home.join(LOG_KEY_FILE);
        if self.rest_of_file(&log) == Rest::Plain {
            let text = self.text_at_rest(read_secret(&log)?.as_bytes(), LOG_KEY_FILE)?;
            write_whole(&log, text.as_bytes())?;
            sealed += 1;
        }
        for own in self.ring()?.own {
            if self.rest(&own.secret) == Rest::Plain
                && let Some(path) = self.own_file(&own.secret)
            {
                let key = SigningKey::from_secret(&read_secret(&path)?)
                    .with_context(|| format!("{} holds no key", path.display()))?;
                let text = self.text_at_rest(key.to_secret().as_bytes(), &own.secret)?;
                write_whole(&path, text.as_bytes())?;
                sealed += 1;
            }
        }
        Ok(sealed)
    }

    /// How the secret of a reference is kept.
    pub fn rest(&self, reference: &str) -> Rest {
        match self.own_file(reference) {
            None => Rest::Elsewhere,
            Some(path) => self.rest_of_file(&path),
        }
    }

    /// How the secret in a file is kept.
    pub fn rest_of_file(&self, path: &Path) -> Rest {
        match read_secret(path) {
            Ok(text) if is_sealed(&text) => Rest::Sealed,
            Ok(_) => Rest::Plain,
            Err(_) => Rest::Missing,
        }
    }

    /// The file of a reference within the data folder.
    fn own_file(&self, reference: &str) -> Option<PathBuf> {
        let name = reference.strip_prefix("file:")?;
        (!name.contains('/')).then(|| self.home.join(SECRETS_FOLDER).join(name))
    }

    fn secret_text(&self, reference: &str) -> anyhow::Result<Zeroizing<String>> {
        let Some(path) = self.own_file(reference) else {
            return secret_at(reference);
        };
        let text = read_secret(&path)?;
        self.unsealed(&path, text, reference)
    }

    /// Opens a file's text where it is sealed.
    pub(super) fn unsealed(
        &self,
        path: &Path,
        text: Zeroizing<String>,
        bound_to: &str,
    ) -> anyhow::Result<Zeroizing<String>> {
        if !is_sealed(&text) {
            return Ok(text);
        }
        let Some(passphrase) = &self.passphrase else {
            bail!(
                "{} is sealed, and no passphrase is named: set {PASSPHRASE_VARIABLE} to where it is, such as file:/run/secrets/airboss",
                path.display()
            );
        };
        let bytes = open(&text, passphrase, bound_to)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let text = std::str::from_utf8(&bytes)
            .with_context(|| format!("{} holds no key", path.display()))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// A secret as it goes to disk.
    pub(super) fn text_at_rest(
        &self,
        secret: &[u8],
        bound_to: &str,
    ) -> anyhow::Result<Zeroizing<String>> {
        let Some(passphrase) = &self.passphrase else {
            return Ok(Zeroizing::new(std::str::from_utf8(secret)?.to_owned()));
        };
        let mut random = [0; SEAL_RANDOM_BYTES];
        getrandom::fill(&mut random).context("the system has no random numbers")?;
        let sealed = seal(secret, passphrase, bound_to, &random)?;
        Ok(Zeroizing::new(format!("{sealed}\n")))
    }
}

/// A secret at a reference outside the data folder.
fn secret_at(reference: &str) -> anyhow::Result<Zeroizing<String>> {
    if let Some(name) = reference.strip_prefix("env:") {
        return std::env::var(name)
            .map(Zeroizing::new)
            .with_context(|| format!("the environment variable {name} is not set ({reference})"));
    }
    match reference.strip_prefix("file:") {
        Some(path) => read_secret(Path::new(path)),
        None => bail!("`{reference}` is no reference to a secret: write env:NAME or file:PATH"),
    }
}

fn passphrase(reference: &str) -> anyhow::Result<Passphrase> {
    let text = secret_at(reference)
        .with_context(|| format!("{PASSPHRASE_VARIABLE} says where the passphrase is"))?;
    Passphrase::new(text.as_bytes().to_vec()).with_context(|| format!("{reference} is empty"))
}

fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let read = || -> std::io::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        File::open(path)?
            .take(SECRET_BYTES_MAX)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file whole or not at all, for its owner only.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The keys of a server that runs. Opening a sealed key takes a moment on purpose, so the key is
/// kept for as long as it is the one in force.
#[derive(Debug)]
pub struct Serving {
    keys: KeyFolder,
    signer: Mutex<Option<(OwnKey, Arc<SigningKey>)>>,
}

impl Serving {
    /// Of a data folder.
    pub fn new(keys: KeyFolder) -> Self {
        Self {
            keys,
            signer: Mutex::new(None),
        }
    }

    fn in_force(&self, now: Timestamp) -> anyhow::Result<Option<Arc<SigningKey>>> {
        let ring = self.keys.ring()?;
        let Some(own) = ring.current(now) else {
            return Ok(None);
        };
        // A panic while holding the lock leaves a whole value behind.
        let mut signer = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kept, key)) = &*signer
            && kept == own
        {
            return Ok(Some(Arc::clone(key)));
        }
        let key = self.keys.signer(now)?.map(Arc::new);
        *signer = key.clone().map(|key| (own.clone(), key));
        Ok(key)
    }
}

impl Keys for Serving {
    fn trust(&self) -> Arc<Trust> {
        self.keys.trust()
    }

    fn signer(&self, now: Timestamp) -> Option<Arc<SigningKey>> {
        self.in_force(now).unwrap_or_else(|error| {
            tracing::error!(
                error = format!("{error:#}"),
                "the signing key cannot be had"
            );
            None
        })
    }
}
