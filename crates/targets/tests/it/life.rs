//! From the first start to crashes and restarts.

use std::fs;

use airboss_model::Span;
use airboss_model::target::InstanceState;
use airboss_targets::process::StopMode;
use airboss_targets::process::protocol::LogRequest;

use super::world::{World, desired, failed, id, in_force, nobody, split, stable};

#[tokio::test]
async fn a_ready_instance_gets_the_traffic() {
    let world = World::new().await;
    let (agent, _) = world.serving(2).await;
    let (status, body) = world.get("/").await;
    assert_eq!(status, 200);
    assert!(body.starts_with("1.0.1 "), "{body}");
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_crash_at_start_fails_the_arm_with_its_last_log_lines() {
    let world = World::new().await;
    let (agent, good) = world.serving(1).await;
    let bad = world.arm("app-2", "crash", 1);
    world
        .controller
        .ask(desired(2, &[&good, &bad], split("app-1", "app-2", 10)));
    let lane = world
        .controller
        .sees("the arm fails", |lane| failed(lane, "app-2").is_some())
        .await;
    let why = failed(&lane, "app-2").unwrap();
    assert!(why.contains("app-2.0 was started 3 times"), "{why}");
    assert!(why.contains("ended with status 101"), "{why}");
    assert!(why.contains("cannot reach the database"), "{why}");
    // The stable arm is untouched, and nobody was sent to the other one.
    assert_eq!((lane.generation, in_force(&lane)), (2, 1));
    assert!(world.get("/").await.1.starts_with("1.0.1 "));
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_app_that_is_never_ready_fails_the_arm() {
    let world = World::new().await;
    let mut arm = world.arm("app-1", "deaf", 1);
    arm.process.health.ready_within = Span::secs(4);
    world.controller.ask(desired(1, &[&arm], stable("app-1")));
    let agent = world.agent();
    let lane = world
        .controller
        .sees("the arm fails", |lane| failed(lane, "app-1").is_some())
        .await;
    let why = failed(&lane, "app-1").unwrap();
    assert!(why.contains("was not ready within 4s"), "{why}");
    // It says 503, or, on a busy machine, nothing in time.
    assert!(why.contains("last probe: GET http://127.0.0.1:"), "{why}");
    assert_eq!(lane.arm(&id("app-1")).unwrap().instances[0].pid, None);
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_command_that_cannot_start_is_named_with_its_reason() {
    let world = World::new().await;
    let agent = world.agent();
    for (number, command, reason) in [
        (1, "{artifact}/no-such-file", "there is no such file"),
        (2, "{artifact}/version", "not executable; `chmod +x`"),
        (3, "no-such-program", "no such program in the agent's PATH"),
        (4, "{artifact}/binary", "wrong format"),
        (5, "{artifact}/script", "the interpreter"),
    ] {
        let name = format!("app-{number}");
        let mut arm = world.arm(&name, "ok", 1);
        if number >= 4 {
            arm.digest = world.ship(|folder| {
                use std::os::unix::fs::PermissionsExt;
                for (file, text) in [("binary", "\u{7f}garbage"), ("script", "#!/no/shell\n")] {
                    let path = folder.join(file);
                    fs::write(&path, text).unwrap();
                    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
                }
            });
        }
        arm.process.command = vec![command.to_owned()];
        world.controller.ask(desired(number, &[&arm], nobody()));
        let lane = world
            .controller
            .sees("the arm fails", |lane| failed(lane, &name).is_some())
            .await;
        let why = failed(&lane, &name).unwrap();
        assert!(why.contains(reason), "{command}: {why}");
        assert!(why.contains(command.rsplit('/').next().unwrap()), "{why}");
    }
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_instance_that_crashes_is_started_again() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    for restarts in 1..=4 {
        let (status, _) = world.get("/crash").await;
        assert_eq!(status, 502);
        let lane = world
            .controller
            .sees("it is ready again", |lane| {
                let arm = lane.arm(&id("app-1")).unwrap();
                arm.ready() == 1 && arm.instances[0].restarts == restarts
            })
            .await;
        let instance = &lane.arm(&id("app-1")).unwrap().instances[0];
        let error = instance.last_error.as_deref().unwrap();
        assert!(error.contains("killed by signal 6"), "{error}");
        assert_eq!(failed(&lane, "app-1"), None);
        assert_eq!(world.get("/").await.0, 200);
    }
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_instance_and_its_telemetry_know_the_release() {
    let world = World::new().await;
    let mut arm = world.arm("app-1", "ok", 1);
    let env = &mut arm.process.env;
    env.insert(
        "OTEL_RESOURCE_ATTRIBUTES".to_owned(),
        "team=pay,service.version=old".to_owned(),
    );
    world.controller.ask(desired(1, &[&arm], stable("app-1")));
    let agent = world.agent();
    world
        .controller
        .sees("it serves", |lane| in_force(lane) == 1)
        .await;
    let (_, body) = world.get("/env").await;
    for line in [
        "AIRBOSS_RELEASE_ID=app@1.0.1",
        "AIRBOSS_ROLLOUT_ID=app-1",
        "AIRBOSS_INSTANCE=app-1.0",
        "AIRBOSS_VERSION=1.0.1",
        "OTEL_SERVICE_NAME=app",
        "OTEL_RESOURCE_ATTRIBUTES=team=pay,service.name=app,service.version=1.0.1,\
         service.instance.id=app-1.0,deployment.id=app-1,\
         deployment.environment.name=production,airboss.release.id=app@1.0.1",
    ] {
        assert!(
            body.lines().any(|found| found == line),
            "{line} is missing in\n{body}"
        );
    }
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_secret_reaches_the_app_and_no_file_of_the_agent() {
    let world = World::new().await;
    let secret = "correct-horse-battery";
    let file = world.folder.path().join("key");
    fs::write(&file, format!("{secret}\n")).unwrap();
    let mut arm = world.arm("app-1", "ok", 1);
    let reference = format!("file:{}", file.display());
    arm.process.env.insert("API_KEY".to_owned(), reference);
    world.controller.ask(desired(1, &[&arm], stable("app-1")));
    let agent = world.agent();
    world
        .controller
        .sees("it serves", |lane| in_force(lane) == 1)
        .await;
    let (_, body) = world.get("/env").await;
    assert!(body.contains(&format!("API_KEY={secret}\n")));
    agent.stop(StopMode::StopInstances).await;
    let mut waiting = vec![world.folder.path().join("agent")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|item| item.unwrap().path()));
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains(secret), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_missing_secret_fails_the_arm_and_is_named_by_reference() {
    let world = World::new().await;
    let mut arm = world.arm("app-1", "ok", 1);
    let reference = "env:NO_SUCH_SECRET_HERE".to_owned();
    arm.process.env.insert("API_KEY".to_owned(), reference);
    world.controller.ask(desired(1, &[&arm], stable("app-1")));
    let agent = world.agent();
    let lane = world
        .controller
        .sees("the arm fails", |lane| failed(lane, "app-1").is_some())
        .await;
    let why = failed(&lane, "app-1").unwrap();
    assert!(why.contains("`env:NO_SUCH_SECRET_HERE`"), "{why}");
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn the_last_lines_of_a_log_are_handed_out_on_request() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    world.controller.ask_for_logs(LogRequest {
        id: "question 1".to_owned(),
        lane: "app/production".parse().unwrap(),
        arm: None,
        lines: 100,
    });
    world
        .controller
        .until("the logs come", |told| told.log("question 1").is_some())
        .await;
    let answer = world.controller.log("question 1").unwrap();
    let line = answer
        .lines
        .iter()
        .find(|line| line.text == "starting as ok");
    assert_eq!(line.unwrap().instance, "app-1.0");
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_instance_that_hangs_is_taken_out_of_traffic() {
    let world = World::new().await;
    let (agent, _) = world.serving(1).await;
    let lane = world
        .controller
        .sees("it is ready", |lane| lane.ready(&id("app-1")) == 1)
        .await;
    let pid = lane.arm(&id("app-1")).unwrap().instances[0].pid.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let signal = |signal| rustix::process::kill_process_group(pid, signal).unwrap();
    signal(rustix::process::Signal::STOP);
    world
        .controller
        .sees("it is unready", |lane| {
            lane.arm(&id("app-1")).unwrap().instances[0].state == InstanceState::Unready
        })
        .await;
    assert_eq!(world.get("/").await.0, 503);
    signal(rustix::process::Signal::CONT);
    world
        .controller
        .sees("it is ready again", |lane| lane.ready(&id("app-1")) == 1)
        .await;
    assert_eq!(world.get("/").await.0, 200);
    agent.stop(StopMode::StopInstances).await;
}
