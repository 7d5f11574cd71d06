//! A bundle, checked with nothing else at hand.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use airboss_ledger::{Bundle, BundleError, Record};
use anyhow::Context as _;

use super::super::Context;
use super::{named_key, replay, tampered};
use crate::exit::{Exit, UsageError};

/// Most bytes that a bundle may have.
const BYTES_MAX: u64 = 1 << 30;

pub(super) fn verify(
    path: &Path,
    key: Option<&str>,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let pinned = key.map(named_key).transpose()?;
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
    let records: Vec<Record> = bundle.records.into_iter().map(|it| it.record).collect();
    let replayed = match replay(&records) {
        Ok(replayed) => replayed,
        Err(error) => return tampered(context, &error.to_string()),
    };
    let of_rollout = |record: &&Record| record.rollout.as_ref() == Some(&bundle.rollout);
    let last = records.iter().rfind(of_rollout);
    let is_over = last.is_some_and(|it| matches!(it.kind.as_str(), "ended" | "withdrawn"));
    let console = &mut context.console;
    console.text(&format!(
        "✓ {}: {} events of {} are those that were sealed, none is missing",
        bundle.rollout, replayed.events, bundle.lane
    ))?;
    console.text(&format!(
        "✓ {} decisions made again on their recorded inputs: the same events, word for word",
        replayed.decisions
    ))?;
    console.text(&format!(
        "✓ checkpoint of {} events signed by {}",
        checkpoint.size, checkpoint.origin
    ))?;
    if !is_over {
        console.text("! the bundle was made before the rollout's end")?;
    }
    if pinned.is_none() {
        console.text(&format!(
            "! the key is the bundle's own; compare it with one that you have from elsewhere, with --key:\n  {}",
            bundle.key
        ))?;
    }
    Ok(Exit::Done)
}
