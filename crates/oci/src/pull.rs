//! Fetches an image or artifact into a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use airboss_model::Digest;
use airboss_targets::process::artifact::{ArtifactError, Compression, Layers, MAX_BYTES, Unpacked};
use futures_util::StreamExt as _;
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE, OciDescriptor,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::registry::{MAX_MANIFEST, Pinned};
use crate::{OciError, Platform, Registry};

/// Most layers of an image; what runtimes take is 127.
const MAX_LAYERS: usize = 500;
/// The annotation that names the file that a layer is.
const TITLE: &str = "org.opencontainers.image.title";

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What is in the folder now.
    pub unpacked: Unpacked,
    /// Bytes that went over the network.
    pub fetched: u64,
    /// What the image says that a container of it runs; empty for an artifact.
    pub entrypoint: Vec<String>,
    /// The one file, where it is an artifact of a single file.
    pub file: Option<String>,
}

/// What of an image's configuration matters here.
#[derive(Default, Deserialize)]
struct ImageConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
    #[serde(default)]
    config: Option<RunConfig>,
}

#[derive(Default, Deserialize)]
struct RunConfig {
    #[serde(rename = "Entrypoint", default)]
    entrypoint: Option<Vec<String>>,
    #[serde(rename = "Cmd", default)]
    cmd: Option<Vec<String>>,
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

/// How a layer becomes files.
enum Form {
    Archive(Compression),
    File(String),
}

impl Registry {
    /// Fetches what was pinned into `folder`, which is there and empty. Every blob is compared
    /// with its digest and size before a byte of it is looked at. On an error, the folder is of
    /// no use.
    ///
    /// # Errors
    /// Where the registry fails or hands out other bytes, where the image is for another
    /// platform, where it holds what nothing that is shipped may hold, or is above a limit.
    pub async fn pull(
        &self,
        pinned: &Pinned,
        platform: &Platform,
        folder: &Path,
    ) -> Result<Pulled, OciError> {
        let manifest = &pinned.manifest;
        let forms = self.forms(pinned)?;
        let total: u64 = manifest
            .layers
            .iter()
            .map(size)
            .fold(0, u64::saturating_add);
        if total > MAX_BYTES {
            return Err(self.refused(&format!("it is larger than {} GiB", MAX_BYTES >> 30)));
        }
        self.authorize().await?;
        let entrypoint = if is_image(&manifest.config.media_type) {
            self.look_at_config(&manifest.config, platform, pinned)
                .await?
        } else {
            Vec::new()
        };
        let file = match forms.as_slice() {
            [Form::File(title)] => Some(title.clone()),
            _ => None,
        };
        let mut layers = Layers::new(folder);
        for (number, (layer, form)) in manifest.layers.iter().zip(forms).enumerate() {
            let what = format!("layer {} of {}", number + 1, self.source);
            let blob = self.fetch(layer, &what).await?;
            let length = size(layer);
            let lay = move || {
                let done = match &form {
                    Form::Archive(compression) => layers.lay(&blob, *compression),
                    Form::File(title) => layers.put(title, &blob, length),
                };
                done.map(|()| layers)
            };
            layers = blocking(lay).await.map_err(|source| OciError::Archive {
                what,
                source: Box::new(source),
            })?;
        }
        let unpacked =
            blocking(move || layers.finish())
                .await
                .map_err(|source| OciError::Archive {
                    what: self.source.to_string(),
                    source: Box::new(source),
                })?;
        Ok(Pulled {
            unpacked,
            fetched: total,
            entrypoint,
            file,
        })
    }

    fn forms(&self, pinned: &Pinned) -> Result<Vec<Form>, OciError> {
        let layers = &pinned.manifest.layers;
        if layers.is_empty() {
            return Err(self.refused("it holds no files"));
        }
        if layers.len() > MAX_LAYERS {
            return Err(self.refused(&format!("it has more than {MAX_LAYERS} layers")));
        }
        let one = |layer: &OciDescriptor| {
            let kind = layer.media_type.as_str();
            if kind.contains("nondistributable") || kind.contains(".foreign.") {
                return Err(self.refused(&format!(
                    "the layer {} lies outside of the registry (`{kind}`)",
                    layer.digest
                )));
            }
            if let Some(compression) = archive(kind) {
                return Ok(Form::Archive(compression));
            }
            let title = layer.annotations.as_ref().and_then(|all| all.get(TITLE));
            match title {
                Some(title) if !is_image(&pinned.manifest.config.media_type) => {
                    Ok(Form::File(title.clone()))
                }
                _ => Err(self.refused(&format!(
                    "the layer {} is of the media type `{kind}`, which is no tar archive, and no annotation \
                     {TITLE} says which file it is",
                    layer.digest
                ))),
            }
        };
        layers.iter().map(one).collect()
    }

    /// What the image says of itself: its labels, and the annotations of its manifest, such as
    /// `org.opencontainers.image.revision`.
    ///
    /// # Errors
    /// Where the registry fails or hands out other bytes.
    pub async fn labels(&self, pinned: &Pinned) -> Result<BTreeMap<String, String>, OciError> {
        let config = &pinned.manifest.config;
        let mut all = BTreeMap::new();
        if is_image(&config.media_type) {
            self.authorize().await?;
            let run = self.config(config).await?.config.unwrap_or_default();
            all.extend(run.labels.unwrap_or_default());
        }
        all.extend(pinned.manifest.annotations.clone().unwrap_or_default());
        Ok(all)
    }

    async fn config(&self, config: &OciDescriptor) -> Result<ImageConfig, OciError> {
        if size(config) > MAX_MANIFEST as u64 {
            return Err(self.refused(&format!(
                "its configuration has more than {} MiB",
                MAX_MANIFEST >> 20
            )));
        }
        let what = format!("the configuration of {}", self.source);
        let file = self.fetch(config, &what).await?;
        serde_json::from_reader(std::io::BufReader::new(file))
            .map_err(|error| self.refused(&format!("its configuration cannot be read ({error})")))
    }

    /// Refuses an image for another platform; what it runs.
    async fn look_at_config(
        &self,
        config: &OciDescriptor,
        platform: &Platform,
        pinned: &Pinned,
    ) -> Result<Vec<String>, OciError> {
        let read = self.config(config).await?;
        let made_for = Platform {
            os: read.os,
            architecture: read.architecture,
            variant: read.variant,
        };
        // Where an index named the platform, it was chosen by that.
        let named = !made_for.os.is_empty() && !made_for.architecture.is_empty();
        if pinned.origin.platform.is_none() && named && !platform.takes(&made_for) {
            return Err(OciError::Platform {
                reference: self.source.to_string(),
                wanted: platform.to_string(),
                offered: made_for.to_string(),
            });
        }
        let run = read.config.unwrap_or_default();
        Ok([run.entrypoint, run.cmd]
            .into_iter()
            .flatten()
            .flatten()
            .collect())
    }

    /// Fetches a blob into a file without a name, compared with digest and size.
    pub(crate) async fn fetch(&self, blob: &OciDescriptor, what: &str) -> Result<File, OciError> {
        let expected = self.digest(&blob.digest)?;
        let io = |source| OciError::Io {
            path: std::env::temp_dir().display().to_string(),
            source,
        };
        let mismatch = |expected: String, found: String| OciError::Mismatch {
            what: what.to_owned(),
            expected,
            found,
        };
        let reference = self.by_digest(&blob.digest);
        // The URLs that a descriptor may name are not followed: the registry is what was named.
        let mut stream = match self
            .client
            .pull_blob_stream(&reference, blob.digest.as_str())
            .await
        {
            Ok(sized) => sized.stream,
            Err(error) => return Err(self.explain(error, &reference, what).await),
        };
        let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(io)?);
        let (mut hash, mut received) = (Sha256::new(), 0_u64);
        loop {
            let piece = match stream.next().await {
                None => break,
                Some(Ok(piece)) => piece,
                // The library compares at the end and says so as an error like any other.
                Some(Err(error)) if error.to_string().contains("igest") => break,
                Some(Err(error)) => {
                    return Err(OciError::Unreachable {
                        registry: self.source.registry().to_owned(),
                        why: format!("it broke off after {received} bytes of {what}: {error}"),
                    });
                }
            };
            received += piece.len() as u64;
            if received > size(blob) {
                return Err(mismatch(format!("{} bytes", size(blob)), "more".to_owned()));
            }
            hash.update(&piece);
            file.write_all(&piece).await.map_err(io)?;
        }
        file.flush().await.map_err(io)?;
        let found = Digest::from_sha256(hash.finalize().into());
        if found != expected {
            return Err(mismatch(expected.to_string(), found.to_string()));
        }
        if received != size(blob) {
            return Err(mismatch(
                format!("{} bytes", size(blob)),
                format!("{received} bytes"),
            ));
        }
        use std::io::Seek as _;
        let mut file = file.into_std().await;
        file.rewind().map_err(io)?;
        Ok(file)
    }
}

fn size(blob: &OciDescriptor) -> u64 {
    u64::try_from(blob.size).unwrap_or(0)
}

fn is_image(config: &str) -> bool {
    [IMAGE_CONFIG_MEDIA_TYPE, IMAGE_DOCKER_CONFIG_MEDIA_TYPE].contains(&config)
}

/// The compression of a layer that is a tar archive.
fn archive(media_type: &str) -> Option<Compression> {
    let rest = media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.tar")
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"))
        .or_else(|| media_type.strip_prefix("application/x-tar"))?;
    match rest {
        "" => Some(Compression::None),
        "+gzip" | ".gzip" => Some(Compression::Gzip),
        "+zstd" | ".zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
    }
}
