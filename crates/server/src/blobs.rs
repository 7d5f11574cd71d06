//! Artifacts' content, kept in a folder by digest.

use std::path::{Path, PathBuf};

use airboss_model::Digest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

/// The largest archive that is taken.
pub const ARTIFACT_MAX: u64 = 8 << 30;

/// A folder of archives, each under the hex digits of its SHA-256.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
}

/// Why an archive was not kept. Nothing of it is left behind.
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
    /// The folder could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Blobs {
    /// Opens the folder, making it where it is new and clearing away uploads that broke off.
    pub fn open(folder: PathBuf) -> Result<Self, BlobError> {
        let incoming = folder.join("incoming");
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming).map_err(|source| io(&incoming, source))?;
        }
        std::fs::create_dir_all(&incoming).map_err(|source| io(&incoming, source))?;
        Ok(Self { folder })
    }

    /// Where an archive is kept.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Keeps an archive: its digest, its size, and whether it is new.
    pub async fn keep<E: std::fmt::Display>(
        &self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(Digest, u64, bool), BlobError> {
        let incoming = self
            .folder
            .join("incoming")
            .join(uuid::Uuid::new_v4().to_string());
        let result = self.receive(&incoming, &mut body).await;
        if result.is_err() {
            // What is left over is cleared away at the next start at the latest.
            let _ = tokio::fs::remove_file(&incoming).await;
        }
        let (digest, size) = result?;
        let path = self.path(&digest);
        let new = !path.exists();
        tokio::fs::rename(&incoming, &path)
            .await
            .map_err(|source| io(&path, source))?;
        // The name must survive a power cut as the content does.
        let folder = tokio::fs::File::open(&self.folder)
            .await
            .map_err(|source| io(&self.folder, source))?;
        folder
            .sync_all()
            .await
            .map_err(|source| io(&self.folder, source))?;
        Ok((digest, size, new))
    }

    async fn receive<E: std::fmt::Display>(
        &self,
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
}

fn io(path: &Path, source: std::io::Error) -> BlobError {
    BlobError::Io {
        path: path.display().to_string(),
        source,
    }
}
