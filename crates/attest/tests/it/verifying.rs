//! Who stands behind a document is told rightly, whatever was done to it.

use airboss_attest::{Revocation, SignatureState, Trust, Verdict, Verification, verify};
use airboss_model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use sigstore_verify::crypto::KeyPair;

use crate::make::{
    artifact, at, document, noon, provenance, sample, secret, signed, tests_statement, trust_in_ci,
    trusted,
};

fn check(envelope: &Value, trust: &Trust, seen: Timestamp) -> Verification {
    let document = document(envelope.to_string().as_bytes());
    verify(&document, &artifact(), trust, seen, noon())
}

fn states(checked: &Verification) -> Vec<SignatureState> {
    checked.signatures.iter().map(|it| it.state).collect()
}

#[test]
fn a_good_signature_by_a_trusted_key_is_verified_and_names_the_key() {
    let checked = check(&signed(&provenance(), &[1]), &trust_in_ci(), noon());
    assert_eq!(checked.verdict, Verdict::Verified);
    assert_eq!(checked.reason, "it is signed by the key `ci`");
    assert!(checked.is_by_others());
}

#[test]
fn a_key_is_found_although_the_envelope_does_not_name_it_or_names_another() {
    for hint in [json!(""), Value::Null, json!("somebody-else")] {
        let mut envelope = signed(&provenance(), &[1]);
        envelope["signatures"][0]["keyid"] = hint;
        let checked = check(&envelope, &trust_in_ci(), noon());
        assert_eq!(checked.verdict, Verdict::Verified, "{}", checked.reason);
    }
}

#[test]
fn an_ecdsa_key_on_p256_is_as_good() {
    let pair = KeyPair::generate_ecdsa_p256().unwrap();
    let pem = pair.public_key_der().unwrap().to_pem();
    let mut envelope = signed(&provenance(), &[1]);
    let parsed = document(envelope.to_string().as_bytes());
    let message = parsed.envelope.unwrap().message();
    let signature = pair.sign(&message).unwrap();
    envelope["signatures"][0]["keyid"] = json!("");
    envelope["signatures"][0]["sig"] = json!(signature.to_base64());
    let trust = Trust {
        keys: vec![trusted("p256", pem.parse().unwrap())],
        identities: Vec::new(),
    };
    assert_eq!(trust.keys[0].key.algorithm(), "ECDSA P-256");
    let checked = check(&envelope, &trust, noon());
    assert_eq!(checked.verdict, Verdict::Verified, "{}", checked.reason);
}

#[test]
fn an_unsigned_statement_and_one_by_a_stranger_are_told_apart() {
    let bare = serde_json::to_value(provenance()).unwrap();
    let checked = check(&bare, &trust_in_ci(), noon());
    assert_eq!(checked.verdict, Verdict::Unsigned);
    let checked = check(&signed(&provenance(), &[9]), &trust_in_ci(), noon());
    assert_eq!(checked.verdict, Verdict::Untrusted);
    assert_eq!(states(&checked), [SignatureState::Unknown]);
}

#[test]
fn what_airboss_signed_itself_is_verified_and_not_by_others() {
    let mut trust = trust_in_ci();
    trust.keys[0].own = true;
    let checked = check(&signed(&provenance(), &[1]), &trust, noon());
    assert_eq!(checked.verdict, Verdict::Verified);
    assert!(!checked.is_by_others());
}

#[test]
fn one_bad_signature_among_several_refuses_the_whole() {
    let mut trust = trust_in_ci();
    trust.keys.push(trusted("release", secret(2).public_key()));
    let good = signed(&provenance(), &[1, 2]);
    assert_eq!(check(&good, &trust, noon()).verdict, Verdict::Verified);

    let mut bad = good;
    bad["signatures"][1]["sig"] = bad["signatures"][0]["sig"].clone();
    // The hint still says whose it is meant to be, and the first key's signature is the first's.
    let mut torn = bad["signatures"][1]["sig"].as_str().unwrap().to_owned();
    torn.replace_range(0..4, "AAAA");
    bad["signatures"][1]["sig"] = json!(torn);
    let checked = check(&bad, &trust, noon());
    assert_eq!(
        states(&checked),
        [SignatureState::Good, SignatureState::Bad]
    );
    assert_eq!(checked.verdict, Verdict::Refused);
    assert!(checked.reason.contains("`release`"), "{}", checked.reason);
}

#[test]
fn a_good_signature_counts_beside_a_strangers_and_beside_an_expired_one() {
    let mut trust = trust_in_ci();
    let mut old = trusted("old", secret(2).public_key());
    old.until = Some(at("2026-01-01T00:00:00Z"));
    trust.keys.push(old);
    let checked = check(&signed(&provenance(), &[9, 2, 1]), &trust, noon());
    assert_eq!(
        states(&checked),
        [
            SignatureState::Unknown,
            SignatureState::Expired,
            SignatureState::Good
        ]
    );
    assert_eq!(checked.verdict, Verdict::Verified);
}

#[test]
fn a_rotated_key_vouches_for_what_was_seen_before_and_not_after() {
    let mut trust = trust_in_ci();
    trust.keys[0].from = Some(at("2026-01-01T00:00:00Z"));
    trust.keys[0].until = Some(at("2026-03-02T08:00:00Z"));
    let envelope = signed(&provenance(), &[1]);
    let of = |seen: &str| check(&envelope, &trust, at(seen));
    assert_eq!(of("2026-03-02T07:59:00Z").verdict, Verdict::Verified);
    // Clocks may be five minutes apart.
    assert_eq!(of("2026-03-02T08:04:00Z").verdict, Verdict::Verified);
    let late = of("2026-03-02T08:06:00Z");
    assert_eq!(late.verdict, Verdict::Refused);
    assert_eq!(states(&late), [SignatureState::Expired]);
    let early = of("2025-12-31T23:00:00Z");
    assert_eq!(states(&early), [SignatureState::NotYet]);
    assert_eq!(early.verdict, Verdict::Refused);
}

#[test]
fn a_revoked_key_vouches_for_nothing_whenever_it_signed() {
    let mut trust = trust_in_ci();
    trust.keys[0].revoked = Some(Revocation {
        at: at("2026-03-01T00:00:00Z"),
        reason: "laptop stolen".to_owned(),
    });
    let checked = check(
        &signed(&provenance(), &[1]),
        &trust,
        at("2026-02-01T00:00:00Z"),
    );
    assert_eq!(checked.verdict, Verdict::Refused);
    assert_eq!(states(&checked), [SignatureState::Revoked]);
    assert!(
        checked.reason.contains("laptop stolen"),
        "{}",
        checked.reason
    );
    // Trusted anew under another name, it stays revoked.
    trust.keys.push(trusted("again", secret(1).public_key()));
    let checked = check(&signed(&provenance(), &[1]), &trust, noon());
    assert_eq!(states(&checked), [SignatureState::Revoked]);
}

#[test]
fn a_statement_about_something_else_is_refused_naming_both() {
    let document = document(&sample("envelope.json"));
    let other = airboss_model::Digest::from_sha256([7; 32]);
    let checked = verify(&document, &other, &trust_in_ci(), noon(), noon());
    assert_eq!(checked.verdict, Verdict::Refused);
    assert!(
        checked.reason.contains(&other.to_string()),
        "{}",
        checked.reason
    );
    assert!(checked.reason.contains(&artifact().to_string()));
}

#[test]
fn what_is_dated_in_the_future_counts_from_then_on() {
    let envelope = signed(&provenance(), &[1]);
    let document = document(envelope.to_string().as_bytes());
    // The sample's build ended at 10:21:30.
    let of = |now: &str| verify(&document, &artifact(), &trust_in_ci(), at(now), at(now));
    let early = of("2026-03-02T10:10:00Z");
    assert_eq!(early.verdict, Verdict::Refused);
    assert!(
        early.reason.contains("one of the clocks is wrong"),
        "{}",
        early.reason
    );
    assert_eq!(of("2026-03-02T10:17:00Z").verdict, Verdict::Verified);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_changed_byte_of_the_payload_stays_verified(at in 0_usize..600, flip in 1_u8..=255) {
        let mut envelope = secret(1).sign(&tests_statement("unit", &[]));
        let at = at % envelope.payload.len();
        envelope.payload[at] ^= flip;
        let Ok(document) = crate::make::try_read(envelope.to_json().as_bytes()) else {
            return Ok(());
        };
        let checked = verify(&document, &artifact(), &trust_in_ci(), noon(), noon());
        prop_assert_eq!(checked.verdict, Verdict::Refused);
    }

    #[test]
    fn no_changed_byte_of_the_signature_stays_verified(at in 0_usize..64, flip in 1_u8..=255) {
        let mut envelope = secret(1).sign(&tests_statement("unit", &[]));
        envelope.signatures[0].1[at] ^= flip;
        let checked = check(
            &serde_json::from_str(&envelope.to_json()).unwrap(),
            &trust_in_ci(),
            noon(),
        );
        prop_assert_eq!(checked.verdict, Verdict::Refused);
    }
}
