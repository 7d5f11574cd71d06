//! Makes the archive that is shipped: the same content gives the same bytes on any machine.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use airboss_model::Digest;

use super::hashing::{Hashing, PIECE};
use super::unpack::{self, link_stays_inside};
use super::{ArtifactError, MAX_BYTES, MAX_ENTRIES, TooBig, too_big};

/// An archive that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// SHA-256 of the archive: the artifact's identity.
    pub digest: Digest,
    /// The archive's length in bytes.
    pub size: u64,
}

/// Writes what `path` holds to `out` as the archive to ship.
///
/// * A folder becomes a tar archive of its files, folders and links, sorted by name, without
///   times and owners; modes become 0755 or 0644.
/// * A file becomes an archive with that one file; in commands, `{artifact}` then means the file.
/// * A file whose name ends in `.tar` is taken as it is, after a look at its entries.
///
/// Fails on special files, on links that leave the folder, above [`MAX_ENTRIES`] or
/// [`MAX_BYTES`], and where the disk fails. It blocks: call it from a thread that may.
pub fn pack(path: &Path, out: &Path) -> Result<Packed, ArtifactError> {
    let meta = fs::metadata(path).map_err(ArtifactError::io("read", path))?;
    let file = File::create(out).map_err(ArtifactError::io("create", out))?;
    let mut sink = Hashing::new(Some(Bounded {
        inner: BufWriter::with_capacity(PIECE, file),
        left: MAX_BYTES,
    }));
    if meta.is_dir() {
        let mut archive = tar::Builder::new(&mut sink);
        archive.mode(tar::HeaderMode::Deterministic);
        add_entry(&mut archive, "./", tar::EntryType::Directory, 0o755)?;
        let mut entries = 1;
        add_folder(&mut archive, path, "", &mut entries)?;
        archive.finish().map_err(ArtifactError::io("write", out))?;
    } else if meta.is_file() && path.extension().is_some_and(|ext| ext == "tar") {
        let open = || File::open(path).map_err(ArtifactError::io("open", path));
        unpack::check(BufReader::new(open()?))?;
        io::copy(&mut open()?, &mut sink).map_err(ArtifactError::io("copy", path))?;
    } else if meta.is_file() {
        let mut archive = tar::Builder::new(&mut sink);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        add_file(&mut archive, path, &name, &meta)?;
        archive.finish().map_err(ArtifactError::io("write", out))?;
    } else {
        return Err(ArtifactError::NotAccepted {
            why: format!("{} is neither a folder nor a regular file", path.display()),
        });
    }
    sink.flush().map_err(ArtifactError::io("write", out))?;
    let (digest, size) = sink.finish();
    Ok(Packed { digest, size })
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn add_entry<W: Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
) -> Result<(), ArtifactError> {
    archive
        .append_data(&mut header(kind, mode, 0), name, io::empty())
        .map_err(ArtifactError::io("pack", name))
}

fn add_folder<W: Write>(
    archive: &mut tar::Builder<W>,
    folder: &Path,
    prefix: &str,
    entries: &mut usize,
) -> Result<(), ArtifactError> {
    let mut names = Vec::new();
    for item in fs::read_dir(folder).map_err(ArtifactError::io("read", folder))? {
        let item = item.map_err(ArtifactError::io("read", folder))?;
        let name = item
            .file_name()
            .into_string()
            .map_err(|name| ArtifactError::Refused {
                entry: name.to_string_lossy().into_owned(),
                why: "has a name that is not UTF-8".to_owned(),
            })?;
        names.push(name);
    }
    names.sort_unstable();
    for name in names {
        *entries += 1;
        if *entries > MAX_ENTRIES {
            return Err(ArtifactError::NotAccepted {
                why: format!("it has more than {MAX_ENTRIES} entries"),
            });
        }
        let path = folder.join(&name);
        let inside = format!("{prefix}{name}");
        let meta = fs::symlink_metadata(&path).map_err(ArtifactError::io("read", &path))?;
        if meta.is_dir() {
            let inside = format!("{inside}/");
            add_entry(archive, &inside, tar::EntryType::Directory, 0o755)?;
            add_folder(archive, &path, &inside, entries)?;
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).map_err(ArtifactError::io("read", &path))?;
            if !link_stays_inside(Path::new(&inside), &target) {
                return Err(ArtifactError::Refused {
                    entry: inside,
                    why: format!("is a link that leaves the folder (`{}`)", target.display()),
                });
            }
            archive
                .append_link(
                    &mut header(tar::EntryType::Symlink, 0o777, 0),
                    &inside,
                    &target,
                )
                .map_err(ArtifactError::io("pack", &path))?;
        } else {
            add_file(archive, &path, &inside, &meta)?;
        }
    }
    Ok(())
}

fn add_file<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &Path,
    inside: &str,
    meta: &fs::Metadata,
) -> Result<(), ArtifactError> {
    if !meta.is_file() {
        return Err(ArtifactError::Refused {
            entry: inside.to_owned(),
            why: "is neither a file, a folder nor a link".to_owned(),
        });
    }
    if meta.len() > MAX_BYTES {
        return Err(too_big());
    }
    let mode = if meta.mode() & 0o111 == 0 {
        0o644
    } else {
        0o755
    };
    let file = File::open(path).map_err(ArtifactError::io("open", path))?;
    let mut exact = Exact {
        inner: BufReader::with_capacity(PIECE, file),
        left: meta.len(),
    };
    archive
        .append_data(
            &mut header(tar::EntryType::Regular, mode, meta.len()),
            inside,
            &mut exact,
        )
        .map_err(ArtifactError::io("pack", path))
}

/// Yields exactly the announced length: a file that changes while it is packed would otherwise
/// make an archive that cannot be read.
struct Exact<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was packed; pack it when nothing writes to it",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Takes so many bytes and no more: folders can be made whose archive would fill any disk.
struct Bounded<W> {
    inner: W,
    left: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.left = self
            .left
            .checked_sub(buffer.len() as u64)
            .ok_or_else(|| io::Error::other(TooBig))?;
        self.inner.write_all(buffer)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
