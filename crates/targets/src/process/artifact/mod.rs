//! Artifacts on the agent's disk: fetched by digest, unpacked once, checked before every start.
//!
//! The bytes that a digest names are a plain tar archive. [`pack()`] makes one from a file or a
//! folder, always the same bytes for the same content; the agent unpacks it with explicit
//! limits and remembers every file's hash.

mod entries;
mod expand;
mod hashing;
mod layers;
mod listing;
mod pack;
mod store;
mod unpack;

use std::io;
use std::path::PathBuf;

use airboss_model::Digest;

pub use expand::{Compression, MAX_RATIO};
pub use hashing::hash;
pub use layers::{Layers, Unpacked};
pub(super) use listing::boot_id;
pub use pack::{Packed, pack};
pub(super) use store::{ArtifactStore, Prepared};
pub use unpack::{check, unpack_to};

use super::client::ClientError;

/// Most entries that an archive may have.
pub const MAX_ENTRIES: usize = 200_000;
/// Most bytes that an archive may have, packed or unpacked (8 GiB).
pub const MAX_BYTES: u64 = 8 << 30;
/// Most bytes of a path in an archive; what Linux takes.
pub const MAX_PATH: usize = 4095;
/// Most bytes of a name in an archive; what Linux takes.
pub const MAX_NAME: usize = 255;
/// Most bytes of an archive's header for one long name or one entry's attributes (1 MiB).
pub const MAX_EXTENSION: u64 = 1 << 20;

/// Why an artifact cannot be packed, fetched, unpacked or started from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The disk refused; worth another try.
    #[error("cannot {doing} {}: {source}{}", path.display(), hint(source))]
    Io {
        /// What was being done, such as "write".
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The controller did not hand out the archive; worth another try.
    #[error("cannot fetch artifact {}: {source}", digest.short())]
    Fetch {
        /// The archive.
        digest: Digest,
        /// What went wrong.
        source: ClientError,
    },
    /// The bytes are not those that the digest names.
    #[error(
        "artifact {expected} is not what arrived: the bytes have {found}; nothing was started from them. \
         Ship the release again, or restore the controller's blob"
    )]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// The archive holds something that is not accepted.
    #[error("the archive is refused: entry `{entry}` {why}")]
    Refused {
        /// The entry's path as written in the archive.
        entry: String,
        /// The rule that it breaks.
        why: String,
    },
    /// The archive is above a limit, or is no archive.
    #[error("the archive is refused: {why}")]
    NotAccepted {
        /// The rule that it breaks.
        why: String,
    },
    /// A file of the unpacked artifact is no longer what was shipped.
    #[error(transparent)]
    Changed(Box<Change>),
}

/// The first difference between an unpacked artifact and what was shipped.
#[derive(Debug, thiserror::Error)]
#[error(
    "the unpacked artifact {} was changed on disk: file `{file}` should have {expected}, has {found}; \
     it was not started. Remove {} to have it unpacked anew from the verified archive",
    digest.short(), folder.display()
)]
pub struct Change {
    /// The artifact.
    pub digest: Digest,
    /// The file, relative to the artifact's folder.
    pub file: String,
    /// Its digest (or kind) as shipped.
    pub expected: String,
    /// Its digest (or kind) now.
    pub found: String,
    /// The unpacked artifact.
    pub folder: PathBuf,
}

impl ArtifactError {
    /// True where the same attempt may succeed later without anybody changing the release.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Fetch { .. })
    }

    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(TooBig) => too_big(),
            None => Self::Io {
                doing,
                path,
                source,
            },
        }
    }
}

/// More than [`MAX_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("it is larger than {} GiB", MAX_BYTES >> 30)]
struct TooBig;

fn too_big() -> ArtifactError {
    ArtifactError::NotAccepted {
        why: TooBig.to_string(),
    }
}

/// What a person can do about an error of the disk.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; the disk is full: free some space, it is tried again by itself"
        }
        io::ErrorKind::PermissionDenied => "; check who owns the data folder",
        io::ErrorKind::ReadOnlyFilesystem => "; the file system is mounted read-only",
        _ => "",
    }
}
