//! `kill -9` in the middle of writes. The child is this test binary itself.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use airboss_store::{SqliteOptions, SqliteStore, Store as _};
use serde_json::json;

use crate::make::{claimed, command, commit, lane};
use crate::sqlite::open;

/// Names the database to the child.
const PATH: &str = "AIRBOSS_TEST_CRASH_DATABASE";
const LANES: u64 = 8;

/// Commits for ever on several lanes and prints each acknowledged `lane seq command`.
#[tokio::test]
#[ignore = "the child of acknowledged_commits_survive_a_kill; ends only by being killed"]
async fn child_that_commits_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else {
        return;
    };
    let store = SqliteStore::open(&path, SqliteOptions::default())
        .await
        .unwrap();
    let store = std::sync::Arc::new(store);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..LANES {
        let store = std::sync::Arc::clone(&store);
        tasks.spawn(async move {
            let id = lane(&format!("s{number}/production"));
            // A new owner each time; the old one is dead at its word.
            store.release_claims("child").await.unwrap();
            let mut row = claimed(&*store, &id, "child").await;
            loop {
                let key = format!("{id}/{}", row.seq);
                let entry = store.enqueue(&command(&id, &key)).await.unwrap();
                let mut next = commit(&row);
                next.consumes = Some((entry.id, json!("ok")));
                next.state = json!({ "filler": "x".repeat(3_000) });
                row.seq = store.commit(&next).await.unwrap().seq;
                println!("acknowledged {id} {} {key}", row.seq);
            }
        });
    }
    if let Some(failed) = tasks.join_next().await {
        failed.unwrap();
    }
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("airboss.db");
    // Killed at a different place of its work each time.
    for lines in [1_usize, 40, 137, 300] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_commits_until_it_is_killed"])
            .args(["--ignored", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        while acknowledged.len() < lines {
            let line = output.next().expect("the child ended by itself").unwrap();
            acknowledged.extend(parse(&line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it printed before it died was acknowledged too; its last line may be cut.
        acknowledged.extend(output.map_while(Result::ok).filter_map(|line| parse(&line)));

        let store = open(&path).await;
        assert_eq!(store.verify().await.unwrap(), Vec::<String>::new());
        for (id, seq, key) in acknowledged {
            let kept = store.lane(&lane(&id)).await.unwrap().unwrap();
            assert!(kept.seq >= seq, "{id}: {} < {seq}", kept.seq);
            let entry = store.inbox_entry(&key).await.unwrap().unwrap();
            assert_eq!(entry.answer, Some(json!("ok")));
        }
        store.close().await;
    }
}

fn parse(line: &str) -> Option<(String, u64, String)> {
    // The test harness prints before the first line without ending its own.
    let (_, rest) = line.split_once("acknowledged ")?;
    let [id, seq, key] = rest.split(' ').collect::<Vec<_>>().try_into().ok()?;
    // A cut key is shorter than the lane and the number before it.
    let seq: u64 = seq.parse().ok()?;
    (key == format!("{id}/{}", seq - 1)).then(|| (id.to_owned(), seq, key.to_owned()))
}
