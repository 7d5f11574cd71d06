//! An image of a registry, from the tag to the users and back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use xtask::registry::{GZIP, Layout, Registry, gzip, tar};
use xtask::versions::{self, Version};

use crate::harness::{House, Manifest};

/// An image of a version of the example service, under `name`; its digest.
fn push(house: &House, registry: &Registry, version: Version, name: &str) -> String {
    let folder = house.pack(version);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for item in fs::read_dir(&folder).unwrap() {
        let path = item.unwrap().path();
        let name = format!("srv/{}", path.file_name().unwrap().to_str().unwrap());
        files.insert(name, fs::read(&path).unwrap());
    }
    let files: BTreeMap<&str, &[u8]> = files
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_slice()))
        .collect();
    let layout = Layout::new().unwrap();
    let layer = layout
        .blob(GZIP, &gzip(&tar(&files).unwrap()).unwrap())
        .unwrap();
    let architecture = airboss_oci::Platform::here().architecture;
    let image = layout
        .image(&format!("linux/{architecture}"), &[layer])
        .unwrap();
    let digest = layout.top(&image).unwrap();
    registry.push(&layout, name).unwrap();
    digest
}

fn manifest() -> Manifest {
    Manifest {
        command: r#"["{artifact}/srv/checkout", "--port", "{port}"]"#,
        ..Manifest::default()
    }
}

async fn json(house: &House, words: &[&str]) -> Value {
    let said = house.run(words).await;
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_shipped_promoted_without_another_upload_and_watched_for_drift() {
    let registry = Registry::start(false).unwrap();
    let house = House::up(&manifest()).await;
    let digest = push(&house, &registry, versions::FIRST, "checkout:1");
    let reference = registry.reference("checkout:1");
    house
        .run(&[
            "ship",
            &reference,
            "--version",
            "1.0.0",
            "--watch",
            "--timeout",
            "3m",
        ])
        .await
        .ended(0)
        .says(&[
            &digest,
            "command: [\"{artifact}/checkout\", \"--port\", \"8080\"]",
        ]);
    house.until_only("1.0.0").await;
    house
        .run(&["artifact", "drift"])
        .await
        .ended(0)
        .says(&["points to what was shipped"]);
    let shown = json(
        &house,
        &["artifact", "show", "checkout@1.0.0", "-o", "json"],
    )
    .await;
    assert_eq!(shown["origins"][0]["resolved"], digest);
    assert_eq!(shown["releases"], serde_json::json!(["checkout@1.0.0"]));

    // The same release goes to another environment, although the registry is asked nothing for
    // the content: what was pinned is there.
    let before = fs::read_dir(house.data().join("artifacts"))
        .unwrap()
        .count();
    house
        .run(&["ship", &reference, "--version", "1.0.0", "-e", "staging"])
        .await
        .ended(0)
        .says(&["known already"]);
    let rollouts = json(&house, &["history", "-o", "json"]).await;
    let digests: Vec<&Value> = rollouts["rollouts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["digest"])
        .collect();
    assert_eq!(digests, [&shown["digest"], &shown["digest"]]);
    assert_eq!(
        fs::read_dir(house.data().join("artifacts"))
            .unwrap()
            .count(),
        before
    );

    // The tag moves.
    let other = push(&house, &registry, versions::GOOD, "checkout:1");
    house.run(&["artifact", "drift"]).await.ended(3).says(&[
        "was moved",
        &digest,
        &other,
        "checkout@1.0.0",
    ]);
    house
        .run(&["status", "checkout", "-e", "production"])
        .await
        .ended(0)
        .says(&["was moved since checkout@1.0.0"]);
    house
        .run(&["doctor"])
        .await
        .says(&["was moved since checkout@1.0.0"]);
    house
        .run(&["ship", &reference, "--version", "1.0.0"])
        .await
        .ended(4)
        .says(&["already pinned", "was moved", &digest, &other]);
    house.until_only("1.0.0").await;
    house
        .run(&["artifact", "gc", "--dry-run"])
        .await
        .ended(0)
        .says(&["serves checkout/production"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_config_file_and_its_helpers_open_a_registry() {
    let registry = Registry::start(true).unwrap();
    let house = House::up(&manifest()).await;
    push(&house, &registry, versions::FIRST, "checkout:1");
    let reference = registry.reference("checkout:1");
    let words = ["ship", reference.as_str(), "--version", "1.0.0", "--watch"];
    let docker = house.path().join("docker");
    fs::create_dir(&docker).unwrap();
    let host = registry.address;
    let run = async |config: String| {
        fs::write(docker.join("config.json"), config).unwrap();
        let path = format!("{}:{}", docker.display(), std::env::var("PATH").unwrap());
        let output = house
            .command(&words)
            .env("DOCKER_CONFIG", &docker)
            .env("PATH", path)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, said) = run("{}".to_owned()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("docker login") && said.contains("--registry-auth"),
        "{said}"
    );

    // `ci:hunter2`, as `docker login` writes it.
    let (code, said) = run(format!(
        r#"{{"auths":{{"{host}":{{"auth":"Y2k6aHVudGVyMg=="}}}}}}"#
    ))
    .await;
    assert_eq!(code, Some(0), "{said}");

    let helper = docker.join("docker-credential-tests");
    fs::write(
        &helper,
        "#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"ci\",\"Secret\":\"hunter2\"}'\n",
    )
    .unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    for config in [
        format!(r#"{{"credHelpers":{{"{host}":"tests"}}}}"#),
        r#"{"credsStore":"tests"}"#.to_owned(),
    ] {
        let (code, said) = run(config).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, said) = run("{ not json".to_owned()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Docker config file"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_damaged_between_environments_is_not_started_and_both_digests_are_named() {
    let house = House::serving(&Manifest::default()).await;
    let artifact = house.lane().await["stable"]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    // The agent's copies go, and the server's is damaged: the same release now goes elsewhere.
    let kept = house
        .data()
        .join("artifacts")
        .join(artifact.trim_start_matches("sha256:"));
    let mut bytes = fs::read(&kept).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept, bytes).unwrap();
    let agent = house.data().join("agent");
    for folder in ["blobs", "artifacts"] {
        for item in fs::read_dir(agent.join(folder)).unwrap() {
            let path = item.unwrap().path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
    // Promotion: by the digest alone, nothing is uploaded.
    let manifest = fs::read_to_string(house.path().join("airboss.yaml")).unwrap();
    let listen = xtask::ports::free().unwrap();
    let manifest = manifest.replace(&house.listen.to_string(), &listen.to_string());
    let accepted = promote(&house, &manifest, &artifact).await;
    let row = house.until_ended(&accepted).await;
    assert_eq!(row["outcome"], "failed", "{row}");
    let reason = row["reason"].as_str().unwrap();
    assert!(
        reason.contains(&artifact) && reason.matches("sha256:").count() >= 2,
        "{reason}"
    );
    house.until_only("1.0.0").await;
}

/// Ships a digest that the server has to `staging`, as a client does that uploads nothing.
async fn promote(house: &House, manifest: &str, digest: &str) -> String {
    let server: Value =
        serde_json::from_slice(&fs::read(house.data().join("server.json")).unwrap()).unwrap();
    let token = fs::read_to_string(house.data().join("token")).unwrap();
    let request = serde_json::json!({
        "manifest": manifest, "version": "1.0.0", "digest": digest, "environment": "staging", "by": "ada",
    });
    let client = reqwest::Client::new();
    let answer = client
        .post(format!(
            "{}/api/v1/rollouts",
            server["url"].as_str().unwrap()
        ))
        .bearer_auth(token.trim())
        .header("content-type", "application/json")
        .body(request.to_string())
        .send()
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    answer["rollout"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}
