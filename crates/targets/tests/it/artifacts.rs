//! Content is what its digest says, or it does not run.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use airboss_model::Digest;
use airboss_targets::process::StopMode;
use airboss_targets::process::artifact::pack;

use super::world::{World, desired, failed, id, in_force, nobody, stable};

#[tokio::test]
async fn a_file_that_changed_on_disk_stops_the_start() {
    let world = World::new().await;
    let (agent, arm) = world.serving(1).await;
    let file = world.unpacked(arm.digest, "version");
    assert_eq!(fs::read(&file).unwrap(), b"1.0.1");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "1.0.1, improved").unwrap();
    // Another arm of the same content.
    let mut again = arm.clone();
    again.arm = id("app-2");
    world
        .controller
        .ask(desired(2, &[&arm, &again], stable("app-1")));
    let lane = world
        .controller
        .sees("it is not started", |lane| failed(lane, "app-2").is_some())
        .await;
    let why = failed(&lane, "app-2").unwrap();
    assert!(why.contains("`version`"), "{why}");
    assert_eq!(why.matches("sha256:").count(), 3, "{why}");
    let arm = lane.arm(&id("app-2")).unwrap();
    assert_eq!(arm.instances[0].pid, None);
    // The one that runs goes on.
    assert_eq!(world.get("/").await.0, 200);
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_added_and_a_missing_file_are_found() {
    let world = World::new().await;
    let (agent, arm) = world.serving(1).await;
    let added = world.unpacked(arm.digest, "extra");
    let version = world.unpacked(arm.digest, "version");
    for (number, file) in [(2, "extra"), (3, "version")] {
        match number {
            2 => fs::write(&added, "").unwrap(),
            _ => {
                fs::remove_file(&added).unwrap();
                fs::remove_file(&version).unwrap();
            }
        }
        let mut again = arm.clone();
        let name = format!("app-{number}");
        again.arm = id(&name);
        world
            .controller
            .ask(desired(number, &[&arm, &again], stable("app-1")));
        let lane = world
            .controller
            .sees("it is not started", |lane| failed(lane, &name).is_some())
            .await;
        let why = failed(&lane, &name).unwrap();
        assert!(why.contains(&format!("`{file}`")), "{why}");
        assert!(why.contains("no such entry"), "{why}");
    }
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn bytes_with_another_digest_are_refused_with_both_digests() {
    let world = World::new().await;
    let mut arm = world.arm("app-1", "ok", 1);
    let wanted = Digest::from_sha256([7; 32]);
    world.controller.blob(wanted, b"something else".to_vec());
    arm.digest = wanted;
    world.controller.ask(desired(1, &[&arm], nobody()));
    let agent = world.agent();
    let lane = world
        .controller
        .sees("it is refused", |lane| failed(lane, "app-1").is_some())
        .await;
    let why = failed(&lane, "app-1").unwrap();
    assert!(why.contains(&wanted.to_string()), "{why}");
    assert_eq!(why.matches("sha256:").count(), 2, "{why}");
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn an_artifact_that_comes_late_is_waited_for() {
    let world = World::new().await;
    let arm = world.arm("app-1", "ok", 1);
    let other = World::new().await;
    let mut late = arm.clone();
    late.digest = other.ship_app("1.0.9");
    world.controller.ask(desired(1, &[&late], stable("app-1")));
    let agent = world.agent();
    let lane = world
        .controller
        .sees("the problem is told", |lane| !lane.problems.is_empty())
        .await;
    assert!(lane.problems[0].contains("404"), "{:?}", lane.problems);
    assert_eq!(failed(&lane, "app-1"), None);
    assert_eq!(world.ship_app("1.0.9"), late.digest);
    world
        .controller
        .sees("it serves", |lane| in_force(lane) == 1)
        .await;
    agent.stop(StopMode::StopInstances).await;
}

#[tokio::test]
async fn a_file_that_was_packed_alone_is_the_artifact() {
    let world = World::new().await;
    let mut arm = world.arm("app-1", "ok", 1);
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("start"), folder.path().join("out"));
    let script = "#!/bin/sh\nexec \"$APP_BIN\" app::serves --exact --nocapture\n";
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    let packed = pack(&file, &out).unwrap();
    world.controller.blob(packed.digest, fs::read(out).unwrap());
    arm.digest = packed.digest;
    arm.process.command = vec!["{artifact}".to_owned()];
    world.controller.ask(desired(1, &[&arm], stable("app-1")));
    let agent = world.agent();
    world
        .controller
        .sees("it serves", |lane| in_force(lane) == 1)
        .await;
    agent.stop(StopMode::StopInstances).await;
}

fn archive(name: &str, kind: tar::EntryType, link: Option<&str>) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    // The library refuses such names; a hostile archive does not ask it.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(0);
    if let Some(link) = link {
        header.set_link_name(link).unwrap();
    }
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, &[][..]).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn an_archive_that_reaches_outside_is_refused() {
    use tar::EntryType::{Char, Link, Regular, Symlink};
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("bad.tar"), folder.path().join("out"));
    for (name, kind, link, reason) in [
        ("../evil", Regular, None, "leaves the folder"),
        ("a/../../evil", Regular, None, "leaves the folder"),
        ("/etc/evil", Regular, None, "leaves the folder"),
        ("evil", Symlink, Some("/etc/passwd"), "leaves the folder"),
        ("evil", Symlink, Some("../other"), "leaves the folder"),
        ("evil", Symlink, Some("a/../.."), "leaves the folder"),
        ("evil", Link, Some("other"), "hard links"),
        ("evil", Char, None, "devices"),
    ] {
        fs::write(&file, archive(name, kind, link)).unwrap();
        let error = pack(&file, &out).unwrap_err().to_string();
        assert!(error.contains(reason), "{name}: {error}");
        assert!(error.contains("evil"), "{name}: {error}");
    }
    fs::write(&file, "no archive at all, but long enough").unwrap();
    let error = pack(&file, &out).unwrap_err().to_string();
    assert!(error.contains("not a readable tar archive"), "{error}");
}

#[tokio::test]
async fn a_hostile_archive_that_got_past_the_client_is_refused_by_the_agent() {
    let world = World::new().await;
    let bytes = archive("../../../../evil", tar::EntryType::Regular, None);
    let digest = sha256(&bytes);
    world.controller.blob(digest, bytes);
    let mut arm = world.arm("app-1", "ok", 1);
    arm.digest = digest;
    world.controller.ask(desired(1, &[&arm], nobody()));
    let agent = world.agent();
    let lane = world
        .controller
        .sees("it is refused", |lane| failed(lane, "app-1").is_some())
        .await;
    let why = failed(&lane, "app-1").unwrap();
    assert!(why.contains("`../../../../evil`"), "{why}");
    assert!(!world.folder.path().join("evil").exists());
    agent.stop(StopMode::StopInstances).await;
}

fn sha256(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha256(sha2::Sha256::digest(bytes).into())
}

#[test]
fn the_same_content_packs_to_the_same_digest() {
    let of = |order: [&str; 2], mode: u32| {
        let folder = tempfile::tempdir().unwrap();
        let dist = folder.path().join("dist");
        fs::create_dir_all(dist.join("static/deep")).unwrap();
        for name in order {
            fs::write(dist.join(name), name).unwrap();
            fs::set_permissions(dist.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let long = format!("static/deep/{}", "n".repeat(180));
        fs::write(dist.join(long), "x").unwrap();
        symlink("../a", dist.join("static/link")).unwrap();
        let out = folder.path().join("out");
        let packed = pack(&dist, &out).unwrap();
        assert_eq!(packed.digest, sha256(&fs::read(&out).unwrap()));
        assert_eq!(packed.size, fs::metadata(&out).unwrap().len());
        packed.digest
    };
    let first = of(["a", "b"], 0o700);
    assert_eq!(first, of(["b", "a"], 0o755));
    assert_ne!(first, of(["a", "b"], 0o644));
}

#[test]
fn a_link_out_of_the_folder_is_refused_when_it_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist");
    fs::create_dir(&dist).unwrap();
    symlink("/etc/passwd", dist.join("secrets")).unwrap();
    let error = pack(&dist, &folder.path().join("out")).unwrap_err();
    assert!(error.to_string().contains("`secrets`"), "{error}");
}
