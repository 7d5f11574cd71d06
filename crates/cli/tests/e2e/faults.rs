//! Faults at random moments of rollouts that people steer meanwhile, on both databases.
//!
//! `AIRBOSS_FAULTS` is how many (`make faults`: 200 on each database), `AIRBOSS_FAULTS_SEED` draws others.
//! What is drawn follows from the seed; how processes meet it does not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::Value;
use xtask::load::Load;
use xtask::versions::{self, Version};

use crate::harness::{House, Manifest, Replicas, Said, processes};

/// Faults that the usual run of the tests plays on each database.
const USUAL: u64 = 10;
/// The longest that somebody stands still: longer than a claim.
const STILL_MAX: u64 = 8_000;

/// What people ship.
const VERSIONS: [Version; 5] = [
    versions::FIRST,
    versions::GOOD,
    versions::ERRORS,
    Version {
        number: "1.4.0",
        faults: "",
    },
    Version {
        number: "1.5.0",
        faults: "",
    },
];

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillController,
    KillAgent,
    KillInstance,
    KillDatabase,
    FreezeController,
    FreezeAgent,
    FreezeDatabase,
}

const LAPTOP: [Fault; 5] = [
    Fault::KillController,
    Fault::KillAgent,
    Fault::KillInstance,
    Fault::FreezeController,
    Fault::FreezeAgent,
];
const FLEET: [Fault; 7] = [
    Fault::KillController,
    Fault::KillAgent,
    Fault::KillInstance,
    Fault::KillDatabase,
    Fault::FreezeController,
    Fault::FreezeAgent,
    Fault::FreezeDatabase,
];

/// Where it goes wrong.
#[allow(clippy::large_enum_variant, reason = "there is one of it in a test")]
enum Site {
    /// `airboss up`: SQLite, and a supervisor that starts again what died.
    Laptop(House),
    /// Three controllers on PostgreSQL.
    Fleet(Replicas),
}

impl Site {
    fn house(&self) -> &House {
        match self {
            Self::Laptop(house) => house,
            Self::Fleet(replicas) => &replicas.house,
        }
    }

    async fn controller(&self, rng: &mut Xoshiro256PlusPlus) -> (usize, u32) {
        match self {
            Self::Laptop(house) => (0, house.part("serve").await),
            Self::Fleet(replicas) => {
                // Mostly the one that matters.
                let owner = replicas.owner().filter(|_| rng.random_bool(0.7));
                let at = owner.unwrap_or_else(|| rng.random_range(0..replicas.all.len()));
                (at, replicas.all[at].pid)
            }
        }
    }

    /// Does it, and sees to it that what a supervisor would start again is started again.
    async fn strike(&mut self, fault: Fault, rng: &mut Xoshiro256PlusPlus) {
        let still = Duration::from_millis(rng.random_range(100..STILL_MAX));
        match fault {
            Fault::KillController => {
                let (at, pid) = self.controller(rng).await;
                match self {
                    Self::Laptop(_) => drop(processes::signal(pid, Signal::KILL)),
                    Self::Fleet(replicas) => {
                        replicas.house.kill(pid);
                        tokio::time::sleep(still / 4).await;
                        replicas.start(at).await;
                    }
                }
            }
            Fault::KillAgent => match self {
                Self::Laptop(house) => {
                    let pid = house.part("agent").await;
                    processes::signal(pid, Signal::KILL);
                }
                Self::Fleet(replicas) => {
                    let pid = replicas.house.part("agent").await;
                    replicas.house.kill(pid);
                    replicas.start_agent();
                }
            },
            Fault::KillInstance => {
                let lane = self.house().lane().await;
                let pids = pids(&lane);
                if let Some(pid) = pids.choose(rng) {
                    processes::signal(*pid, Signal::KILL);
                }
            }
            Fault::KillDatabase => {
                if let Self::Fleet(replicas) = self {
                    replicas.database.make("crash");
                    tokio::time::sleep(still / 4).await;
                    replicas.database.make("start");
                }
            }
            Fault::FreezeController => {
                let (_, pid) = self.controller(rng).await;
                stand_still(pid, still).await;
            }
            Fault::FreezeAgent => {
                let pid = self.house().part("agent").await;
                stand_still(pid, still).await;
            }
            Fault::FreezeDatabase => {
                if let Self::Fleet(replicas) = self {
                    replicas.database.make("freeze");
                    tokio::time::sleep(still).await;
                    replicas.database.make("thaw");
                }
            }
        }
    }

    /// The database and the log are what they say they are.
    async fn assert_sound(&self) {
        if let Self::Fleet(replicas) = self {
            replicas.assert_sound().await;
        }
        let url = match self {
            Self::Laptop(house) => house.url(),
            Self::Fleet(replicas) => replicas.all[0].url.clone(),
        };
        let verify = ["audit", "verify", "--server", &url];
        self.house().run(&verify).await.ended(0);
    }
}

async fn stand_still(pid: u32, time: Duration) {
    processes::signal(pid, Signal::STOP);
    tokio::time::sleep(time).await;
    processes::signal(pid, Signal::CONT);
}

fn pids(lane: &Value) -> Vec<u32> {
    let arms = lane["arms"].as_array().cloned().unwrap_or_default();
    arms.iter()
        .flat_map(|arm| arm["instances"].as_array().cloned().unwrap_or_default())
        .filter_map(|instance| instance["pid"].as_u64()?.try_into().ok())
        .collect()
}

/// What a person asks for, and of which rollout.
fn wish(rng: &mut Xoshiro256PlusPlus, newest: &str) -> Vec<String> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let version = VERSIONS.choose(rng).map_or("1.0.0", |it| it.number);
    match rng.random_range(0..12) {
        0..=6 => words(&["ship", "--version", version, "--output", "json"]),
        7 => words(&["pause", newest, "--output", "json"]),
        8 => words(&["resume", newest, "--output", "json"]),
        9 => words(&["promote", newest, "--full", "--output", "json"]),
        10 => words(&["abort", newest, "--output", "json"]),
        _ => words(&["rollback", "--output", "json"]),
    }
}

/// What was acknowledged.
#[derive(Default)]
struct Promised {
    /// Rollouts, by the verb that asked for them.
    rollouts: BTreeMap<String, String>,
    /// Rollouts whose end was promised.
    aborted: Vec<String>,
    commands: usize,
}

impl Promised {
    fn note(&mut self, wish: &[String], said: &Said) {
        if said.code != Some(0) {
            return;
        }
        self.commands += 1;
        let answer: Value = serde_json::from_str(&said.out).unwrap();
        let rollout = answer["rollout"].as_str().unwrap_or_default().to_owned();
        match wish[0].as_str() {
            "ship" | "rollback" => {
                let twice = self.rollouts.insert(rollout.clone(), wish[0].clone());
                assert!(twice.is_none(), "{rollout} was promised twice");
            }
            "abort" => self.aborted.push(rollout),
            _ => {}
        }
    }
}

fn how_many() -> u64 {
    let set = std::env::var("AIRBOSS_FAULTS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(USUAL)
}

fn manifest() -> Manifest {
    Manifest {
        instances: 2,
        when_busy: "supersede",
        steps: "[30%, 100%]",
        lease: "20s",
        ..Manifest::default()
    }
}

/// Plays faults, then lets everything come to rest and holds it against what was promised.
async fn play(mut site: Site, faults: &[Fault], salt: u64) {
    let set = std::env::var("AIRBOSS_FAULTS_SEED").ok();
    let seed: u64 = set.and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ salt);
    for version in VERSIONS {
        let folder = site.house().pack(version);
        let words = ["artifact", "add", folder.to_str().unwrap(), "--version"];
        let words: Vec<&str> = words.into_iter().chain([version.number]).collect();
        site.house().run(&words).await.ended(0);
    }
    let load = Load::start(site.house().listen, "/checkout", 40);
    let mut promised = Promised::default();
    let mut struck: BTreeMap<Fault, usize> = BTreeMap::new();
    let mut newest = "checkout-1".to_owned();
    for point in 0..how_many() {
        let Some(&fault) = faults.choose(&mut rng) else {
            return;
        };
        let wish = wish(&mut rng, &newest);
        if let Site::Fleet(replicas) = &mut site {
            let at = rng.random_range(0..replicas.all.len());
            replicas.talk_to(at);
        }
        let before = Duration::from_millis(rng.random_range(0..1_500));
        println!(
            "{point}: {} then, after {before:?}, {fault:?}",
            wish.join(" ")
        );
        let words: Vec<&str> = wish.iter().map(String::as_str).collect();
        let asked = tokio::task::spawn_blocking({
            let mut command = site.house().command(&words);
            move || command.output()
        });
        tokio::time::sleep(before).await;
        site.strike(fault, &mut rng).await;
        *struck.entry(fault).or_default() += 1;
        let said = Said::from(asked.await.unwrap().unwrap());
        promised.note(&wish, &said);
        if let Some(last) = promised.rollouts.keys().max_by_key(|id| number(id)) {
            newest.clone_from(last);
        }
        site.house()
            .until("somebody answers and hears the agent", async || {
                let status = site.house().run(&["status", "--output", "json"]).await;
                let lane: Value = serde_json::from_str(&status.out).unwrap_or_default();
                status.code == Some(0) && lane["lanes"][0]["target_lost"].is_null()
            })
            .await;
    }
    rest(&site, &promised).await;
    let record = load.stop().await;
    let lost = record.not_the_services().count();
    println!(
        "{} faults {struck:?}; {} commands acknowledged, {} rollouts; {} requests, {lost} without an answer of the service",
        how_many(),
        promised.commands,
        promised.rollouts.len(),
        record.shots.len(),
    );
}

fn number(rollout: &str) -> u64 {
    let digits = rollout.rsplit('-').next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

async fn rest(site: &Site, promised: &Promised) {
    let house = site.house();
    // Whatever is still under way is aborted, as a person would who goes home.
    house
        .until("nothing is under way", async || {
            let lane = house.lane().await;
            let active = lane["rollout"]["id"].as_str().map(str::to_owned);
            let waits = lane["queue"].as_array().is_some_and(|it| !it.is_empty());
            if let Some(id) = &active {
                house.run(&["abort", id]).await;
            }
            active.is_none() && !waits && lane["traffic"]["confirmed"] == true
        })
        .await;
    let lane = house.lane().await;
    let version = lane["stable"]["version"].as_str().unwrap_or_default();
    assert!(!version.is_empty(), "{lane:#}");
    house.until_only(version).await;

    // Nothing acknowledged is lost, and everything has one end.
    for (id, verb) in &promised.rollouts {
        let row = house.rollout(id).await;
        assert!(!row["outcome"].is_null(), "{verb} {id}: {row:#}");
        let events = house.events(id).await;
        let ends = events
            .iter()
            .filter(|it| it["kind"] == "ended" || it["kind"] == "withdrawn");
        assert_eq!(ends.count(), 1, "{id}: {events:#?}");
    }
    for id in &promised.aborted {
        let row = house.rollout(id).await;
        assert_ne!(row["outcome"], "shipped", "{id} was aborted: {row:#}");
    }

    // Nothing runs twice.
    house
        .until("only what serves runs", async || {
            let running = processes::of_folder(house.path());
            let mine = running
                .iter()
                .filter(|(_, it)| it.contains("/checkout --port"));
            mine.count() == 2
        })
        .await;
    site.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_or_freezes_at_random_moments_on_a_laptop_nothing_is_lost_or_done_twice() {
    let house = House::serving(&manifest()).await;
    play(Site::Laptop(house), &LAPTOP, 0x5ea).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_or_freezes_at_random_moments_in_a_fleet_nothing_is_lost_or_done_twice() {
    let replicas = Replicas::serving(&manifest()).await;
    play(Site::Fleet(replicas), &FLEET, 0xf1ee7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_owns_a_service_may_die_again_and_again_and_another_takes_it_over() {
    let set = std::env::var("AIRBOSS_TAKEOVERS").ok();
    let times = set.and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut replicas = Replicas::serving(&manifest()).await;
    replicas.house.ship(versions::GOOD, &[]).await.ended(0);
    let mut took = Vec::new();
    for _ in 0..times {
        replicas
            .house
            .until("somebody owns it", async || replicas.owner().is_some())
            .await;
        let owner = replicas.owner().unwrap();
        let pid = replicas.all[owner].pid;
        let began = Instant::now();
        replicas.house.kill(pid);
        let next = replicas.until_taken_from(owner).await;
        took.push(began.elapsed());
        // It works: a command is decided by it.
        replicas.talk_to(next);
        let verb = if took.len() % 2 == 0 {
            "resume"
        } else {
            "pause"
        };
        replicas.house.run(&[verb, "checkout-2"]).await.ended(0);
        replicas.start(owner).await;
    }
    took.sort_unstable();
    println!(
        "{times} takeovers: median {:?}, worst {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    replicas.house.run(&["abort", "checkout-2"]).await.ended(0);
    replicas.house.until_ended("checkout-2").await;
    replicas.assert_sound().await;
}
