//! An in-toto statement: who it is about, and what it says of them.

use std::collections::BTreeMap;

use airboss_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The `_type` of a statement of today.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// The `_type` of older statements, which are read as well.
pub const STATEMENT_V01: &str = "https://in-toto.io/Statement/v0.1";

/// A statement about artifacts. Its predicate is kept as the bytes that it came in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Statement {
    /// [`STATEMENT_V1`], or the older one.
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    /// What sort of thing it says.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<Box<RawValue>>,
}

/// Something that a statement is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its name, which proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its digests: algorithm to hexadecimal digits.
    #[serde(default)]
    pub digest: BTreeMap<String, String>,
}

impl Statement {
    /// A statement of today about one artifact.
    pub fn about(name: &str, digest: &Digest, predicate_type: &str, predicate: Value) -> Self {
        let mut statement = Self::bare(name, digest, predicate_type);
        // A `Value` always has a text.
        statement.predicate = serde_json::value::to_raw_value(&predicate).ok();
        statement
    }

    /// The same with a predicate that is there as JSON already.
    pub(crate) fn holding(
        name: &str,
        digest: &Digest,
        predicate_type: &str,
        predicate: Box<RawValue>,
    ) -> Self {
        let mut statement = Self::bare(name, digest, predicate_type);
        statement.predicate = Some(predicate);
        statement
    }

    fn bare(name: &str, digest: &Digest, predicate_type: &str) -> Self {
        Self {
            kind: STATEMENT_V1.to_owned(),
            subject: vec![Subject {
                name: Some(name.to_owned()),
                digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
            }],
            predicate_type: predicate_type.to_owned(),
            predicate: None,
        }
    }

    /// The predicate's JSON, `null` where there is none.
    pub fn predicate_json(&self) -> &str {
        self.predicate.as_deref().map_or("null", RawValue::get)
    }

    /// The statement's JSON.
    pub fn to_json(&self) -> String {
        // A statement holds texts and valid JSON only, so that it always has a text of its own.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// True where one of the subjects has this SHA-256.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let hex = digest.hex();
        self.subject.iter().any(|subject| {
            subject
                .digest
                .get("sha256")
                .is_some_and(|is| is.eq_ignore_ascii_case(&hex))
        })
    }
}
