//! Reads a tar archive into a folder, accepting only what cannot reach outside of it.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use airboss_model::Digest;
use sha2::{Digest as _, Sha256};

use super::listing::{Entry, Listing, boot_id};
use super::{ArtifactError, MAX_BYTES, MAX_ENTRIES};

/// Looks at every entry of an archive as [`unpack`] would, and writes nothing.
pub(super) fn check(archive: impl Read) -> Result<(), ArtifactError> {
    read(archive, None).map(|_| ())
}

/// Unpacks an archive into `folder`, which is there and empty.
pub(super) fn unpack(archive: impl Read, folder: &Path) -> Result<Listing, ArtifactError> {
    read(archive, Some(folder))
}

/// A path with only plain names in it: `./a//b` becomes `a/b`.
fn plain(path: &Path) -> Option<String> {
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

/// True where a link at `at` can only lead to something inside the folder. `..` is accepted at
/// the target's start only: behind a name it could step out of another link's target.
pub(super) fn link_stays_inside(at: &Path, target: &Path) -> bool {
    let mut depth = at.components().count().saturating_sub(1);
    let mut named = false;
    for part in target.components() {
        match part {
            Component::ParentDir if named || depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

fn read(archive: impl Read, folder: Option<&Path>) -> Result<Listing, ArtifactError> {
    let damaged = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull => ArtifactError::io("read", "the archive")(error),
        _ => ArtifactError::NotAccepted {
            why: format!("it is not a readable tar archive ({error})"),
        },
    };
    let mut archive = tar::Archive::new(archive);
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let (mut count, mut bytes) = (0_usize, 0_u64);
    for item in archive.entries().map_err(damaged)? {
        let mut item = item.map_err(damaged)?;
        let written = item.path().map_err(damaged)?.into_owned();
        let refuse = |why: &str| ArtifactError::Refused {
            entry: written.display().to_string(),
            why: why.to_owned(),
        };
        count += 1;
        if count > MAX_ENTRIES {
            return Err(ArtifactError::NotAccepted {
                why: format!("it has more than {MAX_ENTRIES} entries"),
            });
        }
        let kind = item.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let path = plain(&written)
            .ok_or_else(|| refuse("leaves the folder: `..` and absolute paths are not accepted"))?;
        if path.is_empty() {
            continue;
        }
        make_parents(&path, &mut entries, folder).map_err(|why| match why {
            Some(error) => error,
            None => refuse("lies below something that is no folder"),
        })?;
        let on_disk = folder.map(|folder| folder.join(&path));
        if kind.is_dir() {
            match entries.get(&path) {
                None => make_folder(on_disk.as_deref())?,
                Some(Entry::Folder) => {}
                Some(_) => return Err(refuse("is named twice")),
            }
            entries.insert(path, Entry::Folder);
            continue;
        }
        if entries.contains_key(&path) {
            return Err(refuse("is named twice"));
        }
        let entry = if kind.is_file() || kind == tar::EntryType::Continuous {
            let executable = item.header().mode().map_err(damaged)? & 0o111 != 0;
            let room = MAX_BYTES - bytes;
            let (sha256, size) = copy(&mut item, on_disk.as_deref(), executable, room, &damaged)?;
            bytes += size;
            Entry::File {
                sha256,
                size,
                executable,
            }
        } else if kind.is_symlink() {
            let target = item.link_name().map_err(damaged)?.unwrap_or_default();
            if !link_stays_inside(Path::new(&path), &target) {
                return Err(refuse("is a link that leaves the folder"));
            }
            if let Some(at) = &on_disk {
                symlink(&target, at).map_err(ArtifactError::io("create", at))?;
            }
            Entry::Link {
                target: target.to_string_lossy().into_owned(),
            }
        } else {
            return Err(refuse(
                "is neither a file, a folder nor a symbolic link (hard links, devices and pipes are not accepted)",
            ));
        };
        entries.insert(path, entry);
    }
    if entries.is_empty() {
        return Err(ArtifactError::NotAccepted {
            why: "it is empty".to_owned(),
        });
    }
    let mut listed = entries.iter();
    let single = match (count, listed.next()) {
        (1, Some((path, Entry::File { .. }))) => Some(path.clone()),
        _ => None,
    };
    Ok(Listing {
        boot: boot_id(),
        single,
        entries,
    })
}

/// Archives may leave folders out. `Err(None)` where a parent is a file or a link.
fn make_parents(
    path: &str,
    entries: &mut BTreeMap<String, Entry>,
    folder: Option<&Path>,
) -> Result<(), Option<ArtifactError>> {
    for (end, _) in path.match_indices('/') {
        let parent = &path[..end];
        match entries.get(parent) {
            Some(Entry::Folder) => continue,
            Some(_) => return Err(None),
            None => {}
        }
        let on_disk: Option<PathBuf> = folder.map(|folder| folder.join(parent));
        make_folder(on_disk.as_deref()).map_err(Some)?;
        entries.insert(parent.to_owned(), Entry::Folder);
        if entries.len() > 2 * MAX_ENTRIES {
            return Err(None);
        }
    }
    Ok(())
}

fn make_folder(at: Option<&Path>) -> Result<(), ArtifactError> {
    at.map_or(Ok(()), |at| {
        fs::create_dir(at).map_err(ArtifactError::io("create", at))
    })
}

fn copy(
    from: &mut impl Read,
    to: Option<&Path>,
    executable: bool,
    room: u64,
    damaged: &impl Fn(io::Error) -> ArtifactError,
) -> Result<(Digest, u64), ArtifactError> {
    let mut file = match to {
        Some(at) => Some((
            File::create_new(at).map_err(ArtifactError::io("create", at))?,
            at,
        )),
        None => None,
    };
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = from.read(&mut buffer).map_err(damaged)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > room {
            return Err(ArtifactError::NotAccepted {
                why: format!("it unpacks to more than {} GiB", MAX_BYTES >> 30),
            });
        }
        hash.update(&buffer[..read]);
        if let Some((file, at)) = &mut file {
            file.write_all(&buffer[..read])
                .map_err(ArtifactError::io("write", &**at))?;
        }
    }
    if let Some((file, at)) = &file {
        // Nobody writes to an artifact: a change would be refused at the next start.
        let mode = if executable { 0o555 } else { 0o444 };
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(ArtifactError::io("change the mode of", *at))?;
    }
    Ok((Digest::from_sha256(hash.finalize().into()), size))
}
