//! Users: requests leave on time over kept connections, whatever became of those before.
//!
//! One thread; each connection has its places in an even grid of departures. A request that
//! leaves late because the answer before it was late is measured from the moment it was due.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::app::VERSION_HEADER;

/// A request without an answer after this long has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Failures that are described; all are counted.
const DESCRIBED: usize = 20;
/// Latencies kept; later ones are only counted.
const LATENCIES: usize = 4_000_000;
/// Load ends by itself after this long.
const AT_MOST: Duration = Duration::from_secs(3_600);

/// What a version answered.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// All.
    pub all: u64,
    /// Those with status 500 and above.
    pub failed: u64,
    /// When the newest arrived.
    pub last: Option<Timestamp>,
}

/// What became of all requests.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Sent.
    pub sent: u64,
    /// By version, as the answers say.
    pub versions: BTreeMap<String, Answers>,
    /// Broken connections, missing answers, and answers that no instance gave.
    pub lost: u64,
    /// The first of them, in words.
    pub described: Vec<String>,
    /// From due to answered, in microseconds.
    pub latencies: Vec<u32>,
}

impl Tally {
    /// What a version answered so far.
    pub fn of(&self, version: &str) -> Answers {
        self.versions.get(version).cloned().unwrap_or_default()
    }

    fn lose(&mut self, why: String) {
        self.lost += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(format!("{} {why}", super::now()));
        }
    }
}

/// Running load.
pub struct Load {
    shared: Arc<Shared>,
    began: std::time::Instant,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

struct Shared {
    address: SocketAddr,
    gap: Duration,
    connections: u32,
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Numbers are whole even where a thread died while it held them.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Starts `per_second` GETs a second over so many connections.
    pub fn start(address: SocketAddr, per_second: u32, connections: u32) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            address,
            gap: Duration::from_secs(1) / per_second.max(1),
            connections: connections.max(1),
            stop: AtomicBool::new(false),
            tally: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || runtime.block_on(send(theirs)))
            .context("cannot start the load's thread")?;
        Ok(Self {
            shared,
            began: std::time::Instant::now(),
            thread: Some(thread),
        })
    }

    /// Reads the numbers so far.
    pub fn read<T>(&self, read: impl FnOnce(&Tally) -> T) -> T {
        read(&self.shared.tally())
    }

    /// Sends no more, waits for what is under way; all numbers and the seconds they took.
    pub fn finish(mut self) -> anyhow::Result<(Tally, f64)> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_| anyhow!("the load's thread panicked"))??;
        }
        let tally = self.shared.tally().clone();
        Ok((tally, seconds))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

async fn send(shared: Arc<Shared>) -> anyhow::Result<()> {
    let began = Instant::now();
    let users: Vec<_> = (0..shared.connections)
        .map(|number| tokio::spawn(user(Arc::clone(&shared), began, number)))
        .collect();
    for user in users {
        user.await?;
    }
    Ok(())
}

async fn user(shared: Arc<Shared>, began: Instant, number: u32) {
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nuser-agent: bench\r\n\r\n",
        shared.address
    );
    let mut connection = None;
    let mut due = began + shared.gap * number;
    while due < began + AT_MOST {
        sleep_until(due).await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        shared.tally().sent += 1;
        let asked = timeout(
            ANSWER_WITHIN,
            ask(&mut connection, shared.address, request.as_bytes()),
        );
        let outcome = asked
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let took = u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX);
        let mut tally = shared.tally();
        match outcome {
            Ok(answer) => {
                if tally.latencies.len() < LATENCIES {
                    tally.latencies.push(took);
                }
                match answer.version {
                    Some(version) => {
                        let answers = tally.versions.entry(version).or_default();
                        answers.all += 1;
                        answers.failed += u64::from(answer.status >= 500);
                        answers.last = Some(super::now());
                    }
                    None => tally.lose(format!("status {} that no instance gave", answer.status)),
                }
            }
            Err(error) => {
                connection = None;
                tally.lose(format!("{error} after {took} µs"));
            }
        }
        drop(tally);
        due += shared.gap * shared.connections;
    }
}

struct Answer {
    status: u16,
    version: Option<String>,
}

/// One request on the kept connection, or on a new one where there is none. A kept connection
/// that turns out closed is a failure here: its other end closes none that is in use.
async fn ask(
    kept: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
) -> io::Result<Answer> {
    let stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            kept.insert(stream)
        }
    };
    stream.write_all(request).await?;
    let mut bytes = Vec::with_capacity(2048);
    let head = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let (answer, length, closes) = read_head(&bytes[..head])?;
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if closes {
        *kept = None;
    }
    Ok(answer)
}

fn read_head(head: &[u8]) -> io::Result<(Answer, usize, bool)> {
    let garbled = || io::Error::other("an answer that is no HTTP/1.1 with a length");
    let text = std::str::from_utf8(head).map_err(|_| garbled())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12));
    let mut answer = Answer {
        status: status
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(garbled)?,
        version: None,
    };
    let (mut length, mut closes) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok();
        } else if name.eq_ignore_ascii_case(VERSION_HEADER) {
            answer.version = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        }
    }
    Ok((answer, length.ok_or_else(garbled)?, closes))
}
