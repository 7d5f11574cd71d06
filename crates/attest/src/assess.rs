//! Compares what is known of an artifact with what a rollout requires.

use std::collections::BTreeMap;

use airboss_model::evidence::{ItemState, ItemVerdict, Requirement, ScanLimit, Severity};
use airboss_model::time::{after, since};
use airboss_model::{Digest, Span, Timestamp};

use crate::facts::{Facts, Finding, Provenance, Sbom, Scan, Tests};
use crate::verify::{Verdict, Verification};

/// Most findings or failures that a reason names.
const NAMED_MAX: usize = 3;

/// A document that is known of an artifact.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The SHA-256 of its bytes.
    pub id: Digest,
    /// What it says.
    pub facts: &'a Facts,
    /// Who stands behind it, by the latest check.
    pub verification: &'a Verification,
    /// When Airboss first saw it.
    pub seen: Timestamp,
}

/// A verdict for each requirement, in their order. `add` is the command that adds evidence to the
/// artifact, such as `airboss artifact add --version 1.4.0`; remedies are written with it.
///
/// What counts: documents that are verified, and those without any signature, which are as true
/// as whoever brought them. What is refused, or signed by somebody whom nobody trusts, counts for
/// nothing and takes nothing away from others. Where `signed` is required, provenance has to be
/// signed by somebody else than Airboss too: it is what a signature is worth most on.
///
/// Of several reports of the same tests, or of the same scanner, the last one counts. Reports of
/// different tests, or of different scanners, must all be good.
pub fn assess(
    requirements: &[Requirement],
    known: &[Known<'_>],
    add: &str,
    now: Timestamp,
) -> Vec<ItemVerdict> {
    let desk = Desk {
        known,
        add,
        strict: requirements.contains(&Requirement::Signed),
        now,
    };
    requirements.iter().map(|item| desk.judge(*item)).collect()
}

/// What a verdict is made of, before the requirement is added.
struct Found {
    state: ItemState,
    reason: String,
    remedy: Option<String>,
    rests_on: Vec<Digest>,
    good_until: Option<Timestamp>,
}

impl Found {
    fn passed(reason: String, rests_on: Vec<Digest>) -> Self {
        Self {
            state: ItemState::Passed,
            reason,
            remedy: None,
            rests_on,
            good_until: None,
        }
    }

    fn not(state: ItemState, reason: String, remedy: String, rests_on: Vec<Digest>) -> Self {
        Self {
            state,
            reason,
            remedy: Some(remedy),
            rests_on,
            good_until: None,
        }
    }
}

/// What there is to judge by.
struct Desk<'a> {
    known: &'a [Known<'a>],
    add: &'a str,
    strict: bool,
    now: Timestamp,
}

impl<'a> Desk<'a> {
    fn judge(&self, item: Requirement) -> ItemVerdict {
        let found = match item {
            Requirement::Signed => self.signed(),
            Requirement::Provenance => self.provenance(),
            Requirement::Tests => self.tests(),
            Requirement::Scan(limit) => self.scan(limit),
            Requirement::Sbom => self.sbom(),
        };
        ItemVerdict {
            item,
            state: found.state,
            reason: found.reason,
            remedy: found.remedy,
            rests_on: found.rests_on,
            good_until: found.good_until,
        }
    }

    /// Documents of a kind that count, the newest first.
    fn counting<T>(
        &self,
        pick: impl Fn(&'a Facts) -> Option<&'a T>,
    ) -> Vec<(&'a Known<'a>, &'a T)> {
        let mut all: Vec<_> = self
            .known
            .iter()
            .filter(|it| {
                matches!(
                    it.verification.verdict,
                    Verdict::Verified | Verdict::Unsigned
                )
            })
            .filter_map(|it| pick(it.facts).map(|facts| (it, facts)))
            .collect();
        all.sort_by_key(|(it, _)| (std::cmp::Reverse(it.seen), it.id));
        all
    }

    /// Why there is nothing that counts: the newest of those that do not count, or nothing at all.
    fn none(&self, of: impl Fn(&Facts) -> bool, missing: &str, remedy: String) -> Found {
        let rejected = self
            .known
            .iter()
            .filter(|it| of(it.facts))
            .filter(|it| {
                matches!(
                    it.verification.verdict,
                    Verdict::Refused | Verdict::Untrusted
                )
            })
            .max_by_key(|it| (it.seen, it.id));
        let Some(it) = rejected else {
            return Found::not(ItemState::Missing, missing.to_owned(), remedy, Vec::new());
        };
        let remedy = match it.verification.verdict {
            Verdict::Untrusted => format!(
                "if whoever signed it may: `airboss keys trust add NAME --key FILE` (or --issuer \
                 and --identity); else {remedy}"
            ),
            _ => remedy,
        };
        let reason = format!("what is there does not count: {}", it.verification.reason);
        Found::not(ItemState::BadlySigned, reason, remedy, vec![it.id])
    }

    fn signed(&self) -> Found {
        let by_others = self
            .known
            .iter()
            .filter(|it| it.verification.is_by_others())
            .max_by_key(|it| (it.seen, it.id));
        if let Some(it) = by_others {
            let names: Vec<String> = it
                .verification
                .signers()
                .filter(|signer| !signer.own)
                .map(|signer| format!("`{}`", signer.name))
                .collect();
            let reason = format!("signed by {}", names.join(", "));
            return Found::passed(reason, vec![it.id]);
        }
        self.none(
            |_| true,
            "nothing that is known of the artifact is signed",
            format!(
                "in CI, sign the digest that `airboss artifact digest PATH` prints, or the image (`cosign \
                 attest-blob`, `cosign attest`, GitHub's attest-build-provenance), then: {} \
                 --attestation FILE",
                self.add
            ),
        )
    }

    fn provenance(&self) -> Found {
        let pick = |facts: &'a Facts| match facts {
            Facts::Provenance(it) => Some(it),
            _ => None,
        };
        let remedy = format!("{} --provenance FILE", self.add);
        let all = self.counting(pick);
        let signed = |it: &Known<'_>| !self.strict || it.verification.is_by_others();
        let complete = |it: &Provenance| it.missing().is_empty();
        if let Some((it, facts)) = all.iter().find(|(it, facts)| signed(it) && complete(facts)) {
            let of = |field: &Option<String>| field.clone().unwrap_or_default();
            let reason = format!(
                "built by {} from {} at commit {}",
                of(&facts.builder),
                of(&facts.source),
                of(&facts.commit)
            );
            return Found::passed(reason, vec![it.id]);
        }
        if let Some((it, _)) = all.iter().find(|(_, facts)| complete(facts)) {
            let reason = "the provenance is not signed, and `signed` is required".to_owned();
            return Found::not(ItemState::BadlySigned, reason, remedy, vec![it.id]);
        }
        if let Some((it, facts)) = all.first() {
            let missing = facts.missing().join(", ");
            let reason = format!("the provenance does not name: {missing}");
            return Found::not(ItemState::Missing, reason, remedy, vec![it.id]);
        }
        self.none(
            |facts| matches!(facts, Facts::Provenance(_)),
            "nobody says how the artifact was built",
            remedy,
        )
    }

    fn tests(&self) -> Found {
        let pick = |facts: &'a Facts| match facts {
            Facts::Tests(it) => Some(it),
            _ => None,
        };
        let remedy = format!("{} --junit FILE", self.add);
        // The newest come first, so that the first of a name is its last report.
        let mut last: BTreeMap<String, (&Known<'_>, &Tests)> = BTreeMap::new();
        for (it, facts) in self.counting(pick) {
            last.entry(tests_key(facts)).or_insert((it, facts));
        }
        if last.is_empty() {
            return self.none(
                |facts| matches!(facts, Facts::Tests(_)),
                "no test results are known",
                remedy,
            );
        }
        let ids: Vec<Digest> = last.values().map(|(it, _)| it.id).collect();
        let sum = |of: fn(&Tests) -> u64| {
            last.values()
                .fold(0_u64, |sum, (_, facts)| sum.saturating_add(of(facts)))
        };
        let (passed, failed) = (sum(|it| it.passed), sum(|it| it.failed));
        if failed > 0 {
            let named: Vec<&str> = last
                .values()
                .flat_map(|(_, facts)| facts.failures.iter().map(String::as_str))
                .collect();
            let reason = format!(
                "{failed} of {} tests failed{}",
                passed.saturating_add(failed),
                listed(&named, failed)
            );
            let remedy =
                format!("repair them and build anew, or run all of them again and: {remedy}");
            return Found::not(ItemState::Failed, reason, remedy, ids);
        }
        if passed == 0 {
            let reason = "the report has no test that ran: that proves nothing".to_owned();
            return Found::not(ItemState::Failed, reason, remedy, ids);
        }
        let mut reason = match passed {
            1 => "1 test passed".to_owned(),
            more => format!("{more} tests passed"),
        };
        for (count, word) in [
            (sum(|it| it.skipped), "skipped"),
            (sum(|it| it.flaky), "flaky"),
        ] {
            if count > 0 {
                reason += &format!(", {count} {word}");
            }
        }
        Found::passed(reason, ids)
    }

    fn scan(&self, limit: ScanLimit) -> Found {
        let pick = |facts: &'a Facts| match facts {
            Facts::Scan(it) => Some(it),
            _ => None,
        };
        let remedy = format!("{} --sarif FILE", self.add);
        // A scanner's clock may be ahead: a scan is not younger than its arrival here.
        let time = |it: &Known<'_>, facts: &Scan| facts.at.map_or(it.seen, |at| at.min(it.seen));
        let mut all = self.counting(pick);
        all.sort_by_key(|(it, facts)| std::cmp::Reverse((time(it, facts), it.seen)));
        let mut last: BTreeMap<&str, (&Known<'_>, &Scan)> = BTreeMap::new();
        for (it, facts) in &all {
            last.entry(facts.tool.as_str()).or_insert((it, facts));
        }
        let Some((newest, _)) = all.first().map(|(it, facts)| (time(it, facts), it)) else {
            return self.none(
                |facts| matches!(facts, Facts::Scan(_)),
                "nobody has scanned the artifact",
                remedy,
            );
        };
        let ids: Vec<Digest> = last.values().map(|(it, _)| it.id).collect();
        // Findings do not get better by getting old: a bad scan blocks until its scanner looked
        // again.
        if let Some((it, facts)) = last.values().find(|(_, facts)| too_bad(facts, limit.max)) {
            let reason = format!(
                "{} found {}; `{}` is the worst that is let through",
                facts.tool,
                describe(facts, limit.max),
                limit.max
            );
            let remedy =
                format!("update what it names and build anew, or scan again and: {remedy}");
            return Found::not(ItemState::Failed, reason, remedy, vec![it.id]);
        }
        let until = after(newest, limit.age.0);
        if self.now > until {
            let age = Span::secs(since(newest, self.now).as_secs() / 60 * 60);
            let reason = format!("the last scan is {age} old; {} is the most", limit.age);
            let remedy = format!("scan again and: {remedy}");
            return Found::not(ItemState::Stale, reason, remedy, ids);
        }
        let total: u64 = last.values().map(|(_, facts)| facts.counts.total()).sum();
        let worst = last.values().filter_map(|(_, facts)| facts.worst).max();
        let tools: Vec<&str> = last.keys().copied().collect();
        let reason = match worst {
            Some(worst) => format!(
                "{} found {total}, the worst of them {worst}",
                tools.join(", ")
            ),
            None => format!("{} found nothing", tools.join(", ")),
        };
        Found {
            good_until: Some(until),
            ..Found::passed(reason, ids)
        }
    }

    fn sbom(&self) -> Found {
        let pick = |facts: &'a Facts| match facts {
            Facts::Sbom(it) => Some(it),
            _ => None,
        };
        let remedy = format!("{} --sbom FILE", self.add);
        let all = self.counting(pick);
        let filled = |it: &Sbom| it.components > 0;
        if let Some((it, facts)) = all.iter().find(|(_, facts)| filled(facts)) {
            let reason = format!("{} with {} components", facts.format, facts.components);
            return Found::passed(reason, vec![it.id]);
        }
        if let Some((it, _)) = all.first() {
            let reason = "the bill of materials names no component".to_owned();
            return Found::not(ItemState::Missing, reason, remedy, vec![it.id]);
        }
        self.none(
            |facts| matches!(facts, Facts::Sbom(_)),
            "no bill of materials is known",
            remedy,
        )
    }
}

/// What makes a report the successor of another: the same set of tests. Two runs of different tests
/// have the same name in more than one tool.
fn tests_key(tests: &Tests) -> String {
    tests.set.clone().unwrap_or_else(|| {
        let suites = tests.suites.iter().map(|it| it.name.as_str());
        let names: Vec<&str> = tests.name.as_deref().into_iter().chain(suites).collect();
        names.join("\n")
    })
}

fn is_bad(severity: Option<Severity>, max: Severity) -> bool {
    match severity {
        Some(severity) => severity > max,
        // Nobody rated it: it may be anything, and a malicious package is never rated.
        None => max < Severity::Critical,
    }
}

fn too_bad(scan: &Scan, max: Severity) -> bool {
    scan.worst.is_some_and(|worst| worst > max) || (scan.counts.unrated > 0 && is_bad(None, max))
}

fn describe(scan: &Scan, max: Severity) -> String {
    let counts = &scan.counts;
    let parts: Vec<String> = [
        (counts.critical, Some(Severity::Critical)),
        (counts.high, Some(Severity::High)),
        (counts.medium, Some(Severity::Medium)),
        (counts.low, Some(Severity::Low)),
        (counts.unrated, None),
    ]
    .into_iter()
    .filter(|(count, severity)| *count > 0 && is_bad(*severity, max))
    .map(|(count, severity)| match severity {
        Some(severity) => format!("{count} {severity}"),
        None => format!("{count} that nobody rated"),
    })
    .collect();
    let bad: Vec<String> = scan
        .findings
        .iter()
        .filter(|it| is_bad(it.severity, max))
        .map(name)
        .collect();
    let total = bad.len() as u64;
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    format!("{}{}", parts.join(", "), listed(&bad, total))
}

fn name(finding: &Finding) -> String {
    match &finding.place {
        Some(place) => format!("{} in {place}", finding.id),
        None => finding.id.clone(),
    }
}

/// `: a, b, c and 4 more`.
fn listed(names: &[&str], total: u64) -> String {
    if names.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = names.iter().take(NAMED_MAX).copied().collect();
    let more = total.saturating_sub(shown.len() as u64);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(": {}{more}", shown.join(", "))
}
