//! A server's whole log, from its first event.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use airboss_ledger::{Checkpoint, Hash, Record, TILE_WIDTH, Tile, VerifyingKey, Walk};
use airboss_model::LaneId;
use airboss_server::api::log::RecordQuery;
use airboss_server::retention::log::REMOVAL;
use anyhow::Context as _;

use super::super::Context;
use super::{VerifyArgs, named_key, tampered};
use crate::client::Client;
use crate::exit::{Exit, UsageError};
use crate::home::LOG_PUBLIC_KEY_FILE;

/// The key to trust, and where it is from.
pub(super) async fn trusted_key(
    named: Option<&str>,
    client: &Client,
    context: &Context,
) -> anyhow::Result<(VerifyingKey, String)> {
    if let Some(named) = named {
        return Ok((named_key(named)?, "the key that you named".to_owned()));
    }
    let own = context.places.home.join(LOG_PUBLIC_KEY_FILE);
    // The folder's key belongs to the folder's server, not to one that is named elsewhere.
    if context.places.server.is_none() && own.is_file() {
        let key = named_key(&own.display().to_string())?;
        return Ok((key, format!("the key in {}", own.display())));
    }
    let offered = client.log_key().await?;
    let key = named_key(offered.trim())?;
    Ok((
        key,
        "the key that the server itself offers; name one that you have from elsewhere with --key"
            .to_owned(),
    ))
}

pub(super) async fn verify(args: &VerifyArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let (key, key_from) = trusted_key(args.key.as_deref(), &client, context).await?;
    let keys = [key];
    let earlier = match &args.earlier {
        Some(path) => Some(earlier(path, &keys)?),
        None => None,
    };
    let mut is_again = false;
    loop {
        let walked = match walk(&client, &keys, &key_from, earlier.as_ref()).await? {
            Ok(walked) => walked,
            Err(what) => return tampered(context, &what),
        };
        if let Some(what) = walked.unfounded() {
            // Retention may have run meanwhile, and its record lies behind the checkpoint.
            if is_again {
                return tampered(context, &what);
            }
            is_again = true;
            continue;
        }
        if let Some(path) = &args.save {
            fs::write(path, &walked.note)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        tell(&walked, &key_from, earlier.is_some(), context)?;
        return Ok(Exit::Done);
    }
}

fn tell(walked: &Walked, key_from: &str, grew: bool, context: &mut Context) -> anyhow::Result<()> {
    let console = &mut context.console;
    let since = match grew {
        true => ", and the log grew from the earlier checkpoint",
        false => "",
    };
    console.text(&format!(
        "✓ all {} events are those that were sealed{since}\n✓ checkpoint signed by {}, checked with {key_from}",
        walked.checkpoint.size, walked.checkpoint.origin
    ))?;
    for (lane, count) in &walked.wordless {
        let Some(removal) = walked.told.get(lane) else {
            continue;
        };
        console.text(&crate::render::harmless(&format!(
            "! {count} events of {lane} are there by their seals alone: {} took their words on {} (event {}). They are unchanged; what they said can no longer be read or decided again",
            removal.by, removal.on, removal.event
        )))?;
    }
    Ok(())
}

/// A log that was walked to its checkpoint and is the one that was sealed.
struct Walked {
    note: String,
    checkpoint: Checkpoint,
    walk: Walk,
    /// What records of the installation say was removed, by lane.
    told: BTreeMap<String, Removal>,
    /// Events without their words, by lane.
    wordless: BTreeMap<String, u64>,
}

/// What a record says of a removal of words.
#[derive(Debug, Default)]
struct Removal {
    /// The lane's last commit whose words went.
    seq: u64,
    event: u64,
    on: String,
    by: String,
}

/// Walks the log; the first thing that is wrong with it.
async fn walk(
    client: &Client,
    keys: &[VerifyingKey],
    key_from: &str,
    earlier: Option<&Checkpoint>,
) -> anyhow::Result<Result<Walked, String>> {
    let note = client.log_checkpoint().await?;
    let checkpoint = match Checkpoint::open(&note, keys) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return Ok(Err(format!("{error} (checked with {key_from})"))),
    };
    if let Some(earlier) = earlier
        && earlier.size > checkpoint.size
    {
        return Ok(Err(format!(
            "the log has {} events and had {} before: events were removed",
            checkpoint.size, earlier.size
        )));
    }
    let mut walk = Walk::default();
    let (mut told, mut wordless) = (BTreeMap::new(), BTreeMap::new());
    let mut leaves: Vec<Hash> = Vec::new();
    let mut is_as_before = earlier.is_none_or(|it| it.size == 0);
    while walk.frontier().size() < checkpoint.size {
        let after = walk.frontier().size();
        let query = RecordQuery {
            after: Some(after),
            lane: None,
            limit: Some(
                u32::try_from(checkpoint.size - after)
                    .unwrap_or(u32::MAX)
                    .min(1_000),
            ),
        };
        let records = client.log_records(&query).await?.records;
        if records.is_empty() {
            return Ok(Err(format!(
                "event {} is missing, and all behind it",
                after + 1
            )));
        }
        for record in &records {
            note_removal(record, &mut told);
            if record.removed.is_some() {
                *wordless.entry(record.lane.clone()).or_default() += 1;
            }
            match walk.step(record) {
                Ok(leaf) => leaves.push(leaf),
                Err(error) => return Ok(Err(error.to_string())),
            }
            if let Some(earlier) = earlier
                && earlier.size == walk.frontier().size()
            {
                is_as_before = earlier.root == walk.frontier().root();
            }
        }
    }
    if walk.frontier().root() != checkpoint.root {
        return Ok(Err(first_wrong(client, &leaves).await?));
    }
    if let Some(earlier) = earlier.filter(|_| !is_as_before) {
        return Ok(Err(format!(
            "the first {} events are not those of the earlier checkpoint: the log was rewritten",
            earlier.size
        )));
    }
    Ok(Ok(Walked {
        note,
        checkpoint,
        walk,
        told,
        wordless,
    }))
}

/// Notes up to which commit words of lanes were removed, where a record of the installation says so.
fn note_removal(record: &Record, told: &mut BTreeMap<String, Removal>) {
    if record.kind != REMOVAL || record.lane != LaneId::installation().as_str() {
        return;
    }
    let Ok(body) = serde_json::from_str(&record.body) else {
        return;
    };
    for row in super::evidence::rows(&body, "pruned_to") {
        if let (Some(lane), Some(seq)) = (row["lane"].as_str(), row["seq"].as_u64()) {
            let to = told.entry(lane.to_owned()).or_default();
            *to = Removal {
                seq: seq.max(to.seq),
                event: record.number,
                on: super::day(record.at),
                by: super::replay::asked_by(record),
            };
        }
    }
}

impl Walked {
    /// The first lane of which words are gone that no record says were removed.
    fn unfounded(&self) -> Option<String> {
        unfounded(self.walk.removed(), &self.told)
    }
}

fn unfounded(removed: &HashMap<String, u64>, told: &BTreeMap<String, Removal>) -> Option<String> {
    let beyond = |(lane, seq): &(&String, &u64)| told.get(*lane).is_none_or(|to| to.seq < **seq);
    let (lane, seq) = removed.iter().filter(beyond).min()?;
    Some(format!(
        "the words of {lane} up to commit {seq} are gone, and nothing says that they were removed"
    ))
}

fn earlier(path: &Path, keys: &[VerifyingKey]) -> anyhow::Result<Checkpoint> {
    let shown = path.display();
    let note = fs::read_to_string(path)
        .with_context(|| UsageError(format!("cannot read the checkpoint {shown}")))?;
    Checkpoint::open(&note, keys).map_err(|why| UsageError(format!("{shown}: {why}")).into())
}

/// Names the first event whose leaf is not the one in the server's tiles.
async fn first_wrong(client: &Client, leaves: &[Hash]) -> anyhow::Result<String> {
    for (index, ours) in (0_u64..).zip(leaves.chunks(TILE_WIDTH.into())) {
        let tile = Tile {
            level: 0,
            index,
            width: u16::try_from(ours.len()).unwrap_or(TILE_WIDTH),
        };
        let sealed = client.log_tile(tile).await?;
        if let Some(place) = ours.iter().zip(&sealed).position(|(a, b)| a != b) {
            let number = tile.first() + place as u64 + 1;
            return Ok(format!(
                "event {number}, the input of its decision or the event before it in its lane is not what was sealed"
            ));
        }
    }
    Ok("events and tiles agree, but they are not what the checkpoint was signed for".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_may_be_gone_only_up_to_where_a_sealed_record_of_the_installation_says() {
        let mut record = Record {
            number: 9,
            previous: 0,
            lane: LaneId::installation().as_str().to_owned(),
            seq: 1,
            rollout: None,
            at: 0,
            kind: "history_removed".to_owned(),
            message: String::new(),
            body: r#"{"rows":[{"table":"pruned_to","row":{"lane":"shop/production","seq":7}}]}"#
                .to_owned(),
            input: String::new(),
            removed: None,
        };
        let mut told = BTreeMap::new();
        note_removal(&record, &mut told);
        let gone = |lane: &str, seq| unfounded(&HashMap::from([(lane.to_owned(), seq)]), &told);
        assert_eq!(gone("shop/production", 7), None);
        insta::assert_snapshot!(gone("shop/production", 8).unwrap(), @"the words of shop/production up to commit 8 are gone, and nothing says that they were removed");
        assert!(gone("shop/staging", 1).is_some());

        record.lane = "shop/production".to_owned();
        let mut told = BTreeMap::new();
        note_removal(&record, &mut told);
        assert!(told.is_empty(), "a lane says nothing of the installation");
    }
}
