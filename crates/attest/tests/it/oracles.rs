//! Others' implementations on what Airboss signs, and Airboss on what others write.
//!
//! `scripts/oracles.sh` installs them under `target/oracles`; a test whose tool is not there says
//! so and passes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use airboss_attest::{Envelope, Facts, Statement};
use airboss_model::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::make::{secret, try_read};

/// A file under `target/oracles`; None, with a message, where it is not installed.
fn installed(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    let path = target.join("oracles").join(name);
    if path.exists() {
        return Some(path);
    }
    println!(
        "skipped: {} is not there; scripts/oracles.sh installs it",
        path.display()
    );
    None
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/oracles")
        .join(name)
}

fn run(mut command: Command, input: &Value) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that gives up before it has read all is judged by its end.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const BLOB: &[u8] = b"an artifact\n";

fn envelope() -> Envelope {
    let digest = Digest::from_sha256(Sha256::digest(BLOB).into());
    let kind = "https://slsa.dev/verification_summary/v1";
    let predicate = json!({
        "verifier": { "id": "airboss:shop" },
        "timeVerified": "2026-03-02T12:00:00Z",
        "resourceUri": "airboss:checkout/production",
        "policy": { "uri": "airboss.yaml" },
        "verificationResult": "PASSED",
        "verifiedLevels": ["AIRBOSS_TESTS"],
    });
    secret(1).sign(&Statement::about("checkout", &digest, kind, predicate))
}

/// The envelope with a byte of what it says changed.
fn tampered() -> Envelope {
    let mut envelope = envelope();
    let text = String::from_utf8(envelope.payload).unwrap();
    envelope.payload = text.replace("PASSED", "FAILED").into_bytes();
    envelope
}

fn key() -> String {
    secret(1).public_key().to_string()
}

#[test]
fn npms_sigstore_accepts_our_bundle_and_refuses_a_tampered_one_and_another_key() {
    let Some(program) = installed("verify.mjs") else {
        return;
    };
    let ask = |envelope: &Envelope, key: String| {
        let bundle: Value = serde_json::from_str(&envelope.to_bundle_json().unwrap()).unwrap();
        let mut node = Command::new("node");
        node.arg(&program);
        run(node, &json!({ "bundle": bundle, "key": key }))
    };
    let good = ask(&envelope(), key());
    assert!(good.status.success(), "{}", said(&good));
    let bad = ask(&tampered(), key());
    assert!(!bad.status.success());
    assert!(said(&bad).contains("signature"), "{}", said(&bad));
    assert!(
        !ask(&envelope(), secret(2).public_key().to_string())
            .status
            .success()
    );
}

#[test]
fn pypis_securesystemslib_accepts_our_envelope_and_refuses_a_tampered_one_and_another_key() {
    let Some(python) = installed("python/bin/python") else {
        return;
    };
    let ask = |envelope: &Envelope, key: String| {
        let envelope: Value = serde_json::from_str(&envelope.to_json()).unwrap();
        let mut command = Command::new(&python);
        command.arg(here("verify.py"));
        run(command, &json!({ "envelope": envelope, "key": key }))
    };
    let good = ask(&envelope(), key());
    assert!(good.status.success(), "{}", said(&good));
    let bad = ask(&tampered(), key());
    assert!(!bad.status.success());
    assert!(said(&bad).contains("VerificationError"), "{}", said(&bad));
    assert!(
        !ask(&envelope(), secret(2).public_key().to_string())
            .status
            .success()
    );
}

#[test]
fn cosign_accepts_our_attestation_by_key_and_refuses_a_tampered_one_and_another_artifact() {
    let Some(cosign) = installed("bin/cosign") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let key = put("airboss.pub", key().as_bytes());
    let blob = put("artifact", BLOB);
    let other = put("other", b"another artifact\n");
    let good = put("good.json", envelope().to_bundle_json().unwrap().as_bytes());
    let bad = put("bad.json", tampered().to_bundle_json().unwrap().as_bytes());
    let ask = |bundle: &Path, blob: &Path| {
        let mut command = Command::new(&cosign);
        command
            .args(["verify-blob-attestation", "--insecure-ignore-tlog"])
            .args([
                "--type",
                "https://slsa.dev/verification_summary/v1",
                "--key",
            ])
            .arg(&key)
            .arg("--bundle")
            .arg(bundle)
            .arg(blob)
            .env("HOME", folder.path());
        run(command, &Value::Null)
    };
    let accepted = ask(&good, &blob);
    assert!(accepted.status.success(), "{}", said(&accepted));
    let refused = ask(&bad, &blob);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("envelope"), "{}", said(&refused));
    let refused = ask(&good, &other);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("digest"), "{}", said(&refused));
}

#[test]
fn bills_that_cyclonedxs_own_library_writes_are_read_alike_in_every_version_and_format() {
    let Some(python) = installed("python/bin/python") else {
        return;
    };
    let output = Command::new(python).arg(here("bills.py")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let mut read = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let bill: Value = serde_json::from_str(line).unwrap();
        let text = bill["text"].as_str().unwrap();
        let version = bill["version"].as_str().unwrap();
        let document =
            try_read(text.as_bytes()).unwrap_or_else(|error| panic!("{version}: {error}"));
        let Facts::Sbom(facts) = &document.facts else {
            panic!("{version} {}", bill["format"]);
        };
        assert_eq!(facts.format, format!("CycloneDX {version}"));
        assert_eq!(facts.name.as_deref(), Some("checkout@1.4.0"));
        assert_eq!((facts.components, facts.unlicensed), (3, 1), "{text}");
        assert_eq!(facts.licences["MIT OR Apache-2.0"], 1);
        read += 1;
    }
    assert_eq!(read, 10);
}
