//! What clients read of artifacts. Times are RFC 3339 in UTC.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An artifact that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactView {
    /// Its identity, `sha256:` and 64 hex digits.
    pub digest: String,
    /// Bytes of the archive.
    pub size: u64,
    /// False where the same content was here already.
    pub new: bool,
}

/// An artifact with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactDetail {
    /// Its identity, `sha256:` and 64 hex digits.
    pub digest: String,
    /// Bytes of the archive.
    pub size: u64,
    /// What it was made from, for people.
    pub source: String,
    /// When it was first registered.
    pub at: String,
    /// When it was registered last.
    pub kept_at: String,
    /// When and why its content was removed; None while it is kept.
    pub removed: Option<RemovalView>,
    /// The releases that are pinned to it, oldest first, such as `checkout@1.4.0`. Two of them
    /// are the same content under two versions.
    pub releases: Vec<String>,
    /// Where it was taken from, the newest first.
    pub origins: Vec<OriginView>,
}

/// Why an artifact's content is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovalView {
    /// When it was removed.
    pub at: String,
    /// Why.
    pub why: String,
}

/// The place in a registry that an artifact was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OriginView {
    /// What was named, such as `ghcr.io/acme/shop:1.4.0`.
    pub reference: String,
    /// The repository with its registry.
    pub repository: String,
    /// The tag, where one was named.
    pub tag: Option<String>,
    /// What the tag pointed to then: an image or an index.
    pub resolved: String,
    /// The manifest of the image or artifact itself.
    pub manifest: String,
    /// The platform that was chosen, where there was a choice.
    pub platform: Option<String>,
    /// When it was taken from there.
    pub at: String,
    /// What the tag pointed to when somebody looked last, where that is something else.
    pub moved_to: Option<String>,
    /// When somebody looked last.
    pub looked_at: Option<String>,
}

/// Artifacts, those kept last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactList {
    /// The artifacts.
    pub artifacts: Vec<ArtifactDetail>,
}

/// What retention keeps and what it removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetentionReport {
    /// True where nothing was removed: this is what would be.
    pub dry_run: bool,
    /// What goes, oldest first.
    pub goes: Vec<FateView>,
    /// What stays, newest first.
    pub stays: Vec<FateView>,
    /// Bytes that go.
    pub freed: u64,
    /// What could not be removed, and why; it is tried again the next time.
    pub failed: Vec<String>,
}

/// What becomes of an artifact's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FateView {
    /// The artifact.
    pub digest: String,
    /// Bytes of the archive.
    pub size: u64,
    /// The releases that are pinned to it.
    pub releases: Vec<String>,
    /// Why it stays or goes.
    pub why: String,
}
