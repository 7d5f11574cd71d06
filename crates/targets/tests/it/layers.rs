//! Layers of an image become the tree that a container of it would see.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use airboss_targets::process::artifact::{Compression, Layers, Unpacked};
use tar::EntryType;

use super::hostile::{archive, entry, file, folder, link};

/// What became of the layers: folders end with a slash, links show their target.
fn laid(layers: &[Vec<Vec<u8>>]) -> Result<(BTreeMap<String, String>, Unpacked), String> {
    let root = tempfile::tempdir().unwrap();
    let mut all = Layers::new(root.path());
    for layer in layers {
        all.lay(archive(layer).as_slice(), Compression::None)
            .map_err(|error| error.to_string())?;
    }
    let unpacked = all.finish().map_err(|error| error.to_string())?;
    let mut tree = BTreeMap::new();
    look(root.path(), "", &mut tree);
    Ok((tree, unpacked))
}

fn look(at: &Path, prefix: &str, tree: &mut BTreeMap<String, String>) {
    for item in fs::read_dir(at).unwrap() {
        let path = item.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            tree.insert(name, format!("→ {}", target.display()));
        } else if meta.is_dir() {
            let inside = format!("{name}/");
            look(&path, &inside, tree);
            tree.insert(inside, String::new());
        } else {
            tree.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

#[track_caller]
fn becomes(layers: &[Vec<Vec<u8>>], expected: &[(&str, &str)]) {
    let (tree, _) = laid(layers).unwrap();
    let tree: Vec<(&str, &str)> = tree.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(tree, expected);
}

#[test]
fn a_later_layer_covers_an_earlier_one() {
    becomes(
        &[
            vec![file("a", "1"), folder("d"), file("d/x", "1")],
            vec![file("a", "2"), folder("d"), file("d/y", "2")],
        ],
        &[("a", "2"), ("d/", ""), ("d/x", "1"), ("d/y", "2")],
    );
}

#[test]
fn a_whiteout_takes_away_what_is_below_and_never_its_own_layer() {
    let below = vec![
        folder("d"),
        file("d/x", "1"),
        file("d/y", "1"),
        folder("e"),
        file("e/z", "1"),
    ];
    becomes(
        &[below.clone(), vec![file("d/.wh.x", ""), file(".wh.e", "")]],
        &[("d/", ""), ("d/y", "1")],
    );
    // In either order within the layer.
    for upper in [
        vec![file("d/.wh.x", ""), file("d/x", "2")],
        vec![file("d/x", "2"), file("d/.wh.x", "")],
    ] {
        becomes(
            &[below.clone(), upper],
            &[
                ("d/", ""),
                ("d/x", "2"),
                ("d/y", "1"),
                ("e/", ""),
                ("e/z", "1"),
            ],
        );
    }
    becomes(
        &[
            below,
            vec![file(".wh.nothing", ""), file("a/.wh.nothing", "")],
        ],
        &[
            ("d/", ""),
            ("d/x", "1"),
            ("d/y", "1"),
            ("e/", ""),
            ("e/z", "1"),
        ],
    );
}

#[test]
fn an_opaque_folder_shows_nothing_from_below() {
    let below = vec![
        folder("d"),
        file("d/x", "1"),
        folder("d/s"),
        file("d/s/y", "1"),
        file("f", "1"),
    ];
    for upper in [
        vec![folder("d"), file("d/.wh..wh..opq", ""), file("d/new", "2")],
        vec![folder("d"), file("d/new", "2"), file("d/.wh..wh..opq", "")],
    ] {
        becomes(
            &[below.clone(), upper],
            &[("d/", ""), ("d/new", "2"), ("f", "1")],
        );
    }
    becomes(
        &[
            below,
            vec![file("d/s/new", "2"), file("d/.wh..wh..opq", "")],
        ],
        &[("d/", ""), ("d/s/", ""), ("d/s/new", "2"), ("f", "1")],
    );
}

#[test]
fn files_folders_and_links_may_take_each_others_place() {
    let below = vec![
        folder("d"),
        file("d/x", "1"),
        file("f", "1"),
        link("l", "d"),
    ];
    becomes(
        &[
            below,
            vec![
                file("d", "2"),
                folder("f"),
                file("f/y", "2"),
                folder("l"),
                file("l/z", "2"),
            ],
        ],
        &[
            ("d", "2"),
            ("f/", ""),
            ("f/y", "2"),
            ("l/", ""),
            ("l/z", "2"),
        ],
    );
}

#[test]
fn what_lies_behind_a_link_lands_where_the_link_leads_inside_the_folder() {
    becomes(
        &[
            vec![
                folder("usr"),
                folder("usr/lib"),
                link("lib", "usr/lib"),
                link("abs", "/usr/lib"),
                link("out", "../../.."),
            ],
            vec![file("lib/a", "1"), file("abs/b", "1"), file("out/c", "1")],
        ],
        &[
            ("abs", "→ usr/lib"),
            ("c", "1"),
            ("lib", "→ usr/lib"),
            ("out", "→ ."),
            ("usr/", ""),
            ("usr/lib/", ""),
            ("usr/lib/a", "1"),
            ("usr/lib/b", "1"),
        ],
    );
}

#[test]
fn a_link_from_the_root_is_told_from_its_place() {
    becomes(
        &[vec![
            folder("etc"),
            folder("etc/alternatives"),
            link("etc/alternatives/awk", "/usr/bin/mawk"),
            link("usr/bin/awk", "/etc/alternatives/awk"),
            file("usr/bin/mawk", "awk"),
            link("etc/up", "../usr/bin/../bin/mawk"),
            link("etc/here", "."),
            link("dangling", "/nowhere/at/all"),
        ]],
        &[
            ("dangling", "→ nowhere/at/all"),
            ("etc/", ""),
            ("etc/alternatives/", ""),
            ("etc/alternatives/awk", "→ ../../usr/bin/mawk"),
            ("etc/here", "→ ../etc"),
            ("etc/up", "→ ../usr/bin/mawk"),
            ("usr/", ""),
            ("usr/bin/", ""),
            ("usr/bin/awk", "→ ../../etc/alternatives/awk"),
            ("usr/bin/mawk", "awk"),
        ],
    );
}

#[test]
fn a_hard_link_is_another_name_of_a_file_also_from_a_layer_below() {
    let hard = |name: &str, to: &str| entry(name, EntryType::Link, 0o755, to, b"");
    becomes(
        &[
            vec![file("a", "1"), hard("b", "a")],
            vec![hard("c", "/a"), file("a", "2")],
        ],
        &[("a", "2"), ("b", "1"), ("c", "1")],
    );
    let error = laid(&[vec![hard("b", "nothing")]]).unwrap_err();
    assert!(error.contains("`nothing`"), "{error}");
}

#[test]
fn files_that_ask_for_their_owners_rights_are_counted_and_get_none() {
    let root = tempfile::tempdir().unwrap();
    let mut layers = Layers::new(root.path());
    let bytes = archive(&[entry("su", EntryType::Regular, 0o4755, "", b"x")]);
    layers.lay(bytes.as_slice(), Compression::None).unwrap();
    assert_eq!(layers.finish().unwrap().privileged, 1);
    let mode = fs::metadata(root.path().join("su")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn what_no_artifact_may_hold_is_refused_in_a_layer_too() {
    let around: Vec<Vec<u8>> = (0..50)
        .map(|at| link(&format!("l{at}"), &format!("l{}", at + 1)))
        .collect();
    let cases = [
        (
            vec![entry("null", EntryType::Char, 0o666, "", b"")],
            "devices",
        ),
        (vec![file("a", "1"), file("a", "2")], "named twice"),
        (vec![file("../a", "1")], "leaves the folder"),
        (vec![file("a", "1"), file("a/b", "2")], "no folder"),
        (vec![link("a", "a"), file("a/b", "2")], "40 links"),
        ([around, vec![file("l0/x", "1")]].concat(), "40 links"),
        (vec![], "empty"),
    ];
    for (layer, reason) in cases {
        let error = laid(&[layer]).unwrap_err();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn every_compression_gives_the_same_tree() {
    let plain = archive(&[file("a", "content")]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    // Two frames with one between them that is to be skipped, as `zstd:chunked` writes.
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let mut zstd = ruzstd::encoding::compress_to_vec(&plain[..600], level);
    zstd.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    zstd.extend(ruzstd::encoding::compress_to_vec(&plain[600..], level));
    let cases = [
        (Compression::None, &plain),
        (Compression::Gzip, &gzip),
        (Compression::Zstd, &zstd),
    ];
    for (compression, bytes) in cases {
        let root = tempfile::tempdir().unwrap();
        let mut layers = Layers::new(root.path());
        layers.lay(bytes.as_slice(), compression).unwrap();
        layers.finish().unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("a")).unwrap(),
            "content"
        );
        for length in [bytes.len() / 3, bytes.len() / 2] {
            let root = tempfile::tempdir().unwrap();
            let cut = Layers::new(root.path()).lay(&bytes[..length], compression);
            assert!(cut.is_err(), "{compression:?} cut at {length}");
        }
    }
}

#[test]
fn a_single_file_that_is_a_program_can_be_started() {
    let root = tempfile::tempdir().unwrap();
    let mut layers = Layers::new(root.path());
    for (name, content) in [
        ("run.sh", "#!/bin/sh\n"),
        ("bin/app", "\x7fELF…"),
        ("notes.txt", "x"),
    ] {
        layers
            .put(name, content.as_bytes(), content.len() as u64)
            .unwrap();
    }
    let error = layers.put("../out", "x".as_bytes(), 1).unwrap_err();
    assert!(error.to_string().contains("leaves the folder"), "{error}");
    layers.finish().unwrap();
    let executable = |name: &str| fs::metadata(root.path().join(name)).unwrap().mode() & 0o111 != 0;
    assert!(executable("run.sh") && executable("bin/app") && !executable("notes.txt"));
}
