//! Writing a bundle.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;

use airboss_ledger::{
    BUNDLE_FORMAT, Bundle, Checkpoint, Record, Sealed, Tiles, inclusion_tiles, prove_inclusion,
};
use airboss_server::api::log::RecordQuery;
use anyhow::Context as _;

use super::super::Context;
use super::{ExportArgs, log, tampered};
use crate::client::Client;
use crate::exit::{Exit, UsageError};

pub(super) async fn run(args: &ExportArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let rollout = client.rollout(&args.rollout).await?;
    let lane = format!("{}/{}", rollout.service, rollout.environment);
    let (key, key_from) = log::trusted_key(args.key.as_deref(), &client, context).await?;
    let note = client.log_checkpoint().await?;
    let checkpoint = match Checkpoint::open(&note, std::slice::from_ref(&key)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return tampered(context, &format!("{error} (checked with {key_from})")),
    };
    let records = records(&client, &lane, &rollout.id, checkpoint.size).await?;
    let mut wanted = BTreeSet::new();
    for record in &records {
        wanted.extend(inclusion_tiles(
            record.number.saturating_sub(1),
            checkpoint.size,
        )?);
    }
    let mut tiles = Tiles::new();
    for tile in wanted {
        tiles.insert(tile, client.log_tile(tile).await?);
    }
    let mut sealed = Vec::with_capacity(records.len());
    for record in records {
        let index = record.number.saturating_sub(1);
        let proof = prove_inclusion(&tiles, index, checkpoint.size)?;
        sealed.push(Sealed { record, proof });
    }
    let bundle = Bundle {
        format: BUNDLE_FORMAT.to_owned(),
        rollout: rollout.id,
        lane,
        key: key.to_string(),
        checkpoint: note,
        records: sealed,
    };
    // Nothing is handed out that does not hold.
    if let Err(error) = bundle.verify(Some(&key)) {
        return tampered(context, &error.to_string());
    }
    let shown = args.file.display();
    let mut file = File::create_new(&args.file).with_context(|| {
        UsageError(format!(
            "cannot make {shown}; a file that exists is left alone"
        ))
    })?;
    file.write_all(&bundle.to_bytes())
        .with_context(|| format!("cannot write {shown}"))?;
    context.console.text(&format!(
        "{shown}: {} events of {}, checkpoint of {} events\n  check it anywhere: airboss audit verify {shown} --key {key}",
        bundle.records.len(),
        bundle.lane,
        checkpoint.size
    ))?;
    Ok(Exit::Done)
}

/// The lane's events from its first to the last of the rollout, with all of that decision.
async fn records(
    client: &Client,
    lane: &str,
    rollout: &str,
    size: u64,
) -> anyhow::Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let query = RecordQuery {
            after: records.last().map(|last| last.number),
            lane: Some(lane.to_owned()),
            limit: None,
        };
        let mut more = client.log_records(&query).await?.records;
        more.retain(|record| record.number <= size);
        if more.is_empty() {
            break;
        }
        records.append(&mut more);
    }
    let last = records
        .iter()
        .rfind(|it| it.rollout.as_deref() == Some(rollout))
        .map(|it| it.seq)
        .with_context(|| UsageError(format!("nothing is recorded of {rollout} yet")))?;
    records.retain(|record| record.seq <= last);
    Ok(records)
}
