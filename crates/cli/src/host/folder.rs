//! The data folder: who uses it, its token, and where the server listens.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use airboss_ledger::SigningKey;
use anyhow::{Context as _, bail};

use super::keys::KeyFolder;
use crate::home::{self, LOG_KEY_FILE, LOG_PUBLIC_KEY_FILE, SERVER_FILE, ServerFile, TOKEN_FILE};

/// `--data-dir`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DataArgs {
    /// The data folder [default: $AIRBOSS_HOME, else .airboss]
    #[arg(
        long,
        env = "AIRBOSS_HOME",
        value_name = "PATH",
        hide_env_values = true
    )]
    pub data_dir: Option<PathBuf>,
}

impl DataArgs {
    /// Opens the folder; see [`Folder::open`].
    pub fn open(&self) -> anyhow::Result<Folder> {
        Folder::open(self.data_dir.as_deref())
    }
}

/// The data folder of a host verb.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// Holds a role in a data folder until it is dropped or its process dies.
#[derive(Debug)]
pub struct RoleLock {
    _file: File,
}

impl Folder {
    /// Opens the folder: the one named, `$AIRBOSS_HOME`, or `.airboss`. Makes it where it is new,
    /// for its owner only.
    pub fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        let here = std::env::current_dir().context("the working folder cannot be told")?;
        let path = home::folder(named, &here);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the data folder {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot use the data folder {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A subfolder, made where it is new.
    pub fn sub(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Takes a role (`up`, `controller`) that only one process may have here. The system gives it
    /// back when the process dies, however it dies.
    pub fn lock(&self, role: &str) -> anyhow::Result<RoleLock> {
        let path = self.path.join(format!("{role}.lock"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The number is a help for people; without it the message is still right.
                let _ = file.read_to_string(&mut holder);
                let pid = holder.trim();
                let who = if pid.is_empty() {
                    String::new()
                } else {
                    format!(" (process {pid})")
                };
                bail!(
                    "another `airboss {}` uses {}{who}\n  stop it first, or give this one a folder of its own: AIRBOSS_HOME=PATH airboss up",
                    if role == "controller" { "serve" } else { role },
                    self.path.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(RoleLock { _file: file })
    }

    /// The name of the controller that works in this folder, made at its first start. It is the same
    /// after a restart, so that the lanes it left are taken up at once.
    pub fn controller_id(&self) -> anyhow::Result<String> {
        let path = self.path.join("controller.id");
        match fs::read_to_string(&path) {
            Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
        let id = format!("controller-{}", uuid::Uuid::new_v4().simple());
        fs::write(&path, &id).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(id)
    }

    /// The installation's token, made at the first start.
    pub fn token(&self) -> anyhow::Result<String> {
        let path = self.path.join(TOKEN_FILE);
        match fs::read_to_string(&path) {
            Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
            Ok(_) => bail!(
                "{} is empty: restore it, or remove it to have a new token made",
                path.display()
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
        // Two version-4 UUIDs hold 244 random bits from the system.
        let token = format!(
            "{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        );
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all(token.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(token)
    }

    /// The key that signs the log, made at the first start; its public half lies beside it. It is
    /// sealed where `keys` have a passphrase, else readable by whoever reads the data folder.
    pub fn log_key(&self, keys: &KeyFolder) -> anyhow::Result<SigningKey> {
        let path = self.path.join(LOG_KEY_FILE);
        let public = self.path.join(LOG_PUBLIC_KEY_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let text = keys.unsealed(&path, text.into(), LOG_KEY_FILE)?;
                let key = SigningKey::from_secret_text(text.trim())
                    .with_context(|| format!("{} holds no key: restore it", path.display()))?;
                write_public(&public, &key)?;
                return Ok(key);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
        // A lost key is never replaced in silence: checks with the known key would fail.
        if public.exists() {
            bail!(
                "{} is missing, but its public half {} is there: restore the key, or move the public half aside to have a new key made",
                path.display(),
                public.display()
            );
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the system has no random numbers")?;
        let key = SigningKey::named_after_itself("airboss", &seed)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let text = keys.text_at_rest(key.to_secret_text().as_bytes(), LOG_KEY_FILE)?;
        writeln!(file, "{}", text.trim_end())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
        write_public(&public, &key)?;
        Ok(key)
    }

    /// The public key of the installation that lives here; None where none does.
    pub fn installation(&self) -> anyhow::Result<Option<[u8; 32]>> {
        if !self.path.join(LOG_KEY_FILE).exists() {
            return Ok(None);
        }
        let key = self.log_key(&KeyFolder::of(&self.path)?)?;
        Ok(Some(key.verifying_key().to_bytes()))
    }

    /// Tells clients where the server listens.
    pub fn announce(&self, url: &str, listen: SocketAddr, ca: Option<&Path>) -> anyhow::Result<()> {
        let ca = ca
            .map(|file| {
                file.canonicalize()
                    .with_context(|| format!("cannot use {}", file.display()))
            })
            .transpose()?;
        let file = ServerFile {
            url: url.to_owned(),
            listen: Some(listen),
            pid: Some(std::process::id()),
            ca,
        };
        let (path, new) = (
            self.path.join(SERVER_FILE),
            self.path.join(format!("{SERVER_FILE}.new")),
        );
        fs::write(&new, serde_json::to_vec(&file)?)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Where the server of this folder says that it listens.
    pub fn announced(&self) -> Option<ServerFile> {
        serde_json::from_slice(&fs::read(self.path.join(SERVER_FILE)).ok()?).ok()
    }
}

fn write_public(path: &Path, key: &SigningKey) -> anyhow::Result<()> {
    let text = format!("{}\n", key.verifying_key());
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
