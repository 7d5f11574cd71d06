//! Evidence, as a CI job, a developer whose release waits, and an auditor meet it.

use std::collections::BTreeMap;
use std::fs;

use airboss_attest::{SigningKey, Statement};
use airboss_runtime::Clock;
use serde_json::{Value, json};
use xtask::registry::{GZIP, Layout, Registry, gzip, tar};
use xtask::versions;

use crate::harness::{House, Manifest, http};

const COMMIT: &str = "3f2a9c1be0d4475a8f6c21b07d9e5f3a6b8c0d1e";
const RUN: &str = "https://github.com/acme/checkout/actions/runs/9128736451";

fn key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

/// SLSA provenance about an image, signed by CI's key.
fn provenance(image: &str) -> String {
    let predicate = json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": { "workflow": { "ref": "refs/tags/v1.0.0", "repository": "https://github.com/acme/checkout" } },
            "resolvedDependencies": [{
                "uri": "git+https://github.com/acme/checkout@refs/tags/v1.0.0",
                "digest": { "gitCommit": COMMIT }
            }]
        },
        "runDetails": {
            "builder": { "id": "https://github.com/acme/checkout/.github/workflows/release.yml" },
            "metadata": { "invocationId": RUN }
        }
    });
    let kind = "https://slsa.dev/provenance/v1";
    let subject = image.parse().unwrap();
    let statement = Statement::about("checkout", &subject, kind, predicate);
    key().sign(&statement).to_json()
}

/// An image of the example service, with its provenance beside it in the index as BuildKit puts it
/// there; the index's digest.
fn push(house: &House, registry: &Registry, name: &str) -> String {
    let folder = house.pack(versions::FIRST);
    let files: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
        .unwrap()
        .map(|item| {
            let path = item.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            (format!("srv/{name}"), fs::read(&path).unwrap())
        })
        .collect();
    let files: BTreeMap<&str, &[u8]> = files
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_slice()))
        .collect();
    let layout = Layout::new().unwrap();
    let layer = gzip(&tar(&files).unwrap()).unwrap();
    let layer = layout.blob(GZIP, &layer).unwrap();
    let architecture = airboss_oci::Platform::here().architecture;
    let image = layout
        .image(&format!("linux/{architecture}"), &[layer])
        .unwrap();
    let digest = image["digest"].as_str().unwrap();
    let envelope = layout
        .blob(
            "application/vnd.dsse.envelope.v1+json",
            provenance(digest).as_bytes(),
        )
        .unwrap();
    let config = layout
        .blob("application/vnd.oci.image.config.v1+json", b"{}")
        .unwrap();
    let mut notes = layout
        .manifest(json!({ "config": config, "layers": [envelope] }))
        .unwrap();
    notes["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    notes["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": digest,
    });
    let index = layout.index(&[image, notes]).unwrap();
    let digest = layout.top(&index).unwrap();
    registry.push(&layout, name).unwrap();
    digest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_waits_for_what_is_required_says_what_to_run_and_goes_when_that_was_run() {
    let registry = Registry::start(false).unwrap();
    let manifest = Manifest {
        command: r#"["{artifact}/srv/checkout", "--port", "{port}"]"#,
        require: "[signed, provenance, tests]",
        ..Manifest::default()
    };
    let mut house = House::empty(&manifest);
    fs::write(
        house.path().join("hook"),
        "0123456789abcdef0123456789abcdef",
    )
    .unwrap();
    house.variables = vec![("AIRBOSS_WEBHOOKS", "standard=file:hook")];
    house.start(&["up", "--listen", "127.0.0.1:0"]).await;
    house.run(&["check"]).await.ended(0).says(&[
        "Requires  signed",
        "in CI: airboss artifact add PATH --version VERSION",
    ]);
    let index = push(&house, &registry, "checkout:1");
    let reference = registry.reference("checkout:1");

    // As CI: what is attached comes along; what the manifest will ask for is told before the first ship.
    let added = house
        .run(&[
            "artifact",
            "add",
            &reference,
            "--version",
            "1.0.0",
            "--commit",
            COMMIT,
        ])
        .await;
    added.ended(0).says(&[
        "1 documents are attached to the image and kept with it",
        "the manifest requires more before it can go",
        "airboss keys trust add NAME --key FILE",
        "airboss artifact add --service checkout --version 1.0.0 --junit FILE",
    ]);

    // At night: it waits, and says why and what to run.
    let shipped = house
        .run(&["ship", "--version", "1.0.0", "--watch", "--timeout", "5s"])
        .await;
    shipped.ended(5);
    let ways: [&[&str]; 3] = [&["status"], &["explain"], &["check"]];
    for words in ways {
        house.run(words).await.says(&[
            "airboss keys trust add NAME --key FILE",
            "airboss artifact add --service checkout --version 1.0.0 --junit FILE",
        ]);
    }
    let public = house.path().join("ci.pub");
    fs::write(&public, key().public_key().to_string()).unwrap();
    house
        .run(&[
            "keys",
            "trust",
            "add",
            "ci",
            "--key",
            public.to_str().unwrap(),
        ])
        .await
        .ended(0);
    let report = house.path().join("report.xml");
    fs::write(
        &report,
        r#"<testsuite name="unit" tests="1"><testcase name="a"/></testsuite>"#,
    )
    .unwrap();
    house
        .run(&[
            "artifact",
            "add",
            "--version",
            "1.0.0",
            "--junit",
            report.to_str().unwrap(),
        ])
        .await
        .ended(0);
    house.until_only("1.0.0").await;

    // An event of CI's comes late and tells the run; everything leads to the release.
    let body = json!({ "type": "airboss.build.finished", "data": {
        "service": "checkout", "version": "1.0.0", "run": RUN, "actor": "hubot" } });
    let (status, text) = event(&house, &body.to_string()).await;
    assert_eq!(status, 200, "{text}");
    house
        .run(&["webhook", "list"])
        .await
        .ended(0)
        .says(&["noted for checkout@1.0.0: run, actor", "may push: standard"]);
    for about in [
        COMMIT,
        RUN,
        "9128736451",
        "hubot",
        &index,
        "unit",
        "ada@example.org",
        "production",
    ] {
        house.run(&["trace", about]).await.ended(0).says(&[
            "checkout@1.0.0",
            COMMIT,
            RUN,
            "hubot",
            "1 passed, 0 failed",
        ]);
    }
    // An auditor has all of it in one file, and checks it with nothing else at hand.
    let bundle = house.path().join("checkout.audit.json");
    let bundle = bundle.to_str().unwrap();
    house
        .run(&["audit", "export", "checkout@1.0.0", "-o", bundle])
        .await
        .ended(0)
        .says(&["documents about the artifact"]);
    house
        .run(&["audit", "verify", bundle])
        .await
        .ended(0)
        .says(&[
            "documents about the artifact have the bytes that were sealed",
            "verified  it is signed by the key `ci`",
            "Airboss signed what it says",
            "word for word",
            "byte for byte",
        ]);
    house
        .run(&["audit", "verify"])
        .await
        .ended(0)
        .says(&["are those that were sealed"]);
    house
        .run(&["artifact", "list"])
        .await
        .ended(0)
        .says(&["provenance is complete for 1 of 1: 100%"]);

    // What it all came to is handed out for other tools.
    let out = house.path().join("evidence");
    house
        .run(&[
            "artifact",
            "attestations",
            "1.0.0",
            "--output",
            out.to_str().unwrap(),
        ])
        .await
        .ended(0);
    let names: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    for (kind, end) in [
        ("summary-", ".sigstore.json"),
        ("provenance-", ".intoto.jsonl"),
        ("tests-", ".junit.xml"),
    ] {
        let there = |name: &&String| name.starts_with(kind) && name.ends_with(end);
        assert!(
            names.iter().any(|it| there(&it)),
            "{kind}…{end} in {names:?}"
        );
    }
    cosign_accepts(&house, &out, &names).await;
}

/// Sends an event of Airboss's own, signed as the documentation says.
async fn event(house: &House, body: &str) -> (u16, String) {
    let server: Value =
        serde_json::from_slice(&fs::read(house.data().join("server.json")).unwrap()).unwrap();
    let address = server["listen"].as_str().unwrap().parse().unwrap();
    let script = r#"printf '%s.%s.%s' "$id" "$now" "$body" | openssl dgst -sha256 -hmac "$SECRET" -binary | openssl base64"#;
    let now = Clock::system().now().as_second().to_string();
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .envs([("id", "msg_1"), ("now", &now), ("body", body)])
        .env("SECRET", "0123456789abcdef0123456789abcdef")
        .output()
        .unwrap();
    let signature = String::from_utf8(output.stdout).unwrap();
    let request = format!(
        "POST /webhooks/standard HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\nwebhook-id: msg_1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{}\r\n\r\n{body}",
        body.len(),
        signature.trim()
    );
    http::raw(address, request.as_bytes()).await.unwrap()
}

/// cosign believes the summary of the gate that was passed, by the installation's public key.
async fn cosign_accepts(house: &House, out: &std::path::Path, names: &[String]) {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        Into::into,
    );
    let cosign = target.join("oracles/bin/cosign");
    if !cosign.exists() {
        println!("skipped: cosign is not there; make cosign builds it");
        return;
    }
    let summary = names
        .iter()
        .find(|it| it.starts_with("summary-") && it.ends_with(".sigstore.json"));
    let public = house.path().join("airboss.pub");
    let exported = house.run(&["keys", "export"]).await;
    fs::write(&public, &exported.out).unwrap();
    let shown = house
        .run(&["artifact", "show", "1.0.0", "-o", "json"])
        .await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let digest = shown["digest"]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:")
        .to_owned();
    let ask = |digest: &str| {
        std::process::Command::new(&cosign)
            .args(["verify-blob-attestation", "--insecure-ignore-tlog", "--key"])
            .arg(&public)
            .args([
                "--type",
                "https://slsa.dev/verification_summary/v1",
                "--bundle",
            ])
            .arg(out.join(summary.unwrap()))
            .args(["--digest", digest, "--digestAlg", "sha256"])
            .env("HOME", house.path())
            .output()
            .unwrap()
    };
    let said = ask(&digest);
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(!ask(&"0".repeat(64)).status.success());
}
