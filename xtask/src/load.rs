//! Load as many users make it: requests leave on time whatever became of those before.
//!
//! A generator that waits for answers sends less while a service is slow, and so hides what its
//! users would have seen. Every answer is kept, so that none is lost to an average.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// The header by which the example service tells that an answer is its own, and of which version.
pub const VERSION_HEADER: &str = "x-checkout-version";
/// A request without an answer after this long counts as broken.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// At most this many requests are under way; those due beyond it are not sent, and counted.
pub const UNDER_WAY_MAX: usize = 4_096;
/// Shots kept; the generator stops by itself at so many.
pub const SHOTS_MAX: usize = 2_000_000;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A whole response.
    Status {
        /// Its status.
        code: u16,
        /// The version that made it; None where no instance did.
        version: Option<Box<str>>,
    },
    /// No whole response, and why.
    Broken(String),
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Shot {
    /// When it was due, from the start of the load.
    pub due: Duration,
    /// From then to the end of its answer, waiting for a connection included.
    pub took: Duration,
    /// What came back.
    pub answer: Answer,
}

impl Shot {
    /// The version that answered.
    pub fn version(&self) -> Option<&str> {
        match &self.answer {
            Answer::Status { version, .. } => version.as_deref(),
            Answer::Broken(_) => None,
        }
    }

    /// True where no instance of the service answered: the fault lies before it.
    pub fn is_not_the_services(&self) -> bool {
        self.version().is_none()
    }

    /// True where the answer is a server error or came later than `slow`.
    pub fn is_bad(&self, slow: Duration) -> bool {
        match &self.answer {
            Answer::Status { code, .. } => *code >= 500 || self.took > slow,
            Answer::Broken(_) => true,
        }
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        let what = match &self.answer {
            Answer::Status { code, version } => match version {
                Some(version) => format!("status {code} of {version}"),
                None => format!("status {code} that no instance made"),
            },
            Answer::Broken(why) => why.clone(),
        };
        format!("{what} after {:?}, due at {:?}", self.took, self.due)
    }
}

/// All that was sent.
#[derive(Debug, Clone)]
pub struct Record {
    /// Wall time of the start.
    pub began: Timestamp,
    /// Every request, in the order of the answers.
    pub shots: Vec<Shot>,
    /// Requests that were due and not sent, because [`UNDER_WAY_MAX`] were under way.
    pub held_back: usize,
}

impl Record {
    /// Requests that failed before an instance of the service answered.
    pub fn not_the_services(&self) -> impl Iterator<Item = &Shot> {
        self.shots.iter().filter(|shot| shot.is_not_the_services())
    }

    /// Requests that a version answered.
    pub fn of<'a>(&'a self, version: &'a str) -> impl Iterator<Item = &'a Shot> {
        self.shots
            .iter()
            .filter(move |shot| shot.version() == Some(version))
    }

    /// The wall time at which an answer was complete.
    pub fn answered_at(&self, shot: &Shot) -> Timestamp {
        let after = SignedDuration::try_from(shot.due + shot.took).unwrap_or_default();
        self.began.saturating_add(after).unwrap_or(self.began)
    }
}

/// Load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    sender: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    path: &'static str,
    began: Instant,
    began_at: Timestamp,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
    shots: Mutex<Vec<Shot>>,
    under_way: AtomicUsize,
    held_back: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding the lock leaves a whole list behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Load {
    /// Starts to send `per_second` GETs for `path`, each from a user of its own (`x-user`).
    pub fn start(address: SocketAddr, path: &'static str, per_second: u32) -> Self {
        let shared = Arc::new(Shared {
            address,
            path,
            began: Instant::now(),
            began_at: wall_clock(),
            idle: Mutex::default(),
            shots: Mutex::default(),
            under_way: AtomicUsize::new(0),
            held_back: AtomicUsize::new(0),
        });
        let sender = tokio::spawn(send(Arc::clone(&shared), per_second.max(1)));
        Self { shared, sender }
    }

    /// A copy of what is known by now.
    pub fn so_far(&self) -> Record {
        Record {
            began: self.shared.began_at,
            shots: lock(&self.shared.shots).clone(),
            held_back: self.shared.held_back.load(Ordering::Relaxed),
        }
    }

    /// Sends no more, waits for the answers under way, and gives everything.
    pub async fn stop(self) -> Record {
        self.sender.abort();
        let most = Instant::now() + ANSWER_WITHIN;
        while self.shared.under_way.load(Ordering::Acquire) > 0 && Instant::now() < most {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.so_far()
    }
}

/// The wall time now. Figures are compared with the server's, which are wall times too.
#[allow(
    clippy::disallowed_methods,
    reason = "an observer outside the product reads its own clock"
)]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

async fn send(shared: Arc<Shared>, per_second: u32) {
    let mut due = interval(Duration::from_secs(1) / per_second);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for user in 0..SHOTS_MAX {
        let at = due.tick().await;
        if shared.under_way.load(Ordering::Relaxed) >= UNDER_WAY_MAX {
            shared.held_back.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        shared.under_way.fetch_add(1, Ordering::AcqRel);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let asked = timeout(ANSWER_WITHIN, shared.ask(user)).await;
            let answer = match asked {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => Answer::Broken(error.to_string()),
                Err(_) => Answer::Broken(format!("no answer within {ANSWER_WITHIN:?}")),
            };
            lock(&shared.shots).push(Shot {
                due: at.saturating_duration_since(shared.began),
                took: at.elapsed(),
                answer,
            });
            shared.under_way.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

impl Shared {
    async fn ask(&self, user: usize) -> io::Result<Answer> {
        let request = || {
            Request::get(self.path)
                .header(HOST, self.address.to_string())
                .header("x-user", format!("user-{user}"))
                .body(Empty::new())
                .map_err(io::Error::other)
        };
        loop {
            let kept = lock(&self.idle).pop();
            let Some(mut connection) = kept else { break };
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request()?).await {
                Ok(response) => return self.read(response, connection).await,
                // A message given back was never sent, as the connection closed while it lay
                // idle: any client asks again.
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(io::Error::other(error.into_error()));
                    }
                }
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut connection, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // How it ends shows in the answer that it was driven for.
        tokio::spawn(driver);
        let response = connection
            .send_request(request()?)
            .await
            .map_err(io::Error::other)?;
        self.read(response, connection).await
    }

    async fn read(
        &self,
        response: Response<hyper::body::Incoming>,
        connection: SendRequest<Empty<Bytes>>,
    ) -> io::Result<Answer> {
        let version = response
            .headers()
            .get(VERSION_HEADER)
            .and_then(|value| value.to_str().ok())
            .map(Into::into);
        let code = response.status().as_u16();
        response
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?;
        lock(&self.idle).push(connection);
        Ok(Answer::Status { code, version })
    }
}
