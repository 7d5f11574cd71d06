//! What a reference leads to, and the files that are there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use xtask::registry::{Layout, Registry};

use super::shop::{archive, image, layer, open, take, take_for};
use airboss_oci::Credentials;
use airboss_targets::process::artifact::pack;

#[tokio::test]
async fn an_image_of_several_layers_becomes_its_files() {
    let registry = Registry::start(false).unwrap();
    let layout = Layout::new().unwrap();
    let below = layer(
        &layout,
        &[
            ("app/", ""),
            ("app/run", "1"),
            ("app/old", "1"),
            ("etc/conf", "1"),
        ],
    );
    let plain = archive(&[("app/.wh.old", ""), ("app/run", "2")]);
    let above = layout
        .blob("application/vnd.oci.image.layer.v1.tar", &plain)
        .unwrap();
    let descriptor = layout.image("linux/amd64", &[below, above]).unwrap();
    let digest = layout.top(&descriptor).unwrap();
    registry.push(&layout, "shop:1.4.0").unwrap();

    let taken = take(&registry.reference("shop:1.4.0")).await.unwrap();
    let tree: Vec<(String, String)> = taken.tree().into_iter().collect();
    assert_eq!(
        tree,
        [
            ("app/run".into(), "2".into()),
            ("etc/conf".into(), "1".into())
        ]
    );
    let origin = &taken.pinned.origin;
    assert_eq!(origin.repository, format!("{}/shop", registry.address));
    assert_eq!(origin.tag.as_deref(), Some("1.4.0"));
    assert_eq!(origin.resolved.to_string(), digest);
    assert_eq!(origin.manifest, origin.resolved);
    assert_eq!(taken.pulled.entrypoint, ["/checkout", "--port", "8080"]);

    // The same image is the same artifact, however often it is fetched and however it is named.
    let again = take(&registry.reference(&format!("shop@{digest}")))
        .await
        .unwrap();
    assert_eq!(again.pinned.origin.tag, None);
    let out = tempfile::tempdir().unwrap();
    let packed =
        |taken: &super::shop::Taken| pack(taken.folder.path(), &out.path().join("out")).unwrap();
    assert_eq!(packed(&taken), packed(&again));
}

#[tokio::test]
async fn of_an_index_the_image_for_the_platform_is_taken() {
    let registry = Registry::start(false).unwrap();
    let layout = Layout::new().unwrap();
    let mut images = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let files = layer(&layout, &[("app", architecture)]);
        images.push(
            layout
                .image(&format!("linux/{architecture}"), &[files])
                .unwrap(),
        );
    }
    let index = layout.index(&images).unwrap();
    let digest = layout.top(&index).unwrap();
    registry.push(&layout, "shop:1").unwrap();
    for (architecture, place) in [("arm64", 0), ("amd64", 1)] {
        let taken = take_for(
            &registry.reference("shop:1"),
            architecture,
            &Credentials::DockerConfig,
        )
        .await
        .unwrap();
        assert_eq!(taken.tree()["app"], architecture);
        let origin = taken.pinned.origin;
        assert_eq!(origin.resolved.to_string(), digest);
        assert_eq!(origin.manifest.to_string(), images[place]["digest"]);
        assert_eq!(origin.platform.unwrap(), format!("linux/{architecture}"));
    }
}

#[tokio::test]
async fn a_tag_that_moves_leaves_what_was_pinned_as_it_is() {
    let registry = Registry::start(false).unwrap();
    let (first, second) = (Layout::new().unwrap(), Layout::new().unwrap());
    let (old, new) = (image(&first, "old"), image(&second, "new"));
    registry.push(&first, "shop:latest").unwrap();
    let reference = registry.reference("shop:latest");
    let source = open(&reference);
    let pinned = source.resolve(&super::shop::linux("amd64")).await.unwrap();
    assert_eq!(source.look().await.unwrap().to_string(), old);

    registry.push(&second, "shop:latest").unwrap();
    assert_eq!(source.look().await.unwrap().to_string(), new);
    let folder = tempfile::tempdir().unwrap();
    source
        .pull(&pinned, &super::shop::linux("amd64"), folder.path())
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(folder.path().join("app")).unwrap(),
        "old"
    );
}

#[tokio::test]
async fn an_artifact_that_is_no_image_becomes_its_files() {
    let registry = Registry::start(false).unwrap();
    let empty = "application/vnd.oci.empty.v1+json";
    let titled = |layout: &Layout, kind: &str, bytes: &[u8], title: &str| {
        let mut layer = layout.blob(kind, bytes).unwrap();
        layer["annotations"] = json!({ "org.opencontainers.image.title": title });
        layer
    };
    let push = |name: &str, layers: &dyn Fn(&Layout) -> Vec<serde_json::Value>| {
        let layout = Layout::new().unwrap();
        let config = layout.blob(empty, b"{}").unwrap();
        let fields = json!({ "artifactType": "application/vnd.acme.app", "config": config, "layers": layers(&layout) });
        let manifest = layout.manifest(fields).unwrap();
        layout.top(&manifest).unwrap();
        registry.push(&layout, name).unwrap();
    };
    // As `oras push registry/app:1 run.sh config/app.json` makes it.
    push("app:1", &|layout| {
        vec![
            titled(layout, "application/octet-stream", b"#!/bin/sh\n", "run.sh"),
            titled(layout, "application/json", b"{}", "config/app.json"),
        ]
    });
    let taken = take(&registry.reference("app:1")).await.unwrap();
    let names: Vec<String> = taken.tree().into_keys().collect();
    assert_eq!(names, ["config/app.json", "run.sh"]);
    assert_eq!(taken.pulled.file, None);

    push("one:1", &|layout| {
        vec![titled(
            layout,
            "application/octet-stream",
            b"\x7fELF program",
            "app",
        )]
    });
    let taken = take(&registry.reference("one:1")).await.unwrap();
    assert_eq!(taken.pulled.file.as_deref(), Some("app"));
    let mode = fs::metadata(taken.folder.path().join("app"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o111, 0o111);

    push("dist:1", &|layout| {
        let tar = xtask::registry::gzip(&archive(&[("dist/a", "1"), ("dist/b", "2")])).unwrap();
        vec![titled(layout, xtask::registry::GZIP, &tar, "dist")]
    });
    let taken = take(&registry.reference("dist:1")).await.unwrap();
    let names: Vec<String> = taken.tree().into_keys().collect();
    assert_eq!(names, ["dist/a", "dist/b"]);
}

#[tokio::test]
async fn a_secret_reference_opens_a_registry_that_asks_for_a_user() {
    let registry = Registry::start(true).unwrap();
    let layout = Layout::new().unwrap();
    image(&layout, "x");
    registry.push(&layout, "shop:1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "ci:hunter2\n").unwrap();
    let secret = Credentials::Secret(format!("file:{}", file.display()));
    let taken = take_for(&registry.reference("shop:1"), "amd64", &secret)
        .await
        .unwrap();
    assert_eq!(taken.tree()["app"], "x");
}
