//! Where an artifact was taken from.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The place in an OCI registry that an artifact was taken from, as it was then.
///
/// The artifact's own identity is the digest of the archive that was made of it. Statements that
/// others sign name the registry's digests: both are kept here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The repository with its registry, such as `ghcr.io/acme/shop`.
    pub repository: String,
    /// The tag that was named, such as `1.4.0`; None where a digest was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What the tag pointed to: an image, or an index of images for several platforms.
    pub resolved: Digest,
    /// The manifest of the image or artifact itself; the same where there is no index.
    pub manifest: Digest,
    /// The platform that was chosen, such as `linux/amd64`; None where there is none to choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

impl Origin {
    /// What a person named, such as `ghcr.io/acme/shop:1.4.0`.
    pub fn reference(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.repository),
            None => format!("{}@{}", self.repository, self.resolved),
        }
    }
}
