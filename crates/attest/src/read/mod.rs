//! A file that says something of an artifact, recognised and read.

mod predicate;
mod provenance;
mod sbom;
mod scan;
mod summary;
mod tests;
mod xml;

use airboss_model::{Digest, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::document::{DOCUMENT_BYTES_MAX, Document, Form, Hint, LINES_MAX, ReadError, shorten};
use crate::dsse::{Envelope, Wire};
use crate::facts::Facts;
use crate::keyless::Bundle;
use crate::statement::{STATEMENT_V01, STATEMENT_V1, Statement};

/// Deepest nesting of JSON.
const NESTING_MAX: usize = 100;
/// Most subjects of a statement.
const SUBJECTS_MAX: usize = 1_000;

/// Reads a file of one document.
///
/// # Errors
/// Where it is too large, broken, or nothing that is understood; in the words for a person.
pub fn read(bytes: &[u8], hint: &Hint<'_>) -> Result<Document, ReadError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(ReadError::TooLarge(bytes.len()));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(b"PK\x03\x04") {
        return Err(ReadError::Unknown(
            "it is compressed; unpack it first".to_owned(),
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ReadError::Invalid {
        form: "UTF-8",
        why: format!("byte {} does not belong to it", error.valid_up_to() + 1),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    let found = match text.bytes().next() {
        None => return Err(ReadError::Empty),
        Some(b'<') => read_xml(text),
        Some(b'{') => read_json(text),
        Some(_) => Err(ReadError::Unknown(
            "it begins neither like JSON nor like XML".to_owned(),
        )),
    }?;
    if let Some(expected) = hint.form
        && !expected.covers(found.form)
    {
        return Err(ReadError::Form {
            expected: expected.name(),
            is: found.form.name(),
        });
    }
    let id = Digest::from_sha256(Sha256::digest(bytes).into());
    let statement = match found.statement {
        Some(statement) => statement,
        None => wrap(text, &found.facts, &id, hint),
    };
    Ok(Document {
        id,
        form: found.form,
        statement,
        facts: found.facts,
        envelope: found.envelope,
        bundle: found.bundle,
    })
}

/// Reads a file of several documents, one a line (`.jsonl`), or of one.
///
/// # Errors
/// As [`read`]; the message names the line.
pub fn read_lines(bytes: &[u8], hint: &Hint<'_>) -> Result<Vec<Document>, ReadError> {
    let lines: Vec<&[u8]> = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .collect();
    let whole = |line: &&[u8]| line.starts_with(b"{") && line.ends_with(b"}");
    let filled = lines.iter().filter(|line| !line.is_empty()).count();
    if filled < 2 || !lines.iter().filter(|line| !line.is_empty()).all(whole) {
        return read(bytes, hint).map(|document| vec![document]);
    }
    if filled > LINES_MAX {
        return Err(ReadError::Lines(filled));
    }
    let numbered = lines.iter().zip(1..).filter(|(line, _)| !line.is_empty());
    numbered
        .map(|(line, number)| {
            read(line, hint).map_err(|error| ReadError::Line {
                number,
                error: Box::new(error),
            })
        })
        .collect()
}

/// What a text was found to be.
struct Found {
    form: Form,
    /// None for plain reports, which name no artifact.
    statement: Option<Statement>,
    facts: Facts,
    envelope: Option<Envelope>,
    bundle: Option<Bundle>,
}

impl Found {
    fn plain(form: Form, facts: Facts) -> Self {
        Self {
            form,
            statement: None,
            facts,
            envelope: None,
            bundle: None,
        }
    }

    fn stated(form: Form, statement: Statement) -> Result<Self, ReadError> {
        Ok(Self {
            facts: predicate::facts(&statement)?,
            statement: Some(statement),
            ..Self::plain(form, Facts::Other)
        })
    }
}

fn read_xml(text: &str) -> Result<Found, ReadError> {
    // Only the name space tells a bill of materials from other elements of this name.
    if text.contains("http://cyclonedx.org/schema/bom/") {
        return Ok(Found::plain(Form::CycloneDx, sbom::cyclonedx_xml(text)?));
    }
    Ok(Found::plain(Form::JUnit, tests::junit(text)?))
}

/// The fields that tell the forms of JSON from each other.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marks {
    payload_type: Option<IgnoredAny>,
    media_type: Option<String>,
    verification_material: Option<IgnoredAny>,
    #[serde(rename = "_type")]
    kind: Option<String>,
    bom_format: Option<String>,
    spdx_version: Option<IgnoredAny>,
    runs: Option<IgnoredAny>,
    results: Option<IgnoredAny>,
}

fn read_json(text: &str) -> Result<Found, ReadError> {
    check_nesting(text)?;
    let marks: Marks = predicate::parse(text)?;
    if marks.verification_material.is_some() {
        return read_bundle(text, marks.media_type.as_deref());
    }
    if marks.payload_type.is_some() {
        let envelope = Envelope::try_from(predicate::parse::<Wire>(text)?)?;
        return read_envelope(Form::Dsse, envelope);
    }
    if marks.kind.is_some() {
        return Found::stated(Form::Statement, read_statement(text)?);
    }
    if marks.bom_format.as_deref() == Some("CycloneDX") {
        return Ok(Found::plain(Form::CycloneDx, sbom::cyclonedx(text)?));
    }
    if marks.spdx_version.is_some() {
        return Ok(Found::plain(Form::Spdx, sbom::spdx(text)?));
    }
    if marks.runs.is_some() {
        return Ok(Found::plain(Form::Sarif, scan::sarif(text)?));
    }
    if marks.results.is_some() {
        return Ok(Found::plain(Form::OsvScanner, scan::osv(text)?));
    }
    Err(ReadError::Unknown(
        "it is JSON, and neither an envelope, a bundle, a statement, CycloneDX, SPDX, SARIF nor \
         OSV-scanner's report"
            .to_owned(),
    ))
}

fn read_envelope(form: Form, envelope: Envelope) -> Result<Found, ReadError> {
    let payload = std::str::from_utf8(&envelope.payload)
        .map_err(|_| predicate::invalid("the envelope's payload is not UTF-8"))?;
    check_nesting(payload)?;
    let statement = read_statement(payload)?;
    Ok(Found {
        envelope: Some(envelope),
        ..Found::stated(form, statement)?
    })
}

fn read_bundle(text: &str, media_type: Option<&str>) -> Result<Found, ReadError> {
    let bundle = Bundle::read(text, media_type)?;
    let found = read_envelope(Form::SigstoreBundle, bundle.envelope()?)?;
    Ok(Found {
        bundle: Some(bundle),
        ..found
    })
}

fn read_statement(text: &str) -> Result<Statement, ReadError> {
    let statement: Statement = predicate::parse(text)?;
    if !matches!(statement.kind.as_str(), STATEMENT_V1 | STATEMENT_V01) {
        return Err(ReadError::Unknown(format!(
            "its `_type` is `{}`; {STATEMENT_V1} is understood",
            shorten(&statement.kind)
        )));
    }
    if statement.subject.is_empty() {
        return Err(predicate::invalid("the statement has no subject"));
    }
    if statement.subject.len() > SUBJECTS_MAX {
        return Err(predicate::invalid(&format!(
            "the statement has {} subjects; {SUBJECTS_MAX} are the most",
            statement.subject.len()
        )));
    }
    Ok(statement)
}

/// Airboss's own statement of what a plain report says of the artifact it came with.
fn wrap(text: &str, facts: &Facts, id: &Digest, hint: &Hint<'_>) -> Statement {
    let stating = |kind: &str, predicate: serde_json::Value| {
        Statement::about(hint.name, hint.subject, kind, predicate)
    };
    match facts {
        Facts::Tests(it) => stating(tests::TEST_RESULT, tests::word(it)),
        Facts::Scan(it) => stating(scan::VULNS, scan::word(it)),
        Facts::Sbom(it) => match RawValue::from_string(text.to_owned()) {
            Ok(bill) if it.format.starts_with("SPDX") => {
                Statement::holding(hint.name, hint.subject, sbom::SPDX, bill)
            }
            Ok(bill) => Statement::holding(hint.name, hint.subject, sbom::CYCLONEDX, bill),
            Err(_) => stating(summary::REFERENCE, sbom::word(it, id)),
        },
        // Plain reports have one of the three kinds.
        _ => stating(summary::REFERENCE, serde_json::json!({})),
    }
}

/// Refuses JSON that is nested so deeply that readers after us would fall over it.
fn check_nesting(text: &str) -> Result<(), ReadError> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err(predicate::invalid(&format!(
                "it is nested over {NESTING_MAX} deep"
            )));
        }
    }
    Ok(())
}

/// A time as the standards have it (RFC 3339); anything else is no time.
fn lenient_time(text: &str) -> Option<Timestamp> {
    text.trim().parse().ok()
}
