//! What an unpacked artifact consists of, so that a change on disk is found before a start.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use airboss_model::Digest;
use serde::{Deserialize, Serialize};

use super::ArtifactError;
use super::hashing::hash;

/// Every file, folder and link of an artifact, written when it was unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listing {
    /// The kernel's boot during which it was unpacked. After a power cut unpacked files may be
    /// incomplete, as they are not forced to disk one by one; then they are unpacked anew.
    pub boot: String,
    /// Set where the archive is one file that was packed alone: `{artifact}` means that file.
    pub single: Option<String>,
    /// By path relative to the artifact's folder.
    pub entries: BTreeMap<String, Entry>,
}

/// One path of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// A folder.
    Folder,
    /// A regular file.
    File {
        sha256: Digest,
        size: u64,
        executable: bool,
    },
    /// A symbolic link.
    Link { target: String },
}

impl Entry {
    fn describe(&self) -> String {
        match self {
            Self::Folder => "a folder".to_owned(),
            Self::File {
                sha256, executable, ..
            } => {
                let mode = if *executable { "" } else { " (not executable)" };
                format!("{sha256}{mode}")
            }
            Self::Link { target } => format!("a link to `{target}`"),
        }
    }
}

/// Names the kernel's present boot; empty where the system does not tell.
pub(in super::super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// The first difference between a listing and a folder.
pub(super) struct Difference {
    pub file: String,
    pub expected: String,
    pub found: String,
}

impl Listing {
    /// Compares every byte of the folder with the listing.
    pub fn compare(&self, folder: &Path) -> Result<Option<Difference>, ArtifactError> {
        let mut left: BTreeMap<&str, &Entry> =
            self.entries.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let mut waiting = vec![String::new()];
        while let Some(relative) = waiting.pop() {
            let here = folder.join(&relative);
            for item in fs::read_dir(&here).map_err(ArtifactError::io("read", &here))? {
                let item = item.map_err(ArtifactError::io("read", &here))?;
                let name = item.file_name().to_string_lossy().into_owned();
                let path = if relative.is_empty() {
                    name
                } else {
                    format!("{relative}/{name}")
                };
                let found = inspect(&item.path())?;
                match left.remove(path.as_str()) {
                    Some(expected) if *expected == found => {}
                    Some(expected) => {
                        return Ok(Some(Difference {
                            file: path,
                            expected: expected.describe(),
                            found: found.describe(),
                        }));
                    }
                    None => {
                        return Ok(Some(Difference {
                            file: path,
                            expected: "no such entry".to_owned(),
                            found: found.describe(),
                        }));
                    }
                }
                if found == Entry::Folder {
                    waiting.push(path);
                }
            }
        }
        Ok(left.into_iter().next().map(|(file, entry)| Difference {
            file: file.to_owned(),
            expected: entry.describe(),
            found: "no such entry".to_owned(),
        }))
    }
}

fn inspect(path: &Path) -> Result<Entry, ArtifactError> {
    let meta = fs::symlink_metadata(path).map_err(ArtifactError::io("inspect", path))?;
    if meta.is_dir() {
        return Ok(Entry::Folder);
    }
    if meta.is_symlink() {
        let target = fs::read_link(path).map_err(ArtifactError::io("read", path))?;
        return Ok(Entry::Link {
            target: target.to_string_lossy().into_owned(),
        });
    }
    if !meta.is_file() {
        return Ok(Entry::Link {
            target: "(a special file)".to_owned(),
        });
    }
    let file = File::open(path).map_err(ArtifactError::io("open", path))?;
    let (sha256, size) = hash(file).map_err(ArtifactError::io("read", path))?;
    Ok(Entry::File {
        sha256,
        size,
        executable: meta.mode() & 0o111 != 0,
    })
}
