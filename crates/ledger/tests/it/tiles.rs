//! Names of tiles, and bundles of entries.

use airboss_ledger::{Record, Tile, decode_entries, encode_entries};

use crate::make::records;

#[test]
fn a_tile_has_one_path_and_a_path_one_tile() {
    for (tile, path) in [
        ((0, 0, 256), "0/000"),
        ((0, 1_234_067, 256), "0/x001/x234/067"),
        ((1, 5, 3), "1/005.p/3"),
        ((7, 1_000, 255), "7/x001/000.p/255"),
    ] {
        let (level, index, width) = tile;
        let tile = Tile {
            level,
            index,
            width,
        };
        assert_eq!(tile.to_string(), path);
        assert_eq!(Tile::parse(path), Ok((tile, false)));
    }
    let entries = Tile {
        level: 0,
        index: 12,
        width: 9,
    };
    assert_eq!(Tile::parse("entries/012.p/9"), Ok((entries, true)));
}

#[test]
fn a_path_that_is_written_otherwise_is_refused() {
    for path in [
        "",
        "0",
        "0/",
        "0/0",
        "0/1000",
        "8/000",
        "00/000",
        "+1/000",
        "0/x000/000",
        "0/001/000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/03",
        "0/000.p/+3",
        "0/x001",
        "-1/000",
        "0/000/",
        "0/x999/x999/x999/x999/x999/x999/x999/999",
        "0/../000",
        "entries/0",
        "1/entries/000",
    ] {
        assert!(Tile::parse(path).is_err(), "{path}");
    }
}

#[test]
fn the_last_tile_is_as_wide_as_the_tree_has_it() {
    assert_eq!(Tile::of(0, 255, 256).map(|it| it.width), Some(256));
    assert_eq!(
        Tile::of(0, 256, 300).map(|it| (it.index, it.width)),
        Some((1, 44))
    );
    assert_eq!(Tile::of(1, 0, 300).map(|it| it.width), Some(1));
    assert_eq!(Tile::of(1, 1, 300), None);
    assert!(
        Tile {
            level: 0,
            index: 1,
            width: 44
        }
        .fits(300)
    );
    assert!(
        !Tile {
            level: 0,
            index: 1,
            width: 45
        }
        .fits(300)
    );
    assert!(
        !Tile {
            level: 0,
            index: u64::MAX,
            width: 256
        }
        .fits(u64::MAX)
    );
}

#[test]
fn entries_come_back_and_cut_ones_are_noticed() {
    let entries: Vec<Vec<u8>> = records(20)
        .iter()
        .map(|it| it.entry().to_bytes().unwrap())
        .collect();
    let bytes = encode_entries(&entries).unwrap();
    assert_eq!(decode_entries(&bytes).unwrap(), entries);
    assert!(decode_entries(&bytes[..bytes.len() - 1]).is_err());
    assert!(encode_entries(&[vec![0; 65_536]]).is_err());
}

/// The bytes that are sealed. A change here orphans every log that exists: make a new version.
#[test]
fn an_entry_has_the_documented_bytes() {
    let record = Record {
        number: 2,
        previous: 1,
        lane: "shop/production".to_owned(),
        seq: 1,
        rollout: Some("shop-1".to_owned()),
        at: 1_790_000_000_000_000,
        kind: "started".to_owned(),
        message: "abc".to_owned(),
        body: String::new(),
        input: String::new(),
        removed: None,
    };
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        String::from_utf8(record.entry().to_bytes().unwrap()).unwrap(),
        format!(
            r#"{{"format":"airboss-event/1","number":2,"previous":1,"lane":"shop/production","seq":1,"rollout":"shop-1","at":1790000000000000,"kind":"started","message_sha256":"{abc}","body_sha256":"{empty}","input_sha256":"{empty}"}}"#
        )
    );
}

#[test]
fn a_record_that_fits_no_leaf_is_told() {
    let mut record = records(1).remove(0);
    record.kind = "k".repeat(70_000);
    assert!(
        record
            .entry()
            .to_bytes()
            .unwrap_err()
            .to_string()
            .contains("event 1")
    );
}
