//! A log that keeps its words for a while: what operators and auditors can still see, and what not.

use std::fs;
use std::process::Command;

use airboss_store::{SqliteOptions, SqliteStore, Store};
use xtask::load::Load;
use xtask::versions::{FIRST, GOOD, Version};

use crate::harness::{House, Manifest};

const LATER: Version = Version {
    number: "1.4.0",
    faults: "",
};

/// What lets a process live two months ago. Time goes on as ever, and timers as well.
fn long_ago() -> Vec<(&'static str, &'static str)> {
    let output = Command::new("faketime")
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .output()
        .expect("faketime is there: scripts/need.sh faketime");
    let library = String::from_utf8(output.stdout).unwrap();
    vec![
        ("LD_PRELOAD", library.trim().to_owned().leak()),
        ("FAKETIME", "-60d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_retention_removed_leave_seals_that_hold_and_are_missed_out_loud() {
    let mut house = House::empty(&Manifest::default());
    house.variables = long_ago();
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    house.ship(FIRST, &["--watch"]).await.ended(0);
    let load = Load::start(house.listen, "/checkout", 400);
    house.ship(GOOD, &["--watch"]).await.ended(0);
    load.stop().await;
    house.stop();
    house.variables.clear();
    let up = ["up", "--listen", "127.0.0.1:0", "--keep-record", "30d"];
    house.start(&up).await;
    house.ship(LATER, &[]).await.ended(0);
    house
        .until("checkout-3 has users", async || {
            let promoted = house.run(&["promote", "checkout-3", "--full"]).await;
            promoted.code == Some(0)
        })
        .await;
    house.until_ended("checkout-3").await;

    let folder = house.path().to_owned();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (before, after) = (file("before.audit.json"), file("after.audit.json"));
    let checkpoint = file("checkpoint.txt");
    let export = ["audit", "export", "checkout-1", "-o"];
    house
        .run(&[&export[..], &[&before]].concat())
        .await
        .ended(0);
    let verify = ["audit", "verify"];
    house
        .run(&[&verify[..], &["--save", &checkpoint]].concat())
        .await
        .ended(0);
    house.run(&["audit", "retention"]).await.ended(0).says(&[
        "for 30d",
        "server local: 30d since",
        "started so by ada@example.org",
        "lose their words with the next run",
    ]);
    house
        .run(&["audit", "retention", "--now"])
        .await
        .ended(0)
        .says(&["have lost their words now"]);

    // The log is the one that it was, and says what it lacks.
    house
        .run(&[&verify[..], &["--earlier", &checkpoint]].concat())
        .await
        .ended(0)
        .says(&[
            "grew from the earlier checkpoint",
            "events of checkout/production are there by their seals alone: ada@example.org took their words",
        ]);
    house
        .run(&[&export[..], &[&file("late.audit.json")]].concat())
        .await
        .ended(2)
        .says(&["the words of checkout-1", "were removed by retention"]);
    assert!(!folder.join("late.audit.json").exists());
    house
        .run(&["audit", "export", "checkout-3", "-o", &after])
        .await
        .ended(0);
    house
        .run(&["explain", "checkout-1"])
        .await
        .ended(0)
        .says(&["1.0.0", "Retention removed the words of"]);
    house
        .run(&["trace", "checkout@1.0.0"])
        .await
        .ended(0)
        .says(&["checkout-1", "retention removed these words"]);
    house
        .run(&["watch", "checkout-1"])
        .await
        .ended(0)
        .says(&["shipped", "(retention removed the words"]);
    house.stop();

    let database = house.data().join("airboss.db");
    house.run(&["store", "verify"]).await.ended(0).says(&[
        "events are as they were sealed",
        "retention removed the words of older events of checkout/production",
    ]);
    let key = house.data().join("log.vkey");
    let key = key.to_str().unwrap();
    let offline = async |file: &str| house.run(&["audit", "verify", file, "--key", key]).await;
    // What was handed out in time is as good as ever.
    offline(&before)
        .await
        .ended(0)
        .says(&["word for word", "byte for byte"]);
    offline(&after).await.ended(0).says(&[
        "word for word",
        "byte for byte",
        "are not in it: ada@example.org took their words",
        "it cannot be made again from them",
        "to keep the words of the log for 30d; before: for ever",
    ]);
    let page = fs::read_to_string(file("after.audit.html")).unwrap();
    assert!(page.contains("Removed by retention: "));
    // Nobody gives the later decisions another ground.
    let text = fs::read_to_string(&after).unwrap();
    let (head, state) = text.split_once("history_removed").unwrap();
    let forged = format!(
        "{head}history_removed{}",
        state.replacen("1.1.0", "1.1.1", 1)
    );
    fs::write(&after, forged).unwrap();
    offline(&after)
        .await
        .ended(3)
        .says(&["is not what was sealed"]);

    let store = SqliteStore::open(&database, SqliteOptions::default())
        .await
        .unwrap();
    let measured = async |id: &str| {
        let rows = store.evidence(&id.parse().unwrap(), 0, 10).await.unwrap();
        rows.len()
    };
    // The second version was measured, and its words are gone.
    assert_eq!(measured("checkout-2").await, 0);
    store.close().await;
}
