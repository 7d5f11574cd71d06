//! A real registry for tests: Debian's `docker-registry`, filled by `skopeo`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::ports;

/// The user of a registry that asks for one.
pub const USER: &str = "ci";
/// The user's password.
pub const PASSWORD: &str = "hunter2";
/// The line of htpasswd for the two, with the fewest rounds that bcrypt takes.
const HTPASSWD: &str = "ci:$2b$04$/j0XZG2.bZpFUy8e2b.AKeL/6E7KR0nwb1aEsxwxDmBLEx7CuJR1K\n";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The media type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index of images.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a compressed layer.
pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A registry on a port and in a folder of its own; it ends when it is dropped.
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    folder: TempDir,
    child: Child,
    locked: bool,
}

impl Registry {
    /// Starts one that lets anybody in, or with `locked` only [`USER`].
    ///
    /// # Errors
    /// Where `docker-registry` is not installed or does not start.
    pub fn start(locked: bool) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = ports::free()?;
        let at = |name: &str| folder.path().join(name);
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": at("data") }, "delete": { "enabled": true } },
            "http": { "addr": address.to_string() },
        });
        if locked {
            fs::write(at("htpasswd"), HTPASSWD)?;
            config["auth"] = json!({ "htpasswd": { "realm": "tests", "path": at("htpasswd") } });
        }
        // JSON is YAML too.
        fs::write(at("config.yml"), config.to_string())?;
        let log = fs::File::create(at("log"))?;
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("docker-registry does not start; scripts/need.sh docker-registry skopeo installs it")?;
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait()?;
            let said = || fs::read_to_string(at("log")).unwrap_or_default();
            ensure!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "docker-registry does not listen: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            address,
            folder,
            child,
            locked,
        })
    }

    /// A reference to something in it.
    pub fn reference(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    /// Puts what a layout holds under `name`, such as `shop:1.0.0`, byte for byte.
    ///
    /// # Errors
    /// Where `skopeo` is not installed or fails.
    pub fn push(&self, layout: &Layout, name: &str) -> anyhow::Result<()> {
        let mut copy = Command::new("skopeo");
        copy.args([
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ]);
        if self.locked {
            copy.arg(format!("--dest-creds={USER}:{PASSWORD}"));
        }
        let done = copy
            .arg(format!("oci:{}:it", layout.path().display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .context("skopeo does not start; scripts/need.sh skopeo installs it")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "skopeo: {said}");
        Ok(())
    }

    /// The file in which it keeps the content of a digest, to be damaged.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = "data/docker/registry/v2/blobs/sha256";
        self.folder
            .path()
            .join(blobs)
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What goes to a registry, as an OCI layout in a folder.
pub struct Layout {
    folder: TempDir,
}

impl Layout {
    /// An empty one.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir_all(folder.path().join("blobs/sha256"))?;
        fs::write(
            folder.path().join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds a blob; its descriptor.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> anyhow::Result<Value> {
        let hex: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        fs::write(self.path().join("blobs/sha256").join(&hex), bytes)?;
        Ok(
            json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() }),
        )
    }

    /// Adds an image for a platform such as `linux/amd64`; its descriptor.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn image(&self, platform: &str, layers: &[Value]) -> anyhow::Result<Value> {
        let (os, architecture) = platform.split_once('/').unwrap_or(("linux", platform));
        let config = json!({
            "os": os, "architecture": architecture,
            "config": { "Entrypoint": ["/checkout", "--port"], "Cmd": ["8080"] },
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer["digest"]).collect::<Vec<_>>() },
        });
        let config = self.blob(CONFIG, config.to_string().as_bytes())?;
        let mut descriptor = self.manifest(json!({ "config": config, "layers": layers }))?;
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        Ok(descriptor)
    }

    /// Adds a manifest with these fields; its descriptor.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn manifest(&self, fields: Value) -> anyhow::Result<Value> {
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST });
        for (name, value) in fields.as_object().into_iter().flatten() {
            manifest[name] = value.clone();
        }
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// Adds an index of images; its descriptor.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn index(&self, manifests: &[Value]) -> anyhow::Result<Value> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// Says which of them is pushed; its digest.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn top(&self, descriptor: &Value) -> anyhow::Result<String> {
        let mut named = descriptor.clone();
        named["annotations"] = json!({ "org.opencontainers.image.ref.name": "it" });
        let index = json!({ "schemaVersion": 2, "manifests": [named] });
        fs::write(self.path().join("index.json"), index.to_string())?;
        Ok(descriptor["digest"].as_str().unwrap_or_default().to_owned())
    }
}

/// A tar archive of files, by path; where a path ends in a slash, a folder. All are executable.
///
/// # Errors
/// Where a path cannot be written.
pub fn tar(files: &BTreeMap<&str, &[u8]>) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        archive.append_data(&mut header, path, *content)?;
    }
    Ok(archive.into_inner()?)
}

/// Compressed with gzip.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
