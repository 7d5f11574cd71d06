//! What a trace takes and answers.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::evidence::BuildView;
use super::views::RolloutView;

/// What is to be traced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct TraceQuery {
    /// A release, a rollout, a version, a digest or commit or its first digits (7 or more), the address
    /// or number of a run of CI, a test report by name or digest, a person, or an environment.
    pub about: String,
    /// At most so many releases, 1 to 100; 20 where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Every release that something leads to, newest first, with everything linked to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// What was asked for.
    pub about: String,
    /// The releases.
    pub releases: Vec<ReleaseTrace>,
    /// True where there are more than were asked for.
    pub more: bool,
}

/// A release with everything linked to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseTrace {
    /// Such as `checkout@1.4.0`.
    pub release: String,
    /// What led here, in one line each.
    pub found_by: Vec<String>,
    /// The content.
    pub digest: String,
    /// Bytes of the artifact; absent where it is not kept.
    pub size: Option<u64>,
    /// What the artifact was made from, as it was told at its upload.
    pub source: Option<String>,
    /// When the release was made.
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// Other releases with the same content.
    pub same_content: Vec<String>,
    /// Where it comes from.
    #[serde(default)]
    pub build: BuildView,
    /// The reports of its tests, in the order of their arrival.
    #[serde(default)]
    pub tests: Vec<TestRun>,
    /// Its rollouts, newest first, at most 50.
    pub rollouts: Vec<RolloutView>,
    /// Environments where it serves users now.
    pub serves_in: Vec<String>,
    /// Who did what to its rollouts, newest first, at most 100.
    pub people: Vec<Deed>,
    /// What nothing is recorded of, in one line each.
    pub missing: Vec<String>,
}

/// A report of tests about a release's artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TestRun {
    /// SHA-256 of the report.
    pub id: String,
    /// What was tested, or where the run is, as the report says.
    pub name: Option<String>,
    /// How it went, in one line.
    pub summary: String,
    /// Where it is from: a file's name, or an address.
    pub source: String,
    /// When it was first seen.
    pub at: String,
}

/// Something that a person did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deed {
    /// Who.
    pub who: String,
    /// What, in one line.
    pub what: String,
    /// To which rollout.
    pub rollout: String,
    /// When.
    pub at: String,
    /// The number of the event.
    pub event: u64,
}
