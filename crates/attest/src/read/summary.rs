//! What others concluded: SLSA verification summaries and simple verification results.

use serde::Deserialize;

use super::{ReadError, lenient_time, predicate, shorten};
use crate::facts::{Facts, LISTED_MAX, Summary};

/// An older predicate type of SLSA verification summaries.
pub(super) const SUMMARY_TOO: &str = "https://slsa.dev/verification_summary/v0.2";
/// The predicate type of simple verification results.
pub(super) const SVR: &str = "https://in-toto.io/attestation/svr/v0.1";
/// The predicate type of references to documents elsewhere.
pub(super) const REFERENCE: &str = "https://in-toto.io/attestation/reference/v0.1";

#[derive(Deserialize)]
struct Verifier {
    id: String,
    policy: Option<Policy>,
}

#[derive(Deserialize)]
struct Policy {
    uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vsa {
    verifier: Verifier,
    time_verified: Option<String>,
    policy: Option<Policy>,
    #[serde(alias = "verification_result")]
    verification_result: String,
    #[serde(default)]
    verified_levels: Vec<String>,
    /// Version 0.2 has one level.
    #[serde(alias = "policy_level")]
    policy_level: Option<String>,
}

/// SLSA's verification summary.
pub(super) fn vsa(text: &str) -> Result<Facts, ReadError> {
    let read: Vsa = predicate::parse(text)?;
    let levels = read.verified_levels.into_iter().chain(read.policy_level);
    Ok(Facts::Summary(Summary {
        verifier: shorten(&read.verifier.id),
        policy: read.policy.and_then(|it| it.uri).as_deref().map(shorten),
        // Whatever is not a clear yes is a no.
        passed: read.verification_result == "PASSED",
        levels: levels.take(LISTED_MAX).map(|it| shorten(&it)).collect(),
        at: read.time_verified.as_deref().and_then(lenient_time),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Svr {
    verifier: Verifier,
    time_created: Option<String>,
    properties: Vec<String>,
}

/// in-toto's simple verification result: the properties that hold.
pub(super) fn svr(text: &str) -> Result<Facts, ReadError> {
    let read: Svr = predicate::parse(text)?;
    Ok(Facts::Summary(Summary {
        verifier: shorten(&read.verifier.id),
        policy: read
            .verifier
            .policy
            .and_then(|it| it.uri)
            .as_deref()
            .map(shorten),
        passed: !read.properties.is_empty(),
        levels: read
            .properties
            .iter()
            .take(LISTED_MAX)
            .map(|it| shorten(it))
            .collect(),
        at: read.time_created.as_deref().and_then(lenient_time),
    }))
}
