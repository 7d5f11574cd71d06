//! Writing a bundle and its page.

use std::collections::BTreeSet;
use std::path::PathBuf;

use airboss_ledger::{
    BUNDLE_FORMAT, Bundle, Checkpoint, LaneRecords, Record, Sealed, Tiles, inclusion_tiles,
    prove_inclusion,
};
use airboss_model::ReleaseId;
use airboss_server::api::log::RecordQuery;
use airboss_server::api::views::RolloutView;

use super::super::Context;
use super::{ExportArgs, create, log, page, tampered};
use crate::client::Client;
use crate::exit::{Exit, UsageError};

pub(super) async fn run(args: &ExportArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let (subject, rollouts) = rollouts(&client, &args.subject).await?;
    let (key, key_from) = log::trusted_key(args.key.as_deref(), &client, context).await?;
    let note = client.log_checkpoint().await?;
    let checkpoint = match Checkpoint::open(&note, std::slice::from_ref(&key)) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return tampered(context, &format!("{error} (checked with {key_from})")),
    };
    let lanes: BTreeSet<String> = rollouts.iter().map(lane_of).collect();
    let mut found = Vec::new();
    for lane in lanes {
        let ids = rollouts
            .iter()
            .filter(|it| lane_of(it) == lane)
            .map(|it| it.id.clone())
            .collect();
        let records = records(&client, &lane, checkpoint.size).await?;
        found.extend(cut(lane, ids, records));
    }
    if found.is_empty() {
        let why = format!("nothing is recorded of {subject} yet");
        return Err(UsageError(why).into());
    }
    let bundle = Bundle {
        format: BUNDLE_FORMAT.to_owned(),
        subject,
        key: key.to_string(),
        checkpoint: note,
        lanes: seal(&client, found, checkpoint.size).await?,
        documents: Vec::new(),
    };
    // Nothing is handed out that does not hold.
    if let Err(error) = bundle.verify(Some(&key)) {
        return tampered(context, &error.to_string());
    }
    let file = args
        .file
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.audit.json", bundle.subject)));
    let bytes = bundle.to_bytes();
    let page_file = page::beside(&file);
    let made = page::make(&bundle, &bytes);
    create(&file, &bytes)?;
    create(&page_file, made.as_bytes())?;
    let count: usize = bundle.lanes.iter().map(|it| it.records.len()).sum();
    let names: Vec<&str> = bundle.lanes.iter().map(|it| it.lane.as_str()).collect();
    context.console.text(&format!(
        "{shown}: {count} events of {}, checkpoint of {} events\n{}: the same, for people to read\n  check both anywhere: airboss audit verify {shown} --key {key}",
        names.join(", "),
        checkpoint.size,
        page_file.display(),
        shown = file.display(),
    ))?;
    Ok(Exit::Done)
}

fn lane_of(rollout: &RolloutView) -> String {
    format!("{}/{}", rollout.service, rollout.environment)
}

/// What is asked for, and the rollouts that it stands for.
async fn rollouts(client: &Client, asked: &str) -> anyhow::Result<(String, Vec<RolloutView>)> {
    if !asked.contains('@') {
        let rollout = client.rollout(asked).await?;
        return Ok((rollout.id.clone(), vec![rollout]));
    }
    let release: ReleaseId = asked
        .parse()
        .map_err(|why| UsageError(format!("`{asked}` is no release: {why}")))?;
    let mut rollouts = Vec::new();
    let mut query = airboss_server::api::requests::RolloutQuery {
        release: Some(release.to_string()),
        limit: Some(500),
        ..Default::default()
    };
    loop {
        let list = client.rollouts(&query).await?;
        rollouts.extend(list.rollouts);
        query.before = list.next;
        if query.before.is_none() {
            break;
        }
    }
    if rollouts.is_empty() {
        let why = format!("{release} was never rolled out; `airboss history` lists what was");
        return Err(UsageError(why).into());
    }
    Ok((release.to_string(), rollouts))
}

/// A lane's events as far as the checkpoint goes.
async fn records(client: &Client, lane: &str, size: u64) -> anyhow::Result<Vec<Record>> {
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
            return Ok(records);
        }
        records.append(&mut more);
    }
}

/// The lane's events up to the last decision about these rollouts. None where nothing is recorded
/// of them.
fn cut(
    lane: String,
    ids: BTreeSet<String>,
    mut records: Vec<Record>,
) -> Option<(String, Vec<String>, Vec<Record>)> {
    let mut rollouts: Vec<String> = Vec::new();
    let mut last = 0;
    for record in &records {
        if let Some(id) = record.rollout.as_ref().filter(|id| ids.contains(*id)) {
            rollouts.retain(|it| it != id);
            rollouts.push(id.clone());
            last = record.seq;
        }
    }
    records.retain(|record| record.seq <= last);
    (!rollouts.is_empty()).then_some((lane, rollouts, records))
}

/// Adds each event's proof.
async fn seal(
    client: &Client,
    lanes: Vec<(String, Vec<String>, Vec<Record>)>,
    size: u64,
) -> anyhow::Result<Vec<LaneRecords>> {
    let index = |record: &Record| record.number.saturating_sub(1);
    let mut wanted = BTreeSet::new();
    for record in lanes.iter().flat_map(|(_, _, records)| records) {
        wanted.extend(inclusion_tiles(index(record), size)?);
    }
    let mut tiles = Tiles::new();
    for tile in wanted {
        tiles.insert(tile, client.log_tile(tile).await?);
    }
    let mut sealed = Vec::with_capacity(lanes.len());
    for (lane, rollouts, found) in lanes {
        let mut records = Vec::with_capacity(found.len());
        for record in found {
            let proof = prove_inclusion(&tiles, index(&record), size)?;
            records.push(Sealed { record, proof });
        }
        sealed.push(LaneRecords {
            lane,
            rollouts,
            records,
        });
    }
    Ok(sealed)
}
