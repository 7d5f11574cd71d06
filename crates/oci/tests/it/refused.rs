//! What is refused, and what a person reads then.

use std::fs;

use airboss_oci::{Credentials, Platform};
use serde_json::json;
use xtask::registry::{GZIP, Layout, Registry};

use super::shop::{image, layer, take, take_for};

/// The error's text without what differs from run to run.
fn told(registry: &Registry, error: &dyn std::fmt::Display) -> String {
    error
        .to_string()
        .replace(&registry.address.to_string(), "REGISTRY")
}

#[tokio::test]
async fn each_mistake_is_told_with_what_to_do() {
    let registry = Registry::start(false).unwrap();
    let layout = Layout::new().unwrap();
    image(&layout, "x");
    for tag in ["1.0.0", "1.1.0"] {
        registry.push(&layout, &format!("shop:{tag}")).unwrap();
    }
    let files = layer(&layout, &[("app", "x")]);
    let arm = layout
        .image("linux/arm64", std::slice::from_ref(&files))
        .unwrap();
    let index = layout.index(std::slice::from_ref(&arm)).unwrap();
    layout.top(&index).unwrap();
    registry.push(&layout, "arm:1").unwrap();
    let single = Layout::new().unwrap();
    let files = layer(&single, &[("app", "x")]);
    let arm = single.image("linux/arm64", &[files]).unwrap();
    single.top(&arm).unwrap();
    registry.push(&single, "arm:single").unwrap();

    let mut texts = String::new();
    for name in [
        "shop:1.2.0",
        "shop@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "nothing:1",
        "arm:1",
        "arm:single",
    ] {
        let error = take(&registry.reference(name)).await.err().unwrap();
        texts += &format!("── {name}\n{}\n", told(&registry, &error));
    }
    for wrong in [
        "oci://",
        "oci://ghcr.io/Shop:1",
        "oci://ghcr.io/shop@md5:00",
    ] {
        let error = take(wrong).await.err().unwrap();
        texts += &format!("── {wrong}\n{error}\n");
    }
    insta::assert_snapshot!(texts);
}

#[tokio::test]
async fn a_registry_that_is_down_or_closed_is_told_apart() {
    let registry = Registry::start(true).unwrap();
    let reference = registry.reference("shop:1");
    let mut texts = String::new();
    // Nobody has a password in `$PATH`, so it is the wrong one for certain.
    let wrong = tempfile::NamedTempFile::new().unwrap();
    fs::write(wrong.path(), "ci:wrong").unwrap();
    let path = wrong.path().display().to_string();
    for (what, credentials) in [
        ("without credentials", Credentials::DockerConfig),
        (
            "with the wrong password",
            Credentials::Secret(format!("file:{path}")),
        ),
        (
            "with a secret that is not there",
            Credentials::Secret("env:AIRBOSS_NO_SUCH".to_owned()),
        ),
        (
            "with a secret written out",
            Credentials::Secret("ci:hunter2".to_owned()),
        ),
    ] {
        let error = take_for(&reference, "amd64", &credentials)
            .await
            .err()
            .unwrap();
        let text = told(&registry, &error).replace(&path, "FILE");
        assert!(!text.contains("hunter2"), "{text}");
        texts += &format!("── {what}\n{text}\n");
    }
    let address = registry.address;
    drop(registry);
    let error = take(&reference).await.err().unwrap().to_string();
    texts += &format!(
        "── down\n{}\n",
        error.replace(&address.to_string(), "REGISTRY")
    );
    insta::assert_snapshot!(texts);
}

#[tokio::test]
async fn content_that_is_not_what_was_pinned_is_refused_with_both_digests() {
    let registry = Registry::start(false).unwrap();
    let layout = Layout::new().unwrap();
    let files = layer(&layout, &[("app", "good")]);
    let layer_digest = files["digest"].as_str().unwrap().to_owned();
    let descriptor = layout.image("linux/amd64", &[files]).unwrap();
    let digest = layout.top(&descriptor).unwrap();
    registry.push(&layout, "shop:1").unwrap();
    let reference = registry.reference("shop:1");
    take(&reference).await.unwrap();

    let blob = registry.blob(&layer_digest);
    let good = fs::read(&blob).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    for (bytes, words) in [
        (bad, vec![layer_digest.as_str(), "has sha256:"]),
        (good[..good.len() - 5].to_vec(), vec![layer_digest.as_str()]),
        ([good.as_slice(), b"more"].concat(), vec!["bytes"]),
    ] {
        fs::write(&blob, bytes).unwrap();
        let error = take(&reference).await.err().unwrap().to_string();
        assert!(error.contains("layer 1 of"), "{error}");
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
    fs::write(&blob, &good).unwrap();

    let manifest = registry.blob(&digest);
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(
        &manifest,
        text.replace("linux", "linux ").replace(": ", ":"),
    )
    .unwrap();
    fs::write(
        &manifest,
        format!("{} ", fs::read_to_string(&manifest).unwrap()),
    )
    .unwrap();
    let error = take(&reference).await.err().unwrap().to_string();
    assert!(error.contains(&digest), "{error}");
}

#[tokio::test]
async fn layers_that_are_no_files_or_lie_elsewhere_are_refused() {
    let registry = Registry::start(false).unwrap();
    let cases = [
        ("application/vnd.acme.secret", "application/vnd.acme.secret"),
        ("application/vnd.oci.image.layer.v1.tar+bzip2", "+bzip2"),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "outside of the registry",
        ),
    ];
    for (number, (kind, why)) in cases.iter().enumerate() {
        let layout = Layout::new().unwrap();
        let config = layout.blob("application/vnd.acme.config", b"{}").unwrap();
        let layer = layout.blob(kind, b"whatever").unwrap();
        let manifest = layout
            .manifest(json!({ "config": config, "layers": [layer] }))
            .unwrap();
        layout.top(&manifest).unwrap();
        let name = format!("odd:{number}");
        if registry.push(&layout, &name).is_err() {
            // skopeo knows that some lie elsewhere and leaves them there.
            continue;
        }
        let error = take(&registry.reference(&name))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(why), "{kind}: {error}");
    }
    // What is said to be compressed and is not, and an archive that reaches outside.
    let evil = super::shop::archive(&[("a", "x")]);
    let mut header = tar_header("../evil");
    header.extend(&evil[512..]);
    for (number, (bytes, why)) in [
        (b"this is no gzip at all".to_vec(), "not a readable tar"),
        (xtask::registry::gzip(&header).unwrap(), "leaves the folder"),
    ]
    .into_iter()
    .enumerate()
    {
        let layout = Layout::new().unwrap();
        let layer = layout.blob(GZIP, &bytes).unwrap();
        let descriptor = layout.image("linux/amd64", &[layer]).unwrap();
        layout.top(&descriptor).unwrap();
        registry.push(&layout, &format!("bad:{number}")).unwrap();
        let error = take(&registry.reference(&format!("bad:{number}")))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("layer 1 of") && error.contains(why),
            "{error}"
        );
    }
}

/// The header of a file of one byte, with a name that no library writes.
fn tar_header(name: &str) -> Vec<u8> {
    let bytes = super::shop::archive(&[("a", "x")]);
    let mut header = bytes[..512].to_vec();
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn the_platform_here_is_one_that_registries_know() {
    let here = Platform::here();
    assert_eq!(here.os, "linux");
    assert!(!here.architecture.contains('_'), "{here}");
}
