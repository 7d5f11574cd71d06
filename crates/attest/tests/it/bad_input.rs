//! Whatever is handed in is read or refused in words; nothing falls over.

use airboss_attest::{DOCUMENT_BYTES_MAX, Form, ReadError, SIGNATURES_MAX, Statement};
use proptest::prelude::*;
use serde_json::json;

use crate::make::{artifact, document, provenance, sample, samples, signed, try_read, try_read_as};

fn refused(bytes: &[u8]) -> String {
    match try_read(bytes) {
        Ok(document) => panic!("read as {:?}", document.form),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let envelope = signed(&provenance(), &[1]);
    let mut none = envelope.clone();
    none["signatures"] = json!([]);
    let mut many = envelope.clone();
    many["signatures"] = json!(vec![envelope["signatures"][0].clone(); SIGNATURES_MAX + 1]);
    let mut kind = envelope.clone();
    kind["payloadType"] = json!("text/plain");
    let mut garbled = envelope.clone();
    garbled["payload"] = json!("=not base64=");
    let mut cut = envelope.to_string().into_bytes();
    cut.truncate(300);
    let statement = serde_json::to_value(provenance()).unwrap();
    let mut version = statement.clone();
    version["_type"] = json!("https://in-toto.io/Statement/v9");
    let mut nobody = statement.clone();
    nobody["subject"] = json!([]);
    let mut broken = statement.clone();
    broken["predicate"] = json!({ "buildDefinition": 7 });
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let deep_xml = format!("{}{}", "<a>".repeat(5_000), "</a>".repeat(5_000));
    let bomb =
        r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><testsuites name="&b;"/>"#;
    let outside = r#"<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuites/>"#;
    let mut bundle: serde_json::Value = serde_json::from_slice(&sample("bundle-key.json")).unwrap();
    bundle["mediaType"] = json!("application/vnd.dev.sigstore.bundle.v9+json");
    let named: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("blank", b" \n\t".to_vec()),
        ("binary", vec![0xff, 0xfe, 0x00]),
        ("compressed", vec![0x1f, 0x8b, 8, 0]),
        ("prose", b"all tests passed".to_vec()),
        ("other JSON", b"{\"hello\":1}".to_vec()),
        ("twice the same field", br#"{"payloadType":"a","payloadType":"b"}"#.to_vec()),
        ("no signature", none.to_string().into_bytes()),
        ("too many signatures", many.to_string().into_bytes()),
        ("another payload", kind.to_string().into_bytes()),
        ("garbled payload", garbled.to_string().into_bytes()),
        ("cut off", cut),
        ("statement of the future", version.to_string().into_bytes()),
        ("no subject", nobody.to_string().into_bytes()),
        ("broken predicate", broken.to_string().into_bytes()),
        ("deep JSON", deep.into_bytes()),
        ("deep XML", deep_xml.into_bytes()),
        ("entities", bomb.as_bytes().to_vec()),
        ("outside entities", outside.as_bytes().to_vec()),
        ("unknown entity", b"<testsuites>&nbsp;</testsuites>".to_vec()),
        ("XML cut off", b"<testsuites><testsuite name='a'>".to_vec()),
        ("XML crossed", b"<testsuites>\n<testsuite></testsuites>".to_vec()),
        ("other XML", b"<html><body/></html>".to_vec()),
        ("bundle of the future", bundle.to_string().into_bytes()),
        ("SARIF of the past", br#"{"version":"2.0.0","runs":[]}"#.to_vec()),
        ("SARIF without a run", br#"{"version":"2.1.0","runs":[]}"#.to_vec()),
        ("SARIF that broke off", br#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"invocations":[{"executionSuccessful":false}]}]}"#.to_vec()),
        ("CycloneDX of the past", br#"{"bomFormat":"CycloneDX","specVersion":"1.1"}"#.to_vec()),
        ("SPDX of the future", br#"{"spdxVersion":"SPDX-3.0"}"#.to_vec()),
    ];
    let told: Vec<String> = named
        .iter()
        .map(|(name, bytes)| format!("{name}: {}", refused(bytes)))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_document_larger_than_the_limit_is_refused_unread() {
    let huge = vec![b' '; DOCUMENT_BYTES_MAX + 1];
    assert_eq!(
        try_read(&huge).unwrap_err(),
        ReadError::TooLarge(DOCUMENT_BYTES_MAX + 1)
    );
}

#[test]
fn a_large_document_is_read_and_its_facts_stay_small() {
    let suites: String = (0..20_000)
        .map(|n| {
            format!(
                "<testsuite name=\"{n}\"><testcase name=\"{}\"><failure/></testcase></testsuite>",
                "x".repeat(500)
            )
        })
        .collect();
    let document = document(format!("<testsuites>{suites}</testsuites>").as_bytes());
    assert!(serde_json::to_string(&document.facts).unwrap().len() < 200_000);
    let components: Vec<_> = (0..50_000)
        .map(|n| json!({ "name": "x", "licenses": [{ "license": { "name": format!("L{n}") } }] }))
        .collect();
    let bom = json!({ "bomFormat": "CycloneDX", "specVersion": "1.7", "components": components });
    let read = try_read_as(bom.to_string().as_bytes(), Some(Form::CycloneDx)).unwrap();
    assert!(serde_json::to_string(&read.facts).unwrap().len() < 50_000);
}

#[test]
fn facts_that_a_statement_brings_along_are_bounded_too() {
    let long = "x\n".repeat(1_000);
    let many = vec![&long; 1_000];
    let findings = vec![json!({ "id": long, "severity": "critical" }); 1_000];
    let licences: std::collections::BTreeMap<_, _> =
        (0..1_000).map(|n| (format!("{n}{long}"), 1)).collect();
    for (kind, predicate) in [
        (
            "https://in-toto.io/attestation/test-result/v0.1",
            json!({ "result": "FAILED", "airboss_tests": { "failures": many, "name": long } }),
        ),
        (
            "https://in-toto.io/attestation/vulns/v0.2",
            json!({ "airboss_scan": { "tool": long, "findings": findings } }),
        ),
        (
            "https://in-toto.io/attestation/reference/v0.1",
            json!({ "airboss_sbom": { "format": long, "licences": licences } }),
        ),
    ] {
        let statement = Statement::about("x", &artifact(), kind, predicate);
        let told = serde_json::to_string(&document(statement.to_json().as_bytes()).facts).unwrap();
        assert!(told.len() < 200_000, "{kind}: {}", told.len());
        assert!(!told.contains("\\n"), "{kind}");
    }
}

#[test]
fn control_characters_of_a_document_reach_no_terminal() {
    let report = "<testsuites><testsuite name='a'><testcase name='x&#27;[2J&#10;y'><failure/></testcase></testsuite></testsuites>";
    let told = serde_json::to_string(&document(report.as_bytes()).facts).unwrap();
    assert!(!told.contains("\\u001b") && !told.contains("\\n"), "{told}");
}

/// The samples with pieces changed, cut, doubled and mixed: what a fuzzer does, for a moment.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<Vec<u8>> = std::fs::read_dir(samples())
        .unwrap()
        .map(|it| std::fs::read(it.unwrap().path()).unwrap())
        .collect();
    let change = (
        any::<prop::sample::Index>(),
        any::<u8>(),
        0_u8..5,
        any::<prop::sample::Index>(),
    );
    let pick = (prop::sample::select(all.clone()), prop::sample::select(all));
    (pick, prop::collection::vec(change, 0..12)).prop_map(|((mut bytes, other), changes)| {
        for (at, byte, how, second) in changes {
            if bytes.is_empty() {
                break;
            }
            let (at, second) = (at.index(bytes.len()), second.index(bytes.len()));
            match how {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.drain(at.min(second)..at.max(second))),
                3 => bytes.extend_from_within(at.min(second)..at.max(second)),
                _ => {
                    let from = second.min(other.len());
                    bytes.splice(at..at, other[from..].iter().copied().take(200));
                }
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_mutation_of_a_sample_makes_the_reader_fall_over(bytes in mutated()) {
        if let Ok(document) = try_read(&bytes) {
            let told = serde_json::to_string(&document.facts).unwrap();
            prop_assert!(told.len() < 200_000);
        }
    }

    #[test]
    fn no_bytes_at_all_make_the_reader_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = try_read(&bytes);
    }
}
