//! Undoes a layer's compression, within bounds.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// A stream that has yielded this much may be looked at for its ratio (64 MiB).
const RATIO_FROM: u64 = 64 << 20;
/// Most bytes that one compressed byte may become, once [`RATIO_FROM`] bytes are there. Programs
/// and their data become 2 to 10.
pub const MAX_RATIO: u64 = 200;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
}

/// A stream that becomes far more than it is.
#[derive(Debug, thiserror::Error)]
#[error(
    "it unpacks to more than {MAX_RATIO} times its size, as archives do that are made to fill disks"
)]
pub(super) struct Bomb;

/// What `from` holds once decompressed.
pub(super) fn expand<'a>(from: impl Read + 'a, compression: Compression) -> Box<dyn Read + 'a> {
    let taken = Rc::new(Cell::new(0));
    let source = BufReader::with_capacity(
        128 << 10,
        Taking {
            inner: from,
            taken: Rc::clone(&taken),
        },
    );
    let inner: Box<dyn Read + 'a> = match compression {
        Compression::None => return Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Zstd => Box::new(Frames::new(source)),
    };
    Box::new(Bounded {
        inner,
        taken,
        given: 0,
    })
}

/// Counts what was read.
struct Taking<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Taking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

struct Bounded<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
    given: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.given += read as u64;
        if self.given > RATIO_FROM && self.given / self.taken.get().max(1) > MAX_RATIO {
            return Err(io::Error::other(Bomb));
        }
        Ok(read)
    }
}

/// Zstandard frames one behind the other, with others between them that are to be skipped.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
            within: false,
        }
    }

    /// Goes to the next frame with content; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.next()? {
                return Ok(0);
            }
            self.within = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            self.within = false;
        }
    }
}
