//! A controller that says what it is told to and remembers what it hears.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airboss_model::target::{Desired, Observed};
use airboss_model::{Digest, LaneId};
use airboss_targets::process::protocol::{
    DesiredSet, LogAnswer, LogRequest, Report, ReportAck, TrafficIncrement,
};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::watch;

/// Long enough for a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Told {
    set: Option<DesiredSet>,
    blobs: HashMap<Digest, Vec<u8>>,
    renews: bool,
    /// Answers are lost after the report was counted.
    loses_answers: bool,
    /// Nothing is taken at all.
    away: bool,
    latest: HashMap<LaneId, Observed>,
    /// Every problem that was ever told.
    problems: HashSet<String>,
    counted: HashSet<(String, u64)>,
    traffic: Vec<TrafficIncrement>,
    repeats: u64,
    logs: HashMap<String, LogAnswer>,
}

#[derive(Clone)]
pub struct Controller {
    pub address: String,
    told: Arc<Mutex<Told>>,
    changed: watch::Sender<u64>,
}

type Answer<T> = Result<Json<T>, StatusCode>;

impl Controller {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            told: Arc::default(),
            changed: watch::Sender::new(0),
        };
        this.change(|told| told.renews = true);
        let app = Router::new()
            .route("/agent/v1/desired", get(desired))
            .route("/agent/v1/report", post(report))
            .route("/agent/v1/blobs/{digest}", get(blob))
            .route("/agent/v1/logs/{id}", post(logs))
            .with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        this
    }

    fn with<T>(&self, work: impl FnOnce(&mut Told) -> T) -> T {
        work(&mut self.told.lock().unwrap())
    }
    fn change<T>(&self, work: impl FnOnce(&mut Told) -> T) -> T {
        let done = self.with(work);
        self.changed.send_modify(|count| *count += 1);
        done
    }

    pub fn blob(&self, digest: Digest, bytes: Vec<u8>) {
        self.change(|told| told.blobs.insert(digest, bytes));
    }
    pub fn renews(&self, renews: bool) {
        self.change(|told| told.renews = renews);
    }
    pub fn loses_answers(&self, loses: bool) {
        self.change(|told| told.loses_answers = loses);
    }
    pub fn is_away(&self, away: bool) {
        self.change(|told| {
            told.away = away;
            told.latest.clear();
        });
    }
    pub fn problem(&self, part: &str) -> bool {
        self.with(|told| told.problems.iter().any(|problem| problem.contains(part)))
    }
    pub fn repeats(&self) -> u64 {
        self.with(|told| told.repeats)
    }
    pub fn traffic(&self) -> Vec<TrafficIncrement> {
        self.with(|told| told.traffic.clone())
    }
    pub fn log(&self, id: &str) -> Option<LogAnswer> {
        self.with(|told| told.logs.get(id).cloned())
    }

    /// Asks for one lane's state, under the next version.
    pub fn ask(&self, desired: Desired) {
        self.change(|told| {
            let version = told.set.as_ref().map_or(1, |set| set.version + 1);
            told.set = Some(DesiredSet {
                version,
                incarnation: "first".to_owned(),
                lanes: vec![desired],
                log_requests: Vec::new(),
            });
        });
    }

    /// As a controller that was started anew: its versions begin again.
    pub fn ask_as_another(&self, desired: Desired) {
        self.change(|told| {
            told.set = Some(DesiredSet {
                version: 1,
                incarnation: "second".to_owned(),
                lanes: vec![desired],
                log_requests: Vec::new(),
            });
        });
    }

    pub fn ask_for_logs(&self, request: LogRequest) {
        self.change(|told| {
            let set = told.set.as_mut().unwrap();
            set.version += 1;
            set.log_requests.push(request);
        });
    }

    /// Waits until something holds; `what` names it where it never does.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                changed.borrow_and_update();
                if holds(self) {
                    return;
                }
                // What holds may also be a thing of the host, which tells nobody.
                let _ = tokio::time::timeout(Duration::from_millis(50), changed.changed()).await;
            }
        });
        if waited.await.is_err() {
            let latest = self.told.lock().unwrap().latest.clone();
            panic!("{what}: never happened; last seen: {latest:#?}");
        }
    }

    /// Waits for a report in which something holds of the lane.
    pub async fn sees(&self, what: &str, holds: impl Fn(&Observed) -> bool) -> Observed {
        let lane = || {
            let told = self.told.lock().unwrap();
            told.latest.values().next().cloned()
        };
        self.until(what, |_| lane().is_some_and(|lane| holds(&lane)))
            .await;
        lane().filter(|lane| holds(lane)).unwrap_or_else(|| {
            panic!("{what}: held for a moment only");
        })
    }
}

async fn desired(
    State(this): State<Controller>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer<DesiredSet> {
    let number = |name: &str| query[name].parse::<u64>().unwrap();
    let (after, wait) = (number("after"), Duration::from_millis(number("wait_ms")));
    let mut changed = this.changed.subscribe();
    let newer = async {
        loop {
            let set = {
                let told = this.told.lock().unwrap();
                if told.away {
                    return Err(StatusCode::SERVICE_UNAVAILABLE);
                }
                told.set.clone()
            };
            if let Some(set) = set.filter(|set| set.version > after) {
                return Ok(Json(set));
            }
            let _ = changed.changed().await;
        }
    };
    match tokio::time::timeout(wait, newer).await {
        Ok(answer) => answer,
        Err(_) => {
            let set = this.told.lock().unwrap().set.clone();
            set.map(Json).ok_or(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

async fn report(State(this): State<Controller>, Json(report): Json<Report>) -> Answer<ReportAck> {
    this.change(|told| {
        if told.away {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        if told.counted.insert((report.boot.clone(), report.number)) {
            told.traffic.extend(report.traffic);
            for lane in report.observed {
                told.problems.extend(lane.problems.iter().cloned());
                told.latest.insert(lane.lane.clone(), lane);
            }
        } else {
            told.repeats += 1;
        }
        if told.loses_answers {
            return Err(StatusCode::BAD_GATEWAY);
        }
        let renewed = told.latest.keys().filter(|_| told.renews).cloned();
        Ok(Json(ReportAck {
            renewed: renewed.collect(),
            version: told.set.as_ref().map_or(0, |set| set.version),
            incarnation: (told.set.as_ref())
                .map_or_else(String::new, |set| set.incarnation.clone()),
        }))
    })
}

async fn blob(
    State(this): State<Controller>,
    Path(digest): Path<String>,
) -> Result<Vec<u8>, StatusCode> {
    let digest: Digest = digest.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    this.with(|told| told.blobs.get(&digest).cloned())
        .ok_or(StatusCode::NOT_FOUND)
}

async fn logs(
    State(this): State<Controller>,
    Path(id): Path<String>,
    Json(answer): Json<LogAnswer>,
) -> StatusCode {
    this.change(|told| told.logs.insert(id, answer));
    StatusCode::NO_CONTENT
}
