//! Hashes what passes.

use std::io::{self, Read, Write};
use std::path::Path;

use airboss_model::Digest;
use sha2::{Digest as _, Sha256};

use super::ArtifactError;
use super::entries::damaged;

/// Bytes moved at once.
pub(super) const PIECE: usize = 256 << 10;

/// Hashes and counts what is written, and hands it on where there is somebody to hand it to.
pub(super) struct Hashing<W> {
    pub inner: Option<W>,
    hash: Sha256,
    pub size: u64,
}

impl<W: Write> Hashing<W> {
    pub fn new(inner: Option<W>) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    /// SHA-256 and length of what was written.
    pub fn finish(self) -> (Digest, u64) {
        (Digest::from_sha256(self.hash.finalize().into()), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = match &mut self.inner {
            Some(inner) => inner.write(buffer)?,
            None => buffer.len(),
        };
        self.hash.update(&buffer[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// SHA-256 and length of everything that `from` yields. It blocks.
///
/// # Errors
/// Where `from` cannot be read.
pub fn hash(mut from: impl Read) -> io::Result<(Digest, u64)> {
    let mut sink = Hashing::<io::Sink>::new(None);
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(sink.finish()),
            Ok(read) => sink.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Moves the content of an archive's entry, which is to be exactly as long as announced.
pub(super) fn pour(
    from: &mut dyn Read,
    announced: u64,
    to: &mut impl Write,
    at: &Path,
) -> Result<(), ArtifactError> {
    let most = usize::try_from(announced).map_or(PIECE, |announced| announced.clamp(1, PIECE));
    let mut buffer = vec![0; most];
    let mut left = announced;
    while left > 0 {
        let read = from.read(&mut buffer).map_err(damaged)?;
        if read == 0 {
            return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
        }
        to.write_all(&buffer[..read])
            .map_err(ArtifactError::io("write", at))?;
        left = left.saturating_sub(read as u64);
    }
    Ok(())
}
