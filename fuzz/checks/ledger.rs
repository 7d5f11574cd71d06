//! Any bytes as what the ledger reads from strangers: bundles, notes, checkpoints, keys, tiles.

use airboss_ledger::{
    Bundle, Checkpoint, Frontier, Hash, Note, Tile, VerifyingKey, decode_entries, encode_entries,
};

/// Fails where these bytes make the ledger fall over, or something does not read back as written.
pub fn check(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::from_bytes(bytes) {
        assert!(
            bundle.format != airboss_ledger::BUNDLE_FORMAT || bundle.to_bytes() == bytes,
            "every byte of a bundle counts"
        );
        let _ = bundle.verify(None);
    }
    if let Ok(entries) = decode_entries(bytes) {
        assert_eq!(encode_entries(&entries).as_deref(), Ok(bytes));
    }
    if let Some(hashes) = Hash::many(bytes) {
        let size = (1_u64 << hashes.len().min(62)) - 1;
        if let Ok(frontier) = Frontier::from_bytes(size, bytes) {
            assert_eq!(frontier.to_bytes(), bytes);
            let _ = frontier.root();
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok((tile, entries)) = Tile::parse(text) {
        let path = if entries {
            tile.entries_path()
        } else {
            tile.to_string()
        };
        assert_eq!(path, text);
    }
    let _ = Note::parse(text);
    if let Ok(key) = text.trim().parse::<VerifyingKey>() {
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        let _ = Checkpoint::open(text, &[key]);
    }
}
