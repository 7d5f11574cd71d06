//! What the ledger's endpoints take and answer.

use airboss_ledger::{Hash, Record};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which records to list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RecordQuery {
    /// Only those behind this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Of one lane, such as `checkout/production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// At most so many, 1 to 5,000; the answer has at most about 8 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Events exactly as they are stored and sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordList {
    /// In the global order. Each has `number`, `previous`, `lane`, `seq`, `rollout`, `at` in
    /// microseconds, `kind`, `message`, and the texts `body` and `input`.
    #[schema(value_type = Vec<Object>)]
    pub records: Vec<Record>,
}

/// Which event is to be proved, in which tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct InclusionQuery {
    /// The event's number, from 1.
    pub number: u64,
    /// The size of the tree, such as a checkpoint says; the present one where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// That an event is in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Inclusion {
    /// The event's number; its index in the tree is one less.
    pub number: u64,
    /// The size of the tree.
    pub size: u64,
    /// The hash of its leaf, in base64.
    #[schema(value_type = String)]
    pub leaf: Hash,
    /// The proof as in RFC 6962, 2.1.1: hashes in base64.
    #[schema(value_type = Vec<String>)]
    pub proof: Vec<Hash>,
}

/// Between which two trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyQuery {
    /// The size of the earlier tree.
    pub from: u64,
    /// The size of the later tree; the present one where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// That the log only grew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Consistency {
    /// The size of the earlier tree.
    pub from: u64,
    /// The size of the later tree.
    pub to: u64,
    /// The proof as in RFC 6962, 2.1.2: hashes in base64.
    #[schema(value_type = Vec<String>)]
    pub proof: Vec<Hash>,
}

/// What the log keeps and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogRetention {
    /// How long this server keeps the words of events: such as `400d`, or `for ever`.
    pub keep: String,
    /// What each server was started with last, as sealed in the log; none where it was always `for ever`.
    #[serde(default)]
    pub settings: Vec<KeepSetting>,
    /// True where nothing was removed: this is what would be.
    pub dry_run: bool,
    /// Each lane, by name.
    pub lanes: Vec<LaneRetention>,
}

/// How long a server was started to keep the words of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeepSetting {
    /// The server; `local` where it is the only one.
    pub controller: String,
    /// Such as `400d`, or `for ever`.
    pub keep: String,
    /// Since when.
    pub at: String,
    /// Who started it so.
    pub by: String,
    /// The event that seals it.
    pub event: u64,
}

/// Asks for the removal of what is older than the server keeps, now and not with the next run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveWords {
    /// Who asks for it, for the record.
    pub by: String,
}

/// What the log keeps of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaneRetention {
    /// The lane.
    pub lane: String,
    /// Its events.
    pub events: u64,
    /// Those of them whose words were removed before.
    pub removed: u64,
    /// Bytes of the others' words.
    pub bytes: u64,
    /// When the oldest of these was decided.
    pub oldest: Option<String>,
    /// How many lose their words now, or with the next run.
    pub goes: u64,
}
