//! Whatever an archive holds: it is unpacked whole inside its folder, or refused with a reason.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use airboss_targets::process::artifact::{Compression, Layers, MAX_ENTRIES, pack, unpack_to};
use proptest::prelude::*;
use tar::EntryType;

/// An entry with exactly the name, type, mode and content given, whatever a library thinks of it.
pub fn entry(name: &str, kind: EntryType, mode: u32, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let most = name.len().min(100);
    header.as_mut_bytes()[..most].copy_from_slice(&name.as_bytes()[..most]);
    let most = link.len().min(100);
    header.as_mut_bytes()[157..157 + most].copy_from_slice(&link.as_bytes()[..most]);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

pub fn file(name: &str, content: &str) -> Vec<u8> {
    entry(name, EntryType::Regular, 0o644, "", content.as_bytes())
}

pub fn folder(name: &str) -> Vec<u8> {
    entry(name, EntryType::Directory, 0o755, "", b"")
}

pub fn link(name: &str, to: &str) -> Vec<u8> {
    entry(name, EntryType::Symlink, 0o777, to, b"")
}

/// The entries as an archive with its end.
pub fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while format!("{length}{rest}").len() != length {
            length = format!("{length}{rest}").len();
        }
        text += &format!("{length}{rest}");
    }
    entry("pax", EntryType::XHeader, 0o644, "", text.as_bytes())
}

fn unpacked(bytes: &[u8]) -> Result<tempfile::TempDir, String> {
    let folder = tempfile::tempdir().unwrap();
    match unpack_to(bytes, folder.path()) {
        Ok(()) => Ok(folder),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn each_hostile_archive_is_refused_with_its_reason() {
    let long = "n".repeat(256);
    let deep = format!("{}end", "deep/".repeat(900));
    let mut huge = entry("big", EntryType::Regular, 0o644, "", b"");
    let mut header = tar::Header::from_byte_slice(&huge[..512]).clone();
    header.set_size(9 << 30);
    header.set_cksum();
    huge[..512].copy_from_slice(header.as_bytes());
    let mut endless_name = entry("././@LongLink", EntryType::GNULongName, 0o644, "", b"");
    let mut header = tar::Header::from_byte_slice(&endless_name[..512]).clone();
    header.set_size(4 << 30);
    header.set_cksum();
    endless_name[..512].copy_from_slice(header.as_bytes());
    let cases: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        (
            "a file twice",
            vec![file("a", "1"), file("a", "2")],
            "named twice",
        ),
        (
            "a file and a folder",
            vec![file("a", "1"), folder("a")],
            "named twice",
        ),
        (
            "a file below a file",
            vec![file("a", "1"), file("a/b", "2")],
            "no folder",
        ),
        (
            "a file below a link",
            vec![link("a", "b"), file("a/b", "2")],
            "no folder",
        ),
        (
            "setuid",
            vec![entry("su", EntryType::Regular, 0o4755, "", b"x")],
            "setuid",
        ),
        (
            "setgid",
            vec![entry("wall", EntryType::Regular, 0o2755, "", b"x")],
            "setgid",
        ),
        (
            "a block device",
            vec![entry("sda", EntryType::Block, 0o600, "", b"")],
            "devices",
        ),
        (
            "a pipe",
            vec![entry("pipe", EntryType::Fifo, 0o600, "", b"")],
            "pipes",
        ),
        (
            "a sparse file",
            vec![entry("holes", EntryType::GNUSparse, 0o600, "", b"")],
            "sparse",
        ),
        (
            "a sparse file by its attributes",
            vec![pax(&[("GNU.sparse.major", "1")]), file("holes", "x")],
            "sparse",
        ),
        (
            "a long name",
            vec![pax(&[("path", &long)]), file("x", "x")],
            "more than 255 bytes",
        ),
        (
            "a long path",
            vec![pax(&[("path", &deep)]), file("x", "x")],
            "more than 4095 bytes",
        ),
        (
            "a zero byte",
            vec![pax(&[("path", "a\0b")]), file("x", "x")],
            "zero byte",
        ),
        (
            "a path that leaves",
            vec![pax(&[("path", "../x")]), file("x", "x")],
            "leaves the folder",
        ),
        (
            "a link that leaves",
            vec![pax(&[("linkpath", "/etc/passwd")]), link("x", "y")],
            "leaves the folder",
        ),
        (
            "two sizes",
            vec![pax(&[("size", "7")]), file("x", "x")],
            "two sizes",
        ),
        (
            "attributes of nothing",
            vec![file("a", "1"), pax(&[("path", "b")])],
            "cut off",
        ),
        ("a file of 9 GiB", vec![huge], "larger than 8 GiB"),
        ("a name of 4 GiB", vec![endless_name], "1024 KiB"),
        ("nothing", vec![], "empty"),
    ];
    for (case, entries, reason) in cases {
        let error = unpacked(&archive(&entries)).unwrap_err();
        assert!(error.contains(reason), "{case}: {error}");
    }
}

#[test]
fn an_archive_that_was_cut_off_anywhere_is_refused() {
    let whole = archive(&[folder("a"), file("a/b", &"x".repeat(700)), file("c", "")]);
    assert!(unpacked(&whole).is_ok());
    for length in 1..whole.len() - 1023 {
        let error = unpacked(&whole[..length]).unwrap_err();
        assert!(
            error.contains("cut off") || error.contains("not a readable tar"),
            "{length}: {error}"
        );
    }
}

#[test]
fn more_entries_than_allowed_are_refused_before_the_disk_is_full_of_them() {
    // Each names the same folder: nothing is written, and they are counted all the same.
    let one = folder("a");
    let mut many = one.repeat(MAX_ENTRIES + 1);
    many.resize(many.len() + 1024, 0);
    let error = unpacked(&many).unwrap_err();
    assert!(error.contains("200000 entries"), "{error}");
}

#[test]
fn long_names_of_every_kind_are_unpacked_and_packed_again() {
    let name = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let gnu = entry(
        "././@LongLink",
        EntryType::GNULongName,
        0o644,
        "",
        format!("{name}\0").as_bytes(),
    );
    for header in [gnu, pax(&[("path", &name), ("mtime", "1.5")])] {
        let there = unpacked(&archive(&[header, file("x", "content")])).unwrap();
        assert_eq!(
            fs::read_to_string(there.path().join(&name)).unwrap(),
            "content"
        );
    }
}

#[test]
fn a_stream_that_becomes_far_more_than_it_is_is_refused() {
    let member = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(100 << 20);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = member(header.as_bytes());
    bytes.extend(member(&vec![0; 1 << 20]).repeat(100));
    let folder = tempfile::tempdir().unwrap();
    let error = Layers::new(folder.path())
        .lay(bytes.as_slice(), Compression::Gzip)
        .unwrap_err();
    assert!(error.to_string().contains("200 times"), "{error}");
}

#[derive(Debug, Clone)]
enum Made {
    File(String, String),
    Folder(String),
    Link(String, String),
    HardLink(String, String),
    Device(String),
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::File(name, content) => file(name, content),
            Self::Folder(name) => folder(name),
            Self::Link(name, to) => link(name, to),
            Self::HardLink(name, to) => entry(name, EntryType::Link, 0o644, to, b""),
            Self::Device(name) => entry(name, EntryType::Char, 0o644, "", b""),
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "..",
        ".",
        "",
        ".wh.a",
        ".wh.b",
        ".wh..wh..opq",
        "é",
    ]);
    (any::<bool>(), prop::collection::vec(part, 1..5)).prop_map(|(absolute, parts)| {
        format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
    })
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        6 => (path(), "[xy]{0,3}").prop_map(|(name, content)| Made::File(name, content)),
        4 => path().prop_map(Made::Folder),
        5 => (path(), path()).prop_map(|(name, to)| Made::Link(name, to)),
        2 => (path(), path()).prop_map(|(name, to)| Made::HardLink(name, to)),
        1 => path().prop_map(Made::Device),
    ]
}

/// Runs `work` in a folder between others, which it must leave as they are. Their names and
/// contents are what a path that leaves would hit.
fn guarded(work: impl FnOnce(&Path)) {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("b/c/root");
    fs::create_dir_all(&root).unwrap();
    for guard in ["a", "b/a", "b/c/a", "b/c/b"] {
        fs::write(outer.path().join(guard), "guard").unwrap();
    }
    work(&root);
    for guard in ["a", "b/a", "b/c/a", "b/c/b"] {
        assert_eq!(
            fs::read_to_string(outer.path().join(guard)).unwrap(),
            "guard"
        );
    }
    let names = |at: &Path| fs::read_dir(at).unwrap().count();
    assert_eq!(names(outer.path()), 2);
    assert_eq!(names(&outer.path().join("b")), 2);
    assert_eq!(names(&outer.path().join("b/c")), 3);
}

/// Every link of the folder leads to something inside of it, or nowhere.
fn no_link_leaves(root: &Path, here: &Path) {
    for item in fs::read_dir(here).unwrap() {
        let path = item.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_symlink() {
            if let Ok(target) = fs::canonicalize(&path) {
                let root = fs::canonicalize(root).unwrap();
                assert!(
                    target.starts_with(&root),
                    "{} leads to {}",
                    path.display(),
                    target.display()
                );
            }
        } else if meta.is_dir() {
            no_link_leaves(root, &path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_unpacked_stays_in_its_folder(entries in prop::collection::vec(made(), 0..8)) {
        let bytes = archive(&entries.iter().map(Made::bytes).collect::<Vec<_>>());
        guarded(|root| {
            if unpack_to(bytes.as_slice(), root).is_ok() {
                no_link_leaves(root, root);
            }
        });
    }

    #[test]
    fn whatever_layers_hold_they_stay_in_their_folder_and_can_be_shipped(
        layers in prop::collection::vec(prop::collection::vec(made(), 0..8), 1..4),
    ) {
        guarded(|root| {
            let mut laid = Layers::new(root);
            for entries in &layers {
                let bytes = archive(&entries.iter().map(Made::bytes).collect::<Vec<_>>());
                if laid.lay(bytes.as_slice(), Compression::None).is_err() {
                    return;
                }
            }
            if laid.finish().is_err() {
                return;
            }
            no_link_leaves(root, root);
            let out = tempfile::NamedTempFile::new().unwrap();
            pack(root, out.path()).unwrap();
            let again = tempfile::tempdir().unwrap();
            unpack_to(fs::File::open(out.path()).unwrap(), again.path()).unwrap();
        });
    }

    #[test]
    fn a_damaged_archive_is_unpacked_inside_its_folder_or_refused(
        entries in prop::collection::vec(made(), 1..5),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = archive(&entries.iter().map(Made::bytes).collect::<Vec<_>>());
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        guarded(|root| drop(unpack_to(bytes.as_slice(), root)));
        guarded(|root| drop(Layers::new(root).lay(bytes.as_slice(), Compression::None)));
    }
}

/// The corpus of `fuzz/`, which the fuzzer starts from.
#[test]
fn the_fuzzers_corpus_does_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/unpack");
    let mut seen = 0;
    for item in fs::read_dir(corpus).unwrap() {
        let bytes = fs::read(item.unwrap().path()).unwrap();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            guarded(|root| drop(Layers::new(root).lay(bytes.as_slice(), compression)));
        }
        guarded(|root| drop(unpack_to(bytes.as_slice(), root)));
        seen += 1;
    }
    assert!(seen > 5, "the corpus has only {seen} files");
}
