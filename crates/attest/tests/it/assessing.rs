//! What a rollout requires is compared with what is known, and said so that one can act on it.

use airboss_attest::{
    Document, ItemState, ItemVerdict, Known, Requirement, ScanLimit, Severity, Statement, Trust,
    Verification, assess, summarise, verify,
};
use airboss_model::{Span, Timestamp};
use serde_json::{Value, json};

use crate::make::{
    artifact, at, document, noon, provenance, sample, signed, tests_statement, trust_in_ci,
};

const ADD: &str = "airboss artifact add --version 1.4.0";

/// Documents with the time at which each was first seen.
struct Shelf(Vec<(Document, Verification, Timestamp)>);

impl Shelf {
    fn of(documents: &[(&[u8], &str)]) -> Self {
        Self::trusting(documents, &trust_in_ci())
    }

    fn trusting(documents: &[(&[u8], &str)], trust: &Trust) -> Self {
        let put = |(bytes, seen): &(&[u8], &str)| {
            let (document, seen) = (document(bytes), at(seen));
            let checked = verify(&document, &artifact(), trust, seen, noon());
            (document, checked, seen)
        };
        Self(documents.iter().map(put).collect())
    }

    fn assess(&self, items: &[Requirement]) -> Vec<ItemVerdict> {
        let known: Vec<_> = self
            .0
            .iter()
            .map(|(document, verification, seen)| Known {
                id: document.id,
                facts: &document.facts,
                verification,
                seen: *seen,
            })
            .collect();
        assess(items, &known, ADD, noon())
    }

    fn one(&self, item: Requirement) -> ItemVerdict {
        self.assess(&[item]).remove(0)
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn tests(name: &str, failed: &[&str]) -> Vec<u8> {
    bytes(&signed(&tests_statement(name, failed), &[1]))
}

fn scan(finished: &str, result: Value) -> Vec<u8> {
    let statement = Statement::about(
        "checkout",
        &artifact(),
        "https://in-toto.io/attestation/vulns/v0.2",
        json!({
            "scanner": { "uri": "osv", "result": result },
            "metadata": { "scanFinishedOn": finished },
        }),
    );
    bytes(&signed(&statement, &[1]))
}

fn all() -> [Requirement; 5] {
    [
        Requirement::Signed,
        Requirement::Provenance,
        Requirement::Tests,
        Requirement::Scan(ScanLimit::default()),
        Requirement::Sbom,
    ]
}

const TODAY: &str = "2026-03-02T11:00:00Z";

fn lines(verdicts: &[ItemVerdict]) -> String {
    let line = |it: &ItemVerdict| {
        let remedy = it.remedy.as_deref().unwrap_or("-");
        format!(
            "{} {:?}: {}\n    {remedy}\n",
            it.item.name(),
            it.state,
            it.reason
        )
    };
    verdicts.iter().map(line).collect()
}

#[test]
fn nothing_known_is_missing_five_times_each_with_what_to_run() {
    insta::assert_snapshot!(lines(&Shelf(Vec::new()).assess(&all())));
}

#[test]
fn everything_known_passes_five_times() {
    let (provenance, tests) = (bytes(&signed(&provenance(), &[1])), tests("unit", &[]));
    let (scan, sbom) = (
        scan("2026-03-02T10:00:00Z", json!([])),
        sample("bom.cdx.json"),
    );
    let shelf = Shelf::of(&[
        (&provenance, TODAY),
        (&tests, TODAY),
        (&scan, TODAY),
        (&sbom, TODAY),
    ]);
    let verdicts = shelf.assess(&all());
    assert!(
        verdicts.iter().all(ItemVerdict::passed),
        "{}",
        lines(&verdicts)
    );
    insta::assert_snapshot!(lines(&verdicts));
    assert_eq!(verdicts[3].good_until, Some(at("2026-03-09T10:00:00Z")));
}

#[test]
fn everything_wrong_is_told_with_its_reason() {
    let mut torn = signed(&provenance(), &[1]);
    torn["signatures"][0]["sig"] = json!("AAAA");
    let shelf = Shelf::of(&[
        (&bytes(&torn), TODAY),
        (&sample("junit-pytest.xml"), TODAY),
        (&sample("osv.json"), TODAY),
        (br#"{"bomFormat":"CycloneDX","specVersion":"1.6"}"#, TODAY),
    ]);
    insta::assert_snapshot!(lines(&shelf.assess(&all())));
}

#[test]
fn the_last_report_of_the_same_tests_counts_and_all_tests_must_be_good() {
    let (red, green) = (tests("unit", &["pays"]), tests("unit", &[]));
    let (early, late) = ("2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z");
    let state = |shelf: &Shelf| shelf.one(Requirement::Tests).state;
    assert_eq!(
        state(&Shelf::of(&[(&red, early), (&green, late)])),
        ItemState::Passed
    );
    assert_eq!(
        state(&Shelf::of(&[(&green, early), (&red, late)])),
        ItemState::Failed
    );
    let browser = tests("browser", &["pays"]);
    assert_eq!(
        state(&Shelf::of(&[(&browser, early), (&green, late)])),
        ItemState::Failed
    );
}

#[test]
fn no_test_that_ran_is_never_a_pass() {
    let shelf = Shelf::of(&[(b"<testsuites/>", TODAY)]);
    assert_eq!(shelf.one(Requirement::Tests).state, ItemState::Failed);
}

#[test]
fn a_finding_that_nobody_rated_is_let_through_only_where_everything_is() {
    let unrated = scan(TODAY, json!([{ "id": "MAL-1", "severity": [] }]));
    let shelf = Shelf::of(&[(&unrated, TODAY)]);
    let limit = |max| {
        Requirement::Scan(ScanLimit {
            max,
            ..ScanLimit::default()
        })
    };
    assert_eq!(shelf.one(limit(Severity::High)).state, ItemState::Failed);
    assert_eq!(
        shelf.one(limit(Severity::Critical)).state,
        ItemState::Passed
    );
}

#[test]
fn a_scan_gets_stale_and_a_bad_one_does_not_get_better_by_it() {
    let old = scan("2026-02-20T00:00:00Z", json!([]));
    let shelf = Shelf::of(&[(&old, "2026-02-20T00:00:00Z")]);
    let verdict = shelf.one(Requirement::Scan(ScanLimit::default()));
    assert_eq!(verdict.state, ItemState::Stale);
    assert_eq!(
        verdict.reason,
        "the last scan is 10d12h old; 7d is the most"
    );
    let age = Span::secs(30 * 86_400);
    let month = Requirement::Scan(ScanLimit {
        age,
        ..ScanLimit::default()
    });
    assert_eq!(shelf.one(month).state, ItemState::Passed);

    // Another scanner's clean report does not take a bad one away, however old that is.
    let bad = json!([{ "id": "CVE-1", "severity": [{ "method": "nvd", "score": "9.9" }] }]);
    let bad = scan("2026-02-20T00:00:00Z", bad);
    let other = sample("sarif-levels.json");
    let shelf = Shelf::of(&[(&bad, "2026-02-20T00:00:00Z"), (&other, TODAY)]);
    assert_eq!(
        shelf.one(Requirement::Scan(ScanLimit::default())).state,
        ItemState::Failed
    );
    // Its own newer one does.
    let clean = scan(TODAY, json!([]));
    let shelf = Shelf::of(&[(&bad, "2026-02-20T00:00:00Z"), (&clean, TODAY)]);
    assert_eq!(
        shelf.one(Requirement::Scan(ScanLimit::default())).state,
        ItemState::Passed
    );
}

#[test]
fn what_does_not_count_takes_nothing_away_from_what_does() {
    let green = tests("unit", &[]);
    let strangers = bytes(&signed(&tests_statement("unit", &["pays"]), &[9]));
    let shelf = Shelf::of(&[(&green, "2026-03-02T10:00:00Z"), (&strangers, TODAY)]);
    assert_eq!(shelf.one(Requirement::Tests).state, ItemState::Passed);
    let shelf = Shelf::of(&[(&strangers, TODAY)]);
    assert_eq!(shelf.one(Requirement::Tests).state, ItemState::BadlySigned);
}

#[test]
fn where_signed_is_required_provenance_without_a_signature_does_not_do() {
    let bare = serde_json::to_vec(&provenance()).unwrap();
    let shelf = Shelf::of(&[(&bare, TODAY)]);
    assert_eq!(shelf.one(Requirement::Provenance).state, ItemState::Passed);
    let verdicts = shelf.assess(&[Requirement::Signed, Requirement::Provenance]);
    assert_eq!(verdicts[1].state, ItemState::BadlySigned);
    // Airboss's own signature makes nobody's word better.
    let mut own = trust_in_ci();
    own.keys[0].own = true;
    let signed = bytes(&signed(&provenance(), &[1]));
    let shelf = Shelf::trusting(&[(&signed, TODAY)], &own);
    let verdicts = shelf.assess(&[Requirement::Signed, Requirement::Provenance]);
    assert_eq!(verdicts[0].state, ItemState::Missing);
    assert_eq!(verdicts[1].state, ItemState::BadlySigned);
}

#[test]
fn missing_fields_of_the_provenance_are_named() {
    let shelf = Shelf::of(&[(&sample("provenance-incomplete.json"), TODAY)]);
    let verdict = shelf.one(Requirement::Provenance);
    assert_eq!(verdict.state, ItemState::Missing);
    assert_eq!(
        verdict.reason,
        "the provenance does not name: source, commit, run"
    );
}

#[test]
fn a_passed_gate_is_a_verification_summary_that_airboss_itself_reads() {
    let (provenance, tests) = (bytes(&signed(&provenance(), &[1])), tests("unit", &[]));
    let shelf = Shelf::of(&[(&provenance, TODAY), (&tests, TODAY)]);
    let items = shelf.assess(&[Requirement::Signed, Requirement::Tests]);
    let statement = summarise(&airboss_attest::Passed {
        name: "checkout@1.4.0",
        artifact: &artifact(),
        resource: "airboss:checkout/production",
        verifier: "airboss:shop",
        version: "0.1.0",
        policy: "airboss.yaml",
        policy_digest: &airboss_model::Digest::from_sha256([3; 32]),
        items: &items,
        at: noon(),
    });
    let value: Value = serde_json::from_str(&statement.to_json()).unwrap();
    insta::assert_json_snapshot!(value);
    let read = document(statement.to_json().as_bytes());
    insta::assert_json_snapshot!(read.facts);
}
