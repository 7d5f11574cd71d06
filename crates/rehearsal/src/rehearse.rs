//! Many runs of one rollout.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use airboss_engine::Lane;
use airboss_judge::calibration::ENOUGH_SECONDS;
use airboss_model::manifest::Service;
use airboss_model::{LaneId, Timestamp};
use airboss_runtime::history::History;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

use crate::fault::Fault;
use crate::host::{Habits, Host};
use crate::run::{Play, Run, Scene, Stage, request, run};
use crate::summary::Summary;
use crate::traffic::Traffic;
use crate::usual::Usual;

/// Most runs of one rehearsal.
pub const RUNS_MAX: u32 = 100_000;
/// Seconds within which a first version serves all users, or never will.
const FIRST_WITHIN: u32 = 3_600;

/// What is rehearsed.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The service, by its manifest.
    pub service: Service,
    /// Its users.
    pub usual: Usual,
    /// What goes wrong with the new version; None for a rehearsal of sound releases alone.
    pub fault: Option<Fault>,
    /// The new version answers as the recording's did.
    pub as_recorded: bool,
    /// How long things take on the host.
    pub habits: Habits,
    /// Runs with the fault, and as many without it.
    pub runs: u32,
    /// The same seed gives the same rehearsal.
    pub seed: u64,
}

/// Why a setting cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Too few or too many runs.
    #[error("{0} runs: at least 1 and at most {RUNS_MAX} are played")]
    Runs(u32),
    /// No first version came to serve users.
    #[error(
        "the first version never came to serve all users on the simulated host: {0}. That is a fault of the rehearsal; please report it with the manifest"
    )]
    NoFirst(String),
    /// A part of the real thing refused.
    #[error(
        "the rehearsal broke off: {0}. That is a fault of Airboss; please report it with the manifest"
    )]
    Broken(String),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rehearsal {
    /// The seed that gives it again.
    pub seed: u64,
    /// Requests a second.
    pub rate: f64,
    /// Runs with the fault; None where none was chosen.
    pub faulty: Option<Summary>,
    /// Runs of a sound release; None where the release was a recorded one.
    pub sound: Option<Summary>,
}

/// How far it is, for people who wait.
pub type Progress<'a> = &'a (dyn Fn(u32, u32) + Sync);

/// Plays a setting on `threads` threads. The result does not depend on how many they are.
///
/// # Errors
/// A setting that cannot be played.
pub fn rehearse(
    setting: &Setting,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Rehearsal, SettingError> {
    if setting.runs == 0 || setting.runs > RUNS_MAX {
        return Err(SettingError::Runs(setting.runs));
    }
    let stage = stage(setting)?;
    let has_fault = setting.fault.is_some() || setting.as_recorded;
    // A release that is recorded has no sound one beside it to tell from.
    let has_sound = !setting.as_recorded;
    let total = setting.runs * (u32::from(has_fault) + u32::from(has_sound));
    let done = AtomicU32::new(0);
    let part =
        |fault: Option<Fault>, as_recorded: bool, salt: u64| -> Result<Summary, SettingError> {
            let play = Play {
                service: &setting.service,
                usual: &setting.usual,
                fault,
                as_recorded,
            };
            let one = |number: u32| -> Result<Run, SettingError> {
                let mut rng = seeded(setting.seed, salt, number);
                let place = rng.random_range(0..setting.usual.pace.len().max(1));
                let traffic = users(setting, rng);
                let run = run(&stage, &play, traffic, place).map_err(SettingError::Broken);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
                run
            };
            Ok(Summary::of(all(setting.runs, threads, &one)?))
        };
    Ok(Rehearsal {
        seed: setting.seed,
        rate: setting.usual.rate,
        faulty: has_fault
            .then(|| part(setting.fault, setting.as_recorded, 1))
            .transpose()?,
        sound: has_sound.then(|| part(None, false, 2)).transpose()?,
    })
}

/// Runs 0 to `count`, in their order, on several threads.
fn all(
    count: u32,
    threads: usize,
    one: &(dyn Fn(u32) -> Result<Run, SettingError> + Sync),
) -> Result<Vec<Run>, SettingError> {
    let next = AtomicU32::new(0);
    let runs = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let run = one(number);
                    let failed = run.is_err();
                    runs.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((number, run));
                    if failed {
                        return;
                    }
                }
            });
        }
    });
    let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    runs.sort_by_key(|(number, _)| *number);
    runs.into_iter().map(|(_, run)| run).collect()
}

fn seeded(seed: u64, salt: u64, number: u32) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed ^ (salt << 56) ^ (u64::from(number) << 24))
}

fn users(setting: &Setting, rng: Xoshiro256PlusPlus) -> Traffic {
    let usual = &setting.usual;
    let mut traffic = Traffic::new(usual.rate, usual.answers.clone(), rng);
    traffic.metrics = setting.service.measure().metrics;
    traffic
}

/// A version that serves all users, and a quarter of an hour of its traffic learnt.
fn stage(setting: &Setting) -> Result<Stage, SettingError> {
    let no_first = |why: &str| SettingError::NoFirst(why.to_owned());
    let id: LaneId = format!("{}/rehearsal", setting.service.metadata.name)
        .parse()
        .map_err(|error| no_first(&format!("{error}")))?;
    // Any whole minute: nothing depends on the date.
    let start = Timestamp::from_second(1_790_000_040).unwrap_or(Timestamp::UNIX_EPOCH);
    let first = request(&setting.service, &id, 1, start).map_err(|why| no_first(&why))?;
    let traffic = users(setting, seeded(setting.seed, 0, 0));
    let empty = Stage {
        lane: Lane::new(id.clone()).into(),
        host: Host::new(setting.habits),
        now: start,
        calibration: None,
    };
    let mut scene = Scene::new(empty, traffic, &setting.usual, 0, first.rollout.clone());
    scene.ship(first);
    let from = start.as_second();
    while scene.stage.lane.active.is_some() {
        scene.go_on().map_err(SettingError::Broken)?;
        if scene.stage.now.as_second() - from > i64::from(FIRST_WITHIN) {
            let last = scene.events.last().map(|(_, event)| event.message());
            return Err(no_first(&last.unwrap_or_default()));
        }
    }
    if scene.stage.lane.stable.is_none() {
        let last = scene.events.last().map(|(_, event)| event.message());
        return Err(no_first(&last.unwrap_or_default()));
    }
    let mut history = History::new(&id);
    let mut learnt = 0;
    scene.take();
    while learnt < ENOUGH_SECONDS {
        let second = scene.stage.now.as_second();
        scene.go_on().map_err(SettingError::Broken)?;
        if scene.stage.now.as_second() > second {
            learnt += 1;
            let traffic = scene.take();
            history
                .observe(&scene.stage.lane, &traffic, scene.stage.now)
                .map_err(|error| SettingError::Broken(error.to_string()))?;
        }
    }
    let mut stage = scene.stage;
    stage.calibration = history.calibration(&setting.service);
    Ok(stage)
}

#[cfg(test)]
mod tests;
