//! Predicates: which types are understood, and how their JSON is read.

use serde::de::DeserializeOwned;

use super::{ReadError, provenance, sbom, scan, summary, tests};
use crate::facts::Facts;
use crate::statement::Statement;

/// Draws the facts from a statement. A predicate of a type that is understood must be as its type
/// says; others are kept as they are.
pub(super) fn facts(statement: &Statement) -> Result<Facts, ReadError> {
    let text = statement.predicate_json();
    match statement.predicate_type.as_str() {
        provenance::PROVENANCE_V1 => provenance::v1(text),
        provenance::PROVENANCE_V02 => provenance::v02(text),
        tests::TEST_RESULT => tests::test_result(text),
        kind if kind == scan::VULNS || scan::VULNS_TOO.contains(&kind) => scan::vulns(text),
        crate::summary::SUMMARY_TYPE | summary::SUMMARY_TOO => summary::vsa(text),
        summary::SVR => summary::svr(text),
        summary::REFERENCE => sbom::reference(text),
        kind if is(kind, sbom::CYCLONEDX) || kind == "https://cyclonedx.org/schema" => {
            sbom::cyclonedx(text)
        }
        kind if is(kind, sbom::SPDX) => sbom::spdx(text),
        _ => Ok(Facts::Other),
    }
}

/// A type, also with a version behind it.
fn is(kind: &str, base: &str) -> bool {
    kind.strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("/v"))
}

/// Reads JSON into what is needed of it.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ReadError> {
    serde_json::from_str(text).map_err(|error| ReadError::Invalid {
        form: "JSON",
        why: error.to_string(),
    })
}

/// JSON that does not say what it must.
pub(super) fn invalid(why: &str) -> ReadError {
    ReadError::Unusable(why.to_owned())
}
