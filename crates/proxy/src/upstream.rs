//! One request to one instance: a kept connection or a new one, and the wait for its answer.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::{RequestBody, Upload};
use crate::instance::{InstanceState, Sender};
use crate::options::{UPSTREAM_FRESH, UPSTREAM_IDLE, UPSTREAM_READY};
use crate::worker::Worker;

/// Why an instance gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing of the request has left: another instance may have it.
    Refused(Box<Request<RequestBody>>),
    /// The connection broke, or what came back was no response.
    Broken,
    /// No response head in time.
    Late,
    /// The client stopped sending its body.
    ClientStalled,
}

/// A response head, and the connection that its body comes from.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) response: Response<Incoming>,
    pub(crate) sender: Sender,
}

/// Whether a request may be sent again after it may have arrived (RFC 9110, 9.2.2), which also
/// needs that there is no body to send again.
pub(crate) fn may_repeat(request: &Request<RequestBody>) -> bool {
    matches!(request.body(), RequestBody::Empty)
        && matches!(
            *request.method(),
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::PUT
                | Method::DELETE
                | Method::TRACE
        )
}

/// Sends a request to an instance and waits for the head of its response, `limit` at most.
///
/// A kept connection may be closed by the instance in the very moment of its use. A request
/// that may be repeated is then sent once more on a new connection; one that may not travels
/// on a connection that was in use within the last second, or on a new one.
pub(crate) async fn exchange(
    worker: &Worker,
    instance: &Arc<InstanceState>,
    mut request: Request<RequestBody>,
    limit: Duration,
) -> Result<Reply, Failure> {
    let repeatable = may_repeat(&request);
    let within = if repeatable {
        UPSTREAM_IDLE
    } else {
        UPSTREAM_FRESH
    };
    if let Some(mut sender) = instance.take_idle(worker.index, within)
        // Ready at once but for the instant after its last answer.
        && is_ready(&mut sender).await
    {
        let spare = repeatable.then(|| copy_of(&request));
        match send(&mut sender, request, limit).await {
            Ok(response) => return Ok(Reply { response, sender }),
            Err(Sent::Never(unsent)) => request = *unsent,
            Err(Sent::Cut) => {
                request = spare.ok_or(Failure::Broken)?;
                instance.tally(worker.index).retried();
            }
            Err(Sent::Failed(failure)) => return Err(failure),
        }
    }
    let mut sender = match connect(worker, instance).await {
        Ok(sender) => sender,
        Err(error) => {
            tracing::debug!(instance = %instance.name, address = %instance.address, %error, "instance refused a connection");
            return Err(Failure::Refused(Box::new(request)));
        }
    };
    match send(&mut sender, request, limit).await {
        Ok(response) => Ok(Reply { response, sender }),
        Err(Sent::Never(unsent)) => Err(Failure::Refused(unsent)),
        Err(Sent::Cut) => Err(Failure::Broken),
        Err(Sent::Failed(failure)) => Err(failure),
    }
}

async fn is_ready(sender: &mut Sender) -> bool {
    matches!(
        tokio::time::timeout(UPSTREAM_READY, sender.ready()).await,
        Ok(Ok(()))
    )
}

/// A request without a body, once more.
fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

async fn connect(worker: &Worker, instance: &InstanceState) -> Result<Sender, std::io::Error> {
    let stream = tokio::time::timeout(
        worker.shared.options.connect_timeout,
        TcpStream::connect(instance.address),
    )
    .await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(worker.shared.options.max_head_bytes)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    // On this worker's thread, so that the two tasks never wake each other across cores.
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to an instance ended");
        }
    });
    Ok(sender)
}

enum Sent {
    /// Not a byte has left.
    Never(Box<Request<RequestBody>>),
    /// The connection ended before the response began.
    Cut,
    Failed(Failure),
}

async fn send(
    sender: &mut Sender,
    request: Request<RequestBody>,
    limit: Duration,
) -> Result<Response<Incoming>, Sent> {
    let upload = match request.body() {
        RequestBody::Client { upload, .. } => Some(upload.clone()),
        RequestBody::Empty | RequestBody::Whole(_) => None,
    };
    let answer = sender.try_send_request(request);
    match in_time(answer, limit, upload.as_deref()).await {
        Err(failure) => Err(Sent::Failed(failure)),
        Ok(Ok(response)) => Ok(response),
        Ok(Err(mut error)) => Err(match error.take_message() {
            Some(request) => Sent::Never(Box::new(request)),
            None if error.error().is_parse() || error.error().is_user() => {
                tracing::debug!(error = %error.error(), "instance gave no valid response");
                Sent::Failed(Failure::Broken)
            }
            None => Sent::Cut,
        }),
    }
}

/// Waits for a response head. The limit counts from the end of the request; while its body is
/// on the way, each span of `limit` must move some of it.
async fn in_time<F: Future>(
    answer: F,
    limit: Duration,
    upload: Option<&Upload>,
) -> Result<F::Output, Failure> {
    let mut answer = pin!(answer);
    let Some(upload) = upload else {
        return tokio::time::timeout(limit, answer)
            .await
            .map_err(|_| Failure::Late);
    };
    let mut span = limit;
    let mut parts = 0;
    loop {
        if let Ok(answer) = tokio::time::timeout(span, answer.as_mut()).await {
            return Ok(answer);
        }
        if let Some(ended) = upload.ended.get() {
            span = (*ended + limit).saturating_duration_since(Instant::now());
            if span.is_zero() {
                return Err(Failure::Late);
            }
            continue;
        }
        let now = upload.parts.load(Ordering::Relaxed);
        if now == parts {
            return Err(if upload.client_owes.load(Ordering::Relaxed) {
                Failure::ClientStalled
            } else {
                Failure::Late
            });
        }
        (parts, span) = (now, limit);
    }
}
