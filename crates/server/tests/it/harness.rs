//! A server in this process, and an agent that does at once what it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use airboss_attest::{SigningKey, Trust, TrustedKey};
use airboss_model::target::{
    Desired, InstanceState, Observed, ObservedArm, ObservedInstance, ObservedTraffic,
};
use airboss_model::traffic::{Counts, latency};
use airboss_runtime::evidence::Keys;
use airboss_runtime::{Clock, Hub, Runtime};
use airboss_server::access::Limits;
use airboss_server::blobs::Blobs;
use airboss_server::webhook::{SenderSecret, Senders};
use airboss_server::{Site, app};
use airboss_store::{SqliteOptions, SqliteStore, Store};
use airboss_targets::process::protocol::{Report, TrafficIncrement};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub const TOKEN: &str = "the-token";

pub struct Server {
    pub router: Router,
    pub runtime: Arc<Runtime>,
    pub keys: Arc<TestKeys>,
    pub folder: TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    /// On a folder that may hold the state of an earlier server.
    pub async fn on(folder: TempDir) -> Self {
        let blobs = Blobs::open(folder.path().join("artifacts"), "test").unwrap();
        Self::keeping(folder, blobs).await
    }

    /// With artifacts kept elsewhere.
    pub async fn keeping(folder: TempDir, blobs: Blobs) -> Self {
        Self::hearing(folder, blobs, Vec::new()).await
    }

    /// With senders that may push events.
    pub async fn hearing(folder: TempDir, blobs: Blobs, senders: Vec<SenderSecret>) -> Self {
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(folder.path().join("airboss.db"), SqliteOptions::default())
                .await
                .unwrap(),
        );
        store.release_claims("test").await.unwrap();
        let keys = Arc::new(TestKeys::default());
        let clock = Clock::system();
        let hub = Arc::new(Hub::new("1".to_owned(), clock.now()));
        let runtime = Runtime::start(store, hub, keys.clone(), clock, "test".to_owned())
            .await
            .unwrap();
        let site = Site {
            runtime: Arc::clone(&runtime),
            blobs,
            token: TOKEN.to_owned(),
            limits: Limits::default(),
            door: airboss_server::door::Door::default(),
            webhooks: Senders::new(senders).unwrap(),
            keep_record: None,
            log_key: log_key(),
            data_dir: folder.path().display().to_string(),
            store: "SQLite".to_owned(),
        };
        Self {
            router: app(Arc::new(site)),
            runtime,
            keys,
            folder,
        }
    }

    pub async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(authorized("GET", path).body(Body::empty()).unwrap())
            .await
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.post_keyed(path, body, None).await
    }

    pub async fn post_keyed(
        &self,
        path: &str,
        body: Value,
        key: Option<&str>,
    ) -> (StatusCode, Value) {
        let mut request = authorized("POST", path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    pub async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let request = authorized("PUT", path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    /// Keeps an archive with a file of this content; its digest.
    pub async fn upload(&self, content: &str) -> String {
        let (status, body) = self.hand_in(archive(content.as_bytes())).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["digest"].as_str().unwrap().to_owned()
    }

    pub async fn hand_in(&self, bytes: Vec<u8>) -> (StatusCode, Value) {
        let request = authorized("POST", "/api/v1/artifacts?source=test");
        self.send(request.body(Body::from(bytes)).unwrap()).await
    }

    pub async fn ship(&self, version: &str, content: &str) -> (StatusCode, Value) {
        let digest = self.upload(content).await;
        self.post("/api/v1/rollouts", ship(version, &digest)).await
    }

    /// Waits until `path` answers what `wanted` accepts.
    pub async fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            let (_, body) = self.get(path).await;
            if wanted(&body) {
                return body;
            }
            last = body;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} never answered as wanted; last: {last:#}");
    }
}

/// An archive with one file.
pub fn archive(content: &[u8]) -> Vec<u8> {
    xtask::registry::tar(&BTreeMap::from([("file", content)])).unwrap()
}

/// What a test server signs with, and whom it believes.
#[derive(Default)]
pub struct TestKeys {
    trust: std::sync::Mutex<Arc<Trust>>,
}

impl TestKeys {
    /// Believes these from now on, and its own key as every server does.
    pub fn believe(&self, mut trust: Trust) {
        trust.keys.push(TrustedKey {
            name: "airboss".to_owned(),
            key: own_key().public_key(),
            own: true,
            from: None,
            until: None,
            revoked: None,
        });
        *self.trust.lock().unwrap() = Arc::new(trust);
    }
}

fn own_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

impl Keys for TestKeys {
    fn trust(&self) -> Arc<Trust> {
        self.trust.lock().unwrap().clone()
    }
    fn signer(&self, _now: airboss_model::Timestamp) -> Option<Arc<SigningKey>> {
        Some(Arc::new(own_key()))
    }
}

/// The key that signs the test servers' checkpoints.
pub fn log_key() -> airboss_ledger::SigningKey {
    airboss_ledger::SigningKey::from_seed("airboss.test", &[3; 32]).unwrap()
}

pub fn authorized(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {TOKEN}"))
}

pub fn manifest() -> String {
    manifest_with("canary: { steps: [10%, 100%], hold_old: 1s }")
}

pub fn manifest_with(rollout: &str) -> String {
    format!(
        "apiVersion: airboss/v1\nkind: Service\nmetadata: {{ name: shop }}\nspec:\n  target:\n    process:\n      command: [\"{{artifact}}/shop\", \"{{port}}\"]\n      listen: 127.0.0.1:8080\n  slos:\n    - {{ name: availability, objective: 99%, bad: \"status >= 500\" }}\n  rollout:\n    {rollout}\n"
    )
}

pub fn ship(version: &str, digest: &str) -> Value {
    json!({ "manifest": manifest(), "version": version, "digest": digest, "by": "ann" })
}

/// An agent that does at once what it is asked, and reports requests as it is told.
pub struct Agent {
    task: tokio::task::JoinHandle<()>,
}

impl Agent {
    /// `bad` says how many of an arm's 1,000 requests a report fail, by the arm's name.
    pub fn start(runtime: &Arc<Runtime>, bad: impl Fn(&str) -> u64 + Send + 'static) -> Self {
        Self::scripted(runtime, move |desired| requests(desired, &bad))
    }

    /// `traffic` says what a lane's splitter counted since the last report.
    pub fn scripted(
        runtime: &Arc<Runtime>,
        traffic: impl Fn(&Desired) -> Vec<TrafficIncrement> + Send + 'static,
    ) -> Self {
        let runtime = Arc::clone(runtime);
        let task = tokio::spawn(async move {
            for number in 1.. {
                let set = runtime.hub().desired("a", 0, Duration::ZERO).await;
                let report = Report {
                    agent: "a".to_owned(),
                    boot: "b".to_owned(),
                    number,
                    version: "0".to_owned(),
                    sent_at: runtime.clock().now(),
                    observed: set
                        .lanes
                        .iter()
                        .map(|desired| obey(desired, &runtime))
                        .collect(),
                    traffic: set.lanes.iter().flat_map(&traffic).collect(),
                    covers_ms: 100,
                };
                let now = runtime.clock().now();
                runtime.hub().report(report, now).unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { task }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn obey(desired: &Desired, runtime: &Runtime) -> Observed {
    let instance = |name: String| ObservedInstance {
        name,
        state: InstanceState::Ready,
        pid: Some(1),
        address: None,
        restarts: 0,
        last_error: None,
    };
    Observed {
        lane: desired.lane.clone(),
        generation: desired.generation,
        epoch: desired.epoch,
        traffic: Some(ObservedTraffic {
            generation: desired.generation,
            stable: desired.traffic.stable.clone(),
            canary: desired.traffic.canary.clone(),
            canary_weight: desired.traffic.canary_weight,
            lease_expired_at: None,
        }),
        arms: desired
            .arms
            .iter()
            .map(|arm| ObservedArm {
                arm: arm.arm.clone(),
                instances: (0..arm.instances)
                    .map(|n| instance(format!("{}.{n}", arm.arm)))
                    .collect(),
                failed: None,
            })
            .collect(),
        problems: Vec::new(),
        at: runtime.clock().now(),
    }
}

/// 1,000 requests by the weight in force.
pub fn requests(desired: &Desired, bad: &impl Fn(&str) -> u64) -> Vec<TrafficIncrement> {
    let canary = u64::from(desired.traffic.canary_weight.basis_points()) / 10;
    let share = |arm: &airboss_model::ArmId| {
        if desired.traffic.canary.as_ref() == Some(arm) {
            canary
        } else {
            1_000 - canary
        }
    };
    let increment = |arm: &airboss_model::ArmId| {
        let requests = share(arm);
        let failed = requests * bad(arm.as_str()) / 1_000;
        TrafficIncrement {
            lane: desired.lane.clone(),
            arm: arm.clone(),
            instance: format!("{arm}.0"),
            counts: Counts {
                requests,
                by_status: BTreeMap::from([(200, requests - failed), (500, failed)]),
                latency: BTreeMap::from([(latency::bucket(2_000), requests)]),
                ..Counts::default()
            },
            mirrored: Counts::default(),
        }
    };
    desired
        .arms
        .iter()
        .filter(|arm| share(&arm.arm) > 0)
        .map(|arm| increment(&arm.arm))
        .collect()
}

/// Files in a folder and in the folders in it.
pub fn files_in(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path());
    entries
        .map(|path| if path.is_dir() { files_in(&path) } else { 1 })
        .sum()
}
