//! `airboss up` in a temporary folder.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use xtask::versions::{self, Version};

use super::manifest::Manifest;
use super::{http, processes};

/// What is awaited has this long. It is the bound of a failing test, not a promise.
const PATIENCE: Duration = Duration::from_secs(90);
/// Pause between two looks at what is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<std::process::Output> for Said {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// Fails unless the command ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// Fails unless it said all of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.out.contains(word) || self.err.contains(word),
                "`{word}` is not in:\n{}\n{}",
                self.out,
                self.err
            );
        }
        self
    }
}

/// A folder with a manifest, and the processes that run for it.
pub struct House {
    folder: TempDir,
    /// Where the service's users connect.
    pub listen: SocketAddr,
    /// Variables that every process of it gets besides.
    pub variables: Vec<(&'static str, &'static str)>,
    /// The network namespace that commands are typed in, where it is another than the test's.
    pub within: Option<String>,
    /// The server that commands are sent to, where it is not the folder's own.
    pub server: Option<String>,
    running: Vec<Child>,
}

impl House {
    /// A folder with a manifest, where nothing runs yet.
    pub fn empty(manifest: &Manifest) -> Self {
        let house = Self {
            folder: tempfile::Builder::new()
                .prefix("airboss-e2e-")
                .tempdir()
                .unwrap(),
            listen: xtask::ports::free().unwrap(),
            variables: Vec::new(),
            within: None,
            server: None,
            running: Vec::new(),
        };
        house.write_manifest(manifest);
        house
    }

    /// With `airboss up`, ready.
    pub async fn up(manifest: &Manifest) -> Self {
        let mut house = Self::empty(manifest);
        house.start(&["up", "--listen", "127.0.0.1:0"]).await;
        house
    }

    /// With a first version that serves.
    pub async fn serving(manifest: &Manifest) -> Self {
        let house = Self::up(manifest).await;
        house.ship(versions::FIRST, &["--watch"]).await.ended(0);
        house
    }

    pub fn write_manifest(&self, manifest: &Manifest) {
        fs::write(self.path().join("airboss.yaml"), manifest.text(self.listen)).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.path().join(".airboss")
    }

    /// The address of the folder's own server.
    pub fn url(&self) -> String {
        let text = fs::read_to_string(self.data().join("server.json")).unwrap();
        let server: Value = serde_json::from_str(&text).unwrap();
        server["url"].as_str().unwrap().to_owned()
    }

    /// `airboss` with these words, as a user calls it in this folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_airboss");
        let mut command = match &self.within {
            Some(space) => {
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", space, program]);
                ip
            }
            None => Command::new(program),
        };
        command
            .args(words)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .env("AIRBOSS_HOME", self.data())
            .env("AIRBOSS_USER", "ada@example.org")
            .env_remove("AIRBOSS_SERVER")
            .env_remove("AIRBOSS_TOKEN")
            .env_remove("AIRBOSS_KEY_PASSPHRASE")
            .envs(self.variables.iter().copied());
        if let Some(server) = &self.server {
            let token = fs::read_to_string(self.data().join("token")).unwrap_or_default();
            command.env("AIRBOSS_SERVER", server);
            command.env("AIRBOSS_TOKEN", token.trim());
        }
        command
    }

    /// Starts a verb that goes on running, and waits until the server answers.
    pub async fn start(&mut self, words: &[&str]) {
        self.spawn(words);
        self.until("the server answers", async || {
            self.run(&["status", "--output", "json"]).await.code == Some(0)
        })
        .await;
    }

    /// Starts a verb that goes on running; its process.
    pub fn spawn(&mut self, words: &[&str]) -> u32 {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("up.log"))
            .unwrap();
        let child = self
            .command(words)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push(child);
        self.running[self.running.len() - 1].id()
    }

    /// Runs a verb to its end.
    pub async fn run(&self, words: &[&str]) -> Said {
        let mut command = self.command(words);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        output.into()
    }

    /// The folder of a version of the example service, to be changed before it is shipped.
    pub fn pack(&self, version: Version) -> PathBuf {
        versions::pack(checkout(), version, &self.path().join("versions")).unwrap()
    }

    /// Packs and ships a version of the example service.
    pub async fn ship(&self, version: Version, flags: &[&str]) -> Said {
        let artifact = self.pack(version);
        self.ship_folder(&artifact, version.number, flags).await
    }

    pub async fn ship_folder(&self, folder: &Path, version: &str, flags: &[&str]) -> Said {
        let mut words = vec!["ship", folder.to_str().unwrap(), "--version", version];
        words.extend(flags);
        if flags.contains(&"--watch") {
            words.extend(["--timeout", "3m"]);
        }
        self.run(&words).await
    }

    async fn json(&self, words: &[&str]) -> Value {
        let said = self.run(words).await;
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error} in {said:?}"))
    }

    /// The service as it is. Null while nothing was shipped.
    pub async fn lane(&self) -> Value {
        self.json(&["status", "--output", "json"]).await["lanes"][0].clone()
    }

    /// What a rollout has come to: its row in the history.
    pub async fn rollout(&self, id: &str) -> Value {
        let list = self
            .json(&["history", "--limit", "500", "--output", "json"])
            .await;
        let all = list["rollouts"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|rollout| rollout["id"] == id);
        found.unwrap_or_else(|| panic!("no {id} in {list}"))
    }

    /// Everything that happened in a rollout that is over.
    pub async fn events(&self, id: &str) -> Vec<Value> {
        let said = self.run(&["watch", id, "--output", "json"]).await;
        said.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until the service looks like this.
    pub async fn until_lane(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let lane = self.lane().await;
            if is(&lane) {
                return lane;
            }
            assert!(began.elapsed() < PATIENCE, "not so: {what}; it is {lane:#}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until a rollout has ended, and gives its row.
    pub async fn until_ended(&self, id: &str) -> Value {
        self.until(&format!("{id} ends"), async || {
            !self.rollout(id).await["outcome"].is_null()
        })
        .await;
        self.rollout(id).await
    }

    /// Waits until this holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !holds().await {
            let log = fs::read_to_string(self.path().join("up.log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "not so: {what}\n{log}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until only this version answers, twenty times in a row.
    pub async fn until_only(&self, version: &str) {
        self.until(&format!("{version} alone answers"), async || {
            for _ in 0..20 {
                if http::version(self.listen).await.as_deref() != Some(version) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// The process of `serve` or `agent`.
    pub async fn part(&self, verb: &str) -> u32 {
        self.until(&format!("{verb} runs"), async || {
            processes::part(&self.data(), verb).is_some()
        })
        .await;
        processes::part(&self.data(), verb).unwrap()
    }

    /// Stops what was started, the newest first, and waits for it.
    pub fn stop(&mut self) {
        for mut child in self.running.drain(..).rev() {
            processes::signal(child.id(), Signal::TERM);
            let began = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if began.elapsed() > PATIENCE {
                    // Said by the check of leftovers below where it matters.
                    let _ = child.kill();
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Ends a process of ours by its id, without a word to it.
    pub fn kill(&mut self, pid: u32) {
        let at = self.running.iter().position(|it| it.id() == pid);
        self.kill_started(at.expect("it is ours"));
    }

    /// Ends a process that `start` started, without a word to it.
    pub fn kill_started(&mut self, index: usize) {
        let mut child = self.running.remove(index);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop();
        let left = processes::of_folder(self.path());
        for (pid, _) in &left {
            processes::signal(*pid, Signal::KILL);
        }
        if std::thread::panicking() {
            for log in [
                "up.log",
                ".airboss/logs/serve.log",
                ".airboss/logs/agent.log",
            ] {
                let text = fs::read_to_string(self.path().join(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let last = lines.len().saturating_sub(25);
                println!("--- {log}\n{}", lines[last..].join("\n"));
            }
        } else {
            assert!(left.is_empty(), "left running: {left:?}");
        }
    }
}

/// The program of the example service, built once for all tests.
fn checkout() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_airboss")).with_file_name("checkout");
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--package", "checkout"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "checkout does not build");
        assert!(program.exists(), "{} is not there", program.display());
        program
    })
}
