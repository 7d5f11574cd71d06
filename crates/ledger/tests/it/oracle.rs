//! Others' implementations on our logs, and ours on theirs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use airboss_ledger::{
    Checkpoint, Hash, Note, SigningKey, Tile, prove_consistency, prove_inclusion,
};
use serde_json::json;

use crate::make::{key, log, records, root_by_definition};

/// Runs Go's program on `input`; None, with a message, where Go or its module is not at hand.
fn go(input: &str) -> Option<Output> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let built = tempfile::tempdir().unwrap();
    let program = built.path().join("oracle");
    let build = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(folder)
        .env("GOFLAGS", "-mod=readonly")
        .output();
    match build {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            // A program that does not compile is a fault here, a module that cannot be had is not.
            assert!(why.contains("go: "), "{why}");
            println!("skipped: golang.org/x/mod is not at hand: {why}");
            return None;
        }
        Err(error) => {
            println!("skipped: go is not at hand: {error}");
            return None;
        }
    }
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    Some(child.wait_with_output().unwrap())
}

/// What Go's program is to check: a log of a few hundred entries with its proofs.
fn given(count: u64, secret: &SigningKey) -> serde_json::Value {
    let entries: Vec<String> = records(count)
        .iter()
        .map(|it| String::from_utf8(it.entry().to_bytes().unwrap()).unwrap())
        .collect();
    let leaves: Vec<Hash> = entries.iter().map(|it| Hash::leaf(it.as_bytes())).collect();
    let sizes: Vec<u64> = (1..=count)
        .filter(|it| it % 37 == 0 || *it == count || *it < 9)
        .collect();
    let log = log(&leaves, &sizes);
    let roots: Vec<Hash> = (0..=leaves.len())
        .map(|it| root_by_definition(&leaves[..it]))
        .collect();
    let mut inclusions = Vec::new();
    let mut consistencies = Vec::new();
    for size in &sizes {
        for index in (0..*size).filter(|it| it % 11 == 0 || it + 2 > *size) {
            let proof = prove_inclusion(&log.tiles, index, *size).unwrap();
            inclusions.push(json!({ "index": index, "size": size, "proof": proof }));
        }
        for from in (1..=*size).filter(|it| it % 13 == 0 || it.is_power_of_two()) {
            let proof = prove_consistency(&log.tiles, from, *size).unwrap();
            consistencies.push(json!({ "from": from, "to": size, "proof": proof }));
        }
    }
    let tiles: serde_json::Map<_, _> =
        [(0, 0, 256), (0, 1_234_567, 256), (1, 17, 9), (2, 1_000, 1)]
            .into_iter()
            .map(|(level, index, width)| {
                let path = Tile {
                    level,
                    index,
                    width,
                }
                .to_string();
                (path, json!([level, index, width]))
            })
            .collect();
    json!({
        "key": secret.verifying_key().to_string(),
        "secret": secret.to_secret_text(),
        "checkpoint": Checkpoint::sign(count, log.frontier.root(), secret),
        "entries": entries,
        "roots": roots,
        "inclusions": inclusions,
        "consistencies": consistencies,
        "tiles": tiles,
    })
}

#[test]
fn gos_checksum_database_accepts_our_log_and_we_its_notes() {
    let key = key();
    let Some(output) = go(&given(600, &key).to_string()) else {
        return;
    };
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{why}");
    let note = String::from_utf8(output.stdout).unwrap();
    let note = Note::parse(&note).unwrap();
    assert_eq!(note.verify(&[key.verifying_key()]), Ok("a text\nof Go's\n"));
}

#[test]
fn gos_checksum_database_refuses_a_tampered_checkpoint() {
    let mut input = given(20, &key());
    let note = input["checkpoint"]
        .as_str()
        .unwrap()
        .replacen("\n20\n", "\n21\n", 1);
    input["checkpoint"] = note.into();
    let Some(output) = go(&input.to_string()) else {
        return;
    };
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("checkpoint"));
}
