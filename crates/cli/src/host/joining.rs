//! `airboss agent join`: gives this host's agent a key of its own.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use airboss_targets::process::identity::{Identity, JoinToken, hex, unhex};
use anyhow::{Context as _, bail};

use super::folder::{DataArgs, Folder};
use crate::exit::{Exit, UsageError};

/// The file that holds who the agent is. Its private key is in it.
pub const IDENTITY_FILE: &str = "agent.json";
/// The key while joining: a lost answer must not need another token.
const SEED_FILE: &str = "agent.key.new";
/// The variable that a join token may be in.
const TOKEN_VARIABLE: &str = "AIRBOSS_JOIN_TOKEN";
/// Most bytes that are read of a join token.
const TOKEN_MAX: u64 = 4_096;

/// `airboss agent join`. The token comes from `$AIRBOSS_JOIN_TOKEN` or standard input, never from the
/// command line, which others on the host can read.
#[derive(Debug, Clone, clap::Args)]
pub struct JoinArgs {
    /// A controller's address; named once for each
    #[arg(long, value_name = "URL", required = true)]
    pub controller: Vec<String>,
    /// Where it keeps its data.
    #[command(flatten)]
    pub data: DataArgs,
}

/// The agent that this data folder's host has joined as; None where it has not.
///
/// # Errors
/// Where the file cannot be read, or is damaged.
pub fn identity(folder: &Folder) -> anyhow::Result<Option<Identity>> {
    let path = folder.path().join(IDENTITY_FILE);
    match fs::read(&path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is damaged: restore it, or move it aside and join again",
                path.display()
            )
        })?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Refuses a server in a folder whose agent has joined another installation.
///
/// # Errors
/// As said, and where the folder cannot be read.
pub fn ensure_own(folder: &Folder) -> anyhow::Result<()> {
    let Some(joined) = identity(folder)? else {
        return Ok(());
    };
    if folder.installation()? == joined.installation() {
        return Ok(());
    }
    bail!(
        "{} is the data folder of the agent {}, which joined the installation at {}: a server here would give it a second master\n  run that agent with `airboss agent`, or give the server a folder of its own: AIRBOSS_HOME=PATH airboss up\n  to leave that installation, have it revoke {} (`airboss agent revoke`) and move {} aside",
        folder.path().display(),
        joined.name,
        joined.controllers.join(", "),
        joined.name,
        folder.path().join(IDENTITY_FILE).display(),
    )
}

/// Joins.
///
/// # Errors
/// Where this host has joined already or serves another installation, the token is none, or a
/// controller does not let it in.
pub async fn join(args: &JoinArgs, ca: Option<&Path>) -> anyhow::Result<Exit> {
    let folder = args.data.open()?;
    let path = folder.path().join(IDENTITY_FILE);
    if let Some(known) = identity(&folder)? {
        bail!(
            "this host has joined already, as {}: `airboss agent` runs it\n  to join anew, move {} aside first",
            known.name,
            path.display()
        );
    }
    let token = JoinToken::parse(&read_token()?).ok_or_else(|| {
        UsageError(
            "this is no join token: `airboss agent token NAME` prints one, which begins with airboss_join_".to_owned(),
        )
    })?;
    if let Some(own) = folder.installation()?
        && own != token.installation
    {
        bail!(
            "{} is the data folder of a server, and this token is another installation's: its agent would have two masters\n  give the agent a folder of its own: AIRBOSS_HOME=PATH airboss agent join, and the same for airboss agent",
            folder.path().display()
        );
    }
    let seed_path = folder.path().join(SEED_FILE);
    let seed = seed(&seed_path)?;
    let joined = airboss_targets::process::join(&token, &seed, args.controller.clone(), ca).await?;
    let mut text = serde_json::to_string_pretty(&joined)?;
    text.push('\n');
    write_private(&path, text.as_bytes())?;
    fs::remove_file(&seed_path)
        .with_context(|| format!("cannot remove {}", seed_path.display()))?;
    writeln!(
        io::stdout(),
        "✓ this host is {} ({}) from now on; `airboss agent` runs it",
        joined.name,
        joined.agent
    )?;
    Ok(Exit::Done)
}

fn read_token() -> anyhow::Result<String> {
    if let Ok(token) = std::env::var(TOKEN_VARIABLE) {
        return Ok(token);
    }
    let mut text = String::new();
    if io::stdin().is_terminal() {
        write!(io::stderr(), "join token: ")?;
        io::stdin().read_line(&mut text)?;
    } else {
        io::stdin().take(TOKEN_MAX).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The agent's private key: new, or what an attempt that did not end left.
fn seed(path: &Path) -> anyhow::Result<[u8; 32]> {
    match fs::read_to_string(path) {
        Ok(text) => unhex(text.trim())
            .with_context(|| format!("{} is damaged: remove it and join again", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).context("the system has no random numbers")?;
            write_private(path, hex(&seed).as_bytes())?;
            Ok(seed)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// A new file for its owner only, on disk before anything relies on it.
fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}
