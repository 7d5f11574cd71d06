//! Writing a bundle and its page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use airboss_ledger::{
    BUNDLE_FORMAT, Bundle, Checkpoint, Document, LaneRecords, Record, Sealed, Tiles,
    inclusion_tiles, prove_inclusion,
};
use airboss_model::{Digest, LaneId, ReleaseId};
use airboss_runtime::Clock;
use airboss_server::api::log::RecordQuery;
use airboss_server::api::views::RolloutView;
use airboss_server::retention::log::SETTING;
use serde_json::Value;

use super::super::Context;
use super::{ExportArgs, create, evidence, log, page, replay, tampered};
use crate::client::{Client, ClientError};
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
    let artifacts: BTreeSet<String> = rollouts.iter().map(|it| it.digest.clone()).collect();
    let lanes: BTreeSet<String> = rollouts.iter().map(lane_of).collect();
    let own = records(&client, LaneId::installation().as_str(), checkpoint.size).await?;
    let mut found = Vec::new();
    for lane in lanes {
        let ids = rollouts
            .iter()
            .filter(|it| lane_of(it) == lane)
            .map(|it| it.id.clone())
            .collect();
        let records = records(&client, &lane, checkpoint.size).await?;
        found.extend(cut(lane, ids, records, &own)?);
    }
    if found.is_empty() {
        let why = format!("nothing is recorded of {subject} yet");
        return Err(UsageError(why).into());
    }
    let (installation, documents) = documents(&client, &artifacts, own).await?;
    let mut bundle = Bundle {
        format: BUNDLE_FORMAT.to_owned(),
        subject,
        key: key.to_string(),
        checkpoint: note,
        lanes: Vec::new(),
        installation: Vec::new(),
        documents,
    };
    seal(&client, &mut bundle, found, installation, checkpoint.size).await?;
    judge(&mut bundle)?;
    // Nothing is handed out that does not hold.
    if let Err(error) = bundle.verify(Some(&key)) {
        return tampered(context, &error.to_string());
    }
    if let Err(what) = evidence::check(&bundle) {
        return tampered(context, &what);
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
    let documents = match bundle.documents.len() {
        0 => "no document about the artifact".to_owned(),
        1 => "1 document about the artifact".to_owned(),
        more => format!("{more} documents about the artifact"),
    };
    context.console.text(&format!(
        "{shown}: {count} events of {}, {documents}, checkpoint of {} events\n{}: the same, for people to read\n  check both anywhere: airboss audit verify {shown} --key {key}",
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

/// A lane's part of a bundle before it is sealed.
struct Part {
    lane: String,
    rollouts: Vec<String>,
    begins: Option<Record>,
    records: Vec<Record>,
}

/// The lane's events up to the last decision about these rollouts. None where nothing is recorded
/// of them.
fn cut(
    lane: String,
    ids: BTreeSet<String>,
    mut records: Vec<Record>,
    own: &[Record],
) -> anyhow::Result<Option<Part>> {
    let mut rollouts: Vec<String> = Vec::new();
    let mut gone = BTreeSet::new();
    let mut last = 0;
    for record in &records {
        if let Some(id) = record.rollout.as_ref().filter(|id| ids.contains(*id)) {
            if record.removed.is_some() {
                gone.insert(id.clone());
                continue;
            }
            rollouts.retain(|it| it != id);
            rollouts.push(id.clone());
            last = record.seq;
        }
    }
    if let Some(id) = gone.first() {
        let left: Vec<String> = rollouts
            .iter()
            .filter(|id| !gone.contains(*id))
            .map(|id| format!("`airboss audit export {id}`"))
            .collect();
        let left = match left.is_empty() {
            true => String::new(),
            false => format!("; what is left can be exported with {}", left.join(", ")),
        };
        return Err(UsageError(format!(
            "the words of {id} in {lane} were removed by retention: its seals are in the log, where `airboss audit verify` checks them, and a bundle cannot be made of it any more{left}"
        ))
        .into());
    }
    records.retain(|record| record.seq <= last && record.removed.is_none());
    let begun = own
        .iter()
        .rev()
        .find_map(|it| Some((it, replay::begins(it, &lane)?.0)));
    let first = records.first().map(|it| it.previous);
    anyhow::ensure!(
        first.is_none_or(|first| first == begun.map_or(0, |(_, last)| last)),
        "retention removed words of {lane} while the bundle was made; export it again"
    );
    let begins = begun.map(|(record, _)| record);
    Ok((!rollouts.is_empty()).then(|| Part {
        lane,
        rollouts,
        begins: begins.cloned(),
        records,
    }))
}

/// The documents about these artifacts, and the records of the installation that tell how each of
/// them came and whose signatures are believed.
async fn documents(
    client: &Client,
    artifacts: &BTreeSet<String>,
    own: Vec<Record>,
) -> anyhow::Result<(Vec<Record>, Vec<Document>)> {
    let mut documents = Vec::new();
    let mut wanted = BTreeSet::new();
    let newest = own.iter().rfind(|it| it.kind == "trust_changed");
    wanted.extend(newest.map(|it| it.number));
    let kept = own.iter().filter(|it| it.kind == SETTING);
    wanted.extend(kept.map(|it| it.number));
    let came = evidence::arrivals(own.iter()).map_err(anyhow::Error::msg)?;
    for record in &own {
        let body: Value = serde_json::from_str(&record.body)?;
        let mut origins = evidence::rows(&body, "origins");
        if origins.any(|row| {
            row["digest"]
                .as_str()
                .is_some_and(|it| artifacts.contains(it))
        }) {
            wanted.insert(record.number);
        }
    }
    for artifact in artifacts {
        for view in client.attestations(artifact).await?.attestations {
            // What came after the checkpoint was signed is not sealed by it.
            let Some(it) = came.get(&(artifact.clone(), view.id.clone())) else {
                continue;
            };
            wanted.insert(it.event);
            let bytes = client.document(artifact, &view.id, false).await?;
            let mut document = Document::new(artifact.clone(), &bytes);
            document.envelope = match client.document(artifact, &view.id, true).await {
                Ok(envelope) => Some(String::from_utf8(envelope.to_vec())?),
                Err(ClientError::Problem { status: 404, .. }) => None,
                Err(error) => return Err(error.into()),
            };
            documents.push(document);
        }
    }
    let own = own.into_iter().filter(|it| wanted.contains(&it.number));
    Ok((own.collect(), documents))
}

/// Notes what the check of each document's signatures comes to now.
fn judge(bundle: &mut Bundle) -> anyhow::Result<()> {
    let trust = evidence::trust(bundle).unwrap_or_default();
    let now = Clock::system().now();
    let own = bundle.installation.iter().map(|it| &it.record);
    let came = evidence::arrivals(own).map_err(anyhow::Error::msg)?;
    let artifacts = bundle.documents.iter().map(|it| it.artifact.clone());
    let images: BTreeMap<String, Vec<Digest>> = artifacts
        .map(|artifact| (artifact.clone(), evidence::images(bundle, &artifact)))
        .collect();
    for document in &mut bundle.documents {
        let key = (document.artifact.clone(), document.id.clone());
        let seen = came.get(&key).map_or(now, |it| it.seen);
        let images = &images[&document.artifact];
        let (_, verification) =
            evidence::judge(document, images, &trust, seen, now).map_err(anyhow::Error::msg)?;
        document.verification = Some(serde_json::to_value(&verification)?);
    }
    Ok(())
}

/// Adds the lanes and the installation's records, each with its proof.
async fn seal(
    client: &Client,
    bundle: &mut Bundle,
    parts: Vec<Part>,
    installation: Vec<Record>,
    size: u64,
) -> anyhow::Result<()> {
    let index = |record: &Record| record.number.saturating_sub(1);
    let of_lanes = parts
        .iter()
        .flat_map(|it| it.records.iter().chain(&it.begins));
    let mut wanted = BTreeSet::new();
    for record in of_lanes.chain(&installation) {
        wanted.extend(inclusion_tiles(index(record), size)?);
    }
    let mut tiles = Tiles::new();
    for tile in wanted {
        tiles.insert(tile, client.log_tile(tile).await?);
    }
    let sealed = |record: Record| -> anyhow::Result<Sealed> {
        let proof = prove_inclusion(&tiles, index(&record), size)?;
        Ok(Sealed { record, proof })
    };
    for part in parts {
        bundle.lanes.push(LaneRecords {
            lane: part.lane,
            rollouts: part.rollouts,
            begins: part.begins.map(sealed).transpose()?,
            records: part
                .records
                .into_iter()
                .map(sealed)
                .collect::<Result<_, _>>()?,
        });
    }
    bundle.installation = installation
        .into_iter()
        .map(sealed)
        .collect::<Result<_, _>>()?;
    Ok(())
}
