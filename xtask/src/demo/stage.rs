//! Where the demo plays: a folder that goes away, free ports, and a running `airboss up`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long `airboss up` may take to be up, and to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `airboss up` in a folder of its own.
pub struct Stage {
    /// Where users connect.
    pub listen: SocketAddr,
    /// The example service's program.
    pub checkout: PathBuf,
    program: PathBuf,
    folder: Option<TempDir>,
    path: PathBuf,
    up: Child,
}

impl Stage {
    /// Makes the folder and starts `airboss up` in it.
    pub async fn set(root: &Path) -> anyhow::Result<Self> {
        let built = crate::built()?;
        let (program, checkout) = (built.join("airboss"), built.join("checkout"));
        for file in [&program, &checkout] {
            anyhow::ensure!(
                file.exists(),
                "{} is not built; run `make demo` in {}",
                file.display(),
                root.display()
            );
        }
        let folder = tempfile::Builder::new().prefix("airboss-demo-").tempdir()?;
        let path = folder.path().to_owned();
        let listen = xtask::ports::free()?;
        let manifest = super::MANIFEST.replace("@LISTEN@", &listen.to_string());
        std::fs::write(path.join("airboss.yaml"), manifest)?;
        let mut up = command(&program, &path)
            .args(["up", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            // Ctrl-C is for this program, which then stops that one in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let said = up.stdout.take().context("no output")?;
        let mut lines = BufReader::new(said).lines();
        let first = timeout(PATIENCE, lines.next_line())
            .await
            .context("`airboss up` says nothing")??;
        let Some(first) = first.filter(|line| line.contains(" is up ")) else {
            bail!("`airboss up` did not start: {:?}", up.wait().await?);
        };
        super::say(&first);
        // What it says later is in its logs too, but its pipe must not fill.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            listen,
            checkout,
            program,
            folder: Some(folder),
            path,
            up,
        })
    }

    /// The folder that all of this is in.
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// `airboss` as a user calls it in this folder.
    pub fn airboss(&self) -> Command {
        command(&self.program, &self.path)
    }

    async fn read(&self, words: &[&str]) -> anyhow::Result<String> {
        let output = self.airboss().args(words).output().await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(
            !said.is_empty(),
            "`airboss {}`: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    /// The version that serves users.
    pub async fn stable(&self) -> anyhow::Result<String> {
        let said = self
            .read(&["status", "checkout", "--output", "json"])
            .await?;
        let status: Value = serde_json::from_str(&said)?;
        let lane = status["lanes"].get(0).unwrap_or(&status);
        lane["stable"]["version"]
            .as_str()
            .map(str::to_owned)
            .with_context(|| format!("no stable version in {said}"))
    }

    /// What happened in a rollout that is over.
    pub async fn events(&self, rollout: &str) -> anyhow::Result<Vec<Value>> {
        let said = self.read(&["watch", rollout, "--output", "json"]).await?;
        said.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// Stops everything.
    pub async fn clear(&mut self) -> anyhow::Result<()> {
        let pid = self
            .up
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        kill_process(pid, Signal::TERM).context("cannot stop `airboss up`")?;
        let status = timeout(PATIENCE, self.up.wait())
            .await
            .with_context(|| format!("`airboss up` (process {pid:?}) does not stop"))??;
        anyhow::ensure!(status.success(), "`airboss up` stopped with {status}");
        Ok(())
    }

    /// Keeps the folder for a look at it, and says where it is.
    pub fn keep(&mut self) -> String {
        match self.folder.take() {
            Some(folder) => format!("\n  its folder is kept: {}", folder.keep().display()),
            None => String::new(),
        }
    }
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("AIRBOSS_HOME", folder.join(".airboss"))
        .env("AIRBOSS_USER", "demo")
        .env_remove("AIRBOSS_SERVER")
        .env_remove("AIRBOSS_TOKEN");
    command
}
