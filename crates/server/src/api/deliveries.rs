//! Events that others pushed, as clients read them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What whoever pushed an event is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// What became of it, in one sentence.
    pub outcome: String,
    /// True where it came before; the outcome is what became of it then.
    #[serde(default)]
    pub repeated: bool,
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct DeliveryQuery {
    /// At most so many, 1 to 500; 50 where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Events that others pushed, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryList {
    /// Who may push: those that the server has a secret of.
    pub senders: Vec<String>,
    /// What came, at most 30 days ago.
    pub deliveries: Vec<DeliveryView>,
}

/// An event that somebody pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// The sender's id of it.
    pub id: String,
    /// `github`, `gitlab` or `standard`.
    pub sender: String,
    /// Its kind, such as `workflow_run`.
    pub event: String,
    /// What became of it, in one sentence.
    pub outcome: String,
    /// The commit in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The address of the run in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The release that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// When it came.
    pub at: String,
}
