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
