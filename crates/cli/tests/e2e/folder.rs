//! The data folder on bad days.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::TcpListener;

use serde_json::Value;

use crate::harness::{House, Manifest, Said, http};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_one_folder_is_refused_and_names_the_first() {
    let house = House::up(&Manifest::default()).await;
    let said = house.run(&["up", "--listen", "127.0.0.1:0"]).await;
    said.ended(1)
        .says(&["another `airboss up` uses", "process ", "AIRBOSS_HOME"]);
    house.run(&["status"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_api_port_is_refused_by_its_number() {
    let house = House::empty(&Manifest::default());
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let said = house.run(&["up", "--listen", &address]).await;
    said.ended(1)
        .says(&[&format!("cannot listen on {address}"), "--listen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_database_is_refused_with_the_way_back_and_never_replaced() {
    let mut house = House::serving(&Manifest::default()).await;
    house.stop();
    let database = house.data().join("airboss.db");
    let backups = house.data().join("backups");
    fs::create_dir_all(&backups).unwrap();
    // A stop leaves everything in the one file: it is what a backup would hold.
    let copy = backups.join("airboss-20260101T000000Z.db");
    let kept: Vec<_> = fs::read_dir(&backups).unwrap().collect();
    if kept.is_empty() {
        fs::copy(&database, &copy).unwrap();
    }
    let length = fs::metadata(&database).unwrap().len();
    let mut file = fs::File::options().write(true).open(&database).unwrap();
    for place in (4_096..length).step_by(4_096) {
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(&[0xa5; 512]).unwrap();
    }
    drop(file);

    let said = house
        .run(&["up", "--listen", "127.0.0.1:0"])
        .await
        .ended(1)
        .says(&["airboss.db", "restore"]);
    assert!(said.err.contains("backups"), "{said:?}");
    // Refused means refused: nothing was made anew in its place.
    assert_eq!(fs::metadata(&database).unwrap().len(), length);
}

/// Asks a server for a join token and has a folder join with it.
async fn join(server: &House, folder: &mut House, name: &str) -> Said {
    let invite = ["agent", "token", name, "--carries", "*/staging"];
    let invite = [&invite[..], &["--output", "json"]].concat();
    let invited = server.run(&invite).await.ended(0);
    let invited: Value = serde_json::from_str(&invited.out).unwrap();
    let token = invited["join_token"].as_str().unwrap().to_owned();
    folder.variables = vec![("AIRBOSS_JOIN_TOKEN", token.leak())];
    let url = server.url();
    let said = folder.run(&["agent", "join", "--controller", &url]).await;
    folder.variables.clear();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_installation_whether_it_joined_first_or_served_first() {
    let manifest = Manifest::default();
    let server = House::up(&manifest).await;
    let url = server.url();

    // It joined first: no server starts in it, and nothing of one is left behind.
    let mut host = House::empty(&manifest);
    join(&server, &mut host, "web-1").await.ended(0);
    for verb in ["up", "serve"] {
        host.run(&[verb, "--listen", "127.0.0.1:0"])
            .await
            .ended(1)
            .says(&["web-1", &url, "second master", "AIRBOSS_HOME", "agent.json"]);
        for file in ["airboss.db", "log.key", "token", "server.json"] {
            assert!(!host.data().join(file).exists(), "{verb} made {file}");
        }
    }

    // It served first: it does not join another.
    let mut other = House::up(&manifest).await;
    join(&server, &mut other, "web-2")
        .await
        .ended(1)
        .says(&["two masters", "AIRBOSS_HOME"]);
    assert!(!other.data().join("agent.json").exists());
    other.run(&["status"]).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_and_a_start_the_same_version_serves() {
    let mut house = House::serving(&Manifest::default()).await;
    house.stop();
    assert!(http::version(house.listen).await.is_none());
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    house.until_only("1.0.0").await;
}
