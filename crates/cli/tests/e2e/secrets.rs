//! What is secret stays where it belongs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xtask::postgres::Server;
use xtask::versions::FIRST;

use crate::harness::{House, Manifest, Said, processes};

const DATABASE: &str = "word-of-the-database";
const HOOK: &str = "word-of-the-sender-0123456789abcdef";
const PASSPHRASE: &str = "word-of-the-keys";
const SERVICE: &str = "word-of-the-service";
const GUESS: &str = "airboss_word-of-a-stranger";

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path()),
            kind if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

/// A field of what a command said as JSON.
fn field(said: Said, name: &str) -> String {
    let said: Value = serde_json::from_str(&said.ended(0).out).unwrap();
    said[name].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_an_error_the_database_or_the_list_of_processes() {
    let server = tokio::task::spawn_blocking(|| Server::start(&[]));
    let server = server.await.unwrap();
    server.query("postgres", "CREATE DATABASE shop");
    let with_password = format!("postgres://airboss:{DATABASE}@localhost/");
    let url = server.url("shop").replace("postgres:///", &with_password);
    let mut house = House::empty(&Manifest::default());
    let manifest = house.path().join("airboss.yaml");
    let text = fs::read_to_string(&manifest).unwrap();
    let drain = "      drain: 2s\n";
    let needs = format!("{drain}      env: {{ SHOP_PASSWORD: \"env:SHOP_SECRET\" }}\n");
    fs::write(&manifest, text.replace(drain, &needs)).unwrap();
    house.variables = vec![
        ("AIRBOSS_DATABASE", url.leak()),
        ("AIRBOSS_WEBHOOKS", "standard=env:HOOK_SECRET"),
        ("HOOK_SECRET", HOOK),
        ("SHOP_SECRET", SERVICE),
        ("AIRBOSS_KEY_PASSPHRASE", "env:PASSPHRASE"),
        ("PASSPHRASE", PASSPHRASE),
    ];
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    house.ship(FIRST, &["--watch"]).await.ended(0);
    let create = ["token", "create", "ci", "--scope", "ship"];
    let create = [&create[..], &["--output", "json"]].concat();
    let made = field(house.run(&create).await, "secret");
    let invite = ["agent", "token", "web-1", "--carries", "*/staging"];
    let invite = [&invite[..], &["--output", "json"]].concat();
    let invited = field(house.run(&invite).await, "join_token");
    let own = fs::read_to_string(house.data().join("token")).unwrap();
    let own = own.trim();
    let secrets = [
        own, &made, &invited, DATABASE, HOOK, PASSPHRASE, SERVICE, GUESS,
    ];

    // What is said, right and wrong.
    let mut said = Vec::new();
    for words in [
        &["status"][..],
        &["doctor"],
        &["explain", "checkout-1", "--full"],
    ] {
        said.push(house.run(words).await.ended(0));
    }
    let nowhere = format!("postgres://airboss:{DATABASE}@127.0.0.1:1/shop");
    said.push(
        house
            .run(&["store", "verify", "--database", &nowhere])
            .await,
    );
    house.variables.push(("AIRBOSS_TOKEN", GUESS));
    let refused = house.run(&["status"]).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
    said.push(refused);
    house.variables.pop();
    for (secret, said) in secrets
        .iter()
        .flat_map(|it| said.iter().map(move |said| (it, said)))
    {
        let text = format!("{}{}", said.out, said.err);
        assert!(!text.contains(secret), "{secret} is in: {text}");
    }

    // What everybody on the machine sees.
    let running = processes::of_folder(house.path());
    assert!(
        running.len() >= 4,
        "up, serve, agent, a service: {running:?}"
    );
    for (_, command) in &running {
        for secret in secrets {
            assert!(!command.contains(secret), "{secret} is in: {command}");
        }
    }

    // What is kept: the whole database, logs, the agent's records. The own token has its own file.
    let copy = house.path().join("copy.db");
    let copy = ["store", "backup", copy.to_str().unwrap()];
    house.run(&copy).await.ended(0);
    for file in files(house.path()) {
        let bytes = fs::read(&file).unwrap();
        for secret in secrets {
            let holds = bytes
                .windows(secret.len())
                .any(|it| it == secret.as_bytes());
            let is_its_own = secret == own && file.ends_with(".airboss/token");
            assert_eq!(holds, is_its_own, "{secret} and {}", file.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listens_to_other_hosts_without_encryption_unless_told_to() {
    let house = House::empty(&Manifest::default());
    for verb in ["up", "serve"] {
        house
            .run(&[verb, "--listen", "0.0.0.0:0"])
            .await
            .ended(1)
            .says(&["unencrypted", "--tls-cert", "--insecure-listen"]);
    }
    assert!(!house.data().join("token").exists());
}
