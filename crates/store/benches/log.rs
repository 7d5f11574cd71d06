//! What a long log costs: walking all of it, checking the whole store, and proving one event.
//!
//! `cargo bench -p airboss-store --bench log`, with `-- 100000` for another number of events; the
//! folder is that of temporary files.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench ends at the first failure and prints its table"
)]

use std::time::{Duration, Instant};

use airboss_ledger::{Hash, Tile, Tiles, Walk, inclusion_tiles, prove_inclusion, verify_inclusion};
use airboss_model::{LaneId, RolloutId, Timestamp};
use airboss_store::{Commit, NewEvent, RecordFilter, SqliteOptions, SqliteStore, Store};
use serde_json::json;

const EVENTS: u64 = 1_000_000;
const LANES: u64 = 100;
/// Events of a commit while the log is filled; usual ones have two or three.
const AT_ONCE: u64 = 100;
const PROOFS: u64 = 20_000;

#[tokio::main]
async fn main() {
    let asked = std::env::args().find_map(|it| it.parse().ok());
    let events = asked.unwrap_or(EVENTS) / AT_ONCE * AT_ONCE;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("airboss.db");
    let store = SqliteStore::open(&path, SqliteOptions::default())
        .await
        .unwrap();
    let start = Instant::now();
    fill(&store, events).await;
    let filled = events as f64 / start.elapsed().as_secs_f64();
    let megabytes = std::fs::metadata(&path).unwrap().len() >> 20;
    println!("{events} events in {LANES} lanes, {megabytes} MB, sealed at {filled:.0} a second");
    println!();
    println!(
        "| {:<52} | {:>10} | {:>12} |",
        "what", "took", "peak memory"
    );
    println!("|{:-<54}|{:->12}|{:->14}|", "", "", "");

    let (took, peak, root) = measured(walk(&store)).await;
    print(
        "reading and hashing every event anew, to the root",
        took,
        peak,
    );
    let head = store.log_head().await.unwrap();
    assert_eq!((head.size(), head.root()), (events, root));
    let (took, peak, findings) = measured(store.verify()).await;
    print("the whole check of the store, seals included", took, peak);
    assert_eq!(findings.unwrap(), Vec::<String>::new());

    let mut times = Vec::new();
    for turn in 0..PROOFS {
        let index = turn.wrapping_mul(2_654_435_761) % events;
        let began = Instant::now();
        let (leaf, proof) = prove(&store, index).await;
        times.push(began.elapsed());
        verify_inclusion(&proof, index, leaf, events, root).unwrap();
    }
    times.sort_unstable();
    let part = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!();
    println!(
        "a proof of inclusion: median {:.3} ms, p99 {:.3} ms, worst {:.3} ms ({PROOFS} of random events, one after the other)",
        part(0.5),
        part(0.99),
        times.last().unwrap().as_secs_f64() * 1e3
    );
    store.close().await;
}

fn print(what: &str, took: Duration, peak: u64) {
    let (took, peak) = (took.as_secs_f64(), peak as f64 / 1e6);
    println!("| {what:<52} | {took:>8.2} s | {peak:>9.0} MB |");
}

/// How long something takes and the most memory that the process has meanwhile, in bytes.
async fn measured<T>(work: impl Future<Output = T>) -> (Duration, u64, T) {
    // Linux forgets the peak so far.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let start = Instant::now();
    let done = work.await;
    let took = start.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok());
    (took, peak.unwrap() * 1024, done)
}

async fn fill(store: &SqliteStore, events: u64) {
    let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
    let mut rows = Vec::new();
    for number in 0..LANES {
        let lane: LaneId = format!("service-{number}/production").parse().unwrap();
        let row = store.claim_lane(&lane, "bench", at(9_000), at(0)).await;
        rows.push(row.unwrap().unwrap());
    }
    for turn in 0..events / AT_ONCE {
        let row = &mut rows[(turn % LANES) as usize];
        let event = NewEvent {
            rollout: Some(RolloutId::new(&row.lane.service(), 1)),
            kind: "step_passed".to_owned(),
            message: "step 2 of 4 passed: the evidence suffices".to_owned(),
            body: json!({ "filler": "x".repeat(300) }),
        };
        let commit = Commit {
            lane: row.lane.clone(),
            seq: row.seq,
            epoch: row.epoch,
            at: at(1),
            input: json!({ "filler": "x".repeat(500) }),
            consumes: None,
            events: vec![event; AT_ONCE as usize],
            state: json!({}),
            active: true,
            effects: Vec::new(),
            rollouts: Vec::new(),
        };
        row.seq = store.commit(&commit).await.unwrap().seq;
    }
}

/// What an auditor does: every event in its order, hashed anew.
async fn walk(store: &SqliteStore) -> Hash {
    let mut walk = Walk::default();
    loop {
        let filter = RecordFilter {
            after: walk.frontier().size(),
            lane: None,
            limit: 1_000,
        };
        let records = store.log_records(&filter).await.unwrap();
        if records.is_empty() {
            return walk.frontier().root();
        }
        for record in &records {
            walk.step(record).unwrap();
        }
    }
}

async fn prove(store: &SqliteStore, index: u64) -> (Hash, Vec<Hash>) {
    let size = store.log_head().await.unwrap().size();
    let wanted: Vec<_> = inclusion_tiles(index, size).unwrap().into_iter().collect();
    let hashes = store.log_tiles(&wanted).await.unwrap();
    let tiles: Tiles = wanted.into_iter().zip(hashes).collect();
    let is_its = |tile: &&Tile| tile.level == 0 && tile.index == index / 256;
    let own = tiles.keys().find(is_its).unwrap();
    let leaf = tiles[own][(index % 256) as usize];
    (leaf, prove_inclusion(&tiles, index, size).unwrap())
}
