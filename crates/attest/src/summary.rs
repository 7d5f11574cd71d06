//! What Airboss concludes of an artifact, as a SLSA verification summary v1.

use airboss_model::evidence::ItemVerdict;
use airboss_model::{Digest, Timestamp};
use serde_json::json;

use crate::statement::Statement;

/// The predicate type of SLSA verification summaries.
pub const SUMMARY_TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// A gate that an artifact passed.
#[derive(Debug, Clone)]
pub struct Passed<'a> {
    /// The artifact's name, such as `checkout@1.4.0`.
    pub name: &'a str,
    /// The artifact.
    pub artifact: &'a Digest,
    /// What the artifact was let into, such as `https://airboss.example/checkout/production`.
    pub resource: &'a str,
    /// Who verified, such as `https://airboss.example/KEYID`; its version beside it.
    pub verifier: &'a str,
    /// Airboss's version.
    pub version: &'a str,
    /// What was required, for people, such as the manifest's name.
    pub policy: &'a str,
    /// SHA-256 of the manifest or policy.
    pub policy_digest: &'a Digest,
    /// The items that passed.
    pub items: &'a [ItemVerdict],
    /// When.
    pub at: Timestamp,
}

/// The statement that says so; sign it with [`crate::SigningKey::sign`].
pub fn summarise(passed: &Passed<'_>) -> Statement {
    let attestations: Vec<_> = passed
        .items
        .iter()
        .flat_map(|item| &item.rests_on)
        .map(|digest| json!({ "digest": { "sha256": digest.hex() } }))
        .collect();
    let levels: Vec<_> = passed
        .items
        .iter()
        .map(|item| format!("AIRBOSS_{}", item.item.name().to_uppercase()))
        .collect();
    let predicate = json!({
        "verifier": { "id": passed.verifier, "version": { "airboss": passed.version } },
        "timeVerified": passed.at,
        "resourceUri": passed.resource,
        "policy": { "uri": passed.policy, "digest": { "sha256": passed.policy_digest.hex() } },
        "inputAttestations": attestations,
        "verificationResult": "PASSED",
        "verifiedLevels": levels,
        "slsaVersion": "1.0",
    });
    Statement::about(passed.name, passed.artifact, SUMMARY_TYPE, predicate)
}
