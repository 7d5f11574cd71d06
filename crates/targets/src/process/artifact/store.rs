//! The agent's artifacts: `blobs/HEX`, the archive; `artifacts/HEX/`, what it holds;
//! `artifacts/HEX.files.json`, what must be in there.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use airboss_model::Digest;
use futures_util::StreamExt;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

use super::hashing::hash;
use super::listing::{Listing, boot_id};
use super::unpack::unpack;
use super::{ArtifactError, Change, MAX_BYTES, too_big};
use crate::process::client::{Client, ClientError};

/// An artifact that was found as shipped a moment ago.
#[derive(Debug, Clone)]
pub(in super::super) struct Prepared {
    /// Where it was unpacked.
    pub folder: PathBuf,
    /// The one file, where a file was packed alone.
    pub file: Option<PathBuf>,
}

pub(in super::super) struct ArtifactStore {
    blobs: PathBuf,
    artifacts: PathBuf,
    /// The controllers, any of which may have an archive.
    clients: Vec<Client>,
    /// One start at a time works on an artifact.
    busy: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

enum Look {
    Fine(Prepared),
    Absent,
}

impl ArtifactStore {
    /// Makes the folders below `root` and clears what a crash left half-done.
    pub fn open(root: &Path, clients: Vec<Client>) -> Result<Self, ArtifactError> {
        let (blobs, artifacts) = (root.join("blobs"), root.join("artifacts"));
        for folder in [&blobs, &artifacts] {
            fs::create_dir_all(folder).map_err(ArtifactError::io("create", folder))?;
            for item in fs::read_dir(folder).map_err(ArtifactError::io("read", folder))? {
                let path = item.map_err(ArtifactError::io("read", folder))?.path();
                if path.extension().is_some_and(|ext| ext == "tmp") {
                    remove(&path)?;
                }
            }
        }
        Ok(Self {
            blobs,
            artifacts,
            clients,
            busy: Mutex::default(),
        })
    }

    /// Fetches and unpacks where needed, and compares every byte with what was shipped.
    pub async fn prepare(&self, digest: Digest) -> Result<Prepared, ArtifactError> {
        let busy = {
            let mut all = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            // Bounded: entries that nobody waits for are dropped.
            all.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(all.entry(digest).or_default())
        };
        let _turn = busy.lock().await;
        let artifacts = self.artifacts.clone();
        if let Look::Fine(prepared) = blocking(move || look(&artifacts, digest)).await? {
            return Ok(prepared);
        }
        let mut fetched = false;
        loop {
            let blob = self.blobs.join(digest.hex());
            if !blob.exists() {
                self.fetch(digest, &blob).await?;
                fetched = true;
            }
            let artifacts = self.artifacts.clone();
            let unpacked = blocking(move || unpack_blob(&blob, &artifacts, digest)).await;
            match unpacked {
                // A blob that rotted on this disk is fetched again, once.
                Err(ArtifactError::WrongDigest { .. }) if !fetched => {
                    remove(&self.blobs.join(digest.hex()))?;
                }
                other => return other,
            }
        }
    }

    async fn fetch(&self, digest: Digest, blob: &Path) -> Result<(), ArtifactError> {
        let fail = |source| ArtifactError::Fetch { digest, source };
        let mut found = Err(ClientError::Nobody);
        for client in &self.clients {
            found = client.blob(digest).await;
            if found.is_ok() {
                break;
            }
        }
        let mut stream = found.map_err(fail)?;
        let tmp = blob.with_extension("tmp");
        let mut file = tokio::fs::File::create(&tmp)
            .await
            .map_err(ArtifactError::io("create", &tmp))?;
        let (mut sha, mut size) = (Sha256::new(), 0_u64);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(fail)?;
            size += chunk.len() as u64;
            if size > MAX_BYTES {
                remove(&tmp)?;
                return Err(too_big());
            }
            sha.update(&chunk);
            let written = match file.write_all(&chunk).await {
                // The error of a write is told by the next one or by a flush.
                Ok(()) => file.flush().await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                // A full disk must not stay full because of us.
                let _ = fs::remove_file(&tmp);
                return Err(ArtifactError::io("write", &tmp)(error));
            }
        }
        let found = Digest::from_sha256(sha.finalize().into());
        if found != digest {
            remove(&tmp)?;
            return Err(ArtifactError::WrongDigest {
                expected: digest,
                found,
            });
        }
        file.sync_all()
            .await
            .map_err(ArtifactError::io("write", &tmp))?;
        fs::rename(&tmp, blob).map_err(ArtifactError::io("rename", &tmp))
    }

    /// Removes what no arm needs, but for the `spare` most recently unpacked.
    pub fn sweep(&self, keep: &HashSet<Digest>, spare: usize) -> Result<(), ArtifactError> {
        let mut idle: Vec<(SystemTime, String)> = Vec::new();
        let keep: HashSet<String> = keep.iter().map(Digest::hex).collect();
        let here = &self.blobs;
        for item in fs::read_dir(here).map_err(ArtifactError::io("read", here))? {
            let item = item.map_err(ArtifactError::io("read", here))?;
            let name = item.file_name().to_string_lossy().into_owned();
            if name.len() == 64 && !keep.contains(&name) {
                let used = item.metadata().and_then(|meta| meta.modified());
                idle.push((used.unwrap_or(SystemTime::UNIX_EPOCH), name));
            }
        }
        idle.sort_unstable_by(|a, b| b.cmp(a));
        for (_, name) in idle.into_iter().skip(spare) {
            remove(&self.artifacts.join(format!("{name}.files.json")))?;
            remove(&self.artifacts.join(&name))?;
            remove(&self.blobs.join(&name))?;
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(ArtifactError::io("work on", "the artifact")(
                io::Error::other(error),
            ))
        })
}

/// Removes a file or a folder; nothing there is fine.
fn remove(path: &Path) -> Result<(), ArtifactError> {
    let done = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ArtifactError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn prepared(folder: PathBuf, listing: &Listing) -> Prepared {
    Prepared {
        file: listing.single.as_ref().map(|name| folder.join(name)),
        folder,
    }
}

fn look(artifacts: &Path, digest: Digest) -> Result<Look, ArtifactError> {
    let folder = artifacts.join(digest.hex());
    let list = artifacts.join(format!("{}.files.json", digest.hex()));
    let listing: Option<Listing> = match fs::read(&list) {
        Ok(text) => serde_json::from_slice(&text).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(ArtifactError::io("read", list)(error)),
    };
    let Some(listing) = listing else {
        return Ok(Look::Absent);
    };
    if !folder.is_dir() {
        return Ok(Look::Absent);
    }
    match listing.compare(&folder)? {
        None => Ok(Look::Fine(prepared(folder, &listing))),
        Some(_) if listing.boot != boot_id() => Ok(Look::Absent),
        Some(change) => Err(ArtifactError::Changed(Box::new(Change {
            digest,
            file: change.file,
            expected: change.expected,
            found: change.found,
            folder,
        }))),
    }
}

fn unpack_blob(blob: &Path, artifacts: &Path, digest: Digest) -> Result<Prepared, ArtifactError> {
    let open = || File::open(blob).map_err(ArtifactError::io("open", blob));
    // Read twice rather than trust bytes that were not compared yet.
    let (found, _) = hash(open()?).map_err(ArtifactError::io("read", blob))?;
    if found != digest {
        return Err(ArtifactError::WrongDigest {
            expected: digest,
            found,
        });
    }
    let folder = artifacts.join(digest.hex());
    let list = artifacts.join(format!("{}.files.json", digest.hex()));
    let (folder_tmp, list_tmp) = (
        artifacts.join(format!("{}.tmp", digest.hex())),
        artifacts.join(format!("{}.files.tmp", digest.hex())),
    );
    for path in [&folder_tmp, &list, &folder] {
        remove(path)?;
    }
    let work = || {
        fs::create_dir(&folder_tmp).map_err(ArtifactError::io("create", &folder_tmp))?;
        let listing = unpack(BufReader::with_capacity(128 << 10, open()?), &folder_tmp)?;
        let text = serde_json::to_vec(&listing)
            .map_err(|error| ArtifactError::io("write", &list_tmp)(io::Error::other(error)))?;
        let mut file = File::create(&list_tmp).map_err(ArtifactError::io("create", &list_tmp))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(ArtifactError::io("write", &list_tmp))?;
        fs::rename(&folder_tmp, &folder).map_err(ArtifactError::io("rename", &folder_tmp))?;
        fs::rename(&list_tmp, &list).map_err(ArtifactError::io("rename", &list_tmp))?;
        Ok(prepared(folder.clone(), &listing))
    };
    let done = work();
    if done.is_err() {
        // What was half unpacked would keep a full disk full.
        let _ = remove(&folder_tmp);
        let _ = remove(&list_tmp);
    }
    done
}
