//! What is attached to an image: signatures, provenance, reports.

use std::collections::BTreeSet;
use std::io::Read as _;

use airboss_model::{Digest, Origin};
use oci_client::Reference;
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageManifest, OciManifest};

use crate::{OciError, Registry};

/// Most attachments of one image that are looked at.
pub const MAX_ATTACHED: usize = 200;
/// Most bytes of one attachment (16 MiB).
pub const MAX_ATTACHED_BYTES: u64 = 16 << 20;

/// One document that is attached to an image or artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The manifest that attaches it.
    pub manifest: Digest,
    /// What the manifest says that it is, such as `application/vnd.dev.sigstore.bundle.v0.3+json`.
    pub artifact_type: String,
    /// The document's own media type, such as `application/vnd.in-toto+json`.
    pub media_type: String,
    /// The document's digest.
    pub digest: Digest,
    /// The document, byte for byte.
    pub bytes: Vec<u8>,
}

/// How builders mark an index's entry that holds notes on another entry.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

impl Registry {
    /// Everything that is attached to an image, in each of the ways that are in use: by the
    /// referrers of its manifest and of the index that it was chosen from, in that index as
    /// BuildKit does it, and under the tag that cosign used before it had referrers (`sha256-`, the
    /// hex digits and `.att`). Each document once. Whose they are and what they are about is for
    /// others to find out.
    ///
    /// # Errors
    /// As [`Self::attached`].
    pub async fn attached_to(&self, origin: &Origin) -> Result<Vec<Attached>, OciError> {
        let mut all = self.attached(&origin.manifest).await?;
        self.under_tag(&origin.manifest, &mut all).await?;
        if origin.resolved != origin.manifest {
            all.extend(self.attached(&origin.resolved).await?);
            self.under_tag(&origin.resolved, &mut all).await?;
            self.in_index(origin, &mut all).await?;
        }
        let mut seen = BTreeSet::new();
        all.retain(|it| seen.insert(it.digest));
        if all.len() > MAX_ATTACHED {
            return Err(self.too_many());
        }
        Ok(all)
    }

    /// What is attached to a manifest: by the registry's referrers API, and where it has none, by
    /// the fallback tag (`sha256-` and the hex digits). An image without attachments has none.
    ///
    /// # Errors
    /// Where the registry fails, hands out other bytes than the digests say, or an attachment is
    /// above a limit.
    pub async fn attached(&self, subject: &Digest) -> Result<Vec<Attached>, OciError> {
        self.authorize().await?;
        let reference = self.by_digest(&subject.to_string());
        let index = match self.client.pull_referrers(&reference, None).await {
            Ok(index) => index,
            Err(error) => {
                return Err(self
                    .explain(error, &reference, "its list of attachments")
                    .await);
            }
        };
        if index.manifests.len() > MAX_ATTACHED {
            return Err(self.too_many());
        }
        let mut all = Vec::new();
        for entry in &index.manifests {
            let reference = self.by_digest(&entry.digest);
            let (OciManifest::Image(manifest), digest) = self.manifest(&reference).await? else {
                return Err(self.refused(&format!("the attachment {} is an index", entry.digest)));
            };
            // Who can write the fallback tag can list anything there.
            let about = manifest.subject.as_ref().map(|about| about.digest.as_str());
            if about != Some(subject.to_string().as_str()) {
                tracing::warn!(attachment = %digest, about, "listed as attached, and names another subject; passed over");
                continue;
            }
            let kind = entry.artifact_type.as_deref();
            self.documents(&manifest, digest, kind, &mut all).await?;
        }
        Ok(all)
    }

    async fn under_tag(&self, subject: &Digest, all: &mut Vec<Attached>) -> Result<(), OciError> {
        let tag = format!("sha256-{}.att", subject.hex());
        let of = &self.source.reference;
        let reference =
            Reference::with_tag(of.registry().to_owned(), of.repository().to_owned(), tag);
        match self.manifest(&reference).await {
            Ok((OciManifest::Image(manifest), digest)) => {
                self.documents(&manifest, digest, None, all).await
            }
            Ok((OciManifest::ImageIndex(_), _)) | Err(OciError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn in_index(&self, origin: &Origin, all: &mut Vec<Attached>) -> Result<(), OciError> {
        let reference = self.by_digest(&origin.resolved.to_string());
        let (OciManifest::ImageIndex(index), _) = self.manifest(&reference).await? else {
            return Ok(());
        };
        let image = origin.manifest.to_string();
        let is_about = |entry: &&ImageIndexEntry| {
            let of = |name| Some(entry.annotations.as_ref()?.get(name)?.as_str());
            of(REFERENCE_TYPE) == Some("attestation-manifest")
                && of(REFERENCE_DIGEST) == Some(image.as_str())
        };
        for entry in index.manifests.iter().filter(is_about).take(MAX_ATTACHED) {
            let reference = self.by_digest(&entry.digest);
            if let (OciManifest::Image(manifest), digest) = self.manifest(&reference).await? {
                self.documents(&manifest, digest, None, all).await?;
            }
        }
        Ok(())
    }

    fn too_many(&self) -> OciError {
        self.refused(&format!(
            "more than {MAX_ATTACHED} documents are attached to it"
        ))
    }

    async fn documents(
        &self,
        manifest: &OciImageManifest,
        digest: Digest,
        kind: Option<&str>,
        all: &mut Vec<Attached>,
    ) -> Result<(), OciError> {
        let artifact_type = manifest
            .artifact_type
            .clone()
            .or_else(|| kind.map(str::to_owned))
            .unwrap_or_else(|| manifest.config.media_type.clone());
        for layer in &manifest.layers {
            if all.len() >= MAX_ATTACHED {
                return Err(self.too_many());
            }
            all.push(Attached {
                manifest: digest,
                artifact_type: artifact_type.clone(),
                media_type: layer.media_type.clone(),
                digest: self.digest(&layer.digest)?,
                bytes: self.document(layer).await?,
            });
        }
        Ok(())
    }

    async fn document(&self, layer: &OciDescriptor) -> Result<Vec<u8>, OciError> {
        if u64::try_from(layer.size).unwrap_or(u64::MAX) > MAX_ATTACHED_BYTES {
            return Err(self.refused(&format!(
                "the attachment {} has more than {} MiB",
                layer.digest,
                MAX_ATTACHED_BYTES >> 20
            )));
        }
        let what = format!("the attachment {} of {}", layer.digest, self.source);
        let mut file = self.fetch(layer, &what).await?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|source| OciError::Io { path: what, source })?;
        Ok(bytes)
    }
}
