//! A folder, a controller and an agent for one test, and what is shipped to it.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use airboss_model::manifest::{Health, ProcessTarget};
use airboss_model::target::{Desired, DesiredArm, DesiredTraffic, InstanceState, Observed};
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, Digest, Span, Timestamp};
use airboss_targets::process::artifact::pack;
use airboss_targets::process::{AgentConfig, AgentError, Clock, StopMode, run};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::controller::{Controller, PATIENCE};

/// Some wall clock; no test depends on which.
pub fn clock() -> Clock {
    let start = tokio::time::Instant::now();
    Arc::new(move || {
        let elapsed = start.elapsed().as_millis();
        Timestamp::from_millisecond(1_800_000_000_000 + i64::try_from(elapsed).unwrap()).unwrap()
    })
}

pub struct Agent {
    pub task: JoinHandle<Result<(), AgentError>>,
    stop: watch::Sender<Option<StopMode>>,
}

impl Agent {
    /// As `kill -9` would: nothing is said, nothing is cleaned up.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
    pub async fn stop(self, mode: StopMode) {
        self.stop.send_replace(Some(mode));
        self.task.await.unwrap().unwrap();
    }
}

pub struct World {
    pub folder: TempDir,
    pub controller: Controller,
    pub listen: String,
    socket: TcpListener,
    clock: Clock,
}

impl World {
    pub async fn new() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            controller: Controller::start().await,
            listen: socket.local_addr().unwrap().to_string(),
            socket,
            clock: clock(),
        }
    }

    pub fn config(&self) -> AgentConfig {
        let mut config = AgentConfig::new(
            self.folder.path(),
            vec![self.controller.address.clone()],
            "token",
            Arc::clone(&self.clock),
        );
        let socket = self.socket.try_clone().unwrap();
        config.listeners.insert(self.listen.clone(), socket);
        config.backoff_first = Duration::from_millis(20);
        config
    }

    pub fn agent(&self) -> Agent {
        Self::agent_with(self.config())
    }

    pub fn agent_with(config: AgentConfig) -> Agent {
        let (stop, stopped) = watch::channel(None);
        Agent {
            task: tokio::spawn(run(config, stopped)),
            stop,
        }
    }

    /// Packs what `fill` writes and hands it to the controller.
    pub fn ship(&self, fill: impl FnOnce(&Path)) -> Digest {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path());
        let out = folder.path().with_extension("tar");
        let packed = pack(folder.path(), &out).unwrap();
        self.controller.blob(packed.digest, fs::read(&out).unwrap());
        fs::remove_file(out).unwrap();
        packed.digest
    }

    /// Ships the test's own service under a version.
    pub fn ship_app(&self, version: &str) -> Digest {
        self.ship(|folder| {
            let run = folder.join("run.sh");
            let script = "#!/bin/sh\nexec \"$APP_BIN\" app::serves --exact --nocapture\n";
            fs::write(&run, script).unwrap();
            fs::set_permissions(&run, PermissionsExt::from_mode(0o755)).unwrap();
            fs::write(folder.join("version"), version).unwrap();
        })
    }

    /// An arm that runs the test's own service.
    pub fn arm(&self, name: &str, app: &str, instances: u32) -> DesiredArm {
        let version = name.replace("app-", "1.0.");
        let binary = std::env::current_exe().unwrap();
        let env = [
            ("APP", app.to_owned()),
            ("APP_BIN", binary.to_string_lossy().into_owned()),
            ("RUST_BACKTRACE", "0".to_owned()),
            ("GATE", self.gate().to_string_lossy().into_owned()),
        ];
        DesiredArm {
            arm: name.parse().unwrap(),
            release: format!("app@{version}").parse().unwrap(),
            digest: self.ship_app(&version),
            instances,
            process: ProcessTarget {
                command: vec!["{artifact}/run.sh".to_owned()],
                instances,
                listen: self.listen.clone(),
                env: BTreeMap::from(env.map(|(name, value)| (name.to_owned(), value))),
                health: Health {
                    http: Some("/healthz".to_owned()),
                    ready_within: Span::secs(30),
                    every: Span::millis(500),
                    failures: 3,
                },
                drain: Span::secs(30),
                sticky: None,
                force_header: None,
                response_timeout: Span::secs(30),
                metrics: "/metrics".to_owned(),
            },
        }
    }

    /// The file that lets `/slow` answer.
    pub fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("agent/state.json")
    }

    /// A file of the unpacked artifact.
    pub fn unpacked(&self, digest: Digest, file: &str) -> PathBuf {
        let artifacts = self.folder.path().join("agent/artifacts");
        artifacts.join(digest.hex()).join(file)
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let client = client.build().unwrap();
        let url = format!("http://{}{path}", self.listen);
        let answer = client.get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    /// Starts an agent whose stable arm `app-1` has all its instances ready and all traffic.
    pub async fn serving(&self, instances: u32) -> (Agent, DesiredArm) {
        let arm = self.arm("app-1", "ok", instances);
        self.controller.ask(desired(1, &[&arm], stable("app-1")));
        let agent = self.agent();
        self.controller
            .sees("the first release serves", |lane| {
                lane.ready(&id("app-1")) == instances && in_force(lane) == 1
            })
            .await;
        (agent, arm)
    }
}

impl Drop for World {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let state = fs::read(self.state()).unwrap_or_default();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
        let mut waiting = vec![&state];
        while let Some(value) = waiting.pop() {
            if let Some(pid) = value["pid"].as_i64().filter(|_| std::thread::panicking()) {
                let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
                let _ = rustix::process::kill_process_group(
                    pid.unwrap(),
                    rustix::process::Signal::KILL,
                );
            }
            waiting.extend(value.as_array().into_iter().flatten());
            waiting.extend(
                value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(_, value)| value),
            );
        }
    }
}

pub fn id(name: &str) -> ArmId {
    name.parse().unwrap()
}

pub fn desired(generation: u64, arms: &[&DesiredArm], traffic: DesiredTraffic) -> Desired {
    Desired {
        lane: "app/production".parse().unwrap(),
        epoch: 0,
        generation,
        arms: arms.iter().map(|arm| (*arm).clone()).collect(),
        traffic,
        exposure_lease: Span::secs(60),
    }
}

pub fn nobody() -> DesiredTraffic {
    DesiredTraffic::default()
}

pub fn stable(arm: &str) -> DesiredTraffic {
    DesiredTraffic {
        stable: Some(id(arm)),
        ..DesiredTraffic::default()
    }
}

pub fn split(stable: &str, canary: &str, percent: u16) -> DesiredTraffic {
    DesiredTraffic {
        stable: Some(id(stable)),
        canary: Some(id(canary)),
        canary_weight: Weight::from_basis_points(percent * 100),
        ..DesiredTraffic::default()
    }
}

/// The generation of the division in force; 0 where there is none.
pub fn in_force(lane: &Observed) -> u64 {
    lane.traffic
        .as_ref()
        .map_or(0, |traffic| traffic.generation)
}

pub fn failed(lane: &Observed, arm: &str) -> Option<String> {
    lane.arm(&id(arm)).and_then(|arm| arm.failed.clone())
}

/// Pids of an arm's ready instances.
pub fn pids(lane: &Observed, arm: &str) -> Vec<u32> {
    let arm = lane.arm(&id(arm)).unwrap();
    let ready = arm
        .instances
        .iter()
        .filter(|i| i.state == InstanceState::Ready);
    ready.filter_map(|i| i.pid).collect()
}

pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}
