//! What clients send.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Ships a release: registers the version, then starts a rollout or puts it in line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShipRequest {
    /// The manifest's text.
    pub manifest: String,
    /// The manifest's file name, for messages.
    #[serde(default = "manifest_name")]
    pub manifest_name: String,
    /// The service to ship, where the manifest holds several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The version, such as `1.4.0`.
    pub version: String,
    /// The artifact's digest, uploaded before, such as `sha256:ab…`.
    pub digest: String,
    /// The environment; `production` where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Who asks, for the record.
    pub by: String,
    /// The release repairs what spends an error budget: it goes although a budget is spent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fix: bool,
}

fn manifest_name() -> String {
    "airboss.yaml".to_owned()
}

/// The place in a registry that an artifact was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginRequest {
    /// The repository with its registry, such as `ghcr.io/acme/shop`.
    pub repository: String,
    /// The tag that was named, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest that the tag pointed to: of an image, or of an index of images.
    pub resolved: String,
    /// The digest of the image's or artifact's own manifest.
    pub manifest: String,
    /// The platform that was chosen, such as `linux/amd64`, where there was a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// What a tag of a registry points to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagRequest {
    /// The repository with its registry.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest that it points to.
    pub digest: String,
}

/// Removes the content of artifacts that nothing keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRequest {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which artifacts to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ArtifactQuery {
    /// Those that were taken from this manifest of a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Only those whose content is there (`true`) or was removed (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
    /// At most so many, 1 to 10,000; 100 where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Who asks for something, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    /// Who asks, for the record.
    pub by: String,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
    /// With `promote`: go to 100 % at once.
    #[serde(default)]
    pub full: bool,
    /// With `abort`: go to 0 % at once even where stable has not the capacity.
    #[serde(default)]
    pub force: bool,
}

/// Returns a service to an earlier version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The environment; `production` where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The version to return to; the one before the present where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who asks, for the record.
    pub by: String,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// Which rollouts to list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RolloutQuery {
    /// Of one service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of one environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Of one release, such as `checkout@1.4.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Only those that have ended (`true`) or have not (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<bool>,
    /// Only those created before this rollout: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// At most so many, 1 to 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which events to list or follow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only those behind this number. A `Last-Event-ID` header says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Of one rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// At most so many, 1 to 5,000. Does not apply to the live stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// How many log lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// Lines of each instance, 1 to 1,000; 100 where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u32>,
}
