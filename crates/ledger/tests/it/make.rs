//! Logs for tests.

use airboss_ledger::{
    Bundle, Checkpoint, Document, Frontier, Hash, LaneRecords, Record, Sealed, SigningKey, Tile,
    Tiles,
};

pub fn key() -> SigningKey {
    SigningKey::named_after_itself("airboss.test", &[7; 32]).unwrap()
}

/// A tree over some leaves with all the tiles of its size.
pub struct Log {
    pub frontier: Frontier,
    pub tiles: Tiles,
}

/// The log of these leaves, with the partial tiles of every size on the way if `all`.
pub fn log(leaves: &[Hash], sizes: &[u64]) -> Log {
    let mut levels: Vec<Vec<Hash>> = vec![Vec::new(); 4];
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(*leaf, |level, index, hash| {
            if level % 8 == 0 {
                let row = &mut levels[level as usize / 8];
                assert_eq!(row.len() as u64, index, "nodes are complete in their order");
                row.push(hash);
            }
        });
    }
    let mut tiles = Tiles::new();
    for size in sizes {
        for (level, row) in (0..).zip(&levels) {
            for place in 0..row.len() as u64 {
                if let Some(tile) = Tile::of(level, place, *size) {
                    let from = tile.first() as usize;
                    tiles.insert(tile, row[from..from + tile.width as usize].to_vec());
                }
            }
        }
    }
    Log { frontier, tiles }
}

pub fn leaves(count: u64) -> Vec<Hash> {
    (0..count)
        .map(|number| Hash::leaf(&number.to_be_bytes()))
        .collect()
}

/// The root straight from its definition in RFC 6962, 2.1.
pub fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty(),
        [only] => *only,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::node(root_by_definition(left), root_by_definition(right))
        }
    }
}

/// A report about the artifact.
fn document() -> Document {
    Document::new(format!("sha256:{}", "7".repeat(64)), b"<testsuite/>")
}

/// Events of two lanes, by turns.
pub fn records(count: u64) -> Vec<Record> {
    let record = |number: u64| Record {
        number,
        previous: number.saturating_sub(2),
        lane: ["shop/production", "cart/production"][number as usize % 2].to_owned(),
        seq: number.div_ceil(2),
        rollout: (number > 4).then(|| format!("{}-1", ["shop", "cart"][number as usize % 2])),
        at: 1_790_000_000_000_000 + number as i64,
        kind: "step_passed".to_owned(),
        message: format!("step {number} is over: \"ü\""),
        body: format!(
            "{{\"step\":{number},\"digest\":\"{}\",\"id\":\"{}\"}}",
            document().artifact,
            document().id
        ),
        input: "{\"input\":\"clock\"}".to_owned(),
        removed: None,
    };
    (1..=count).map(record).collect()
}

/// The bundle of shop's rollout in a log of `count` events.
pub fn bundle(count: u64) -> Bundle {
    let records = records(count);
    let leaves: Vec<Hash> = records.iter().map(|it| it.leaf().unwrap()).collect();
    let log = log(&leaves, &[count]);
    let sealed = |record: Record| Sealed {
        proof: airboss_ledger::prove_inclusion(&log.tiles, record.number - 1, count).unwrap(),
        record,
    };
    let arrival = sealed(records[0].clone());
    Bundle {
        format: airboss_ledger::BUNDLE_FORMAT.to_owned(),
        subject: "shop-1".to_owned(),
        key: key().verifying_key().to_string(),
        checkpoint: Checkpoint::sign(count, log.frontier.root(), &key()),
        lanes: vec![LaneRecords {
            lane: "shop/production".to_owned(),
            rollouts: vec!["shop-1".to_owned()],
            begins: None,
            records: records
                .into_iter()
                .filter(|record| record.lane == "shop/production")
                .map(sealed)
                .collect(),
        }],
        installation: vec![arrival],
        documents: vec![document()],
    }
}
