//! What the tests are about: one artifact, a few keys, and statements about it.

use std::path::{Path, PathBuf};

use airboss_attest::{
    Document, Form, Hint, PublicKey, ReadError, SigningKey, Statement, Trust, TrustedKey, read,
};
use airboss_model::{Digest, Timestamp};
use serde_json::{Value, json};

/// The artifact that every sample is about.
pub fn artifact() -> Digest {
    "sha256:5c1bbf05a6a8a4a4c9b6b0f2b5d0a2c3e4f5061728394a5b6c7d8e9fa0b1c2d3"
        .parse()
        .unwrap()
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Noon of the day that most tests take place on.
pub fn noon() -> Timestamp {
    at("2026-03-02T12:00:00Z")
}

/// The folder of samples, which is the fuzzer's corpus too.
pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

pub fn sample(name: &str) -> Vec<u8> {
    std::fs::read(samples().join(name)).unwrap()
}

pub fn try_read(bytes: &[u8]) -> Result<Document, ReadError> {
    try_read_as(bytes, None)
}

pub fn try_read_as(bytes: &[u8], form: Option<Form>) -> Result<Document, ReadError> {
    let subject = artifact();
    read(
        bytes,
        &Hint {
            subject: &subject,
            name: "checkout@1.4.0",
            form,
        },
    )
}

pub fn document(bytes: &[u8]) -> Document {
    try_read(bytes).unwrap()
}

pub fn secret(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

pub fn trusted(name: &str, key: PublicKey) -> TrustedKey {
    TrustedKey {
        name: name.to_owned(),
        key,
        own: false,
        from: None,
        until: None,
        revoked: None,
    }
}

/// Trust in the key of seed 1, called `ci`.
pub fn trust_in_ci() -> Trust {
    Trust {
        keys: vec![trusted("ci", secret(1).public_key())],
        identities: Vec::new(),
    }
}

pub fn provenance() -> Statement {
    serde_json::from_slice(&sample("provenance-github.json")).unwrap()
}

/// A statement in an envelope signed by the keys of these seeds.
pub fn signed(statement: &Statement, seeds: &[u8]) -> Value {
    let mut all = Vec::new();
    let mut envelope = Value::Null;
    for seed in seeds {
        envelope = serde_json::from_str(&secret(*seed).sign(statement).to_json()).unwrap();
        all.extend(envelope["signatures"].as_array().unwrap().clone());
    }
    envelope["signatures"] = json!(all);
    envelope
}

pub fn tests_statement(name: &str, failed: &[&str]) -> Statement {
    let tests = ["adds", "pays"].map(|it| format!("{name} {it}"));
    let failed: Vec<String> = failed.iter().map(|it| format!("{name} {it}")).collect();
    let passed: Vec<&String> = tests.iter().filter(|it| !failed.contains(it)).collect();
    Statement::about(
        "checkout",
        &artifact(),
        "https://in-toto.io/attestation/test-result/v0.1",
        json!({
            "result": if failed.is_empty() { "PASSED" } else { "FAILED" },
            "configuration": [{ "name": "the same for all" }],
            "passedTests": passed,
            "failedTests": failed,
        }),
    )
}
