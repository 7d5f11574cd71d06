//! The documents of a bundle: whose bytes they are, who stands behind them, how they came, and
//! that the decisions which rest on them name none that is missing.

use std::collections::BTreeMap;

use airboss_attest::{Facts, Hint, Trust, Verdict, Verification, read};
use airboss_engine::Event;
use airboss_ledger::{BUNDLE_FORMAT, Bundle, Document, LaneRecords, Record};
use airboss_model::{Digest, LaneId, Timestamp};
use airboss_runtime::evidence::{checked, subject};
use serde_json::Value;

/// A document of a bundle, checked.
pub(super) struct Known {
    /// SHA-256 of its bytes.
    pub id: String,
    /// What it says.
    pub facts: Facts,
    /// What it is, for people.
    pub form: &'static str,
    /// Who stands behind it.
    pub verification: Verification,
    /// When it came, as sealed.
    pub seen: Timestamp,
    /// Where from, as sealed.
    pub source: String,
    /// Who brought it, as sealed.
    pub by: String,
    /// True where Airboss signed what a plain report says, and that is checked.
    pub vouched: bool,
}

/// How a document came, by a sealed record of the installation.
pub(super) struct Came {
    /// The record's number.
    pub event: u64,
    /// When.
    pub seen: Timestamp,
    source: String,
    by: String,
    envelope: Option<String>,
}

/// The rows that a record of the installation tells of.
pub(super) fn rows<'a>(body: &'a Value, table: &str) -> impl Iterator<Item = &'a Value> {
    let rows = body["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let of_table = rows.iter().filter(move |it| it["table"] == table);
    of_table.map(|it| &it["row"])
}

/// Whom the installation believed: the newest such record of the bundle.
pub(super) fn trust(bundle: &Bundle) -> Option<Trust> {
    let mut own = bundle.installation.iter().map(|it| &it.record);
    let newest = own.rfind(|it| it.kind == "trust_changed")?;
    let body: Value = serde_json::from_str(&newest.body).ok()?;
    serde_json::from_value(body["trust"].clone()).ok()
}

/// Reads a document and checks its signatures, as a server does that believes `trust`.
pub(super) fn judge(
    document: &Document,
    images: &[Digest],
    trust: &Trust,
    seen: Timestamp,
    at: Timestamp,
) -> Result<(airboss_attest::Document, Verification), String> {
    let id = &document.id;
    let bytes = document.content().map_err(|error| error.to_string())?;
    let artifact = digest(&document.artifact)?;
    let hint = Hint {
        subject: &artifact,
        name: "",
        form: None,
    };
    let read = read(&bytes, &hint).map_err(|why| format!("the document {id}: {why}"))?;
    let names: Vec<Digest> = std::iter::once(artifact)
        .chain(images.iter().copied())
        .collect();
    let about = subject(&read, &names).unwrap_or(artifact);
    let verification = checked(&read, &artifact, &about, trust, seen, at);
    Ok((read, verification))
}

/// The images that an artifact was made of, as records of the installation tell it.
pub(super) fn images(bundle: &Bundle, artifact: &str) -> Vec<Digest> {
    let mut images = Vec::new();
    for record in bundle.installation.iter().map(|it| &it.record) {
        let body: Value = serde_json::from_str(&record.body).unwrap_or_default();
        for row in rows(&body, "origins").filter(|row| row["digest"] == artifact) {
            let named = ["manifest", "resolved"].map(|name| row[name].as_str());
            images.extend(named.into_iter().flatten().flat_map(str::parse::<Digest>));
        }
    }
    images
}

fn digest(text: &str) -> Result<Digest, String> {
    text.parse()
        .map_err(|why| format!("`{text}` is no artifact: {why}"))
}

/// How documents came, by artifact and id, as records of the installation tell it.
///
/// # Errors
/// Where one is of another lane, or cannot be read.
pub(super) fn arrivals<'a>(
    records: impl Iterator<Item = &'a Record>,
) -> Result<BTreeMap<(String, String), Came>, String> {
    let own = LaneId::installation();
    let mut came = BTreeMap::new();
    for record in records {
        let number = record.number;
        if record.lane != own.as_str() {
            let lane = &record.lane;
            return Err(format!(
                "event {number} is of {lane}, not of the installation"
            ));
        }
        let body: Value = serde_json::from_str(&record.body)
            .map_err(|why| format!("event {number} cannot be read: {why}"))?;
        for row in rows(&body, "attestations") {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let envelope = rows(&body, "documents").find(|it| it["id"] == row["id"]);
            let it = Came {
                event: number,
                seen: row["at"]
                    .as_i64()
                    .and_then(|at| Timestamp::from_microsecond(at).ok())
                    .ok_or_else(|| format!("event {number} has no time of arrival"))?,
                source: text("source"),
                by: text("added_by"),
                envelope: envelope
                    .and_then(|it| it["envelope"].as_str())
                    .map(str::to_owned),
            };
            came.insert((text("digest"), text("id")), it);
        }
    }
    Ok(came)
}

/// Every document, checked, in the bundle's order. Bundles of earlier forms have none.
///
/// # Errors
/// The first thing that does not hold, with the document or the event.
pub(super) fn check(bundle: &Bundle) -> Result<Vec<Known>, String> {
    if bundle.format != BUNDLE_FORMAT {
        return Ok(Vec::new());
    }
    let came = arrivals(bundle.installation.iter().map(|it| &it.record))?;
    let trust = trust(bundle).unwrap_or_default();
    let mut known = Vec::with_capacity(bundle.documents.len());
    for document in &bundle.documents {
        let key = (document.artifact.clone(), document.id.clone());
        let came = came.get(&key).ok_or_else(|| {
            format!(
                "no sealed record says when the document {} came",
                document.id
            )
        })?;
        let images = images(bundle, &document.artifact);
        known.push(check_one(document, &images, came, &trust)?);
    }
    for lane in &bundle.lanes {
        names_what_is_there(lane, &known)?;
    }
    Ok(known)
}

fn check_one(
    document: &Document,
    images: &[Digest],
    came: &Came,
    trust: &Trust,
) -> Result<Known, String> {
    let id = &document.id;
    let told: Verification = document
        .verification
        .clone()
        .and_then(|it| serde_json::from_value(it).ok())
        .ok_or_else(|| format!("the bundle does not say how the document {id} was checked"))?;
    let (read, verification) = judge(document, images, trust, came.seen, told.at)?;
    if verification != told {
        return Err(format!(
            "the bundle says of the document {id}: {}; its own signatures and the keys that are believed say: {}",
            told.reason, verification.reason
        ));
    }
    let sealed = document
        .envelope
        .as_ref()
        .map(|text| airboss_ledger::TextHash::of(text).to_string());
    if sealed != came.envelope {
        return Err(format!(
            "the envelope of the document {id} is not the one that was sealed"
        ));
    }
    let vouched = match &document.envelope {
        Some(envelope) => vouches(document, envelope, &read, came.seen, trust)?,
        None => false,
    };
    Ok(Known {
        id: id.clone(),
        form: read.form.name(),
        facts: read.facts,
        verification,
        seen: came.seen,
        source: came.source.clone(),
        by: came.by.clone(),
        vouched,
    })
}

/// Whether what Airboss signed says what the report says, by a key of its own.
fn vouches(
    document: &Document,
    envelope: &str,
    report: &airboss_attest::Document,
    seen: Timestamp,
    trust: &Trust,
) -> Result<bool, String> {
    let id = &document.id;
    let about = Document::new(document.artifact.clone(), envelope.as_bytes());
    let (signed, verification) = judge(&about, &[], trust, seen, seen)?;
    let says = |it: &airboss_attest::Document| {
        let predicate = it.statement.predicate.as_ref();
        (
            it.statement.predicate_type.clone(),
            predicate.map(|it| it.get().to_owned()),
        )
    };
    let same = says(&signed) == says(report);
    if !same {
        return Err(format!(
            "the envelope of the document {id} does not say what the document says"
        ));
    }
    match verification.verdict {
        Verdict::Refused => Err(format!(
            "the envelope of the document {id}: {}",
            verification.reason
        )),
        verdict => Ok(verdict == Verdict::Verified),
    }
}

/// That each decision about the evidence of one of the bundle's rollouts rests on documents that
/// are in it.
fn names_what_is_there(lane: &LaneRecords, known: &[Known]) -> Result<(), String> {
    for record in lane.records.iter().map(|it| &it.record) {
        let Ok(Event::EvidenceChanged { rollout, items, .. }) = serde_json::from_str(&record.body)
        else {
            continue;
        };
        if !lane.rollouts.iter().any(|id| id == rollout.as_str()) {
            continue;
        }
        for id in items.iter().flat_map(|item| &item.rests_on) {
            let id = id.to_string();
            if !known.iter().any(|it| it.id == id) {
                return Err(format!(
                    "event {} of {rollout} rests on the document {id}, which is not in the bundle",
                    record.number
                ));
            }
        }
    }
    Ok(())
}
