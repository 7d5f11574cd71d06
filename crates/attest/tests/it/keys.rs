//! Keys: sealed at rest, rotated, revoked, and never shown.

use airboss_attest::{
    EmptyPassphrase, KeyError, Keyring, KeyringError, Passphrase, PublicKey, Root, SealError,
    Verdict, is_sealed, open, seal, verify,
};
use proptest::prelude::*;

use crate::make::{artifact, at, document, noon, provenance, secret};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

#[test]
fn a_sealed_secret_opens_with_its_passphrase_for_its_purpose_only() {
    let sealed = seal(
        b"the secret",
        &passphrase("open, sesame\n"),
        "key 1",
        &[7; 40],
    )
    .unwrap();
    assert!(is_sealed(&sealed));
    assert!(!sealed.contains("secret"));
    let opened = open(&sealed, &passphrase("open, sesame"), "key 1").unwrap();
    assert_eq!(opened.as_slice(), b"the secret");
    assert_eq!(
        open(&sealed, &passphrase("open, barley"), "key 1").unwrap_err(),
        SealError::Passphrase
    );
    assert_eq!(
        open(&sealed, &passphrase("open, sesame"), "key 2").unwrap_err(),
        SealError::Passphrase
    );
    assert_eq!(
        Passphrase::new(b"\n".to_vec()).unwrap_err(),
        EmptyPassphrase
    );
    assert_eq!(format!("{:?}", passphrase("open")), "Passphrase(…)");
}

#[test]
fn a_changed_or_greedy_seal_is_refused() {
    let sealed = seal(b"the secret", &passphrase("p"), "k", &[7; 40]).unwrap();
    let greedy = sealed.replace("m=65536", "m=4294967295");
    let error = open(&greedy, &passphrase("p"), "k").unwrap_err();
    assert!(matches!(error, SealError::Cost { .. }), "{error}");
    for bad in [
        "",
        "AIRBOSS-SEALED-1",
        "AIRBOSS-SEALED-1 m=1 t=1 !!",
        &sealed[..60],
    ] {
        assert!(open(bad, &passphrase("p"), "k").is_err(), "{bad}");
    }
}

#[test]
fn private_keys_and_foreign_kinds_are_not_taken_for_public_ones() {
    let pem = secret(1).public_key().to_string();
    assert_eq!(pem.parse::<PublicKey>().unwrap(), secret(1).public_key());
    assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----\n"));
    let private = pem.replace("PUBLIC", "PRIVATE");
    assert_eq!(private.parse::<PublicKey>().unwrap_err(), KeyError::Private);
    assert_eq!("hello".parse::<PublicKey>().unwrap_err(), KeyError::Form);
    // A P-384 key: right form, wrong kind.
    let p384 = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEqocTpLBdR3PvrTf8V5NmyBmWRq0yLqpp\nJhpb3zpHDbfZX4TbCvKwE1v2xTTXG9RLx3nDGpV0bdwzLq1UmSK+CdF+oF2cE5mQ\nDDDrcrmRJhpb3zpHDbfZX4TbCvKwE1v2xTTXG9RL\n-----END PUBLIC KEY-----\n";
    assert!(p384.parse::<PublicKey>().is_err());
    assert!(!format!("{:?}", secret(1)).contains('1'));
}

#[test]
fn rotation_ends_the_old_key_and_keeps_what_it_signed() {
    let mut ring = Keyring::default();
    assert!(ring.current(noon()).is_none());
    let first = at("2026-01-01T00:00:00Z");
    ring.rotate(secret(1).public_key(), "file:one".into(), first, None)
        .unwrap();
    ring.rotate(secret(2).public_key(), "file:two".into(), noon(), None)
        .unwrap();
    assert_eq!(ring.current(noon()).unwrap().name, "airboss-2");
    let old = document(secret(1).sign(&provenance()).to_json().as_bytes());
    let of = |seen| {
        verify(
            &old,
            &artifact(),
            &ring.trust(),
            seen,
            at("2026-06-01T00:00:00Z"),
        )
    };
    assert_eq!(of(at("2026-03-02T11:00:00Z")).verdict, Verdict::Verified);
    assert_eq!(of(at("2026-04-01T00:00:00Z")).verdict, Verdict::Refused);
    assert_eq!(
        ring.rotate(secret(1).public_key(), "file:one".into(), noon(), None),
        Err(KeyringError::KeyThere("airboss-1".to_owned()))
    );
}

#[test]
fn a_key_that_ended_or_was_revoked_signs_nothing_more() {
    let mut ring = Keyring::default();
    let end = at("2026-04-01T00:00:00Z");
    ring.rotate(secret(1).public_key(), "file:one".into(), noon(), Some(end))
        .unwrap();
    assert!(ring.current(noon()).is_some());
    assert!(ring.current(end).is_none());
    ring.revoke("airboss-1", "lost", noon()).unwrap();
    assert!(ring.current(noon()).is_none());
    let again = ring.revoke(&secret(1).public_key().id()[..12], "", noon());
    assert!(
        matches!(again, Err(KeyringError::Revoked { .. })),
        "{again:?}"
    );
    let backwards = ring.rotate(secret(2).public_key(), String::new(), end, Some(noon()));
    assert!(matches!(backwards, Err(KeyringError::Backwards { .. })));
}

#[test]
fn names_are_one_persons_and_unknown_ones_are_told() {
    let mut ring = Keyring::default();
    ring.trust_key("ci", secret(1).public_key(), None, None)
        .unwrap();
    assert_eq!(
        ring.trust_key("ci", secret(2).public_key(), None, None),
        Err(KeyringError::NameTaken("ci".to_owned()))
    );
    for bad in ["", "a b", "a\nb", &"x".repeat(64)] {
        assert!(
            ring.trust_key(bad, secret(3).public_key(), None, None)
                .is_err()
        );
    }
    assert_eq!(
        ring.revoke("cd", "", noon()),
        Err(KeyringError::Unknown("cd".to_owned()))
    );
    assert_eq!(ring.revoke("ci", "gone", noon()), Ok("ci".to_owned()));
}

#[test]
fn an_identity_that_anybody_matches_is_not_trusted() {
    let issuer = "https://token.actions.githubusercontent.com";
    let mut ring = Keyring::default();
    for wide in ["*", "https://*", "https://github.com/*", "*@*"] {
        let error = ring.trust_identity("ci", issuer, wide, Root::PublicGood);
        assert!(matches!(error, Err(KeyringError::TooWide(_))), "{wide}");
    }
    let own = "https://github.com/acme/*";
    ring.trust_identity("ci", issuer, own, Root::PublicGood)
        .unwrap();
    ring.trust_identity(
        "people",
        "https://accounts.google.com",
        "*@acme.test",
        Root::PublicGood,
    )
    .unwrap();
}

#[test]
fn a_keyring_reads_back_as_written_and_holds_no_private_key() {
    let mut ring = Keyring::default();
    ring.rotate(
        secret(1).public_key(),
        "env:AIRBOSS_KEY".into(),
        noon(),
        None,
    )
    .unwrap();
    ring.trust_key("ci", secret(2).public_key(), Some(noon()), None)
        .unwrap();
    ring.trust_identity(
        "gh",
        "https://i",
        "https://github.com/acme/shop/*",
        Root::GitHub,
    )
    .unwrap();
    ring.revoke("ci", "why not", noon()).unwrap();
    let text = serde_json::to_string_pretty(&ring).unwrap();
    assert_eq!(serde_json::from_str::<Keyring>(&text).unwrap(), ring);
    assert!(!text.contains("PRIVATE"));
    insta::assert_snapshot!(text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_key_reader_fall_over(text in "\\PC*") {
        let _ = text.parse::<PublicKey>();
        let _ = text.replace('x', "-----BEGIN PUBLIC KEY-----").parse::<PublicKey>();
    }
}
