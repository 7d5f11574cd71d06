//! A small service, a small client, and a way to await counts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use airboss_model::ArmId;
use airboss_model::traffic::{Counts, Weight};
use airboss_proxy::{Arm, Instance, InstanceCounts, Measured, Options, RoutingTable, Splitter};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longer than any machine needs; reached only where a promise is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn arm(name: &str) -> ArmId {
    name.parse().unwrap()
}
pub fn share(text: &str) -> Weight {
    text.parse().unwrap()
}

/// A service that ends with its value.
pub struct Service {
    pub address: SocketAddr,
    pub seen: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Service {
    /// Answers every request with `handler`.
    pub async fn with<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send,
    {
        let seen = Arc::new(AtomicU64::new(0));
        let counter = seen.clone();
        let mut service = Self::raw(move |stream| {
            let (handler, seen) = (handler.clone(), counter.clone());
            async move {
                let serve = service_fn(move |request| {
                    seen.fetch_add(1, Ordering::SeqCst);
                    let handler = handler.clone();
                    async move { Ok::<_, Infallible>(handler(request).await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), serve)
                    .await;
            }
        })
        .await;
        service.seen = seen;
        service
    }

    /// Answers every request with its own name.
    pub async fn named(name: &'static str) -> Self {
        Self::with(move |_| async move { Response::new(Full::from(name)) }).await
    }

    /// Gives every connection to `handler`.
    pub async fn raw<H, F>(handler: H) -> Self
    where
        H: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(handler(stream));
            }
        });
        Self {
            address,
            seen: Arc::default(),
            _tasks: tasks,
        }
    }

    pub fn requests(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }
}

/// An address that refuses connections.
pub async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub fn splitter() -> Splitter {
    splitter_with(Options::default())
}
pub fn splitter_with(options: Options) -> Splitter {
    Splitter::bind("127.0.0.1:0", options).unwrap()
}

/// An arm of ready instances.
pub fn arm_of(name: &str, addresses: &[SocketAddr]) -> Arm {
    let instances = addresses
        .iter()
        .enumerate()
        .map(|(n, address)| Instance {
            name: format!("{name}.{n}"),
            address: *address,
            ready: true,
        })
        .collect();
    Arm {
        id: arm(name),
        instances,
    }
}

/// `shop-1` is stable, `shop-2` the canary where it is given.
pub fn table(weight: &str, stable: &[SocketAddr], canary: &[SocketAddr]) -> RoutingTable {
    RoutingTable {
        generation: 1,
        stable: Some(arm("shop-1")),
        canary: (!canary.is_empty()).then(|| arm("shop-2")),
        canary_weight: share(weight),
        arms: vec![arm_of("shop-1", stable), arm_of("shop-2", canary)],
        ..RoutingTable::default()
    }
}

/// An answer in full.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: String,
}

/// A client's connection that is kept.
pub struct Client {
    pub sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub async fn to(splitter: &Splitter) -> Self {
        let stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path), "").await
    }

    pub async fn get_with(&mut self, name: &str, value: &str) -> Answer {
        self.send(Request::get("/").header(name, value), "").await
    }

    pub async fn post(&mut self, body: &'static str) -> Answer {
        self.send(Request::post("/"), body).await
    }

    pub async fn send(&mut self, request: http::request::Builder, body: &'static str) -> Answer {
        let request = request
            .header("host", "shop.example")
            .body(Full::from(body))
            .unwrap();
        let exchange = async {
            self.sender.ready().await.unwrap();
            let answer = self.sender.send_request(request).await.unwrap();
            read(answer).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap()
    }
}

pub async fn read(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Sends bytes, then reads until the splitter closes.
pub async fn raw_exchange(splitter: &Splitter, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(splitter.local_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("the splitter closes")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `end` has come.
pub async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&text).contains(end) {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "ended early");
            text.push(byte[0]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect(end);
    String::from_utf8(text).unwrap()
}

/// Awaits a condition that only time can bring about.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("the condition comes true");
}

/// Adds up what a splitter counts.
#[derive(Default)]
pub struct Sums {
    pub by_arm: BTreeMap<String, InstanceCounts>,
    pub unrouted: u64,
    pub rejected: u64,
    pub mirror_dropped: u64,
}

impl Sums {
    pub fn take(&mut self, splitter: &Splitter) {
        let Measured {
            instances,
            unrouted,
            rejected,
            mirror_dropped,
        } = splitter.take_counts();
        self.unrouted += unrouted;
        self.rejected += rejected;
        self.mirror_dropped += mirror_dropped;
        for new in instances {
            let sum = self
                .by_arm
                .entry(new.arm.to_string())
                .or_insert_with(|| InstanceCounts {
                    arm: new.arm.clone(),
                    instance: String::new(),
                    counts: Counts::default(),
                    forced: 0,
                    diverted: 0,
                    retried: 0,
                    mirrored: Counts::default(),
                });
            sum.counts.add(&new.counts);
            sum.forced += new.forced;
            sum.diverted += new.diverted;
            sum.retried += new.retried;
            sum.mirrored.add(&new.mirrored);
        }
    }

    pub fn requests(&self, arm: &str) -> u64 {
        self.by_arm.get(arm).map_or(0, |sum| sum.counts.requests)
    }

    /// Takes counts until `enough`: an answer may reach the client just before its count.
    pub async fn until(splitter: &Splitter, enough: impl Fn(&Self) -> bool) -> Self {
        let mut sums = Self::default();
        until(|| {
            sums.take(splitter);
            enough(&sums)
        })
        .await;
        sums
    }
}
