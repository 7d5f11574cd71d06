//! Real bundles of real workflows, as the tests of Sigstore's own library have them.

use std::path::PathBuf;
use std::process::Command;

use airboss_attest::{Revocation, Root, SignatureState, Trust, TrustedIdentity, Verdict, verify};
use airboss_model::Digest;
use serde_json::Value;
use sigstore_verify::trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;

use crate::make::{at, document, noon};

const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// A bundle from the library's package, which cargo has fetched already.
fn bundle(name: &str) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "sigstore-verify")
        .unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    std::fs::read(manifest.with_file_name("test_data/bundles").join(name)).unwrap()
}

fn trusting(issuer: &str, identity: &str, root: Root) -> Trust {
    Trust {
        keys: Vec::new(),
        identities: vec![TrustedIdentity {
            name: "workflow".to_owned(),
            issuer: issuer.to_owned(),
            identity: identity.to_owned(),
            root,
            revoked: None,
        }],
    }
}

fn subject(bytes: &[u8]) -> Digest {
    let document = document(bytes);
    let hex = document
        .statement
        .subject
        .iter()
        .find_map(|it| it.digest.get("sha256"))
        .unwrap();
    format!("sha256:{hex}").parse().unwrap()
}

fn check(bytes: &[u8], trust: &Trust) -> airboss_attest::Verification {
    let document = document(bytes);
    verify(&document, &subject(bytes), trust, noon(), noon())
}

#[test]
fn an_attestation_is_verified_offline_by_identity_and_by_its_own_instances_authorities() {
    let workflow = "https://github.com/prefix-dev/sigstore-example/.github/workflows/*";
    let staging = Root::own(SIGSTORE_STAGING_TRUSTED_ROOT.to_owned()).unwrap();
    for (name, issuer, identity, root) in [
        (
            "conda-attestation.sigstore.json",
            ISSUER,
            workflow,
            Root::PublicGood,
        ),
        (
            "conda-attestation-rekor2.sigstore.json",
            "https://github.com/login/oauth",
            "*@goto.fi",
            staging,
        ),
    ] {
        let bytes = bundle(name);
        let believed = trusting(issuer, identity, root.clone());
        let checked = check(&bytes, &believed);
        assert_eq!(
            checked.verdict,
            Verdict::Verified,
            "{name}: {}",
            checked.reason
        );
        assert!(checked.is_by_others());

        let other = trusting(issuer, "https://github.com/acme/shop/*", root.clone());
        assert_eq!(check(&bytes, &other).verdict, Verdict::Untrusted);
        let other = trusting("https://accounts.google.com", identity, root);
        assert_eq!(check(&bytes, &other).verdict, Verdict::Untrusted);
        // Another instance's authorities vouch for nobody of this one.
        let other = trusting(issuer, identity, Root::GitHub);
        assert_eq!(check(&bytes, &other).verdict, Verdict::Refused);

        let mut revoked = believed;
        revoked.identities[0].revoked = Some(Revocation {
            at: at("2026-01-01T00:00:00Z"),
            reason: String::new(),
        });
        let checked = check(&bytes, &revoked);
        assert_eq!(checked.signatures[0].state, SignatureState::Revoked);
        assert_eq!(checked.verdict, Verdict::Refused);
    }
}

#[test]
fn githubs_own_instance_is_verified_by_its_own_authorities() {
    let bytes = bundle("github-private-attestation.sigstore.json");
    let identity = "https://dotcom.releases.github.com";
    // Its certificate names no issuer, and that is what is believed here.
    let checked = check(&bytes, &trusting("", identity, Root::GitHub));
    assert_eq!(checked.verdict, Verdict::Verified, "{}", checked.reason);
    let checked = check(&bytes, &trusting("", identity, Root::PublicGood));
    assert_eq!(checked.verdict, Verdict::Refused);
    let checked = check(&bytes, &trusting(ISSUER, identity, Root::GitHub));
    assert_eq!(checked.verdict, Verdict::Untrusted);
}

#[test]
fn a_bundle_whose_statement_was_changed_is_refused() {
    use base64::Engine as _;
    let standard = base64::engine::general_purpose::STANDARD;
    let bytes = bundle("conda-attestation.sigstore.json");
    let mut changed: Value = serde_json::from_slice(&bytes).unwrap();
    let payload = changed["dsseEnvelope"]["payload"].as_str().unwrap();
    let mut payload = standard.decode(payload).unwrap();
    let end = payload.len() - 1;
    payload.insert(end, b' ');
    changed["dsseEnvelope"]["payload"] = standard.encode(payload).into();
    let believed = trusting(ISSUER, "https://github.com/*", Root::PublicGood);
    let checked = check(changed.to_string().as_bytes(), &believed);
    assert_eq!(checked.verdict, Verdict::Refused);
    assert_eq!(checked.signatures[0].state, SignatureState::Bad);
}
