//! Disks that are full, and disks that take their time.
//!
//! A full disk is a small file system in memory, which only root may mount; without root the
//! tests say so and pass.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use xtask::load::Load;
use xtask::postgres::Server;
use xtask::versions::{ERRORS, FIRST, GOOD};

use crate::harness::{House, Manifest, Replicas, http};

/// A file system in memory of so many MiB. It is gone when this is dropped.
struct Small(PathBuf);

impl Small {
    /// None where it may not be mounted.
    fn at(folder: &Path, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let size = format!("size={mebibytes}m,mode=1777");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "airboss-test"])
            .arg(folder)
            .output();
        match mount {
            Ok(done) if done.status.success() => Some(Self(folder.to_owned())),
            other => {
                println!("skipped: no small file system can be mounted here: {other:?}");
                None
            }
        }
    }

    /// Writes until nothing more can be written.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        for block in [1 << 20, 4 << 10, 1] {
            while file.write_all(&vec![0; block]).is_ok() {}
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: what was killed may not be gone yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn slow_going() -> Manifest {
    Manifest {
        steps: "[10%, 100%]",
        lease: "10s",
        ..Manifest::default()
    }
}

fn is_observing(lane: &Value) -> bool {
    lane["rollout"]["phase"] == "observing" && lane["traffic"]["confirmed"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_users_are_served_the_exposure_ends_and_room_is_all_it_needs() {
    let house = House::empty(&slow_going());
    let Some(disk) = Small::at(&house.data(), 400) else {
        return;
    };
    // What runs on it goes before it.
    let mut house = house;
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    house.ship(FIRST, &["--watch"]).await.ended(0);
    house.ship(GOOD, &[]).await.ended(0);
    house.until_lane("a tenth is exposed", is_observing).await;
    let load = Load::start(house.listen, "/checkout", 20);

    disk.fill();
    // It is told, and not taken for done.
    let said = house.run(&["pause", "checkout-2"]).await;
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("disk"), "{said:?}");
    // Nobody can watch, so nobody is exposed; what is known is still shown.
    let nobody = |lane: &Value| lane["traffic"]["observed"] == "0%";
    house.until_lane("nobody is exposed", nobody).await;
    house.until_only("1.0.0").await;

    disk.free();
    let rollout = house.until_ended("checkout-2").await;
    assert_eq!(rollout["outcome"], "rolled_back", "{rollout:#}");
    house.until_only("1.0.0").await;
    let ours = load.stop().await;
    let ours: Vec<String> = ours.not_the_services().map(|it| it.describe()).collect();
    assert!(ours.is_empty(), "{ours:?}");
    let url = house.url();
    house
        .run(&["audit", "verify", "--server", &url])
        .await
        .ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_disk_is_full_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Small::at(folder.path(), 160) else {
        return;
    };
    let at = folder.path().to_owned();
    let start = move || Server::start_in(&at, &[]);
    let database = tokio::task::spawn_blocking(start).await.unwrap();
    let replicas = Replicas::on(database, &slow_going()).await;
    let house = &replicas.house;
    house.ship(GOOD, &[]).await.ended(0);
    house.until_lane("a tenth is exposed", is_observing).await;
    house.run(&["pause", "checkout-2"]).await.ended(0);

    disk.fill();
    // Without a checkpoint the server has room in its log: writes go on until it is used up.
    house
        .until("the database takes no more", async || {
            house.run(&["resume", "checkout-2"]).await;
            house.run(&["pause", "checkout-2"]).await.code != Some(0)
        })
        .await;
    assert!(http::version(house.listen).await.is_some());

    disk.free();
    if !replicas.database.answers("airboss") {
        replicas.database.make("crash");
        replicas.database.make("start");
    }
    house.run(&["abort", "checkout-2"]).await;
    let rollout = house.until_ended("checkout-2").await;
    assert_ne!(rollout["outcome"], "shipped", "{rollout:#}");
    house.until_only("1.0.0").await;
    replicas.assert_sound().await;
}

/// What takes time before it says that data is on the disk.
const SLOW_DISK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static void wait_a_little(void) { struct timespec t = { 0, 250 * 1000 * 1000 }; nanosleep(&t, 0); }
int fsync(int fd) { wait_a_little(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { wait_a_little(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"#;

/// Builds it, to be loaded before the C library.
fn slow_disk(folder: &Path) -> &'static str {
    let (source, library) = (folder.join("slow.c"), folder.join("slow.so"));
    fs::write(&source, SLOW_DISK).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(built.success());
    // For the life of the test process.
    Box::leak(library.display().to_string().into_boxed_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_disk_that_takes_a_quarter_of_a_second_each_time_a_bad_version_is_still_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut house = House::empty(&Manifest {
        steps: "[50%, 100%]",
        ..Manifest::default()
    });
    house
        .variables
        .push(("LD_PRELOAD", slow_disk(folder.path())));
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    house.ship(FIRST, &["--watch"]).await.ended(0);
    let load = Load::start(house.listen, "/checkout", 300);
    house.ship(ERRORS, &["--watch"]).await.ended(3);
    house.until_only("1.0.0").await;
    let ours = load.stop().await;
    let ours: Vec<String> = ours.not_the_services().map(|it| it.describe()).collect();
    assert!(ours.is_empty(), "{ours:?}");
    let url = house.url();
    house
        .run(&["audit", "verify", "--server", &url])
        .await
        .ended(0);
}
