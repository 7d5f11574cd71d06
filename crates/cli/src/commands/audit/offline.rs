//! A bundle, checked with nothing else at hand.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use airboss_attest::Verdict;
use airboss_ledger::{Bundle, BundleError, Checkpoint, LaneRecords, Record};
use anyhow::Context as _;

use super::super::Context;
use super::evidence::{self, Known};
use super::page::Beside;
use super::{Replayed, VerifyArgs, create, named_key, page, replay, tampered};
use crate::exit::{Exit, UsageError};

/// Most bytes that a bundle may have.
const BYTES_MAX: u64 = 1 << 30;

pub(super) fn verify(
    path: &Path,
    args: &VerifyArgs,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let pinned = args.key.as_deref().map(named_key).transpose()?;
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(|| UsageError(format!("cannot open the bundle {}", path.display())))?
        .take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(UsageError(format!("{} is larger than 1 GiB", path.display())).into());
    }
    let bundle = match Bundle::from_bytes(&bytes) {
        Ok(bundle) => bundle,
        Err(error @ BundleError::Format(_)) => return Err(UsageError(error.to_string()).into()),
        Err(error) => return tampered(context, &error.to_string()),
    };
    let checkpoint = match bundle.verify(pinned.as_ref()) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return tampered(context, &error.to_string()),
    };
    let mut lanes = Vec::with_capacity(bundle.lanes.len());
    for lane in &bundle.lanes {
        match check(lane, &bundle.subject) {
            Ok(replayed) => lanes.push(replayed),
            Err(what) => return tampered(context, &what),
        }
    }
    let documents = match evidence::check(&bundle) {
        Ok(documents) => documents,
        Err(what) => return tampered(context, &what),
    };
    let page_file = page::beside(path);
    let shown = page_file.display();
    let beside = match std::fs::read(&page_file) {
        Ok(found) => Some(page::compare(&found, &bundle, &bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    if matches!(beside, Some(Beside::Differs)) {
        let what = format!(
            "{shown} is not the page of this bundle; the bundle itself holds. Make the page anew with --page"
        );
        return tampered(context, &what);
    }
    tell(&bundle, &checkpoint, &lanes, context)?;
    tell_documents(&bundle, &documents, context)?;
    match beside {
        Some(Beside::OtherVersion(version)) => context.console.text(&format!(
            "! {shown} was made by airboss {} and cannot be compared; make it anew with --page",
            crate::render::harmless(&version)
        ))?,
        Some(_) => context.console.text(&format!(
            "✓ {shown} is the page of this bundle, byte for byte"
        ))?,
        None => {}
    }
    if let Some(file) = &args.page {
        create(file, page::make(&bundle, &bytes).as_bytes())?;
        let text = format!("✓ {}: the bundle, for people to read", file.display());
        context.console.text(&text)?;
    }
    if pinned.is_none() {
        context.console.text(&format!(
            "! the key is the bundle's own; compare it with one that you have from elsewhere, with --key:\n  {}",
            bundle.key
        ))?;
    }
    Ok(Exit::Done)
}

/// Makes a lane's decisions again, and checks that its rollouts are those of the subject.
fn check(lane: &LaneRecords, subject: &str) -> Result<Replayed, String> {
    let records: Vec<Record> = lane.records.iter().map(|it| it.record.clone()).collect();
    let begin = match &lane.begins {
        None => None,
        Some(begins) => {
            let (last, state) = replay::begins(&begins.record, &lane.lane).ok_or_else(|| {
                format!(
                    "event {} does not say what the removed history of {} led to",
                    begins.record.number, lane.lane
                )
            })?;
            if records.first().map(|it| it.previous) != Some(last) {
                return Err(format!(
                    "the events of {} do not begin behind event {last}, up to which its history was removed",
                    lane.lane
                ));
            }
            Some(state)
        }
    };
    let replayed = replay::replay(&records, begin).map_err(|error| error.to_string())?;
    if let Some(other) = page::not_of(lane, subject) {
        return Err(other);
    }
    Ok(replayed)
}

fn tell_documents(bundle: &Bundle, known: &[Known], context: &mut Context) -> anyhow::Result<()> {
    let console = &mut context.console;
    if bundle.documents.is_empty() {
        let text = "! no document about the artifact is in it: nothing says who built it from what";
        return Ok(console.text(text)?);
    }
    if known.is_empty() {
        let text = "! its documents have the bytes that their ids tell; bundles of this form do not say how they came";
        return Ok(console.text(text)?);
    }
    console.text(&format!(
        "✓ {} documents about the artifact have the bytes that were sealed; who signed them:",
        known.len()
    ))?;
    for it in known {
        let vouched = if it.vouched {
            "; Airboss signed what it says"
        } else {
            ""
        };
        console.text(&crate::render::harmless(&format!(
            "  {:<10} {:<9} {}{vouched} ({})",
            it.facts.kind(),
            verdict(it.verification.verdict),
            it.verification.reason,
            it.source
        )))?;
    }
    Ok(())
}

/// A verdict in a word.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "verified",
        Verdict::Unsigned => "unsigned",
        Verdict::Untrusted => "untrusted",
        Verdict::Refused => "refused",
    }
}

fn tell(
    bundle: &Bundle,
    checkpoint: &Checkpoint,
    lanes: &[Replayed],
    context: &mut Context,
) -> anyhow::Result<()> {
    let console = &mut context.console;
    for (lane, replayed) in bundle.lanes.iter().zip(lanes) {
        console.text(&format!(
            "✓ {}: {} events of {} are those that were sealed, none is missing",
            lane.rollouts.join(", "),
            replayed.events,
            lane.lane
        ))?;
    }
    console.text(&format!(
        "✓ {} decisions made again on their recorded inputs: the same events, word for word",
        lanes.iter().map(|it| it.decisions).sum::<usize>()
    ))?;
    for lane in &bundle.lanes {
        if let Some(what) = replay::begun(lane) {
            console.text(&crate::render::harmless(&format!("! {what}")))?;
        }
    }
    console.text(&format!(
        "✓ checkpoint of {} events signed by {}",
        checkpoint.size, checkpoint.origin
    ))?;
    for record in replay::settings(bundle) {
        let text = format!(
            "  event {}, {}, {}: {}",
            record.number,
            super::day(record.at),
            replay::asked_by(record),
            record.message
        );
        console.text(&crate::render::harmless(&text))?;
    }
    for lane in &bundle.lanes {
        for rollout in &lane.rollouts {
            let of_rollout = |record: &&Record| record.rollout.as_ref() == Some(rollout);
            let last = lane.records.iter().map(|it| &it.record).rfind(of_rollout);
            if !last.is_some_and(|it| matches!(it.kind.as_str(), "ended" | "withdrawn")) {
                console.text(&format!(
                    "! the bundle was made before the end of {rollout}"
                ))?;
            }
        }
    }
    Ok(())
}
