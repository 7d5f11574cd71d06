//! The agent dies, stops, and comes back.

use std::fs;
use std::os::unix::fs::symlink;

use airboss_targets::process::{AgentConfig, AgentError, StopMode, run};
use tokio::sync::watch;

use super::world::{World, clock, desired, id, in_force, lives, pids, split, stable};

#[tokio::test]
async fn instances_of_a_killed_agent_are_adopted_and_serve_without_a_controller() {
    let world = World::new().await;
    let (agent, _) = world.serving(2).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let before = pids(&lane, "app-1");
    agent.kill().await;
    assert!(before.iter().copied().all(lives));
    world.controller.is_away(true);
    let agent = world.agent();
    // Connections wait in the socket that the supervisor kept open.
    let (status, body) = world.get("/").await;
    assert_eq!(status, 200);
    let pid = body.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(before.contains(&pid));
    world.controller.is_away(false);
    let lane = world
        .controller
        .sees("the adopted ones are reported", |lane| {
            lane.ready(&id("app-1")) == 2
        })
        .await;
    assert_eq!(pids(&lane, "app-1"), before);
    assert_eq!(in_force(&lane), 1);
    agent.stop(StopMode::StopInstances).await;
    assert!(!before.into_iter().any(lives));
}

#[tokio::test]
async fn an_adopted_instance_that_dies_is_started_again() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let before = pids(&lane, "app-1");
    agent.kill().await;
    let agent = world.agent();
    let _ = world.get("/crash").await;
    world
        .controller
        .sees("another one is ready", |lane| {
            lane.ready(&id("app-1")) == 1 && pids(lane, "app-1") != before
        })
        .await;
    assert_eq!(world.get("/").await.0, 200);
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_agent_that_leaves_lets_its_instances_run() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let before = pids(&lane, "app-1");
    agent.stop(StopMode::LeaveRunning).await;
    assert!(before.iter().copied().all(lives));
    let agent = world.agent();
    assert!(world.get("/").await.1.ends_with(&format!(" {}", before[0])));
    agent.stop(StopMode::StopInstances).await;
    assert!(!before.into_iter().any(lives));
    // What was asked for still holds: the next agent starts it again.
    let agent = world.agent();
    world
        .controller
        .sees("it serves again", |lane| lane.ready(&id("app-1")) == 1)
        .await;
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_process_that_is_in_no_journal_is_ended() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    let lane = world.controller.sees("serves", |_| true).await;
    let stray = pids(&lane, "app-1")[0];
    agent.kill().await;
    // As if the agent had died between the start and the note of it.
    let state = fs::read_to_string(world.state()).unwrap();
    let forgotten = state.replace(&format!("\"pid\": {stray},"), "\"pid\": null,");
    assert_ne!(state, forgotten);
    fs::write(world.state(), forgotten).unwrap();
    let agent = world.agent();
    world
        .controller
        .sees("another one serves", |lane| {
            lane.ready(&id("app-1")) == 1 && pids(lane, "app-1") != [stray]
        })
        .await;
    world
        .controller
        .until("the stray is gone", |_| !lives(stray))
        .await;
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_second_agent_on_a_folder_is_refused() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    let (_stop, stopped) = watch::channel(None);
    let error = run(world.config(), stopped).await.unwrap_err();
    assert!(matches!(error, AgentError::Busy { .. }), "{error}");
    assert_eq!(world.get("/").await.0, 200);
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_damaged_journal_is_refused_with_a_way_out() {
    let world = World::new().await;
    fs::create_dir_all(world.state().parent().unwrap()).unwrap();
    for content in ["", "{", "{\"format\": 99}"] {
        fs::write(world.state(), content).unwrap();
        let (_stop, stopped) = watch::channel(None);
        let error = run(world.config(), stopped).await.unwrap_err().to_string();
        assert!(error.contains("state.json"), "{error}");
        assert!(error.contains("move it away"), "{error}");
    }
}

/// Not a test where `AGENT` is not set: then it is an agent in a process of its own.
#[test]
fn agent_process() {
    let (Ok(folder), Ok(controller)) = (std::env::var("AGENT"), std::env::var("CONTROLLER")) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_stop, stopped) = watch::channel(None);
    let config = AgentConfig::new(folder, vec![controller], "token", clock());
    runtime.block_on(run(config, stopped)).unwrap();
}

#[tokio::test]
async fn kill_9_of_the_agent_touches_no_instance() {
    let world = World::new().await;
    // The agent's process has its own socket.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut arm = world.arm("app-1", "ok", 2);
    arm.process.listen = port.local_addr().unwrap().to_string();
    drop(port);
    world.controller.ask(desired(1, &[&arm], stable("app-1")));
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["recovery::agent_process", "--exact", "--nocapture"])
        .env("AGENT", world.folder.path())
        .env("CONTROLLER", &world.controller.address)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lane = world
        .controller
        .sees("it serves", |lane| {
            lane.ready(&id("app-1")) == 2 && in_force(lane) == 1
        })
        .await;
    let before = pids(&lane, "app-1");
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(before.iter().copied().all(lives));
    world.controller.is_away(true);
    world.controller.is_away(false);
    let agent = world.agent();
    let lane = world
        .controller
        .sees("they are adopted", |lane| lane.ready(&id("app-1")) == 2)
        .await;
    assert_eq!(pids(&lane, "app-1"), before);
    agent.stop(StopMode::StopInstances).await;
    world
        .controller
        .until("they ended", |_| !before.iter().copied().any(lives))
        .await;
}

#[tokio::test]
async fn a_controller_that_started_anew_is_followed() {
    let world = World::new().await;
    let (agent, arm) = world.serving(1).await;
    for generation in 2..6 {
        world
            .controller
            .ask(desired(generation, &[&arm], stable("app-1")));
    }
    world
        .controller
        .sees("version 5", |lane| in_force(lane) == 5)
        .await;
    world
        .controller
        .ask_as_another(desired(6, &[&arm], stable("app-1")));
    world
        .controller
        .sees("version 1 of another", |lane| in_force(lane) == 6)
        .await;
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_stops_serving() {
    let world = World::new().await;
    let (agent, good) = world.serving(1).await;
    let new = world.arm("app-2", "ok", 1);
    let agent_folder = world.folder.path().join("agent");
    // Writes there fail as on a full disk.
    let blob = format!("blobs/{}.tmp", new.digest.hex());
    symlink("/dev/full", agent_folder.join(blob)).unwrap();
    let journal = agent_folder.join("state.tmp");
    symlink("/dev/full", &journal).unwrap();
    world
        .controller
        .ask(desired(2, &[&good, &new], split("app-1", "app-2", 10)));
    for part in [
        "cannot write the agent's state",
        "cannot write",
        "disk is full",
    ] {
        world
            .controller
            .until("the problem is told", |told| told.problem(part))
            .await;
    }
    assert_eq!(world.get("/").await.0, 200);
    std::fs::remove_file(journal).unwrap();
    world
        .controller
        .sees("there is room again", |lane| {
            lane.problems.is_empty() && in_force(lane) == 2
        })
        .await;
    agent.stop(StopMode::StopInstances).await;
}
