use super::*;
use serde_json::json;

use crate::run::Ending;

fn setting(fault: &str, rate: f64, runs: u32) -> Setting {
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": "shop" },
        "spec": {
            "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1", "instances": 4 } },
            "slos": [{ "name": "availability", "objective": "99%", "bad": "status >= 500" },
                { "name": "latency", "objective": "99%", "under": "250ms" }],
            "rollout": { "canary": { "steps": ["10%", "50%", "100%"], "at_most": "20m" } },
        }
    }))
    .unwrap();
    Setting {
        usual: Usual::assumed(&service, rate),
        service,
        fault: (!fault.is_empty()).then(|| fault.parse().unwrap()),
        as_recorded: false,
        habits: Habits::default(),
        runs,
        seed: 7,
    }
}

fn play(setting: &Setting) -> Rehearsal {
    rehearse(setting, 2, &|_, _| {}).unwrap()
}

#[test]
fn a_bad_version_is_taken_back_and_a_sound_one_ships() {
    let told = play(&setting("errors 20%", 200.0, 6));
    let (faulty, sound) = (told.faulty.unwrap(), told.sound.unwrap());
    assert_eq!(faulty.taken_back, 6, "{faulty:?}");
    assert!(faulty.detected.unwrap().high.0.as_secs() < 60, "{faulty:?}");
    assert!(faulty.failed_requests.unwrap().median > 0);
    assert_eq!((sound.taken_back, sound.shipped), (0, 6), "{sound:?}");
}

#[test]
fn the_same_seed_gives_the_same_rehearsal_on_any_number_of_threads() {
    let setting = setting("errors 5% after 10s", 100.0, 4);
    let one = rehearse(&setting, 1, &|_, _| {}).unwrap();
    assert_eq!(rehearse(&setting, 3, &|_, _| {}).unwrap(), one);
    let other = Setting { seed: 8, ..setting };
    assert_ne!(rehearse(&other, 2, &|_, _| {}).unwrap(), one);
}

#[test]
fn versions_that_crash_or_never_start_end_as_they_would_live() {
    let crash = play(&setting("crash after 20s", 50.0, 2)).faulty.unwrap();
    assert_eq!(crash.taken_back, 2, "{crash:?}");
    let never = play(&setting("never ready", 50.0, 2)).faulty.unwrap();
    assert_eq!(never.failed, 2, "{never:?}");
    assert_eq!(never.exposed.unwrap().high, 0);
}

#[test]
fn slow_answers_are_found_by_the_latency_promise() {
    let slow = play(&setting("latency x6", 200.0, 3)).faulty.unwrap();
    assert_eq!(slow.taken_back, 3, "{slow:?}");
    let example = slow.example.unwrap();
    assert!(
        example
            .moments
            .iter()
            .any(|moment| moment.message.contains("latency")),
        "{example:?}"
    );
}

#[test]
fn where_traffic_gives_no_proof_the_rehearsal_says_that_it_waits() {
    let quiet = play(&setting("", 0.05, 2));
    assert_eq!(quiet.faulty, None);
    let sound = quiet.sound.unwrap();
    assert_eq!(sound.held, 2, "{sound:?}");
    assert_eq!(sound.example.unwrap().ending, Ending::Held);
}

#[test]
fn a_setting_without_runs_is_refused() {
    assert_eq!(
        rehearse(&setting("", 1.0, 0), 1, &|_, _| {}),
        Err(SettingError::Runs(0))
    );
}

/// The shares that a sound version was at, with the second it came there, until it serves all users.
fn shares(setting: &Setting, slow: Option<&str>) -> Vec<(i64, u16)> {
    let stage = stage(setting).unwrap();
    let began = stage.now;
    let mut shipped = request(&setting.service, &stage.lane.id, 2, began).unwrap();
    shipped.slow = slow.map(str::to_owned);
    let arm = shipped.rollout.clone();
    let rng = seeded(setting.seed, 3, 0);
    let traffic = Traffic::new(setting.usual.rate, setting.usual.answers.clone(), rng);
    let mut scene = Scene::new(stage, traffic, &setting.usual, 0, arm.clone());
    scene.ship(shipped);
    let mut shares: Vec<(i64, u16)> = Vec::new();
    while scene.stage.lane.active.is_some() {
        scene.go_on().unwrap();
        let routes = scene.stage.host.routes(&scene.stage.lane.id);
        let share = routes.iter().find(|route| route.arm == arm);
        let share = share.map_or(0, |route| route.share.basis_points());
        if shares.last().is_none_or(|(_, last)| *last != share) {
            shares.push(((scene.stage.now - began).get_seconds(), share));
        }
    }
    shares
}

#[test]
fn a_release_grows_slower_while_little_of_an_error_budget_is_left() {
    let mut setting = setting("", 300.0, 1);
    for seed in 7..10 {
        setting.seed = seed;
        let usual = shares(&setting, None);
        let slow = shares(
            &setting,
            Some("availability has 12 % of its error budget left"),
        );
        let weights =
            |all: &[(i64, u16)]| all.iter().map(|(_, share)| *share).collect::<Vec<u16>>();
        assert_eq!(weights(&usual), [0, 1_000, 5_000, 10_000]);
        assert_eq!(weights(&slow), [0, 500, 1_000, 2_236, 5_000, 10_000]);
        // Each of the usual shares is reached later, and the last one much later.
        for (at, share) in &usual[2..] {
            let (later, _) = slow.iter().find(|(_, slow)| slow >= share).unwrap();
            assert!(later > at, "{share}: {later} s against {at} s, seed {seed}");
        }
    }
}
