//! The API keeps to its own document, whatever it is asked.

use std::process::{Command, Stdio};

use crate::harness::{House, Manifest};
use xtask::versions::GOOD;

/// Requests that the generator makes up for each operation.
const EXAMPLES: &str = "12";
/// What is held against the document.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method";
/// Answers that go on for ever.
const STREAMS: &str = "/api/v1/events$|/live$|/record$";

#[tokio::test(flavor = "multi_thread")]
async fn no_request_makes_the_server_fail_or_answer_other_than_documented() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), Into::into);
    let generator = target.join("oracles/python/bin/schemathesis");
    if !generator.exists() {
        println!(
            "skipped: {} is not there; scripts/oracles.sh installs it",
            generator.display()
        );
        return;
    }
    let house = House::serving(&Manifest::default()).await;
    house.ship(GOOD, &[]).await.ended(0);
    house
        .run(&["token", "create", "ci", "--scope", "read"])
        .await
        .ended(0);
    let document = house.path().join("api.json");
    std::fs::write(&document, airboss_server::openapi().to_json().unwrap()).unwrap();
    let read = |name: &str| std::fs::read_to_string(house.data().join(name)).unwrap();
    let server: serde_json::Value = serde_json::from_str(&read("server.json")).unwrap();
    let url = server["url"].as_str().unwrap().to_owned();
    let token = read("token");
    // It keeps what it found where it runs, and tries that first the next time.
    let folder = house.path().to_owned();
    let done = tokio::task::spawn_blocking(move || {
        Command::new(generator)
            .current_dir(folder)
            .arg("run")
            .arg(document)
            .args(["--url", &url, "--phases", "coverage,fuzzing"])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
            .args(["--exclude-path-regex", STREAMS, "--seed", "1"])
            .args(["--request-timeout", "60", "--no-color"])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    house.run(&["doctor"]).await.ended(0);
}
