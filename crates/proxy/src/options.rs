//! The splitter's limits. Each has a documented behaviour when it is reached.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Limits and sizes of one splitter. The defaults suit a host with a few services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Threads that carry traffic, at least 1. Default: the number of cores, at most 4.
    pub workers: usize,
    /// Keep each worker on a core of its own where there are exactly as many workers as cores;
    /// else the scheduler now and then puts two on one, which halves the rate for a while.
    /// Linux only. Default true.
    pub pin_workers: bool,
    /// Client connections at one time. One more is answered 503 with `Retry-After: 1` and
    /// closed, so that a balancer in front can turn elsewhere. Each connection may need two
    /// file descriptors (client and instance). Default 16,384.
    pub max_connections: usize,
    /// How long a client may take over a request's head after its first byte; then 408 and
    /// the connection is closed. Checked about ten times within the span, at most every
    /// second. Default 10 s.
    pub header_timeout: Duration,
    /// How long a client's connection may idle between requests, or may refuse to take the
    /// bytes of an answer, before it is closed. Default 75 s.
    pub idle_timeout: Duration,
    /// Largest request or response head in bytes, at least 8,192. A larger request is
    /// answered 431, a larger response head 502. Default 64 KiB.
    pub max_head_bytes: usize,
    /// How long connecting to an instance may take before another one is tried. Default 2 s.
    pub connect_timeout: Duration,
    /// Mirrored requests on their way at one time; copies beyond it are dropped and counted.
    /// Default 64.
    pub mirror_concurrency: usize,
    /// Largest request body that is mirrored, in bytes; a request with a larger one, or with
    /// one of unknown length, is not mirrored and counted as dropped. Default 64 KiB.
    pub mirror_body_bytes: u64,
    /// Idle connections kept per instance and worker; the oldest beyond it is closed. Default 256.
    pub idle_upstream: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)),
            pin_workers: true,
            max_connections: 16_384,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_head_bytes: 64 * 1024,
            connect_timeout: Duration::from_secs(2),
            mirror_concurrency: 64,
            mirror_body_bytes: 64 * 1024,
            idle_upstream: 256,
        }
    }
}

/// Idle connections to instances are closed after this long.
pub(crate) const UPSTREAM_IDLE: Duration = Duration::from_secs(30);

/// A request that may not be sent twice travels only on a connection that was used within
/// this span, so that it does not meet a connection that the instance is just closing.
pub(crate) const UPSTREAM_FRESH: Duration = Duration::from_secs(1);

/// Streams at one time on one HTTP/2 connection; a client that wants more has to wait.
pub(crate) const H2_STREAMS: u32 = 256;

/// Length of the kernel's queue of connections that wait to be accepted.
pub(crate) const BACKLOG: i32 = 4_096;

/// How long a kept connection may take to be ready after its last answer; one that takes
/// longer (its instance left a request unread) is closed.
pub(crate) const UPSTREAM_READY: Duration = Duration::from_millis(100);

/// Takes one of `most` places, if one is free.
pub(crate) fn take_place(taken: &AtomicUsize, most: usize) -> bool {
    taken
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < most).then_some(taken + 1)
        })
        .is_ok()
}
