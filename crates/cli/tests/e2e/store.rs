//! `airboss store`: the database itself, on both kinds.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use airboss_store::{
    PostgresOptions, PostgresStore, RolloutFilter, SqliteOptions, SqliteStore, Store,
};
use sqlx::{Connection as _, SqliteConnection};
use xtask::postgres::Server;
use xtask::versions::GOOD;

use crate::harness::{House, Manifest, http};

async fn postgres() -> Server {
    tokio::task::spawn_blocking(|| Server::start(&[]))
        .await
        .unwrap()
}

/// A new and empty database; its address.
fn database(server: &Server, name: &str) -> String {
    server.query("postgres", &format!("CREATE DATABASE {name}"));
    server.url(name)
}

/// Two rollouts that are over, in a stopped installation.
async fn with_history() -> House {
    let mut house = House::serving(&Manifest::default()).await;
    takes_work(&house).await;
    house.stop();
    house
}

/// Ships a second version, and takes it back.
async fn takes_work(house: &House) {
    house.ship(GOOD, &[]).await.ended(0);
    house.run(&["abort", "checkout-2"]).await.ended(0);
    house.until_ended("checkout-2").await;
}

/// Rows by table, as the command told them.
fn told(out: &str) -> Vec<(String, String)> {
    let lines = out.lines().map(|line| line.split_whitespace().collect());
    lines
        .filter_map(|words: Vec<&str>| match words[..] {
            [table, rows, "rows"] => Some((table.to_owned(), rows.to_owned())),
            _ => None,
        })
        .collect()
}

async fn change_schema(database: &Path, sql: &'static str) {
    let url = format!("sqlite://{}", database.display());
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(sql).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

async fn change(database: &Path, sql: &'static str) {
    let url = format!("sqlite://{}", database.display());
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    let done = sqlx::query(sql).execute(&mut db).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql}");
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_moves_from_sqlite_to_postgresql_with_all_that_it_knows() {
    let server = postgres().await;
    let url = database(&server, "airboss");
    let mut house = House::serving(&Manifest::default()).await;
    let copy = ["store", "copy", "--to", url.as_str()];
    let running = house.run(&copy).await;
    running.ended(1).says(&["another `airboss serve` uses"]);
    house.stop();

    let copied = house.run(&copy).await.ended(0);
    let told = told(&copied.out);
    assert!(told.len() > 10, "{copied:?}");
    for (table, rows) in &told {
        let there = server.query("airboss", &format!("SELECT count(*) FROM {table}"));
        assert_eq!(there, *rows, "{table}");
    }
    copied.says(&["--artifacts", "as they were sealed", "is left as it was"]);
    let file = house.data().join("airboss.db");
    let from = SqliteStore::open(&file, SqliteOptions::default()).await;
    let to = PostgresStore::open(&url, PostgresOptions::default()).await;
    let (from, to) = (from.unwrap(), to.unwrap());
    assert_eq!(from.log_head().await.unwrap(), to.log_head().await.unwrap());
    let filter = RolloutFilter::default();
    assert_eq!(
        from.rollouts(&filter).await.unwrap(),
        to.rollouts(&filter).await.unwrap()
    );
    from.close().await;
    to.close().await;
    // Into a database in use nothing is copied.
    let again = house.run(&copy).await.ended(1);
    again.says(&["the target is in use", "a new, empty database"]);

    // Work goes on there: the same version serves, and the next one ships.
    let api = xtask::ports::free().unwrap().to_string();
    let artifacts = house.data().join("artifacts");
    let artifacts = artifacts.to_str().unwrap();
    let serve = ["serve", "--listen", &api, "--database", &url];
    house
        .start(&[&serve[..], &["--artifacts", artifacts]].concat())
        .await;
    house.start(&["agent", "--on-stop", "stop"]).await;
    house.until_only("1.0.0").await;
    takes_work(&house).await;
    let verify = ["store", "verify", "--database", &url];
    house.run(&verify).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_dies_half_way_leaves_nothing_and_is_begun_again() {
    let server = postgres().await;
    let url = database(&server, "airboss");
    let house = with_history().await;
    let migrate = ["store", "migrate", "--database", url.as_str()];
    house.run(&migrate).await.ended(0).says(&["the newest"]);
    // The copy stands still at the events, with other tables behind it.
    server.query(
        "airboss",
        "CREATE FUNCTION wait() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(3600); RETURN NEW; END' LANGUAGE plpgsql;
         CREATE TRIGGER wait BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    );
    let copy = ["store", "copy", "--to", url.as_str()];
    let mut child = house.command(&copy).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let copying = |line: &std::io::Result<String>| line.as_ref().unwrap().contains("inputs ");
    let came = tokio::task::block_in_place(|| lines.any(|line| copying(&line)));
    assert!(came, "the copy comes as far as inputs");
    child.kill().unwrap();
    child.wait().unwrap();
    server.query(
        "airboss",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'airboss' AND pid <> pg_backend_pid()",
    );
    server.query("airboss", "DROP TRIGGER wait ON events");
    for table in ["services", "lanes", "inputs", "events"] {
        let count = server.query("airboss", &format!("SELECT count(*) FROM {table}"));
        assert_eq!(count, "0", "{table}");
    }
    house
        .run(&copy)
        .await
        .ended(0)
        .says(&["as they were sealed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_working_server_restores_whole_and_into_nothing_that_is_in_use() {
    let server = postgres().await;
    let (url, other) = (database(&server, "airboss"), database(&server, "other"));
    let mut house = House::serving(&Manifest::default()).await;
    // SQLite, with its server at work.
    let file = house.path().join("backup.db");
    let backup = ["store", "backup", file.to_str().unwrap()];
    house.run(&backup).await.ended(0);
    let taken = house.run(&backup).await.ended(1);
    taken.says(&["exists already"]);
    house
        .run(&["store", "backup"])
        .await
        .ended(0)
        .says(&["backups"]);
    let restore = ["store", "restore", file.to_str().unwrap()];
    house
        .run(&restore)
        .await
        .ended(1)
        .says(&["another `airboss serve` uses"]);
    house.run(&["store", "verify"]).await.ended(0);
    takes_work(&house).await;
    house.stop();
    // What came after the backup is gone from the database, and lies beside it.
    house.run(&restore).await.ended(0).says(&["lies beside it"]);
    house.run(&["store", "verify"]).await.ended(0);
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    let history = house.run(&["history"]).await.ended(0);
    assert!(!history.out.contains("checkout-2"), "{history:?}");
    house.until_only("1.0.0").await;
    house.stop();

    // The same file into PostgreSQL, whose server then works while its backup is made.
    let restore = [&restore[..], &["--database", &url]].concat();
    house.run(&restore).await.ended(0).says(&["restored whole"]);
    house
        .run(&restore)
        .await
        .ended(1)
        .says(&["the target is in use"]);
    let api = xtask::ports::free().unwrap().to_string();
    let artifacts = house.data().join("artifacts");
    let artifacts = artifacts.to_str().unwrap();
    let serve = ["serve", "--listen", &api, "--database", &url];
    house
        .start(&[&serve[..], &["--artifacts", artifacts]].concat())
        .await;
    house.start(&["agent", "--on-stop", "stop"]).await;
    house.until_only("1.0.0").await;
    let second = house.path().join("second.db");
    let second = second.to_str().unwrap();
    house
        .run(&["store", "backup", second, "--database", &url])
        .await
        .ended(0);
    let nameless = house.run(&["store", "backup", "--database", &url]).await;
    nameless.ended(2).says(&["airboss store backup FILE"]);
    let restore = ["store", "restore", second, "--database", &other];
    house.run(&restore).await.ended(0);
    let verify = ["store", "verify", "--database", &other];
    house
        .run(&verify)
        .await
        .ended(0)
        .says(&["as they were sealed"]);
    // And back into one SQLite file.
    let empty = house.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let into = ["--data-dir", empty.to_str().unwrap()];
    house
        .run(&[&["store", "restore", second], &into[..]].concat())
        .await
        .ended(0);
    house
        .run(&[&["store", "verify"], &into[..]].concat())
        .await
        .ended(0);
    assert!(http::version(house.listen).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_replays_every_log_and_names_what_differs() {
    let server = postgres().await;
    let url = database(&server, "airboss");
    let house = with_history().await;
    house.run(&["store", "copy", "--to", &url]).await.ended(0);
    let postgres = ["store", "verify", "--database", url.as_str()];
    let sqlite = ["store", "verify"];
    house.run(&sqlite).await.ended(0);
    let file = house.data().join("airboss.db");

    let state = "UPDATE lane_states SET state = replace(state, '\"release\":\"checkout@1.0.0\"', '\"release\":\"checkout@9.9.9\"')";
    change(&file, state).await;
    server.query("airboss", state);
    for words in [&sqlite[..], &postgres[..]] {
        let said = house.run(words).await.ended(3);
        said.says(&[
            "the state of checkout/production",
            "/desired/arms/0/release is \"checkout@9.9.9\"",
            "by the events it is \"checkout@1.0.0\"",
        ]);
    }
    // Who writes past Airboss takes its guards away first.
    for guard in [
        "DROP TRIGGER events_unchanged",
        "DROP TRIGGER inputs_unchanged",
    ] {
        change_schema(&file, guard).await;
        let table = guard.split(' ').nth(2).unwrap().split('_').next().unwrap();
        server.query("airboss", &format!("{guard} ON {table}"));
    }
    let event = "UPDATE events SET message = 'nothing happened' WHERE number = 2";
    change(&file, event).await;
    server.query("airboss", event);
    for words in [&sqlite[..], &postgres[..]] {
        house.run(words).await.ended(3).says(&["event 2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_found_or_reached_is_said_with_the_way_on() {
    let house = House::empty(&Manifest::default());
    let nothing = house.run(&["store", "verify"]).await.ended(1);
    nothing.says(&["there is no database", "--data-dir"]);
    let nothing = house
        .run(&["store", "copy", "--to", "postgres://x@127.0.0.1:1/x"])
        .await;
    nothing.ended(1).says(&["there is no database"]);
    let away = [
        "store",
        "verify",
        "--database",
        "postgres://ada:hunter2@127.0.0.1:1/x",
    ];
    let away = house.run(&away).await.ended(1);
    assert!(!away.err.contains("hunter2"), "{away:?}");
    away.says(&["the database"]);
}
