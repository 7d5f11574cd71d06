//! What durability costs: commits alone and together, evidence, claims and lists, each beside
//! bare inserts of the same bytes on the same disk in the same run.
//!
//! `cargo bench -p airboss-store --bench store`, with `-- commits` for those only; the folder is that of temporary files, so set `TMPDIR` to
//! measure another disk.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first failure and prints its table"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airboss_model::{Digest, LaneId, RolloutId, Timestamp};
use airboss_store::{
    Commit, EvidenceRow, LaneRow, NewEvent, RolloutFilter, RolloutRow, SqliteOptions, SqliteStore,
    Store,
};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

/// Callers at the same time: some, and as many as share a transaction at most.
const CALLERS: [u64; 2] = [64, 256];
const LANES: u64 = 10_000;
const ROLLOUTS: u64 = 100_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn lane(number: u64) -> LaneId {
    format!("service-{number}/production").parse().unwrap()
}

fn filler(bytes: usize) -> Value {
    json!({ "filler": "x".repeat(bytes) })
}

fn rollout(lane: &LaneId, number: u64, outcome: Option<&str>) -> RolloutRow {
    RolloutRow {
        id: RolloutId::new(&lane.service(), number),
        lane: lane.clone(),
        release: format!("{}@1.0.{number}", lane.service()).parse().unwrap(),
        digest: Digest::from_sha256([7; 32]),
        phase: "observing".to_owned(),
        outcome: outcome.map(str::to_owned),
        reason: "errors 0.1 % against 0.1 %".to_owned(),
        created_by: "ada".to_owned(),
        created_at: at(0),
        updated_at: at(1),
        ended_at: outcome.map(|_| at(2)),
    }
}

/// A decision as large as the engine's usual ones: about 4 KB over eight statements.
fn decision(row: &LaneRow) -> Commit {
    let event = NewEvent {
        rollout: Some(RolloutId::new(&row.lane.service(), 1)),
        kind: "step_passed".to_owned(),
        message: "step 2 of 4 passed".to_owned(),
        body: filler(300),
    };
    Commit {
        lane: row.lane.clone(),
        seq: row.seq,
        epoch: row.epoch,
        at: at(1),
        input: filler(500),
        consumes: None,
        events: vec![event; EVENTS],
        state: filler(2_000),
        active: true,
        effects: vec![filler(200)],
        rollouts: vec![rollout(&row.lane, 1, None)],
    }
}

/// Events of a [`decision`].
const EVENTS: usize = 2;

/// What [`decision`] brings to disk, for the bare inserts.
const DECISION_BYTES: usize = 3_800;

struct Figures {
    name: String,
    per_second: f64,
    times: Vec<Duration>,
}

impl Figures {
    fn new(
        name: impl Into<String>,
        operations: usize,
        took: Duration,
        times: Vec<Duration>,
    ) -> Self {
        Self {
            name: name.into(),
            per_second: operations as f64 / took.as_secs_f64(),
            times,
        }
    }
    fn print(mut self) {
        self.times.sort_unstable();
        let part = |share: f64| {
            let place = (self.times.len() as f64 * share) as usize;
            let time = self.times[place.min(self.times.len() - 1)];
            format!("{:.2} ms", time.as_secs_f64() * 1e3)
        };
        println!(
            "| {:<58} | {:>9.0} | {:>10} | {:>10} |",
            self.name,
            self.per_second,
            part(0.5),
            part(0.99),
        );
    }
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    println!(
        "| {:<58} | {:>9} | {:>10} | {:>10} |",
        "what", "per s", "median", "p99"
    );
    println!("|{:-<60}|{:->11}|{:->12}|{:->12}|", "", "", "", "");

    let path = folder.path().join("airboss.db");
    let store = Arc::new(
        SqliteStore::open(&path, SqliteOptions::default())
            .await
            .unwrap(),
    );
    let mut ratios = Vec::new();
    for callers in [1, CALLERS[0], CALLERS[1]] {
        let each = if callers == 1 {
            1_000
        } else {
            20_000 / callers as usize
        };
        let bare = bare(
            &folder.path().join("bare.db"),
            callers as usize * each,
            callers as usize,
        )
        .await;
        let commits = commits(&store, callers, each).await;
        ratios.push((
            callers,
            commits.per_second,
            commits.per_second / bare.per_second,
        ));
        bare.print();
        commits.print();
    }
    println!();
    for (callers, commits, ratio) in ratios {
        let sealed = commits * EVENTS as f64;
        println!(
            "{callers} at a time: {sealed:.0} events sealed a second, each durable; commits / bare inserts {ratio:.2}"
        );
    }
    println!();
    if std::env::args().any(|argument| argument == "commits") {
        return;
    }
    evidence(&store).await;
    fill(&store).await;
    claims(&store).await;
    lists(&store).await;
    println!();
    store.close().await;
    let size = std::fs::metadata(&path).unwrap().len();
    let start = Instant::now();
    SqliteStore::open(&path, SqliteOptions::default())
        .await
        .unwrap();
    println!(
        "opening {} MB: {:.0} ms",
        size >> 20,
        start.elapsed().as_secs_f64() * 1e3
    );
}

/// Inserts of the same bytes into a table of one column, `batch` to a transaction.
async fn bare(path: &Path, rows: usize, batch: usize) -> Figures {
    let mut db: SqliteConnection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS bare (bytes TEXT NOT NULL)")
        .execute(&mut db)
        .await
        .unwrap();
    let bytes = "x".repeat(DECISION_BYTES);
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..rows / batch {
        let began = Instant::now();
        let mut tx = db.begin().await.unwrap();
        for _ in 0..batch {
            sqlx::query("INSERT INTO bare (bytes) VALUES ($1)")
                .bind(&bytes)
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        times.push(began.elapsed());
    }
    let name = format!("bare inserts of the same bytes, {batch} to a transaction");
    Figures::new(name, rows / batch * batch, start.elapsed(), times)
}

/// Commits of `callers` lanes at the same time, each waiting for its own before the next.
async fn commits(store: &Arc<SqliteStore>, callers: u64, each: usize) -> Figures {
    let mut rows = Vec::new();
    for number in 0..callers {
        let id = lane(1_000_000 + callers * 1_000 + number);
        rows.push(
            store
                .claim_lane(&id, "bench", at(9_000), at(0))
                .await
                .unwrap()
                .unwrap(),
        );
    }
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut row in rows {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(each);
            for _ in 0..each {
                let next = decision(&row);
                let began = Instant::now();
                row.seq = store.commit(&next).await.unwrap().seq;
                times.push(began.elapsed());
            }
            times
        });
    }
    let times = tasks.join_all().await.concat();
    let name = format!("commits, {callers} at a time");
    Figures::new(name, callers as usize * each, start.elapsed(), times)
}

/// A second's measurements of many rollouts, in one call and in one call each.
async fn evidence(store: &Arc<SqliteStore>) {
    let row = |rollout: u64, tick| EvidenceRow {
        rollout: RolloutId::new(&"bench".parse().unwrap(), rollout),
        tick,
        at: at(0),
        body: filler(300).to_string(),
        snapshot: (tick % 10 == 0).then(|| filler(1_000).to_string()),
    };
    let owner = store
        .claim_lane(&lane(2_000_000), "bench", at(9_000), at(0))
        .await
        .unwrap()
        .unwrap();
    let mut times = Vec::new();
    let start = Instant::now();
    for tick in 0..5 {
        let rows: Vec<_> = (0..LANES).map(|number| row(number, tick)).collect();
        let began = Instant::now();
        store
            .append_evidence(&owner.lane, owner.epoch, &rows)
            .await
            .unwrap();
        times.push(began.elapsed());
    }
    let name = format!("evidence of {LANES} rollouts in one call (times are per call)");
    Figures::new(name, LANES as usize * 5, start.elapsed(), times).print();

    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..LANES {
        let store = Arc::clone(store);
        let (row, owner) = (row(number, 5), owner.clone());
        tasks.spawn(async move {
            store
                .append_evidence(&owner.lane, owner.epoch, &[row])
                .await
                .unwrap();
            start.elapsed()
        });
    }
    let times = tasks.join_all().await;
    let name = format!("evidence of {LANES} rollouts in a call each, all at once");
    Figures::new(name, LANES as usize, start.elapsed(), times).print();

    let mut times = Vec::new();
    let start = Instant::now();
    for number in 0..1_000 {
        let began = Instant::now();
        let id = RolloutId::new(&"bench".parse().unwrap(), number * 7);
        let (snapshot, rest) = store.evidence_since_snapshot(&id).await.unwrap();
        assert!(snapshot.is_some() && rest.len() == 5);
        times.push(began.elapsed());
    }
    Figures::new("evidence since the snapshot", 1_000, start.elapsed(), times).print();
}

/// Lanes with work and many past rollouts.
async fn fill(store: &Arc<SqliteStore>) {
    for number in 0..LANES {
        let id = lane(number);
        // One commit per lane brings its share of past rollouts, so that filling is quick.
        let row = store
            .claim_lane(&id, "filler", at(0), at(-1))
            .await
            .unwrap()
            .unwrap();
        let mut next = decision(&row);
        next.rollouts = (0..ROLLOUTS / LANES)
            .map(|past| rollout(&id, past, (past > 0).then_some("shipped")))
            .collect();
        store.commit(&next).await.unwrap();
    }
    store.release_claims("filler").await.unwrap();
}

async fn claims(store: &Arc<SqliteStore>) {
    let (start, mut times, mut claimed) = (Instant::now(), Vec::new(), 0);
    loop {
        let began = Instant::now();
        let got = store.claim("one", at(10), at(0), 100).await.unwrap().len();
        times.push(began.elapsed());
        claimed += got;
        if got == 0 {
            break;
        }
    }
    Figures::new(
        "claims of 100 lanes (lanes per second)",
        claimed,
        start.elapsed(),
        times,
    )
    .print();
    let (start, mut times) = (Instant::now(), Vec::new());
    for _ in 0..100 {
        let began = Instant::now();
        assert!(
            store
                .claim("two", at(10), at(0), 100)
                .await
                .unwrap()
                .is_empty()
        );
        times.push(began.elapsed());
    }
    let name = format!("claims that find nothing, {LANES} owned lanes");
    Figures::new(name, 100, start.elapsed(), times).print();
    let (start, mut times) = (Instant::now(), Vec::new());
    for round in 0..10 {
        let began = Instant::now();
        let kept = store.renew("one", at(11 + round), at(1)).await.unwrap();
        assert_eq!(kept.len() as u64, LANES);
        times.push(began.elapsed());
    }
    Figures::new(
        format!("renewals of {LANES} claims"),
        10,
        start.elapsed(),
        times,
    )
    .print();
}

async fn lists(store: &Arc<SqliteStore>) {
    let service = Some("service-77".parse().unwrap());
    let environment = Some("production".parse().unwrap());
    let rare = Some("staging".parse().unwrap());
    let before = Some("service-5000-5".parse().unwrap());
    let filters = [
        ("all", RolloutFilter::default()),
        (
            "all, in the middle",
            RolloutFilter {
                before,
                ..Default::default()
            },
        ),
        (
            "live ones",
            RolloutFilter {
                ended: Some(false),
                ..Default::default()
            },
        ),
        (
            "ended ones of a service",
            RolloutFilter {
                service: service.clone(),
                ended: Some(true),
                ..Default::default()
            },
        ),
        (
            "of a service",
            RolloutFilter {
                service,
                ..Default::default()
            },
        ),
        (
            "live ones of an environment",
            RolloutFilter {
                environment,
                ended: Some(false),
                ..Default::default()
            },
        ),
        (
            "of an environment without any",
            RolloutFilter {
                environment: rare,
                ..Default::default()
            },
        ),
    ];
    for (name, filter) in filters {
        let (start, mut times) = (Instant::now(), Vec::new());
        for _ in 0..300 {
            let began = Instant::now();
            store.rollouts(&filter).await.unwrap();
            times.push(began.elapsed());
        }
        let name = format!("page of {ROLLOUTS} rollouts: {name}");
        Figures::new(name, 300, start.elapsed(), times).print();
    }
}
