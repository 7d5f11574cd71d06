//! Reads a tar archive entry by entry, and refuses what nothing that is shipped may hold.
//!
//! Extension headers (long names, pax records) are read here rather than by the library, which
//! would take as much memory as a hostile header asks for.

use std::io::{self, Read};
use std::path::{Component, Path};

use super::expand::Bomb;
use super::{ArtifactError, MAX_ENTRIES, MAX_EXTENSION, MAX_NAME, MAX_PATH};

/// One entry of an archive.
pub(super) struct Item {
    /// Its place below the folder, in plain names: `./a//b` is `a/b`. Empty for the folder itself.
    pub path: String,
    /// Its path as written, for messages.
    pub written: String,
    pub kind: Kind,
}

/// What an entry is.
pub(super) enum Kind {
    Folder,
    File {
        size: u64,
        executable: bool,
        /// It asks to run as its owner or group (setuid, setgid).
        privileged: bool,
    },
    /// A symbolic link, with its target as written.
    Link(String),
    /// Another name of a file in the same archive or in a layer below.
    HardLink(String),
}

impl Item {
    /// An error about this entry.
    pub fn refuse(&self, why: impl Into<String>) -> ArtifactError {
        refused(&self.written, why)
    }
}

pub(super) fn refused(entry: &str, why: impl Into<String>) -> ArtifactError {
    ArtifactError::Refused {
        entry: entry.to_owned(),
        why: why.into(),
    }
}

/// What a failed read of an archive means: a full disk is no fault of the archive.
pub(super) fn damaged(error: io::Error) -> ArtifactError {
    if error.kind() == io::ErrorKind::StorageFull {
        return ArtifactError::io("read", "the archive")(error);
    }
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return cut_off();
    }
    let why = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(bomb @ Bomb { .. }) => bomb.to_string(),
        None => format!("it is not a readable tar archive ({error})"),
    };
    ArtifactError::NotAccepted { why }
}

/// A path with only plain names in it; None where it is absolute, has `..` or is no UTF-8.
pub(super) fn plain(path: &Path) -> Option<String> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(names.join("/"))
}

/// Hands every entry with its content to `visit`; the number of entries.
pub(super) fn each(
    archive: impl Read,
    mut visit: impl FnMut(&Item, &mut dyn Read) -> Result<(), ArtifactError>,
) -> Result<usize, ArtifactError> {
    let mut archive = tar::Archive::new(Counted {
        inner: archive,
        read: 0,
    });
    let (mut count, mut end) = (0, 0);
    let mut pending = Extensions::default();
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(ArtifactError::NotAccepted {
                why: format!("it has more than {MAX_ENTRIES} entries"),
            });
        }
        let size = entry.header().entry_size().map_err(damaged)?;
        end = entry.raw_file_position().saturating_add(size);
        if pending.take_in(&mut entry, size)? {
            continue;
        }
        let item = item(&entry, size, std::mem::take(&mut pending))?;
        visit(&item, &mut entry)?;
    }
    if pending.any() {
        return Err(cut_off());
    }
    // An archive that was cut between two entries ends without the block of zeros.
    if archive.into_inner().read <= end.next_multiple_of(512) {
        return Err(cut_off());
    }
    Ok(count)
}

fn cut_off() -> ArtifactError {
    ArtifactError::NotAccepted {
        why: "it was cut off: the end of the archive is missing. Make or copy it again".to_owned(),
    }
}

/// What headers before an entry say of it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Extensions {
    fn any(&self) -> bool {
        self.path.is_some() || self.link.is_some() || self.size.is_some()
    }

    /// True where the entry was such a header and not an entry of the artifact.
    fn take_in(
        &mut self,
        entry: &mut tar::Entry<impl Read>,
        size: u64,
    ) -> Result<bool, ArtifactError> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            // A commit's name or the like; nothing that changes an entry.
            return Ok(true);
        }
        if !(kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions()) {
            return Ok(false);
        }
        if size > MAX_EXTENSION {
            return Err(ArtifactError::NotAccepted {
                why: format!(
                    "it has a name or attributes of more than {} KiB",
                    MAX_EXTENSION >> 10
                ),
            });
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(damaged)?;
        if text.len() as u64 != size {
            return Err(cut_off());
        }
        if kind.is_pax_local_extensions() {
            self.pax(&text)?;
        } else {
            let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
            let to = if kind.is_gnu_longname() {
                &mut self.path
            } else {
                &mut self.link
            };
            *to = Some(name.to_vec());
        }
        Ok(true)
    }

    fn pax(&mut self, text: &[u8]) -> Result<(), ArtifactError> {
        for record in tar::PaxExtensions::new(text) {
            let record = record.map_err(damaged)?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    self.size = std::str::from_utf8(value)
                        .ok()
                        .and_then(|size| size.parse().ok());
                }
                key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn item(entry: &tar::Entry<impl Read>, size: u64, said: Extensions) -> Result<Item, ArtifactError> {
    let header = entry.header();
    let bytes = said
        .path
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let written = String::from_utf8_lossy(&bytes).into_owned();
    let refuse = |why: String| refused(&shortened(&written), why);
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Err(refuse("has a name that is not UTF-8".to_owned()));
    };
    if text.contains('\0') {
        return Err(refuse("has a name with a zero byte in it".to_owned()));
    }
    let path = plain(Path::new(text)).ok_or_else(|| {
        refuse("leaves the folder: `..` and absolute paths are not accepted".to_owned())
    })?;
    if path.len() > MAX_PATH {
        return Err(refuse(format!("has a path of more than {MAX_PATH} bytes")));
    }
    if path.split('/').any(|name| name.len() > MAX_NAME) {
        return Err(refuse(format!("has a name of more than {MAX_NAME} bytes")));
    }
    let target = || -> Result<String, ArtifactError> {
        let target = match &said.link {
            Some(link) => link.clone(),
            None => header.link_name_bytes().unwrap_or_default().into_owned(),
        };
        String::from_utf8(target)
            .ok()
            .filter(|target| target.len() <= MAX_PATH && !target.contains('\0'))
            .ok_or_else(|| refuse("is a link to a name that cannot be".to_owned()))
    };
    let kind = header.entry_type();
    if said.sparse || kind.is_gnu_sparse() {
        return Err(refuse(
            "is a sparse file: pack it without tar's option --sparse".to_owned(),
        ));
    }
    let plain_file = kind.is_file() || kind == tar::EntryType::Continuous;
    // Very old archives tell a folder by the slash alone.
    let kind = if kind.is_dir() || plain_file && text.ends_with('/') {
        Kind::Folder
    } else if plain_file {
        if said.size.is_some_and(|said| said != size) {
            return Err(refuse(
                "has two sizes, so that readers would disagree on what is in the archive"
                    .to_owned(),
            ));
        }
        let mode = header.mode().map_err(damaged)?;
        Kind::File {
            size,
            executable: mode & 0o111 != 0,
            privileged: mode & 0o6000 != 0,
        }
    } else if kind.is_symlink() {
        Kind::Link(target()?)
    } else if kind.is_hard_link() {
        Kind::HardLink(target()?)
    } else {
        return Err(refuse(
            "is neither a file, a folder nor a link (devices and pipes are not accepted)"
                .to_owned(),
        ));
    };
    Ok(Item {
        path,
        written: shortened(&written),
        kind,
    })
}

/// So much of a name that a message stays readable.
fn shortened(name: &str) -> String {
    const SHOWN: usize = 200;
    if name.chars().count() <= SHOWN {
        return name.to_owned();
    }
    name.chars().take(SHOWN).chain(['…']).collect()
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}
