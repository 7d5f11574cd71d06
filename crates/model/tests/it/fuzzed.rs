//! What the fuzzer checks, over its corpus, on every toolchain.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[path = "../../../../fuzz/checks/manifest.rs"]
mod manifest;

/// The files that the fuzzer starts from.
#[allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for folder in ["fuzz/corpus/manifest"] {
        for item in fs::read_dir(root.join(folder)).unwrap() {
            files.extend(fs::read(item.unwrap().path()));
        }
    }
    assert!(
        files.len() > 10,
        "the corpus has only {} files",
        files.len()
    );
    files
}

#[test]
fn the_fuzzers_corpus_does_no_harm_to_manifest() {
    for bytes in corpus() {
        manifest::check(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_at_random_it_does_no_harm_to_manifest(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in corpus() {
            for (place, byte) in &damage {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = *byte;
                }
            }
            manifest::check(&bytes);
            bytes.truncate(cut.index(bytes.len() + 1));
            manifest::check(&bytes);
        }
    }
}
