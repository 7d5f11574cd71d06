//! One client's connection: which HTTP it speaks, its timeouts, its tunnel.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderValue;
use hyper::rt::{Executor, ReadBufCursor};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answers;
use crate::forward::{Account, serve};
use crate::options::H2_STREAMS;
use crate::worker::Worker;

/// What an HTTP/2 client with prior knowledge says first (RFC 9113, 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the connection, its requests and the worker's sweep know of each other. All on one
/// thread.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// The client's address, as instances are told.
    pub(crate) address: HeaderValue,
    /// Set when an instance has agreed to another protocol.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
    requests: Cell<u32>,
    /// Bytes of a request's head have come, the whole has not. Never in HTTP/2, whose frames
    /// between requests are no heads.
    in_head: Cell<bool>,
    speaks_h2: Cell<bool>,
    in_tunnel: Cell<bool>,
    /// The client does not take what it is sent.
    stuck: Cell<bool>,
    /// When one of the above changed, by the sweep's clock.
    since: Cell<Instant>,
    order: Cell<Option<Order>>,
    waker: RefCell<Option<Waker>>,
}

/// What the sweep wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Answer 408 and close.
    TooSlow,
    /// Close.
    Close,
    /// Finish what is on the way, then close.
    Finish,
}

/// A connection that changes its protocol once the client has been told.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) on_upgrade: OnUpgrade,
    /// Keeps the instance from being drained while the tunnel is open.
    pub(crate) _account: Account,
}

impl ClientState {
    pub(crate) fn new(peer: SocketAddr, now: Instant) -> Self {
        let address = HeaderValue::try_from(peer.ip().to_canonical().to_string());
        Self {
            address: address.unwrap_or(HeaderValue::from_static("unknown")),
            tunnel: RefCell::new(None),
            requests: Cell::new(0),
            in_head: Cell::new(false),
            speaks_h2: Cell::new(false),
            in_tunnel: Cell::new(false),
            stuck: Cell::new(false),
            since: Cell::new(now),
            order: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    pub(crate) fn begin_request(&self) {
        self.requests.set(self.requests.get() + 1);
        self.in_head.set(false);
    }

    /// The time is the sweep's to set: `since` may lag one sweep behind, never run ahead.
    pub(crate) fn end_request(&self) {
        self.requests.set(self.requests.get() - 1);
    }

    /// Looks whether the connection is overdue, and tells it.
    pub(crate) fn sweep(&self, now: Instant, head: Duration, idle: Duration) {
        let passed = now.saturating_duration_since(self.since.get());
        if self.in_tunnel.get() {
            return;
        }
        if self.stuck.get() {
            if passed > idle {
                self.tell(Order::Close);
            }
        } else if self.requests.get() > 0 {
            self.since.set(now);
        } else if self.in_head.get() {
            if passed > head {
                self.tell(Order::TooSlow);
            }
        } else if passed > idle {
            self.tell(Order::Close);
        }
    }

    pub(crate) fn tell(&self, order: Order) {
        self.order.set(Some(order));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn take_order(&self, cx: &Context<'_>) -> Option<Order> {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        self.order.take()
    }
}

/// The client's socket, which notes progress on its way.
struct ClientIo {
    stream: TcpStream,
    /// What was read to tell HTTP/1 from HTTP/2.
    first: Bytes,
    client: Rc<ClientState>,
    worker: Rc<Worker>,
}

impl ClientIo {
    fn sent(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending if !self.client.stuck.replace(true) => {
                self.client.since.set(self.worker.now.get());
            }
            Poll::Ready(_) if self.client.stuck.replace(false) => {
                self.client.since.set(self.worker.now.get());
            }
            _ => {}
        }
    }
}

impl hyper::rt::Read for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let part = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..part]);
            this.first.advance(part);
            if this.first.is_empty() {
                // Gives the memory back, which an empty rest would hold.
                this.first = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let mut stream = TokioIo::new(&mut this.stream);
        ready!(hyper::rt::Read::poll_read(Pin::new(&mut stream), cx, buf))?;
        // Bytes, or the end, which closes the connection anyway.
        let client = &this.client;
        if client.requests.get() == 0 && !client.speaks_h2.get() && !client.in_head.replace(true) {
            client.since.set(this.worker.now.get());
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = tokio::io::AsyncWrite::poll_write(Pin::new(&mut this.stream), cx, bytes);
        this.sent(&result);
        result
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let stream = Pin::new(&mut this.stream);
        let result = tokio::io::AsyncWrite::poll_write_vectored(stream, cx, parts);
        this.sent(&result);
        result
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.get_mut().stream), cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.get_mut().stream), cx)
    }
}

/// Serves a connection until its end.
pub(crate) async fn run(worker: Rc<Worker>, client: Rc<ClientState>, mut stream: TcpStream) {
    let (first, is_h2) = match greet(&client, &worker, &mut stream).await {
        Greeting::Http { first, is_h2 } => (first, is_h2),
        Greeting::TooSlow => return answer_too_slow(&worker, stream).await,
        Greeting::Gone => return,
    };
    let io = ClientIo {
        stream,
        first,
        client: client.clone(),
        worker: worker.clone(),
    };
    if is_h2 {
        client.speaks_h2.set(true);
        client.in_head.set(false);
        run_h2(worker, client, io).await;
    } else {
        run_h1(worker, client, io).await;
    }
}

enum Greeting {
    Http { first: Bytes, is_h2: bool },
    TooSlow,
    Gone,
}

/// Reads until it is clear whether the client speaks HTTP/1 or HTTP/2.
async fn greet(client: &ClientState, worker: &Worker, stream: &mut TcpStream) -> Greeting {
    let mut first = BytesMut::new();
    loop {
        // Waits without a buffer, so that a silent connection costs little.
        let readable = poll_fn(|cx| match client.take_order(cx) {
            Some(order) => Poll::Ready(Err(order)),
            None => stream.poll_read_ready(cx).map(Ok),
        });
        match readable.await {
            Err(Order::TooSlow) => return Greeting::TooSlow,
            Err(Order::Close | Order::Finish) | Ok(Err(_)) => return Greeting::Gone,
            Ok(Ok(())) => {}
        }
        first.reserve(2_048);
        match stream.try_read_buf(&mut first) {
            Ok(0) => return Greeting::Gone,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return Greeting::Gone,
        }
        if !client.in_head.replace(true) {
            client.since.set(worker.now.get());
        }
        let known = first.len().min(H2_PREFACE.len());
        let alike = first[..known] == H2_PREFACE[..known];
        if !alike || known == H2_PREFACE.len() {
            return Greeting::Http {
                first: first.freeze(),
                is_h2: alike,
            };
        }
    }
}

async fn run_h1(worker: Rc<Worker>, client: Rc<ClientState>, io: ClientIo) {
    let service = {
        let (worker, client) = (worker.clone(), client.clone());
        service_fn(move |request| serve(worker.clone(), client.clone(), request))
    };
    let most = worker.shared.options.max_head_bytes;
    let mut connection = http1::Builder::new()
        .max_buf_size(most)
        .max_header_size(most)
        // The worker's sweep keeps the time of all connections with one timer.
        .header_read_timeout(None)
        .serve_connection(io, service);
    let end = poll_fn(|cx| {
        match client.take_order(cx) {
            Some(Order::Finish) => Pin::new(&mut connection).graceful_shutdown(),
            Some(order) => return Poll::Ready(Err(order)),
            None => {}
        }
        Pin::new(&mut connection).poll(cx).map(Ok)
    })
    .await;
    match end {
        Ok(Ok(())) => {
            if let Some(tunnel) = client.tunnel.take() {
                let parts = connection.into_parts();
                client.in_tunnel.set(true);
                run_tunnel(tunnel, parts.io.stream, parts.read_buf).await;
            }
        }
        Ok(Err(error)) if error.is_parse() => {
            // hyper has sent 400 or 431; the rest of the request is read away, since closing
            // on unread bytes would reset the connection under the answer.
            worker.reject();
            linger(connection.into_parts().io.stream).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a client's connection ended"),
        Err(Order::TooSlow) => answer_too_slow(&worker, connection.into_parts().io.stream).await,
        Err(Order::Close | Order::Finish) => {}
    }
}

async fn run_h2(worker: Rc<Worker>, client: Rc<ClientState>, io: ClientIo) {
    let most = worker.shared.options.max_head_bytes;
    let service = {
        let client = client.clone();
        service_fn(move |request| serve(worker.clone(), client.clone(), request))
    };
    let mut connection = http2::Builder::new(OnThisThread)
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(most).unwrap_or(u32::MAX))
        .serve_connection(io, service);
    let end = poll_fn(|cx| {
        match client.take_order(cx) {
            Some(Order::Finish) => Pin::new(&mut connection).graceful_shutdown(),
            Some(_) => return Poll::Ready(Ok(())),
            None => {}
        }
        Pin::new(&mut connection).poll(cx)
    })
    .await;
    if let Err(error) = end {
        tracing::debug!(%error, "a client's HTTP/2 connection ended");
    }
}

/// Runs a stream's task on the thread of its connection.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F> Executor<F> for OnThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

async fn run_tunnel(tunnel: Tunnel, mut client: TcpStream, early: Bytes) {
    let result = async {
        let upgraded = tunnel.on_upgrade.await.map_err(io::Error::other)?;
        let mut instance = TokioIo::new(upgraded);
        instance.write_all(&early).await?;
        tokio::io::copy_bidirectional(&mut client, &mut instance).await
    };
    if let Err(error) = result.await {
        tracing::debug!(%error, "a tunnel ended");
    }
}

async fn answer_too_slow(worker: &Worker, mut stream: TcpStream) {
    worker.reject();
    let text = "The head of the request did not arrive in time.";
    let answer = answers::raw("408 Request Timeout", "", text);
    // A client that takes nothing either is not worth the wait.
    if stream.try_write(&answer).is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// Ends a connection whose client may still be sending, for at most a second and 1 MiB.
pub(crate) async fn linger(mut stream: TcpStream) {
    let read_away = async {
        stream.shutdown().await?;
        // On the heap: every connection's task would be larger by an array.
        let mut buffer = vec![0; 4_096];
        let mut left = 256;
        while left > 0 && stream.read(&mut buffer).await? > 0 {
            left -= 1;
        }
        Ok::<_, io::Error>(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), read_away).await;
}
