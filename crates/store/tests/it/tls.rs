//! A real PostgreSQL server that takes nothing unencrypted from the network.

use std::fs;
use std::path::Path;

use airboss_store::{PostgresOptions, PostgresStore, Store as _};

use crate::postgres::{Server, database};

/// What opening says; None where it works.
async fn said(url: &str) -> Option<String> {
    match PostgresStore::open(url, PostgresOptions::default()).await {
        Ok(store) => {
            store.last_event().await.unwrap();
            store.close().await;
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

fn certificate(folder: &Path, name: &str, address: &str) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed([address.to_owned()]).unwrap();
    let paths = ["crt", "key"].map(|ending| folder.join(format!("{name}.{ending}")));
    fs::write(&paths[0], made.cert.pem()).unwrap();
    fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
    paths.map(|path| path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_database_is_encrypted_and_its_certificate_checked_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    // Loopback has sixteen million addresses; the process's id picks one of its own.
    let id = std::process::id();
    let address = format!("127.7.{}.{}", (id >> 8) & 255, (id & 255).clamp(1, 254));
    let [trusted, key] = certificate(folder.path(), "server", &address);
    let [stranger, _] = certificate(folder.path(), "stranger", &address);
    let (listen, crt) = (address.clone(), trusted.clone());
    let start = move || Server::start(&["--listen", &listen, "--tls", &crt, &key]);
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let socket = tokio::task::block_in_place(|| database(&server));
    let name = socket.split(['/', '?']).nth(3).unwrap();
    let url = format!("postgres://airboss@{address}/{name}");

    for mode in ["prefer", "require"] {
        assert_eq!(said(&format!("{url}?sslmode={mode}")).await, None, "{mode}");
    }
    // Nobody who does not say it otherwise is unencrypted where the server can do better.
    assert_eq!(said(&url).await, None);
    let plain = said(&format!("{url}?sslmode=disable")).await.unwrap();
    assert!(plain.contains("no encryption"), "{plain}");
    for mode in ["verify-ca", "verify-full"] {
        let with = |file: &str| format!("{url}?sslmode={mode}&sslrootcert={file}");
        assert_eq!(said(&with(&trusted)).await, None, "{mode}");
        for unknown in [with(&stranger), format!("{url}?sslmode={mode}")] {
            let refused = said(&unknown).await.unwrap();
            assert!(refused.contains("certificate"), "{mode}: {refused}");
        }
        let missing = said(&with("/no/such/file")).await.unwrap();
        assert!(
            missing.contains("/no/such/file") || missing.contains("No such file"),
            "{missing}"
        );
    }

    // All of a store's connections, the one that listens among them.
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={trusted}");
    let store = PostgresStore::open(&verified, PostgresOptions::default()).await;
    let store = store.unwrap();
    store.last_event().await.unwrap();
    let encrypted = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'airboss'";
    let encrypted = tokio::task::block_in_place(|| server.query("postgres", encrypted));
    assert_eq!(encrypted, "t");
    store.close().await;
}
