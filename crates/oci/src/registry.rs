//! What a registry says of a reference.

use std::time::Duration;

use airboss_model::{Digest, Origin};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, ImageIndexEntry,
    OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciImageIndex, OciImageManifest, OciManifest,
};
use oci_client::{Client, Reference, RegistryOperation};

use crate::credentials::{Credentials, Shown};
use crate::error::{Meaning, meaning};
use crate::{OciError, Platform, Source};

/// Most bytes of a manifest or an index; what registries take.
pub const MAX_MANIFEST: usize = 4 << 20;
/// How long a connection may take, and the registry between two pieces of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most tags named in a message.
const TAGS_SHOWN: usize = 10;

const ACCEPTED: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// One repository of a registry, with the credentials to read it.
pub struct Registry {
    pub(crate) client: Client,
    pub(crate) source: Source,
    shown: Shown,
}

/// A reference that was resolved, once and for all.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// Where it is from.
    pub origin: Origin,
    pub(crate) manifest: OciImageManifest,
}

impl Registry {
    /// Prepares to ask the registry of `source`; asks it nothing yet. Registries on loopback
    /// addresses are spoken to without encryption, all others with TLS.
    ///
    /// # Errors
    /// Where credentials are named and cannot be read.
    pub fn new(source: Source, credentials: &Credentials) -> Result<Self, OciError> {
        let host = source.reference.resolve_registry().to_owned();
        let plain = if is_loopback(&host) {
            vec![host]
        } else {
            Vec::new()
        };
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            connect_timeout: Some(PATIENCE),
            read_timeout: Some(PATIENCE),
            user_agent: concat!("airboss/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        let shown = credentials.read(source.registry())?;
        Ok(Self {
            client,
            source,
            shown,
        })
    }

    /// What was named.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the tag points to now. Where a digest was named, it must be there.
    ///
    /// # Errors
    /// Where the registry cannot be asked, refuses, or does not have it.
    pub async fn look(&self) -> Result<Digest, OciError> {
        let reference = &self.source.reference;
        match self
            .client
            .fetch_manifest_digest(reference, &self.shown.auth)
            .await
        {
            Ok(digest) => self.digest(&digest),
            Err(error) => Err(self.explain(error, reference, "its manifest").await),
        }
    }

    /// Resolves the reference: the tag to a digest, an index to the image for `platform`.
    ///
    /// # Errors
    /// As [`Self::look`], and where there is nothing for the platform or the manifest is none.
    pub async fn resolve(&self, platform: &Platform) -> Result<Pinned, OciError> {
        let (manifest, resolved) = self.manifest(&self.source.reference).await?;
        let origin = |manifest, platform| Origin {
            repository: self.source.repository(),
            // With a digest beside it the tag was not looked at.
            tag: self
                .source
                .tag()
                .filter(|_| self.source.digest().is_none())
                .map(str::to_owned),
            resolved,
            manifest,
            platform,
        };
        match manifest {
            OciManifest::Image(manifest) => Ok(Pinned {
                origin: origin(resolved, None),
                manifest,
            }),
            OciManifest::ImageIndex(index) => {
                let entry = self.choose(index, platform)?;
                let chosen = entry
                    .platform
                    .as_ref()
                    .map(|it| platform_of(it).to_string());
                let reference = self.by_digest(&entry.digest);
                match self.manifest(&reference).await? {
                    (OciManifest::Image(manifest), digest) => Ok(Pinned {
                        origin: origin(digest, chosen),
                        manifest,
                    }),
                    (OciManifest::ImageIndex(_), _) => {
                        Err(self.refused("its index names another index where an image should be"))
                    }
                }
            }
        }
    }

    /// A manifest or index, compared with its digest.
    pub(crate) async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(OciManifest, Digest), OciError> {
        let pulled = self
            .client
            .pull_manifest_raw(reference, &self.shown.auth, &ACCEPTED)
            .await;
        let (bytes, digest) = match pulled {
            Ok(pulled) => pulled,
            Err(error) => return Err(self.explain(error, reference, "its manifest").await),
        };
        if bytes.len() > MAX_MANIFEST {
            return Err(self.refused(&format!(
                "its manifest has more than {} MiB",
                MAX_MANIFEST >> 20
            )));
        }
        Ok((self.read_manifest(&bytes)?, self.digest(&digest)?))
    }

    fn read_manifest(&self, bytes: &[u8]) -> Result<OciManifest, OciError> {
        let no_manifest =
            |why: String| self.refused(&format!("its manifest cannot be read ({why})"));
        let text: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| no_manifest(error.to_string()))?;
        let kind = text["mediaType"].as_str().unwrap_or_default();
        if !kind.is_empty() && !ACCEPTED.contains(&kind) {
            return Err(self.refused(&format!(
                "its media type `{kind}` is neither an image's nor an artifact's"
            )));
        }
        let read = if text["manifests"].is_array() {
            serde_json::from_slice::<OciImageIndex>(bytes).map(OciManifest::ImageIndex)
        } else {
            serde_json::from_slice::<OciImageManifest>(bytes).map(OciManifest::Image)
        };
        read.map_err(|error| no_manifest(error.to_string()))
    }

    fn choose(&self, index: OciImageIndex, wanted: &Platform) -> Result<ImageIndexEntry, OciError> {
        let mut offered = Vec::new();
        for entry in index.manifests {
            let Some(platform) = entry.platform.as_ref().map(platform_of) else {
                continue;
            };
            if wanted.takes(&platform) {
                return Ok(entry);
            }
            // Builders attach their notes as images for no platform.
            if platform.os != "unknown" {
                offered.push(platform.to_string());
            }
        }
        offered.dedup();
        Err(OciError::Platform {
            reference: self.source.to_string(),
            wanted: wanted.to_string(),
            offered: if offered.is_empty() {
                "none that it names".to_owned()
            } else {
                offered.join(", ")
            },
        })
    }

    pub(crate) fn by_digest(&self, digest: &str) -> Reference {
        self.source.reference.clone_with_digest(digest.to_owned())
    }

    pub(crate) fn digest(&self, text: &str) -> Result<Digest, OciError> {
        text.parse().map_err(|_| {
            self.refused(&format!(
                "it is named by `{text}`, and only sha256 digests are accepted"
            ))
        })
    }

    pub(crate) fn refused(&self, why: &str) -> OciError {
        OciError::Refused {
            reference: self.source.to_string(),
            why: why.to_owned(),
        }
    }

    /// Makes sure that what follows carries the credentials.
    pub(crate) async fn authorize(&self) -> Result<(), OciError> {
        let reference = &self.source.reference;
        let done = self
            .client
            .auth(reference, &self.shown.auth, RegistryOperation::Pull)
            .await;
        match done {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(error, reference, "it").await),
        }
    }

    /// What an error means, with what to do about it.
    pub(crate) async fn explain(
        &self,
        error: OciDistributionError,
        reference: &Reference,
        what: &str,
    ) -> OciError {
        let registry = self.source.registry().to_owned();
        match meaning(&error) {
            Meaning::NotFound => OciError::NotFound {
                reference: reference.to_string(),
                hint: self.tags().await,
            },
            Meaning::Unauthorized => OciError::Unauthorized {
                registry,
                repository: self.source.reference.repository().to_owned(),
                as_whom: self.shown.as_whom.clone(),
            },
            Meaning::Unreachable(why) => OciError::Unreachable { registry, why },
            Meaning::Mismatch { expected, found } => OciError::Mismatch {
                what: format!("{what} of {}", self.source),
                expected,
                found,
            },
            Meaning::Other(why) => OciError::Registry { registry, why },
        }
    }

    /// What could have been meant instead.
    async fn tags(&self) -> String {
        let listed = self
            .client
            .list_tags(
                &self.source.reference,
                &self.shown.auth,
                Some(TAGS_SHOWN),
                None,
            )
            .await;
        match listed {
            Ok(list) if !list.tags.is_empty() => format!(
                "\n  {} has: {}",
                self.source.repository(),
                list.tags
                    .iter()
                    .take(TAGS_SHOWN)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            _ => format!(
                "\n  there is no repository {} that can be seen",
                self.source.repository()
            ),
        }
    }
}

pub(crate) fn platform_of(platform: &oci_client::manifest::Platform) -> Platform {
    Platform {
        os: platform.os.to_string(),
        architecture: platform.architecture.to_string(),
        variant: platform.variant.clone(),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
