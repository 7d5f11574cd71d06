//! What a file became.

use airboss_model::Digest;
use serde::{Deserialize, Serialize};

use crate::dsse::{Envelope, EnvelopeError};
use crate::facts::Facts;
use crate::keyless::Bundle;
use crate::statement::Statement;

/// Most bytes that a document may have; its facts take far less.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;
/// Most documents in one file of lines.
pub const LINES_MAX: usize = 200;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Form {
    /// A DSSE envelope with an in-toto statement.
    Dsse,
    /// A Sigstore bundle.
    SigstoreBundle,
    /// An in-toto statement without an envelope.
    Statement,
    /// JUnit's XML.
    JUnit,
    /// SARIF 2.1.
    Sarif,
    /// CycloneDX 1.3 to 1.7, JSON or XML.
    CycloneDx,
    /// SPDX 2.3 as JSON.
    Spdx,
    /// What `osv-scanner --format json` writes.
    OsvScanner,
}

impl Form {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dsse => "a DSSE envelope",
            Self::SigstoreBundle => "a Sigstore bundle",
            Self::Statement => "an in-toto statement",
            Self::JUnit => "JUnit XML",
            Self::Sarif => "SARIF",
            Self::CycloneDx => "CycloneDX",
            Self::Spdx => "SPDX",
            Self::OsvScanner => "OSV-scanner's JSON",
        }
    }

    /// A statement may come bare, in an envelope or in a bundle, and a bill in either format.
    pub(crate) fn covers(self, other: Self) -> bool {
        use Form::{CycloneDx, Dsse, SigstoreBundle, Spdx, Statement};
        self == other
            || matches!(
                (self, other),
                (
                    Dsse | SigstoreBundle | Statement,
                    Dsse | SigstoreBundle | Statement
                ) | (CycloneDx | Spdx, CycloneDx | Spdx)
            )
    }
}

/// What is known of a file before it is read.
#[derive(Debug, Clone, Copy)]
pub struct Hint<'a> {
    /// The artifact that it was handed in for; plain reports, which name none, are about it.
    pub subject: &'a Digest,
    /// The artifact's name, such as `checkout@1.4.0`.
    pub name: &'a str,
    /// What it is said to be (`--junit` and the like); something else is then refused. An
    /// envelope, a bundle and a bare statement stand for each other, and so do the formats of
    /// bills of materials. None: anything.
    pub form: Option<Form>,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing in it.
    #[error("the document is empty")]
    Empty,
    /// Too large.
    #[error("the document has {0} bytes; {DOCUMENT_BYTES_MAX} are the most")]
    TooLarge(usize),
    /// Too many.
    #[error("the file has {0} documents; {LINES_MAX} are the most")]
    Lines(usize),
    /// None of the forms that are understood.
    #[error("the document is not understood: {0}")]
    Unknown(String),
    /// Well-formed, and it does not say what it must.
    #[error("the document cannot be used: {0}")]
    Unusable(String),
    /// Broken JSON or XML, or not what its type demands.
    #[error("the document is not valid {form}: {why}")]
    Invalid {
        /// What it was taken for.
        form: &'static str,
        /// What is wrong, with line and column where there is one.
        why: String,
    },
    /// Something else than was said.
    #[error("the document is {is}; {expected} was expected")]
    Form {
        /// What was said.
        expected: &'static str,
        /// What it is.
        is: &'static str,
    },
    /// An envelope that cannot be used.
    #[error("the envelope cannot be used: {0}")]
    Envelope(#[from] EnvelopeError),
    /// One of several.
    #[error("line {number}: {error}")]
    Line {
        /// Its line, from 1.
        number: usize,
        /// What is wrong with it.
        error: Box<ReadError>,
    },
}

/// A file that was read. That it could be read says nothing of who stands behind it: ask
/// [`crate::verify`].
#[derive(Debug, Clone)]
pub struct Document {
    /// SHA-256 of its bytes: the same bytes are the same document.
    pub id: Digest,
    /// What it is.
    pub form: Form,
    /// What it says, and of whom. For a plain report it is Airboss's own wording about the
    /// artifact of the hint; sign it with [`crate::SigningKey::sign`] to hand it on.
    pub statement: Statement,
    /// What it says, in a few words.
    pub facts: Facts,
    /// The envelope, where it has one.
    pub envelope: Option<Envelope>,
    /// The bundle, where it is one.
    pub(crate) bundle: Option<Bundle>,
}

/// Most characters of a text that is taken over from a document.
const TEXT_MAX: usize = 300;

/// A text that fits into a line: without control characters and bounded.
pub(crate) fn shorten(text: &str) -> String {
    let clean = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it });
    let mut short: String = clean.take(TEXT_MAX).collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        short.pop();
        short.push('…');
    }
    short
}
