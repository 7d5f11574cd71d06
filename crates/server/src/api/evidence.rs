//! Releases and what is said of their artifacts.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Registers a version: pins it to an artifact and keeps where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The service.
    pub service: String,
    /// The version, such as `1.4.0`; it stands for this content for good.
    pub version: String,
    /// The artifact's digest, uploaded before; may be left out for a version that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where it comes from. What is known already stays.
    #[serde(default)]
    pub build: BuildView,
    /// Who asks, for the record.
    pub by: String,
}

/// Where a release comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BuildView {
    /// The commit, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The branch or tag, such as `refs/heads/main`.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The address of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Who or what started the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The address of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// What built it, such as `github-actions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}

/// A release with everything that is known of where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseView {
    /// Such as `checkout@1.4.0`.
    pub id: String,
    /// The artifact's digest.
    pub digest: String,
    /// Bytes of its archive, while that is kept.
    pub size: Option<u64>,
    /// Who registered the version.
    pub by: String,
    /// When.
    pub at: String,
    /// Each field, known or not.
    pub fields: Vec<FieldView>,
    /// The needed fields that are not known; empty where the release is complete.
    pub missing: Vec<String>,
    /// What the service's manifest requires, and how it stands.
    pub required: Vec<ItemView>,
    /// The documents about the artifact.
    pub attestations: Vec<AttestationView>,
    /// Things to know, such as a field that was told in two ways.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Something to know of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldView {
    /// Its name, such as `commit`.
    pub name: String,
    /// What is known.
    pub value: Option<String>,
    /// True where a release is not complete without it.
    pub needed: bool,
    /// Who says so, where it is known: `CI`, or the document that does.
    pub told_by: Option<String>,
    /// Who signed that, where somebody did who is trusted.
    pub verified_by: Option<String>,
}

/// How a required item of evidence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemView {
    /// `signed`, `provenance`, `tests`, `scan` or `sbom`.
    pub name: String,
    /// `passed`, `missing`, `failed`, `stale` or `badly_signed`.
    pub state: String,
    /// Why, in one sentence.
    pub reason: String,
    /// What to run or to do about it, where it does not pass.
    pub remedy: Option<String>,
    /// When it stops to pass by age alone.
    pub good_until: Option<String>,
    /// The documents that it rests on, by the SHA-256 of their bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rests_on: Vec<String>,
}

/// A document that says something of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttestationView {
    /// SHA-256 of its bytes.
    pub id: String,
    /// `provenance`, `tests`, `scan`, `sbom`, `summary` or `other`.
    pub kind: String,
    /// What the document is, such as `dsse` or `junit`.
    pub form: String,
    /// The predicate type of the statement in it.
    pub predicate: String,
    /// What it says, in one line.
    pub summary: String,
    /// What it says, whole.
    #[schema(value_type = Object)]
    pub facts: serde_json::Value,
    /// `verified`, `unsigned`, `untrusted` or `refused`, by the latest check.
    pub verdict: String,
    /// Why, in one sentence.
    pub reason: String,
    /// Who signed it, of those that are trusted.
    pub signers: Vec<String>,
    /// Where it is from: a file's name, or an address.
    pub source: String,
    /// Who handed it in.
    pub by: String,
    /// When it was first seen.
    pub at: String,
    /// When it was last checked.
    pub checked_at: String,
    /// False where the same bytes were here already.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub new: bool,
}

fn yes() -> bool {
    true
}
fn is_true(value: &bool) -> bool {
    *value
}

/// Documents about an artifact, in the order of their arrival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttestationList {
    /// The documents.
    pub attestations: Vec<AttestationView>,
}

/// Releases, newest first, with how complete they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseList {
    /// The releases.
    pub releases: Vec<ReleaseSummary>,
    /// How many of them are complete.
    pub complete: u64,
    /// True where there are more than were asked for: the numbers are of the newest then.
    #[serde(default)]
    pub more: bool,
}

/// A release in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseSummary {
    /// Such as `checkout@1.4.0`.
    pub id: String,
    /// The artifact's digest.
    pub digest: String,
    /// When it was registered.
    pub at: String,
    /// The commit, where it is known.
    pub commit: Option<String>,
    /// The needed fields that are not known.
    pub missing: Vec<String>,
    /// Who signed something about it, of those that are trusted.
    pub signers: Vec<String>,
}

/// What a release is weighed against.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ReleaseNeeds {
    /// A JSON list of what is required, as in a manifest's `rollout.require`, such as `["signed","tests"]`; where
    /// not named, what the service's manifest requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<String>,
}

/// Which releases to list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ReleaseQuery {
    /// Of one service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only those registered since this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Of one artifact, by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// At most so many, 1 to 500; 50 where not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What is handed in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AttestationQuery {
    /// What it is said to be: `provenance`, `tests`, `scan` or `sbom`; another kind is then refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where it is from, for people: a file's name, or an address.
    #[serde(default)]
    pub source: String,
    /// The artifact's name in words of Airboss's own, such as `checkout@1.4.0`.
    #[serde(default)]
    pub name: String,
    /// Who hands it in.
    #[serde(default)]
    pub by: String,
}
