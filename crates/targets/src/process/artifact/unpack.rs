//! Reads a tar archive into a folder, accepting only what cannot reach outside of it.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use airboss_model::Digest;

use super::entries::{Kind, each};
use super::hashing::{Hashing, pour};
use super::listing::{Entry, Listing, boot_id};
use super::{ArtifactError, MAX_BYTES, MAX_ENTRIES, too_big};

/// Looks at every entry of an archive as [`unpack_to`] would, and writes nothing. It blocks.
///
/// # Errors
/// As with [`unpack_to`].
pub fn check(archive: impl Read) -> Result<(), ArtifactError> {
    read(archive, None).map(|_| ())
}

/// Unpacks an archive into `folder`, which is there and empty, as the agent does before a start.
/// It blocks.
///
/// # Errors
/// Where the archive holds what nothing that is shipped may hold, is above a limit or is cut off,
/// and where the disk fails. The folder is of no use then; nothing outside of it was touched.
pub fn unpack_to(archive: impl Read, folder: &Path) -> Result<(), ArtifactError> {
    read(archive, Some(folder)).map(|_| ())
}

/// As [`unpack_to`], and says what must be in the folder from now on.
pub(super) fn unpack(archive: impl Read, folder: &Path) -> Result<Listing, ArtifactError> {
    read(archive, Some(folder))
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
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    let mut bytes = 0_u64;
    let count = each(archive, |item, content| {
        if item.path.is_empty() {
            return match item.kind {
                Kind::Folder => Ok(()),
                _ => Err(item.refuse("has no name")),
            };
        }
        make_parents(&item.path, &mut entries, folder).map_err(|why| match why {
            Some(error) => error,
            None => item.refuse("lies below something that is no folder"),
        })?;
        let there = entries.get(&item.path);
        if there.is_some_and(|there| !matches!((there, &item.kind), (Entry::Folder, Kind::Folder)))
        {
            return Err(item.refuse("is named twice"));
        }
        let on_disk = folder.map(|folder| folder.join(&item.path));
        let entry = match &item.kind {
            Kind::Folder => {
                if there.is_none() {
                    make_folder(on_disk.as_deref())?;
                }
                Entry::Folder
            }
            Kind::File {
                privileged: true, ..
            } => {
                return Err(item.refuse(
                    "asks to run as its owner (setuid or setgid), which nothing that is shipped may: \
                     take the bit away with chmod ug-s",
                ));
            }
            Kind::File {
                size, executable, ..
            } => {
                let room = MAX_BYTES - bytes;
                let (sha256, size) = copy(content, *size, on_disk.as_deref(), *executable, room)?;
                bytes += size;
                Entry::File {
                    sha256,
                    size,
                    executable: *executable,
                }
            }
            Kind::Link(target) => {
                if !link_stays_inside(Path::new(&item.path), Path::new(target)) {
                    return Err(
                        item.refuse(format!("is a link that leaves the folder (`{target}`)"))
                    );
                }
                if let Some(at) = &on_disk {
                    symlink(target, at).map_err(ArtifactError::io("create", at))?;
                }
                Entry::Link {
                    target: target.clone(),
                }
            }
            Kind::HardLink(_) => {
                return Err(item.refuse(
                    "is a hard link, and hard links are not accepted: ship the folder instead of the archive, \
                     or pack with tar's option --hard-dereference",
                ));
            }
        };
        entries.insert(item.path.clone(), entry);
        Ok(())
    })?;
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
    from: &mut dyn Read,
    announced: u64,
    to: Option<&Path>,
    executable: bool,
    room: u64,
) -> Result<(Digest, u64), ArtifactError> {
    if announced > room {
        return Err(too_big());
    }
    let mut sink = Hashing::new(match to {
        Some(at) => Some(File::create_new(at).map_err(ArtifactError::io("create", at))?),
        None => None,
    });
    pour(from, announced, &mut sink, to.unwrap_or(Path::new("")))?;
    if let (Some(file), Some(at)) = (&sink.inner, to) {
        // Nobody writes to an artifact: a change would be refused at the next start.
        let mode = if executable { 0o555 } else { 0o444 };
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(ArtifactError::io("change the mode of", at))?;
    }
    Ok(sink.finish())
}
