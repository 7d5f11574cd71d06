//! The unpacker: an archive from outside, plain or as a layer of an image.

use std::fs;

use airboss_targets::process::artifact::{Compression, Layers, unpack_to};

/// Fails where something is written outside of the folder.
pub fn check(bytes: &[u8]) {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("root");
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        fs::create_dir(&root).unwrap();
        let _ = Layers::new(&root).lay(bytes, compression);
        fs::remove_dir_all(&root).unwrap();
    }
    fs::create_dir(&root).unwrap();
    let _ = unpack_to(bytes, &root);
    let there: Vec<_> = fs::read_dir(outer.path()).unwrap().collect();
    assert_eq!(there.len(), 1, "something was written outside of the folder");
}
