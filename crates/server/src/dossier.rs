//! What is known of a release and its artifact, field by field, and by whom.

use airboss_attest::{Facts, Provenance, Scan, Tests, Verdict, Verification};
use airboss_model::evidence::ItemVerdict;
use airboss_store::{AttestationRow, BuildRow};

use crate::api::evidence::{AttestationView, BuildView, FieldView, ItemView};
use crate::api::trace::TestRun;

/// A document with what is said in it, read.
pub struct Known {
    row: AttestationRow,
    facts: Facts,
    verification: Verification,
}

impl Known {
    /// From a row. None where a newer Airboss wrote it.
    pub fn read(row: AttestationRow) -> Option<Self> {
        Some(Self {
            facts: serde_json::from_value(row.facts.clone()).ok()?,
            verification: serde_json::from_value(row.verification.clone()).ok()?,
            row,
        })
    }

    /// Who signed it, of those that are trusted; Airboss does not count.
    pub fn signers(&self) -> Vec<String> {
        if self.verification.verdict != Verdict::Verified {
            return Vec::new();
        }
        let mut names: Vec<String> = self
            .verification
            .signers()
            .filter(|signer| !signer.own)
            .map(|signer| signer.name.clone())
            .collect();
        names.dedup();
        names
    }

    /// The tests that it reports, where it does and counts.
    pub fn test_run(&self) -> Option<TestRun> {
        let Facts::Tests(facts) = &self.facts else {
            return None;
        };
        self.counts().then(|| TestRun {
            id: self.row.id.to_string(),
            name: facts.name.clone(),
            summary: tests(facts),
            source: self.row.source.clone(),
            at: self.row.at.to_string(),
        })
    }

    fn counts(&self) -> bool {
        self.verification.verdict != Verdict::Refused
    }

    /// For readers.
    pub fn view(&self, new: bool) -> AttestationView {
        let verdict = serde_json::to_value(self.verification.verdict).unwrap_or_default();
        AttestationView {
            id: self.row.id.to_string(),
            kind: self.facts.kind().to_owned(),
            form: self.row.form.clone(),
            predicate: self.row.predicate.clone(),
            summary: summary(&self.facts),
            facts: self.row.facts.clone(),
            verdict: verdict.as_str().unwrap_or_default().to_owned(),
            reason: self.verification.reason.clone(),
            signers: self.signers(),
            source: self.row.source.clone(),
            by: self.row.by.clone(),
            at: self.row.at.to_string(),
            checked_at: self.row.checked_at.to_string(),
            new,
        }
    }
}

impl From<BuildRow> for BuildView {
    fn from(row: BuildRow) -> Self {
        Self {
            commit: row.commit,
            reference: row.reference,
            run: row.run,
            actor: row.actor,
            repository: row.repository,
            builder: row.builder,
        }
    }
}

/// Each field of a release, the needed ones first, and what was told in two ways.
pub fn fields(build: Option<&BuildRow>, known: &[Known]) -> (Vec<FieldView>, Vec<String>) {
    let newest = |wanted: fn(&Facts) -> bool| {
        let fits = |it: &&Known| it.counts() && wanted(&it.facts);
        // What somebody signed goes before what is newer.
        let signed = known.iter().rev().filter(fits);
        let mut signed = signed.filter(|it| !it.signers().is_empty());
        signed.next().or_else(|| known.iter().rev().find(fits))
    };
    let provenance = newest(|facts| matches!(facts, Facts::Provenance(_)));
    let mut warnings = Vec::new();
    let mut told = |name: &str,
                    needed: bool,
                    ci: fn(&BuildRow) -> &Option<String>,
                    of: fn(&Provenance) -> &Option<String>| {
        let by_ci = build.and_then(|build| ci(build).clone());
        let by_document = provenance.and_then(|it| match &it.facts {
            Facts::Provenance(facts) => of(facts).clone().map(|value| (value, it)),
            _ => None,
        });
        if let (Some(ci), Some((document, it))) = (&by_ci, &by_document)
            && !alike(ci, document)
        {
            warnings.push(format!(
                "{name}: CI said {ci}, and {} says {document}",
                it.row.source
            ));
        }
        match by_document {
            Some((value, it)) => field(name, needed, Some(value), Some(it)),
            None => FieldView {
                told_by: by_ci.as_ref().map(|_| "CI".to_owned()),
                ..field(name, needed, by_ci, None)
            },
        }
    };
    let mut fields = vec![
        told("commit", true, |it| &it.commit, |it| &it.commit),
        told("repository", true, |it| &it.repository, |it| &it.source),
        told("run", true, |it| &it.run, |it| &it.run),
        told("builder", true, |it| &it.builder, |it| &it.builder),
    ];
    let about = |name: &str, needed, found: Option<&Known>| {
        let value = found.map(|it| summary(&it.facts));
        field(name, needed, value, found)
    };
    fields.push(about(
        "tests",
        true,
        newest(|it| matches!(it, Facts::Tests(_))),
    ));
    fields.push(told("ref", false, |it| &it.reference, |it| &it.reference));
    fields.push(told("actor", false, |it| &it.actor, |_| &None));
    fields.push(about(
        "scan",
        false,
        newest(|it| matches!(it, Facts::Scan(_))),
    ));
    fields.push(about(
        "sbom",
        false,
        newest(|it| matches!(it, Facts::Sbom(_))),
    ));
    fields.push(about("provenance", false, provenance));
    let mut signers: Vec<String> = known.iter().flat_map(Known::signers).collect();
    signers.sort();
    signers.dedup();
    let by = (!signers.is_empty()).then(|| signers.join(", "));
    fields.push(FieldView {
        verified_by: by.clone(),
        ..field("signed", false, by.map(|by| format!("by {by}")), None)
    });
    (fields, warnings)
}

/// True where two texts name the same: an address and a part of it, a commit and its first digits.
fn alike(a: &str, b: &str) -> bool {
    let plain = |text: &str| {
        let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
        text.trim_start_matches("git+")
            .trim_end_matches(".git")
            .to_owned()
    };
    let (a, b) = (plain(a), plain(b));
    a.contains(&b) || b.contains(&a)
}

fn field(name: &str, needed: bool, value: Option<String>, from: Option<&Known>) -> FieldView {
    let signers = from.map(Known::signers).unwrap_or_default();
    FieldView {
        name: name.to_owned(),
        needed,
        told_by: value.as_ref().and(from).map(|it| it.row.source.clone()),
        verified_by: (value.is_some() && !signers.is_empty()).then(|| signers.join(", ")),
        value,
    }
}

/// The needed fields that are not known.
pub fn missing(fields: &[FieldView]) -> Vec<String> {
    fields
        .iter()
        .filter(|field| field.needed && field.value.is_none())
        .map(|field| field.name.clone())
        .collect()
}

/// What a document says, in one line.
pub fn summary(facts: &Facts) -> String {
    match facts {
        Facts::Provenance(it) => match it.missing().as_slice() {
            [] => "builder, source, commit and run".to_owned(),
            missing => format!("without {}", missing.join(", ")),
        },
        Facts::Tests(it) => tests(it),
        Facts::Scan(it) => scan(it),
        Facts::Sbom(it) => format!("{}, {} components", it.format, it.components),
        Facts::Summary(it) if it.passed => format!("passed: {}", it.levels.join(", ")),
        Facts::Summary(_) => "not passed".to_owned(),
        _ => "a statement of a kind that Airboss does not read".to_owned(),
    }
}

fn tests(it: &Tests) -> String {
    let mut text = format!("{} passed, {} failed", it.passed, it.failed);
    if it.skipped > 0 {
        text += &format!(", {} skipped", it.skipped);
    }
    if it.flaky > 0 {
        text += &format!(", {} flaky", it.flaky);
    }
    text
}

fn scan(it: &Scan) -> String {
    let counts = [
        (it.counts.critical, "critical"),
        (it.counts.high, "high"),
        (it.counts.medium, "medium"),
        (it.counts.low, "low"),
        (it.counts.unrated, "unrated"),
    ];
    let found: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    match found.is_empty() {
        true => format!("nothing found by {}", it.tool),
        false => format!("{} found by {}", found.join(", "), it.tool),
    }
}

/// A required item, for readers.
pub fn item(verdict: &ItemVerdict) -> ItemView {
    ItemView {
        name: verdict.item.name().to_owned(),
        state: verdict.state.as_str().to_owned(),
        reason: verdict.reason.clone(),
        remedy: verdict.remedy.clone(),
        good_until: verdict.good_until.map(|at| at.to_string()),
        rests_on: verdict.rests_on.iter().map(ToString::to_string).collect(),
    }
}
