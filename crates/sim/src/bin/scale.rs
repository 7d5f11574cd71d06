//! `scale`: so many rollouts in progress on one controller with a real SQLite, each judged every
//! second, on the system's clock. Targets are simulated; it prints one row of the table.
//!
//! How late a decision is, is measured from outside: a lane hands each second to its readers once it
//! is recorded and judged, and what lies between two of them beyond one second is how late it was.

use std::io::{Write as _, stdout};
use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Command, Effect, Input, Lane, Phase, Request, Seen, decide, next_deadline};
use airboss_model::manifest::Service;
use airboss_model::target::Observed;
use airboss_model::time::after;
use airboss_model::{Digest, LaneId, RolloutId, Timestamp};
use airboss_rehearsal::{Habits, Host, Traffic, Usual};
use airboss_runtime::{Clock, Hub, Runtime};
use airboss_store::{Commit, SqliteOptions, SqliteStore, Store};
use airboss_targets::process::protocol::{Report, TrafficIncrement};
use anyhow::Context as _;
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Requests a second and lane: a verdict is far away, so that all stay in progress.
const RATE: f64 = 20.0;
/// Lanes whose seconds are timed.
const SAMPLE: usize = 500;
/// Lanes that are written side by side.
const SEEDED_AT_ONCE: usize = 256;
/// Seconds to let claims and caches settle before anything is measured.
const WARM_UP: u64 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let count: usize = words
        .next()
        .context("usage: scale ROLLOUTS [SECONDS]")?
        .parse()?;
    let seconds: u64 = words.next().unwrap_or("60".to_owned()).parse()?;
    let clock = Clock::system();
    let began = clock.now();
    let empty = memory_mb()?;
    let mut lanes = (0..count)
        .map(|number| place(number, began))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let targets = memory_mb()? - empty;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("airboss.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path, SqliteOptions::default()).await?);
    seed(&store, count, began).await?;
    let hub = Arc::new(Hub::new("scale".to_owned(), clock.now()));
    let runtime = Runtime::start(
        Arc::clone(&store),
        Arc::clone(&hub),
        Arc::new(airboss_runtime::evidence::NoKeys),
        clock.clone(),
        "scale".to_owned(),
    )
    .await?;
    let end = Instant::now() + Duration::from_secs(WARM_UP + seconds);
    let mut next = Instant::now();
    let mut number = 0;
    let mut late: Option<tokio::task::JoinHandle<Vec<f64>>> = None;
    let mut used = 0.0;
    while Instant::now() < end {
        number += 1;
        hub.report(report(&mut lanes, number, clock.now()), clock.now())?;
        if number == WARM_UP {
            let ids: Vec<LaneId> = lanes.iter().map(|it| it.id.clone()).collect();
            late = Some(tokio::spawn(lateness(Arc::clone(&runtime), ids, end)));
            used = processor_seconds()?;
        }
        next += Duration::from_secs(1);
        sleep_until(next).await;
    }
    let used = (processor_seconds()? - used) / seconds as f64;
    let mut late = late.context("the warm-up was not over")?.await?;
    late.sort_by(f64::total_cmp);
    let at = |share: f64| {
        late.get(((late.len() as f64 - 1.0) * share) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    let judged = runtime
        .snapshots()
        .iter()
        .filter(|it| it.assessment.is_some())
        .count();
    writeln!(
        stdout(),
        "{}",
        json!({
            "rollouts": count,
            "judged": judged,
            "late_p50_ms": at(0.5),
            "late_p99_ms": at(0.99),
            "seconds_timed": late.len(),
            "memory_mb": memory_mb()?,
            "targets_mb": targets,
            "processors": used,
        })
    )?;
    runtime.stop().await?;
    store.close().await;
    Ok(())
}

/// One lane as the agent sees it.
struct Place {
    id: LaneId,
    observed: Observed,
    traffic: Traffic,
    host: Host,
}

/// A lane's target and its traffic.
fn place(number: usize, now: Timestamp) -> anyhow::Result<Place> {
    let (lane, host) = in_progress(number, now)?;
    let id = lane.id.clone();
    let rollout = lane.active.as_ref().context("it is in progress")?;
    Ok(Place {
        observed: host.observe(&id, now).context("the host knows the lane")?,
        traffic: Traffic::new(
            RATE,
            Usual::assumed(&rollout.request.service, RATE).answers,
            Xoshiro256PlusPlus::seed_from_u64(number as u64),
        ),
        id,
        host,
    })
}

/// Lanes that observe their first step, as many as asked for. Writes share flushes.
async fn seed(store: &Arc<dyn Store>, count: usize, now: Timestamp) -> anyhow::Result<()> {
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(SEEDED_AT_ONCE) {
        let mut tasks = tokio::task::JoinSet::new();
        for number in some {
            tasks.spawn(seed_one(Arc::clone(store), *number, now));
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
    }
    Ok(store.release_claims("seed").await?)
}

async fn seed_one(store: Arc<dyn Store>, number: usize, now: Timestamp) -> anyhow::Result<()> {
    let (lane, _) = in_progress(number, now)?;
    let id = lane.id.clone();
    let row = store
        .claim_lane(&id, "seed", after(now, Duration::from_secs(3_600)), now)
        .await?
        .context("the lane is new")?;
    store
        .commit(&Commit {
            lane: id,
            seq: row.seq,
            epoch: row.epoch,
            at: now,
            input: json!(Input::Clock),
            consumes: None,
            events: Vec::new(),
            state: json!(lane),
            active: true,
            effects: Vec::new(),
            rollouts: Vec::new(),
        })
        .await?;
    Ok(())
}

/// Ships two versions of a service on a host of its own, until the second has its first share.
fn in_progress(number: usize, now: Timestamp) -> anyhow::Result<(Arc<Lane>, Host)> {
    let name = &format!("s{number}");
    let service: Arc<Service> = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1", "instances": 2 } },
            "slos": [
                { "name": "availability", "objective": "99.9%", "bad": "status >= 500" },
                { "name": "latency", "objective": "99%", "under": "250ms" },
            ],
            "rollout": { "canary": { "steps": ["10%", "100%"], "at_most": "6h" } },
        }
    }))?;
    let id: LaneId = format!("{name}/production").parse()?;
    let mut host = Host::new(Habits::default());
    let mut lane = Arc::new(Lane::new(id.clone()));
    // It happened in the minutes before now.
    let mut at = now.checked_sub(Duration::from_secs(120))?;
    let mut shipped = 0;
    while !matches!(lane.active.as_ref().map(|it| &it.phase), Some(Phase::Observing { .. }) if shipped == 2)
    {
        let input = if lane.active.is_none() {
            shipped += 1;
            let rollout = RolloutId::new(&id.service(), shipped);
            Input::Command {
                command: Command::Ship(Request {
                    release: format!("{name}@{shipped}").parse()?,
                    digest: Digest::from_sha256([u8::try_from(shipped)?; 32]),
                    rollout,
                    service: Arc::clone(&service),
                    by: "ann".to_owned(),
                    at,
                    is_return: false,
                    slow: None,
                    evidence: Vec::new(),
                }),
                by: "ann".to_owned(),
            }
        } else {
            let news = host.observe(&id, at).map(|it| Seen::from(&it));
            match news.filter(|seen| lane.seen.as_ref() != Some(seen)) {
                Some(seen) => Input::Observed { seen },
                None => {
                    let next = [next_deadline(&lane), host.next_change()];
                    at = next
                        .into_iter()
                        .flatten()
                        .min()
                        .context("it goes on")?
                        .max(at);
                    host.renew(&id, at);
                    host.advance(at);
                    Input::Clock
                }
            }
        };
        let decision = decide(&lane, &input, at);
        lane = decision.lane;
        for effect in decision.effects {
            if let Effect::Apply { desired } = effect {
                host.take_in(&desired, at);
            }
        }
    }
    Ok((lane, host))
}

/// One second of all lanes.
fn report(places: &mut [Place], number: u64, now: Timestamp) -> Report {
    let mut traffic = Vec::new();
    for place in places.iter_mut() {
        let routes = place.host.routes(&place.id);
        for (arm, instances) in place.traffic.pass(1.0, &routes) {
            for (instance, counts) in instances {
                traffic.push(TrafficIncrement {
                    lane: place.id.clone(),
                    arm: arm.clone(),
                    instance,
                    counts,
                    mirrored: Default::default(),
                });
            }
        }
    }
    Report {
        agent: "agent".to_owned(),
        boot: "1".to_owned(),
        number,
        version: "scale".to_owned(),
        sent_at: now,
        observed: places.iter().map(|place| place.observed.clone()).collect(),
        traffic,
        covers_ms: 1_000,
    }
}

/// How late each second of the sampled lanes was, in milliseconds.
async fn lateness(runtime: Arc<Runtime>, ids: Vec<LaneId>, end: Instant) -> Vec<f64> {
    let stride = ids.len().div_ceil(SAMPLE).max(1);
    let mut watching = Vec::new();
    for id in ids.iter().step_by(stride) {
        let Some(mut seconds) = runtime.seconds(id) else {
            continue;
        };
        watching.push(tokio::spawn(async move {
            let mut late = Vec::new();
            let mut before: Option<Instant> = None;
            loop {
                let second = tokio::select! {
                    biased;
                    () = sleep_until(end) => return late,
                    second = seconds.recv() => second,
                };
                if second.is_err() {
                    return late;
                }
                let now = Instant::now();
                if let Some(before) = before.replace(now) {
                    let gap = now.duration_since(before).as_secs_f64() - 1.0;
                    late.push(gap.max(0.0) * 1_000.0);
                }
            }
        }));
    }
    let mut late = Vec::new();
    for watcher in watching {
        late.extend(watcher.await.unwrap_or_default());
    }
    late
}

/// Memory that this process has in use.
fn memory_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("no VmRSS")?;
    let kb: f64 = line
        .split_whitespace()
        .nth(1)
        .context("no number")?
        .parse()?;
    Ok(kb / 1_024.0)
}

/// Seconds of processors that this process has used.
fn processor_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind = stat.rsplit(')').next().context("no stat")?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks: f64 = fields.get(11).context("no utime")?.parse::<f64>()?
        + fields.get(12).context("no stime")?.parse::<f64>()?;
    // Linux counts in hundredths on every machine that this runs on.
    Ok(ticks / 100.0)
}
