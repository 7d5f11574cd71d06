//! A running `airboss up` in a folder of its own, and the service under measurement in it.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::api::{Api, Event};

/// The service's name.
pub const SERVICE: &str = "bench";
/// How long `airboss up` may take to be up, and to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `airboss up`. Dropping it stops it, its server, its agent and all instances.
pub struct Up {
    program: PathBuf,
    folder: PathBuf,
    child: Child,
    /// From starting the process to its first line, which says that it is ready.
    pub ready_after: Duration,
    /// Its API.
    pub api: Api,
}

impl Up {
    /// Starts it with the data folder `folder/.airboss`.
    pub fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        Self::on(program, folder, None)
    }

    /// The same, on a PostgreSQL database.
    pub fn on(program: &Path, folder: &Path, database: Option<&str>) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = command(program, folder)
            .args(["up", "--listen", "127.0.0.1:0"])
            .args(database.iter().flat_map(|url| ["--database", url]))
            // Of this program's process group: Ctrl-C reaches it too, and it stops in order.
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let said = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(said).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let ready_after = began.elapsed();
        let mut up = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            child,
            ready_after,
            api: Api {
                address: String::new(),
                token: String::new(),
            },
        };
        anyhow::ensure!(
            first.contains(" is up "),
            "`airboss up` did not start; it says: {first}"
        );
        // What it says later is in its logs too, but its pipe must not fill.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let data = folder.join(".airboss");
        let server: Value = serde_json::from_slice(&fs::read(data.join("server.json"))?)?;
        let url = server["url"].as_str().unwrap_or_default();
        up.api = Api {
            address: url.trim_start_matches("http://").to_owned(),
            token: fs::read_to_string(data.join("token"))?.trim().to_owned(),
        };
        Ok(up)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `airboss` as a user calls it in this folder.
    pub fn airboss(&self) -> Command {
        command(&self.program, &self.folder)
    }

    /// Waits until an agent has reported.
    pub fn agent(&self) -> anyhow::Result<()> {
        let most = Instant::now() + PATIENCE;
        loop {
            let system = self.api.get("/api/v1/system")?;
            if system["agents"]
                .as_array()
                .is_some_and(|agents| !agents.is_empty())
            {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < most, "no agent reports: {system}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it in order.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process")?, Signal::TERM)?;
        let most = Instant::now() + PATIENCE;
        while Instant::now() < most {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "`airboss up` stopped with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("`airboss up` did not stop within {PATIENCE:?} and was ended");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // On the way out of a failure there is nobody left to tell.
        let _ = self.end();
    }
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("AIRBOSS_HOME", folder.join(".airboss"))
        .env("AIRBOSS_USER", "bench")
        .env_remove("AIRBOSS_SERVER")
        .env_remove("AIRBOSS_TOKEN");
    command
}

/// An address that is free now.
pub fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// What the manifest of the service under measurement says.
pub struct Shape {
    /// Instances at full size.
    pub instances: u32,
    /// The canary's steps, such as `10%, 100%`.
    pub steps: String,
    /// How long a step lasts at least.
    pub bake: &'static str,
    /// How long the old version stays behind the new one.
    pub hold_old: &'static str,
}

/// The service under measurement in a running Airboss.
pub struct Stage {
    /// The processes.
    pub up: Up,
    /// Where users connect.
    pub listen: SocketAddr,
    /// Where a version's faults are written to; see [`super::app`].
    pub faults: PathBuf,
    events: Receiver<Event>,
    unread: VecDeque<Event>,
    // Dropped last: processes write here.
    folder: tempfile::TempDir,
}

impl Stage {
    /// Starts Airboss and writes the manifest.
    pub fn set(airboss: &Path, shape: &Shape) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("airboss-bench-")
            .tempdir()?;
        let up = Up::start(airboss, folder.path())?;
        let listen = free()?;
        let faults = folder.path().join("faults");
        fs::create_dir(&faults)?;
        let manifest = format!(
            "apiVersion: airboss/v1\n\
             kind: Service\n\
             metadata: {{ name: {SERVICE} }}\n\
             spec:\n\
             \x20 target:\n\
             \x20   process:\n\
             \x20     command: [\"{{artifact}}/start\", --port, \"{{port}}\", --version, \"{{version}}\", --faults, \"{}\"]\n\
             \x20     instances: {}\n\
             \x20     listen: {listen}\n\
             \x20     health: {{ http: /healthz, ready_within: 20s }}\n\
             \x20     drain: 5s\n\
             \x20 slos:\n\
             \x20   - {{ name: availability, objective: 99.9%, bad: \"status >= 500\" }}\n\
             \x20   - {{ name: latency, objective: 99%, under: 250ms }}\n\
             \x20 rollout:\n\
             \x20   canary: {{ steps: [{}], bake: {}, at_most: 30m, hold_old: {} }}\n",
            faults.display(),
            shape.instances,
            shape.steps,
            shape.bake,
            shape.hold_old
        );
        fs::write(folder.path().join("airboss.yaml"), manifest)?;
        let events = up.api.follow()?;
        Ok(Self {
            up,
            listen,
            faults,
            events,
            unread: VecDeque::new(),
            folder,
        })
    }

    /// Ships a version whose content is its own; the rollout's id.
    pub fn ship(&self, version: &str) -> anyhow::Result<String> {
        let artifact = self.folder.path().join("versions").join(version);
        fs::create_dir_all(&artifact)?;
        let start = artifact.join("start");
        let program = std::env::current_exe()?;
        fs::write(
            &start,
            format!(
                "#!/bin/sh\n# {version}\nexec '{}' app \"$@\"\n",
                program.display()
            ),
        )?;
        fs::set_permissions(&start, fs::Permissions::from_mode(0o755))?;
        let output = self
            .up
            .airboss()
            .arg("ship")
            .arg(&artifact)
            .args(["--version", version, "--output", "json"])
            .output()?;
        anyhow::ensure!(
            output.status.success(),
            "`airboss ship`: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let accepted: Value = serde_json::from_slice(&output.stdout)?;
        let rollout = accepted["rollout"].as_str();
        Ok(rollout.context("no rollout")?.to_owned())
    }

    /// Does something to a rollout: `promote`, `abort` …
    pub fn act(&self, rollout: &str, what: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/rollouts/{rollout}/{what}");
        self.up.api.post(&path, &json!({ "by": "bench" }))?;
        Ok(())
    }

    /// The next event of a rollout that is of one of these kinds. Those of other rollouts before
    /// it are dropped; the end of the rollout before any of them is an error.
    pub fn wait(
        &mut self,
        rollout: &str,
        kinds: &[&str],
        within: Duration,
    ) -> anyhow::Result<Event> {
        let most = Instant::now() + within;
        loop {
            let event = self
                .next(most)
                .with_context(|| format!("waiting for {} of {rollout}", kinds.join(" or ")))?;
            if event.rollout != rollout {
                continue;
            }
            if kinds.contains(&event.kind.as_str()) {
                return Ok(event);
            }
            if event.kind == "ended" {
                bail!(
                    "{rollout} ended before {}: {}",
                    kinds.join(" or "),
                    event.message
                );
            }
        }
    }

    /// An event of one of these kinds, where one comes until then. Others stay to be read.
    pub fn peek(&mut self, rollout: &str, kinds: &[&str], until: Timestamp) -> Option<Event> {
        loop {
            let left = Duration::try_from(until.duration_since(super::now())).ok()?;
            let event = self.events.recv_timeout(left).ok()?;
            self.unread.push_back(event.clone());
            if event.rollout == rollout && kinds.contains(&event.kind.as_str()) {
                return Some(event);
            }
        }
    }

    fn next(&mut self, most: Instant) -> anyhow::Result<Event> {
        if let Some(event) = self.unread.pop_front() {
            return Ok(event);
        }
        let left = most.saturating_duration_since(Instant::now());
        self.events.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => anyhow::anyhow!("it does not come in time"),
            RecvTimeoutError::Disconnected => anyhow::anyhow!("the stream of events has ended"),
        })
    }

    /// Ships the first version and waits until it serves.
    pub fn first(&mut self) -> anyhow::Result<()> {
        self.up.agent()?;
        let rollout = self.ship("0.1.0")?;
        self.wait(&rollout, &["ended"], PATIENCE)?;
        Ok(())
    }

    /// Stops it and starts it anew in the same folder; from the start to ready.
    pub fn restart(&mut self, airboss: &Path) -> anyhow::Result<Duration> {
        self.up.agent()?;
        self.up.end()?;
        self.up = Up::start(airboss, self.folder.path())?;
        Ok(self.up.ready_after)
    }

    /// Stops everything.
    pub fn clear(self) -> anyhow::Result<()> {
        self.up.stop()
    }
}
