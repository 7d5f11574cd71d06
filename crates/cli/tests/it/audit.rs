use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use airboss_engine::{Command as Wish, Event, Input, Lane, Request, decide};
use airboss_ledger::{
    BUNDLE_FORMAT, Bundle, Checkpoint, Document, Hash, LaneRecords, Record, Sealed, SigningKey,
    Tile, Tiles, Walk, prove_inclusion,
};
use airboss_model::manifest::{self, Resource};
use airboss_model::{Digest, Timestamp};
use proptest::prelude::*;

const MANIFEST: &str = r#"
apiVersion: airboss/v1
kind: Service
metadata: { name: shop }
spec:
  target:
    process:
      command: ["{artifact}/shop", "{port}"]
      listen: 127.0.0.1:8080
  slos:
    - { name: availability, objective: 99%, bad: "status >= 500" }
"#;

fn key() -> SigningKey {
    SigningKey::from_seed("airboss.test", &[5; 32]).unwrap()
}

/// The record of a rollout that is asked for and given up.
fn records() -> Vec<Record> {
    let documents = manifest::parse_bytes("airboss.yaml", MANIFEST.as_bytes()).unwrap();
    let Resource::Service(service) = &documents[0].resource;
    let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
    let ship = Wish::Ship(Request {
        rollout: "shop-1".parse().unwrap(),
        release: "shop@1.0.0".parse().unwrap(),
        digest: Digest::from_sha256([7; 32]),
        service: Arc::new((**service).clone()),
        by: "ann".to_owned(),
        at: at(0),
        is_return: false,
        slow: None,
        evidence: Vec::new(),
    });
    let abort = Wish::Abort {
        rollout: "shop-1".parse().unwrap(),
        force: false,
        reason: "a \"mistake\"".to_owned(),
    };
    let mut lane = Arc::new(Lane::new("shop/production".parse().unwrap()));
    let mut records: Vec<Record> = Vec::new();
    for (seq, command) in (1..).zip([ship, abort]) {
        let input = Input::Command {
            command,
            by: "ann".to_owned(),
        };
        let decision = decide(&lane, &input, at(seq));
        for event in &decision.events {
            records.push(record(records.len() as u64, seq, at(seq), event, &input));
        }
        lane = decision.lane;
    }
    records
}

fn record(previous: u64, seq: i64, at: Timestamp, event: &Event, input: &Input) -> Record {
    Record {
        number: previous + 1,
        previous,
        lane: "shop/production".to_owned(),
        seq: seq as u64,
        rollout: Some("shop-1".to_owned()),
        at: at.as_microsecond(),
        kind: event.kind().to_owned(),
        message: event.message(),
        body: serde_json::to_string(event).unwrap(),
        input: serde_json::to_string(input).unwrap(),
        removed: None,
    }
}

/// The bundle of these records, sealed and signed as they are.
fn bundle(records: Vec<Record>) -> Bundle {
    let mut walk = Walk::default();
    let leaves: Vec<Hash> = records.iter().map(|it| walk.step(it).unwrap()).collect();
    let size = leaves.len() as u64;
    let tiles = Tiles::from([(Tile::of(0, 0, size).unwrap(), leaves)]);
    let sealed = |record: Record| Sealed {
        proof: prove_inclusion(&tiles, record.number - 1, size).unwrap(),
        record,
    };
    Bundle {
        format: BUNDLE_FORMAT.to_owned(),
        subject: "shop-1".to_owned(),
        key: key().verifying_key().to_string(),
        checkpoint: Checkpoint::sign(size, walk.frontier().root(), &key()),
        lanes: vec![LaneRecords {
            lane: "shop/production".to_owned(),
            rollouts: vec!["shop-1".to_owned()],
            begins: None,
            records: records.into_iter().map(sealed).collect(),
        }],
        installation: Vec::new(),
        documents: Vec::new(),
    }
}

fn verify(bytes: &[u8], flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop-1.audit.json");
    fs::write(&file, bytes).unwrap();
    Command::new(env!("CARGO_BIN_EXE_airboss"))
        .args(["audit", "verify"])
        .arg(&file)
        .args(flags)
        .env("AIRBOSS_HOME", "/nonexistent/airboss")
        .env_remove("AIRBOSS_SERVER")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_bundle_is_verified_without_any_server() {
    let bytes = bundle(records()).to_bytes();
    let key = key().verifying_key().to_string();
    let output = verify(&bytes, &["--key", &key]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("2 decisions made again on their recorded inputs"),
        "{text}"
    );
    assert!(!text.contains("the key is the bundle's own"), "{text}");
    let unpinned = said(&verify(&bytes, &[]));
    assert!(
        unpinned.contains("the key is the bundle's own"),
        "{unpinned}"
    );
}

#[test]
fn a_changed_bundle_is_refused_and_the_event_is_named() {
    let mut changed = bundle(records());
    changed.lanes[0].records[1].record.message = "nothing happened".to_owned();
    let output = verify(&changed.to_bytes(), &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("✗ event 2 ("), "{text}");
}

/// Whoever holds the key can seal what was never decided; deciding again finds it.
#[test]
fn words_that_were_sealed_but_never_decided_are_found() {
    let mut forged = records();
    let last = forged.len() - 1;
    forged[last].message = "aborted: the moon was full".to_owned();
    let output = verify(&bundle(forged).to_bytes(), &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("does not follow from its recorded input"),
        "{text}"
    );
    assert!(text.contains("the moon was full"), "{text}");

    let mut short = records();
    short.pop();
    let text = said(&verify(&bundle(short).to_bytes(), &[]));
    assert!(text.contains("which is not recorded"), "{text}");
}

#[test]
fn a_bundle_of_another_log_is_refused_by_a_named_key() {
    let other = SigningKey::from_seed("other.test", &[6; 32]).unwrap();
    let key = other.verifying_key().to_string();
    let output = verify(&bundle(records()).to_bytes(), &["--key", &key]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let output = verify(
        &bundle(records()).to_bytes(),
        &["--key", "/nonexistent/key"],
    );
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn what_is_no_bundle_is_told() {
    let output = verify(b"{}", &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("this is no audit bundle"));
}

/// Bundles outlive the Airboss that wrote them: these files were written once and never again.
#[test]
fn bundles_written_by_earlier_versions_still_hold() {
    let key = key().verifying_key().to_string();
    for name in [
        "shop-1.audit-1.json",
        "shop@1.0.0.audit-2.json",
        "shop@1.0.0.audit-3.json",
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(name);
        let output = verify(&fs::read(file).unwrap(), &["--key", &key]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
    }
}

/// For the next form: run it once with `--ignored`, and leave the file alone from then on.
#[test]
#[ignore = "writes a bundle of the present form to tests/data, where there is none"]
fn write_a_bundle_of_the_present_form() {
    let mut bundle = attested();
    bundle.subject = "shop@1.0.0".to_owned();
    let form = BUNDLE_FORMAT.rsplit('/').next().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let file = folder.join(format!("shop@1.0.0.audit-{form}.json"));
    fs::create_dir_all(folder).unwrap();
    assert!(!file.exists(), "{} is there already", file.display());
    fs::write(file, bundle.to_bytes()).unwrap();
}

#[test]
fn a_bundle_of_a_newer_form_says_what_to_do() {
    let text = String::from_utf8(bundle(records()).to_bytes()).unwrap();
    let newer = text.replacen(BUNDLE_FORMAT, "airboss-audit/9", 1);
    let output = verify(newer.as_bytes(), &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("or a newer one"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_releases_bundle_lists_its_rollouts_and_no_others() {
    let mut of_release = bundle(records());
    of_release.subject = "shop@1.0.0".to_owned();
    let output = verify(&of_release.to_bytes(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    of_release.subject = "shop@2.0.0".to_owned();
    let output = verify(&of_release.to_bytes(), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("are not what its subject shop@2.0.0 says"));
}

/// The page is a function of the bundle; one that says anything else is told.
#[test]
fn a_page_beside_the_bundle_is_compared_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, page) = (
        folder.path().join("shop-1.audit.json"),
        folder.path().join("shop-1.audit.html"),
    );
    fs::write(&file, bundle(records()).to_bytes()).unwrap();
    let run = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_airboss"))
            .args(["audit", "verify"])
            .arg(&file)
            .args(flags)
            .output()
            .unwrap();
        (output.status.code(), said(&output))
    };
    let (code, text) = run(&["--page", page.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    let made = fs::read_to_string(&page).unwrap();
    insta::assert_snapshot!("a_page", made);
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("is the page of this bundle, byte for byte"),
        "{text}"
    );

    fs::write(&page, made.replacen("aborted", "shipped", 1)).unwrap();
    let (code, text) = run(&[]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("is not the page of this bundle"), "{text}");

    let older = made.replacen("content=\"airboss ", "content=\"airboss 0.0.", 1);
    fs::write(&page, older).unwrap();
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("cannot be compared"), "{text}");
}

/// What a record says is never markup.
#[test]
fn a_page_fetches_nothing_and_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (file, page) = (folder.path().join("b.json"), folder.path().join("p.html"));
    fs::write(&file, bundle(records()).to_bytes()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_airboss"))
        .args(["audit", "verify"])
        .arg(&file)
        .arg("--page")
        .arg(&page)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let made = fs::read_to_string(&page).unwrap();
    for forbidden in [
        "<script", "src=", "http:", "https:", "url(", "<img", "<link", "@import",
    ] {
        assert!(!made.contains(forbidden), "{forbidden}");
    }
    assert!(made.contains("default-src 'none'"));
    assert!(made.contains("a &quot;mistake&quot;"), "{made}");
}

/// A record of the installation with this body.
fn own(number: u64, previous: u64, kind: &str, body: &serde_json::Value) -> Record {
    Record {
        number,
        previous,
        lane: "airboss/installation".to_owned(),
        seq: number,
        rollout: None,
        at: 1_790_000_000_000_000,
        kind: kind.to_owned(),
        message: format!("{kind} in a test"),
        body: body.to_string(),
        input: r#"{"by":"ci"}"#.to_owned(),
        removed: None,
    }
}

const JUNIT: &str = r#"<testsuite name="unit" tests="2"><testcase classname="a" name="b"/><testcase classname="a" name="c"/></testsuite>"#;

/// A bundle with a signed document by a key that is believed, and a plain report that Airboss vouches for.
fn attested() -> Bundle {
    use airboss_attest::{Hint, Statement, Trust, TrustedKey, read, verify};
    let artifact = Digest::from_sha256([7; 32]);
    let seen = Timestamp::from_second(1_790_000_000).unwrap();
    let [ci, airboss] = [1, 2].map(|seed| airboss_attest::SigningKey::from_seed(&[seed; 32]));
    let trusted = |name: &str, key: &airboss_attest::SigningKey, own| TrustedKey {
        name: name.to_owned(),
        key: key.public_key(),
        own,
        from: None,
        until: None,
        revoked: None,
    };
    let trust = Trust {
        keys: vec![
            trusted("ci", &ci, false),
            trusted("airboss-1", &airboss, true),
        ],
        identities: Vec::new(),
    };
    let about = Statement::about(
        "shop@1.0.0",
        &artifact,
        "https://example.test/anything/v1",
        serde_json::json!({ "fine": true }),
    );
    let hint = Hint {
        subject: &artifact,
        name: "",
        form: None,
    };
    let report = read(JUNIT.as_bytes(), &hint).unwrap();
    let files = [
        (ci.sign(&about).to_json(), None),
        (
            JUNIT.to_owned(),
            Some(airboss.sign(&report.statement).to_json()),
        ),
    ];
    let mut sealed = records();
    let last = sealed.len() as u64;
    let mut documents = Vec::new();
    let believed = serde_json::json!({ "controller": "local", "trust": trust });
    let mut installation = vec![own(last + 1, 0, "trust_changed", &believed)];
    for (bytes, envelope) in files {
        let mut document = Document::new(artifact.to_string(), bytes.as_bytes());
        let hash = |text: &String| airboss_ledger::TextHash::of(text).to_string();
        let row = serde_json::json!({ "digest": document.artifact, "id": document.id });
        let mut kept = row.clone();
        kept["envelope"] = envelope.as_ref().map(hash).into();
        let mut row = row;
        row["at"] = seen.as_microsecond().into();
        row["source"] = "file".into();
        row["added_by"] = "ci".into();
        let body = serde_json::json!({ "rows": [
            { "table": "attestations", "row": row },
            { "table": "documents", "row": kept },
        ] });
        let number = last + 1 + installation.len() as u64;
        installation.push(own(number, number - 1, "attestation_kept", &body));
        let read = read(bytes.as_bytes(), &hint).unwrap();
        let checked = verify(&read, &artifact, &trust, seen, seen);
        document.envelope = envelope;
        document.verification = Some(serde_json::to_value(&checked).unwrap());
        documents.push(document);
    }
    sealed.extend(installation);
    let mut bundle = bundle(sealed);
    let lane = &mut bundle.lanes[0];
    bundle.installation = lane.records.split_off(last as usize);
    bundle.documents = documents;
    bundle
}

#[test]
fn documents_are_checked_offline_with_who_signed_them() {
    let key = key().verifying_key().to_string();
    let output = verify(&attested().to_bytes(), &["--key", &key]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("2 documents about the artifact have the bytes that were sealed"),
        "{text}"
    );
    assert!(
        text.contains("verified  it is signed by the key `ci`"),
        "{text}"
    );
    assert!(text.contains("Airboss signed what it says"), "{text}");
}

/// Whatever is changed of a document, of what is said of it or of the keys that judge it: it is
/// named.
#[test]
fn a_changed_document_is_named() {
    type Change = fn(&mut Bundle);
    let cases: [(&str, Change); 7] = [
        ("does not have the bytes", |bundle| {
            bundle.documents[1].bytes.replace_range(8..9, "x");
        }),
        ("no sealed record of the bundle says", |bundle| {
            let file = JUNIT.replace("unit", "UNIT");
            let other = Document::new(bundle.documents[1].artifact.clone(), file.as_bytes());
            bundle.documents[1] = other;
        }),
        ("the envelope of the document", |bundle| {
            bundle.documents[1].envelope = None
        }),
        ("the envelope of the document", |bundle| {
            let envelope = bundle.documents[1].envelope.as_mut().unwrap();
            *envelope = envelope.replacen("sig\":\"", "sig\":\"A", 1);
        }),
        (
            "its own signatures and the keys that are believed say",
            |bundle| {
                let told = bundle.documents[0].verification.as_mut().unwrap();
                told["verdict"] = "untrusted".into();
            },
        ),
        ("does not say how the document", |bundle| {
            bundle.documents[0].verification = None
        }),
        ("is not what was sealed", |bundle| {
            let record = &mut bundle.installation[0].record;
            record.body = record.body.replace("\"ci\"", "\"cd\"");
        }),
    ];
    for (expected, change) in cases {
        let mut bundle = attested();
        change(&mut bundle);
        let output = verify(&bundle.to_bytes(), &[]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(3), "{expected}: {text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// Whoever holds the log's key could seal anything, but not sign as others do.
#[test]
fn a_document_that_nobody_signed_so_is_found_although_the_log_says_so() {
    let mut bundle = attested();
    let told = bundle.documents[1].verification.clone();
    bundle.documents[0].verification = told;
    let text = said(&verify(&bundle.to_bytes(), &[]));
    assert!(
        text.contains("its own signatures and the keys that are believed say"),
        "{text}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_changed_byte_of_a_bundle_with_documents_is_found(
        place in any::<prop::sample::Index>(),
        by in 1_u8..,
    ) {
        let mut bytes = attested().to_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= by;
        let output = verify(&bytes, &["--key", &key().verifying_key().to_string()]);
        prop_assert!(output.status.code() != Some(0), "byte {place}: {}", said(&output));
    }
}
