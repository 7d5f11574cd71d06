//! What is attached to an image: signatures, provenance, reports.

use std::io::Read as _;

use airboss_model::Digest;
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciManifest};

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

impl Registry {
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
            return Err(self.refused(&format!(
                "more than {MAX_ATTACHED} documents are attached to it"
            )));
        }
        let mut all = Vec::new();
        for entry in &index.manifests {
            self.documents(entry, subject, &mut all).await?;
        }
        Ok(all)
    }

    async fn documents(
        &self,
        entry: &ImageIndexEntry,
        subject: &Digest,
        all: &mut Vec<Attached>,
    ) -> Result<(), OciError> {
        let reference = self.by_digest(&entry.digest);
        let (OciManifest::Image(manifest), digest) = self.manifest(&reference).await? else {
            return Err(self.refused(&format!("the attachment {} is an index", entry.digest)));
        };
        // Who can write the fallback tag can list anything there.
        let about = manifest.subject.as_ref().map(|about| about.digest.as_str());
        if about != Some(subject.to_string().as_str()) {
            tracing::warn!(attachment = %digest, about, "listed as attached, and names another subject; passed over");
            return Ok(());
        }
        let artifact_type = manifest
            .artifact_type
            .clone()
            .or_else(|| entry.artifact_type.clone())
            .unwrap_or_else(|| manifest.config.media_type.clone());
        for layer in &manifest.layers {
            if all.len() >= MAX_ATTACHED {
                return Err(self.refused(&format!(
                    "more than {MAX_ATTACHED} documents are attached to it"
                )));
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
