//! Artifacts' content, kept by digest in a folder or in a bucket.
//!
//! An upload goes into a file of its own first: its name is its digest, which is known at the
//! end. Only what arrived whole is moved to where artifacts lie, in one step.

mod incoming;
mod place;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use airboss_model::Digest;
use airboss_targets::process::artifact::{self, ArtifactError};
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use object_store::{Error as ObjectError, ObjectStoreExt as _, WriteMultipart, path::Path as Key};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use place::Place;
pub use place::PlaceError;

/// The largest archive that is taken.
pub const ARTIFACT_MAX: u64 = 8 << 30;
/// Bytes sent to a bucket at once (16 MiB): archives of 8 GiB stay below its 10,000 parts.
const PART: usize = 16 << 20;
/// Parts on their way at the same time.
const PARTS_AT_ONCE: usize = 4;

/// Archives, each under the hex digits of its SHA-256.
#[derive(Debug, Clone)]
pub struct Blobs {
    place: Arc<Place>,
    incoming: PathBuf,
    /// Who relies on what is kept holds it shared; who removes holds it alone.
    pins: Arc<RwLock<()>>,
}

/// Why an archive was not kept or cannot be had. Nothing of an upload is left behind.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is larger than [`ARTIFACT_MAX`].
    #[error("the archive is larger than {} GiB", ARTIFACT_MAX >> 30)]
    TooLarge,
    /// The sender stopped before the end.
    #[error(
        "the upload broke off after {received} bytes: {detail}. Nothing was kept; send it again"
    )]
    Broken {
        /// How far it came.
        received: u64,
        /// What was noticed.
        detail: String,
    },
    /// It has no content.
    #[error("the archive is empty")]
    Empty,
    /// It holds what no agent would start.
    #[error("{0}. Nothing was kept")]
    NotAccepted(ArtifactError),
    /// The folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder or bucket where archives lie did not do what was asked.
    #[error("{place}: {source}")]
    Place {
        /// The folder or bucket.
        place: String,
        /// What it said.
        #[source]
        source: ObjectError,
    },
}

/// Content on its way out.
pub type Content = BoxStream<'static, Result<Bytes, ObjectError>>;

impl Blobs {
    /// Keeps archives in a folder, making it where it is new and clearing away uploads that
    /// broke off. `controller` is the same after a restart, and another for each controller that
    /// shares the folder.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn open(folder: PathBuf, controller: &str) -> Result<Self, PlaceError> {
        let incoming = incoming::prepare(&folder, controller)?;
        Ok(Self {
            place: Arc::new(Place::folder(folder)?),
            incoming,
            pins: Arc::default(),
        })
    }

    /// Keeps archives where `url` says, such as `s3://bucket/prefix`; uploads wait in `folder`
    /// until they are whole, as with [`Self::open`].
    ///
    /// # Errors
    /// Where the URL is wrong, a secret that it names is not there, or the folder cannot be
    /// written. The bucket is asked nothing yet.
    pub fn at(url: &str, folder: &Path, controller: &str) -> Result<Self, PlaceError> {
        let incoming = incoming::prepare(folder, controller)?;
        Ok(Self {
            place: Arc::new(Place::url(url)?),
            incoming,
            pins: Arc::default(),
        })
    }

    /// Where archives lie, for people.
    pub fn place(&self) -> &str {
        &self.place.name
    }

    /// While it is held, nothing is removed: between finding that an artifact is kept and the
    /// record that something needs it.
    pub async fn pin(&self) -> RwLockReadGuard<'_, ()> {
        self.pins.read().await
    }

    /// While it is held, nobody relies on anything that is not recorded yet.
    pub async fn unpinned(&self) -> RwLockWriteGuard<'_, ()> {
        self.pins.write().await
    }

    /// Keeps an archive: its digest, its size, and whether it is new.
    ///
    /// # Errors
    /// Where it does not arrive whole, is empty or too large, or cannot be written.
    pub async fn keep<E: std::fmt::Display>(
        &self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(Digest, u64, bool), BlobError> {
        let incoming = self.incoming.join(uuid::Uuid::new_v4().to_string());
        let result = self.take(&incoming, &mut body).await;
        // After a success in a folder it is not there any more; what is left over otherwise is
        // cleared away at the next start at the latest.
        let _ = tokio::fs::remove_file(&incoming).await;
        result
    }

    async fn take<E: std::fmt::Display>(
        &self,
        incoming: &Path,
        body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    ) -> Result<(Digest, u64, bool), BlobError> {
        let (digest, size) = receive(incoming, body).await?;
        let new = self.size(&digest).await? != Some(size);
        if new {
            look(incoming).await?;
        }
        match &self.place.folder {
            Some(folder) => {
                let path = folder.join(digest.hex());
                tokio::fs::rename(incoming, &path)
                    .await
                    .map_err(|source| io(&path, source))?;
                // The name must survive a power cut as the content does.
                let opened = tokio::fs::File::open(folder)
                    .await
                    .map_err(|source| io(folder, source))?;
                opened
                    .sync_all()
                    .await
                    .map_err(|source| io(folder, source))?;
            }
            None if new => self.send(incoming, &digest, size).await?,
            None => {}
        }
        Ok((digest, size, new))
    }

    /// Sends a file to the bucket, where it appears whole or not at all.
    async fn send(&self, from: &Path, digest: &Digest, size: u64) -> Result<(), BlobError> {
        let key = self.key(digest);
        let mut file = tokio::fs::File::open(from)
            .await
            .map_err(|source| io(from, source))?;
        let store = &self.place.store;
        if size <= PART as u64 {
            let mut all = Vec::new();
            file.read_to_end(&mut all)
                .await
                .map_err(|source| io(from, source))?;
            store
                .put(&key, all.into())
                .await
                .map_err(|source| self.fault(source))?;
            return Ok(());
        }
        let begun = store.put_multipart(&key).await;
        let mut upload =
            WriteMultipart::new_with_chunk_size(begun.map_err(|source| self.fault(source))?, PART);
        let sent = async {
            loop {
                let mut part = BytesMut::with_capacity(1 << 20);
                let read = file.read_buf(&mut part).await;
                if read.map_err(|source| io(from, source))? == 0 {
                    return Ok(());
                }
                let room = upload.wait_for_capacity(PARTS_AT_ONCE).await;
                room.map_err(|source| self.fault(source))?;
                upload.put(part.freeze());
            }
        };
        let sent: Result<(), BlobError> = sent.await;
        match sent {
            Ok(()) => upload
                .finish()
                .await
                .map(|_| ())
                .map_err(|source| self.fault(source)),
            Err(error) => {
                if let Err(source) = upload.abort().await {
                    tracing::warn!(%source, place = self.place(), "parts of an upload that failed may be left in the bucket");
                }
                Err(error)
            }
        }
    }

    /// The size of an archive; None where it is not kept.
    ///
    /// # Errors
    /// Where the folder or bucket cannot be asked.
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        match self.place.store.head(&self.key(digest)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.fault(source)),
        }
    }

    /// An archive with its size; None where it is not kept. Who receives it compares it with the
    /// digest.
    ///
    /// # Errors
    /// Where the folder or bucket cannot be asked.
    pub async fn get(&self, digest: &Digest) -> Result<Option<(u64, Content)>, BlobError> {
        match self.place.store.get(&self.key(digest)).await {
            Ok(found) => Ok(Some((found.meta.size, found.into_stream()))),
            Err(ObjectError::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.fault(source)),
        }
    }

    /// Removes an archive; one that is not kept is fine.
    ///
    /// # Errors
    /// Where the folder or bucket does not do it.
    pub async fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        match self.place.store.delete(&self.key(digest)).await {
            Ok(()) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(source) => Err(self.fault(source)),
        }
    }

    fn key(&self, digest: &Digest) -> Key {
        self.place.prefix.clone().join(digest.hex())
    }

    fn fault(&self, source: ObjectError) -> BlobError {
        BlobError::Place {
            place: self.place.name.clone(),
            source,
        }
    }
}

impl BlobError {
    /// True where the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    }
}

/// Looks at every entry, as an agent does before a start: what it would refuse is not kept.
async fn look(incoming: &Path) -> Result<(), BlobError> {
    let path = incoming.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&path).map_err(|source| io(&path, source))?;
        artifact::check(std::io::BufReader::new(file)).map_err(BlobError::NotAccepted)
    });
    match looked.await {
        Ok(looked) => looked,
        Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
    }
}

async fn receive<E: std::fmt::Display>(
    to: &Path,
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
) -> Result<(Digest, u64), BlobError> {
    let mut file = tokio::fs::File::create(to)
        .await
        .map_err(|source| io(to, source))?;
    let mut hash = Sha256::new();
    let mut received = 0_u64;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| BlobError::Broken {
            received,
            detail: error.to_string(),
        })?;
        received += chunk.len() as u64;
        if received > ARTIFACT_MAX {
            return Err(BlobError::TooLarge);
        }
        hash.update(&chunk);
        file.write_all(&chunk)
            .await
            .map_err(|source| io(to, source))?;
    }
    if received == 0 {
        return Err(BlobError::Empty);
    }
    file.flush().await.map_err(|source| io(to, source))?;
    file.sync_all().await.map_err(|source| io(to, source))?;
    Ok((Digest::from_sha256(hash.finalize().into()), received))
}

fn io(path: &Path, source: std::io::Error) -> BlobError {
    BlobError::Io {
        path: path.display().to_string(),
        source,
    }
}
