//! The files that the fuzzers start from, for the usual tests: as they are, and changed at random.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Folders of the repository's whose files are the corpus, and what is checked of each file.
pub struct Corpus {
    pub folders: &'static [&'static str],
    pub check: fn(&[u8]),
}

impl Corpus {
    #[allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
    fn files(&self) -> Vec<Vec<u8>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        for folder in self.folders {
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

    pub fn does_no_harm(&self) {
        for bytes in self.files() {
            (self.check)(&bytes);
        }
    }

    #[allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
    pub fn does_no_harm_changed_at_random(&self) {
        let config = ProptestConfig {
            cases: 60,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let place = any::<prop::sample::Index>;
        let damage = prop::collection::vec((place(), any::<u8>()), 1..6);
        let run = |(damage, cut): (Vec<(prop::sample::Index, u8)>, prop::sample::Index)| {
            for mut bytes in self.files() {
                for (place, byte) in &damage {
                    if !bytes.is_empty() {
                        let place = place.index(bytes.len());
                        bytes[place] = *byte;
                    }
                }
                (self.check)(&bytes);
                bytes.truncate(cut.index(bytes.len() + 1));
                (self.check)(&bytes);
            }
            Ok(())
        };
        TestRunner::new(config)
            .run(&(damage, place()), run)
            .unwrap();
    }
}
