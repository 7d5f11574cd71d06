//! Documents that are attached to an image.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use airboss_model::Digest;
use airboss_oci::Credentials;
use http::HeaderValue;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xtask::registry::{INDEX, MANIFEST};

use super::shop::open;

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

/// Some registries do not say where they put something.
#[track_caller]
fn arrived(pushed: Result<String, OciDistributionError>) {
    if let Err(error) = pushed {
        let fine = matches!(error, OciDistributionError::RegistryNoLocationError);
        assert!(fine, "{error}");
    }
}

/// Puts things into a registry that no tool of Debian 12 can: attachments.
struct Writer {
    client: Client,
    address: String,
}

impl Writer {
    async fn new(address: &str) -> Self {
        let config = ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        };
        let writer = Self {
            client: Client::new(config),
            address: address.to_owned(),
        };
        let reference = writer.reference("any");
        let auth = RegistryAuth::Anonymous;
        writer
            .client
            .auth(&reference, &auth, RegistryOperation::Push)
            .await
            .unwrap();
        writer
    }

    fn reference(&self, tag: &str) -> Reference {
        Reference::with_tag(self.address.clone(), "shop".to_owned(), tag.to_owned())
    }

    async fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes).to_string();
        let reference = self.reference("any");
        let pushed = self.client.push_blob(&reference, bytes.to_vec(), &digest);
        arrived(pushed.await);
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    async fn manifest(&self, tag: &str, kind: &'static str, manifest: &Value) -> Value {
        let bytes = manifest.to_string();
        let kind = HeaderValue::from_static(kind);
        // Named by its digest as if that were a tag: where a registry does not say where it put
        // something, the client takes the name's end off the address.
        let reference = match tag {
            "" => self.reference(&digest(bytes.as_bytes()).to_string()),
            tag => self.reference(tag),
        };
        let pushed = self
            .client
            .push_manifest_raw(&reference, bytes.clone(), kind.clone());
        arrived(pushed.await);
        json!({ "mediaType": kind.to_str().unwrap(), "digest": digest(bytes.as_bytes()).to_string(), "size": bytes.len() })
    }

    /// An image, and manifests that attach a document each; the image's digest and their descriptors.
    async fn fill(&self, documents: &[&[u8]]) -> (Digest, Vec<Value>) {
        let empty = self.blob("application/vnd.oci.empty.v1+json", b"{}").await;
        let layer = self.blob("application/octet-stream", b"app").await;
        let image = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [layer] });
        let image = self.manifest("1.4.0", MANIFEST, &image).await;
        let subject: Digest = image["digest"].as_str().unwrap().parse().unwrap();
        let mut attached = Vec::new();
        for document in documents {
            let layer = self.blob("application/vnd.in-toto+json", document).await;
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.in-toto+json",
                "config": empty, "layers": [layer], "subject": image,
            });
            let mut descriptor = self.manifest("", MANIFEST, &manifest).await;
            descriptor["artifactType"] = "application/vnd.in-toto+json".into();
            attached.push(descriptor);
        }
        (subject, attached)
    }
}

#[tokio::test]
async fn attachments_are_found_by_the_fallback_tag() {
    let registry = xtask::registry::Registry::start(false).unwrap();
    let writer = Writer::new(&registry.address.to_string()).await;
    let documents: [&[u8]; 2] = [br#"{"one":1}"#, br#"{"two":2}"#];
    let (subject, mut attached) = writer.fill(&documents).await;
    let source = open(&registry.reference("shop:1.4.0"));
    assert_eq!(source.attached(&subject).await.unwrap(), []);

    // Somebody lists what belongs to another image.
    let stranger = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.in-toto+json",
        "config": writer.blob("application/vnd.oci.empty.v1+json", b"{}").await,
        "layers": [writer.blob("application/vnd.in-toto+json", b"stranger").await],
        "subject": { "mediaType": MANIFEST, "digest": Digest::from_sha256([9; 32]).to_string(), "size": 2 },
    });
    attached.push(writer.manifest("stranger", MANIFEST, &stranger).await);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": attached });
    writer
        .manifest(&format!("sha256-{}", subject.hex()), INDEX, &index)
        .await;

    let found = source.attached(&subject).await.unwrap();
    let bytes: Vec<&[u8]> = found.iter().map(|it| it.bytes.as_slice()).collect();
    assert_eq!(bytes, documents);
    for (document, found) in documents.iter().zip(&found) {
        assert_eq!(found.digest, digest(document));
        assert_eq!(found.artifact_type, "application/vnd.in-toto+json");
        assert_eq!(found.media_type, "application/vnd.in-toto+json");
    }

    // Damage in the registry is found here too.
    std::fs::write(
        registry.blob(&digest(documents[0]).to_string()),
        r#"{"one":7}"#,
    )
    .unwrap();
    let error = source.attached(&subject).await.unwrap_err().to_string();
    assert!(error.contains(&digest(documents[0]).to_string()), "{error}");
}

/// A registry with the referrers API, which Debian's has not: the one of go-containerregistry.
/// None, with a message, where Go or its module is not at hand.
fn with_referrers() -> Option<(Running, String)> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("referrers");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/referrers"))
        .env("GOFLAGS", "-mod=readonly")
        .output();
    match built {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            // A program that does not compile is a fault here, a module that cannot be had is not.
            assert!(why.contains("go: "), "{why}");
            println!("skipped: go-containerregistry is not at hand: {why}");
            return None;
        }
        Err(error) => {
            println!("skipped: go is not at hand: {error}");
            return None;
        }
    }
    let address = xtask::ports::free().unwrap();
    let child = Command::new(program)
        .arg(address.port().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    while std::net::TcpStream::connect(address).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Some((running, address.to_string()))
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn attachments_are_found_by_the_referrers_api() {
    let Some((_running, address)) = with_referrers() else {
        return;
    };
    let writer = Writer::new(&address).await;
    let (subject, _) = writer.fill(&[b"attached"]).await;
    let reference = format!("oci://{address}/shop:1.4.0");
    let source =
        airboss_oci::Registry::new(reference.parse().unwrap(), &Credentials::DockerConfig).unwrap();
    let found = source.attached(&subject).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].bytes, b"attached");
}

/// As BuildKit pushes an image with its notes: one index with both.
#[tokio::test]
async fn notes_within_the_index_are_found_for_the_chosen_platform_only() {
    let registry = xtask::registry::Registry::start(false).unwrap();
    let layout = xtask::registry::Layout::new().unwrap();
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let layer = super::shop::layer(&layout, &[("app", architecture)]);
        let platform = format!("linux/{architecture}");
        let image = layout.image(&platform, &[layer]).unwrap();
        let note = format!("note on {architecture}");
        let note = layout
            .blob("application/vnd.in-toto+json", note.as_bytes())
            .unwrap();
        let config = layout
            .blob("application/vnd.oci.image.config.v1+json", b"{}")
            .unwrap();
        let fields = json!({ "config": config, "layers": [note] });
        let mut notes = layout.manifest(fields).unwrap();
        notes["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        notes["annotations"] = json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image["digest"],
        });
        entries.extend([image, notes]);
    }
    let index = layout.index(&entries).unwrap();
    layout.top(&index).unwrap();
    registry.push(&layout, "shop:1.4.0").unwrap();
    let source = open(&registry.reference("shop:1.4.0"));
    let pinned = source.resolve(&super::shop::linux("arm64")).await.unwrap();
    let found = source.attached_to(&pinned.origin).await.unwrap();
    let bytes: Vec<&[u8]> = found.iter().map(|it| it.bytes.as_slice()).collect();
    assert_eq!(bytes, [b"note on arm64"]);
}

/// As cosign before its third version pushes attestations.
#[tokio::test]
async fn documents_under_cosigns_tag_are_found_once_with_what_refers_to_the_image() {
    let registry = xtask::registry::Registry::start(false).unwrap();
    let writer = Writer::new(&registry.address.to_string()).await;
    let (subject, attached) = writer.fill(&[b"one"]).await;
    let kind = "application/vnd.dsse.envelope.v1+json";
    let layers = json!([
        writer.blob(kind, b"one").await,
        writer.blob(kind, b"two").await
    ]);
    let config = writer
        .blob("application/vnd.oci.image.config.v1+json", b"{}")
        .await;
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let tag = format!("sha256-{}.att", subject.hex());
    writer.manifest(&tag, MANIFEST, &manifest).await;
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": attached });
    let fallback = format!("sha256-{}", subject.hex());
    writer.manifest(&fallback, INDEX, &index).await;
    let source = open(&registry.reference("shop:1.4.0"));
    let pinned = source.resolve(&super::shop::linux("amd64")).await.unwrap();
    assert_eq!(pinned.origin.manifest, subject);
    let found = source.attached_to(&pinned.origin).await.unwrap();
    let bytes: Vec<&[u8]> = found.iter().map(|it| it.bytes.as_slice()).collect();
    assert_eq!(bytes, [b"one", b"two"]);
}

#[tokio::test]
async fn an_image_says_by_its_labels_where_it_is_from() {
    let registry = xtask::registry::Registry::start(false).unwrap();
    let layout = xtask::registry::Layout::new().unwrap();
    let config = json!({ "os": "linux", "architecture": "amd64", "config": { "Labels": {
        "org.opencontainers.image.revision": "ffac537", "org.opencontainers.image.source": "of the label" } } });
    let config = layout
        .blob(
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        )
        .unwrap();
    let layer = super::shop::layer(&layout, &[("app", "content")]);
    let image = layout
        .manifest(json!({ "config": config, "layers": [layer],
            "annotations": { "org.opencontainers.image.source": "of the manifest" } }))
        .unwrap();
    layout.top(&image).unwrap();
    registry.push(&layout, "shop:1.4.0").unwrap();
    let source = open(&registry.reference("shop:1.4.0"));
    let pinned = source.resolve(&super::shop::linux("amd64")).await.unwrap();
    let labels = source.labels(&pinned).await.unwrap();
    assert_eq!(labels["org.opencontainers.image.revision"], "ffac537");
    assert_eq!(labels["org.opencontainers.image.source"], "of the manifest");
}
