//! Copies of stable's requests to the canary. A copy is a task of its own with connections of
//! its own; the user's request neither waits for it nor learns of it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, request};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::oneshot;

use crate::body::{Copying, RequestBody};
use crate::headers::MIRRORED;
use crate::measure::Outcome;
use crate::options::take_place;
use crate::splitter::Shared;
use crate::table::{Routes, Side};
use crate::upstream::{Failure, exchange};
use crate::worker::Worker;

/// Starts a copy of a request that goes to stable. Where the request has a body, the returned
/// part collects it while it passes.
pub(crate) fn start(
    worker: &Rc<Worker>,
    routes: &Routes,
    head: &request::Parts,
    body: Option<&Incoming>,
) -> Option<Copying> {
    let length = body.map_or(Some(0), |body| body.size_hint().exact());
    let small = length.filter(|length| *length <= worker.shared.options.mirror_body_bytes);
    let canary = worker.pick(routes.ready(Side::Canary));
    let (Some(length), Some(canary), Some(slot)) = (small, canary, Slot::take(&worker.shared))
    else {
        worker.shared.mirror_dropped.fetch_add(1, Ordering::Relaxed);
        return None;
    };
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = head.method.clone();
    *copy.uri_mut() = head.uri.clone();
    *copy.headers_mut() = head.headers.clone();
    copy.headers_mut()
        .insert(MIRRORED.clone(), HeaderValue::from_static("1"));
    let (collecting, whole) = match body {
        None => (None, None),
        Some(_) => {
            let (sender, whole) = oneshot::channel();
            let collected = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
            let collecting = Copying {
                collected,
                whole: sender,
            };
            (Some(collecting), Some(whole))
        }
    };
    let limit = routes.table.response_timeout;
    let worker = worker.clone();
    tokio::task::spawn_local(async move {
        let _slot = slot;
        let perform = perform(&worker, &canary, copy, whole, limit);
        // Over head and body: an answer without an end must not hold the slot.
        let _ = tokio::time::timeout(limit * 2, perform).await;
    });
    collecting
}

async fn perform(
    worker: &Worker,
    canary: &Arc<crate::instance::InstanceState>,
    mut copy: Request<RequestBody>,
    whole: Option<oneshot::Receiver<Bytes>>,
    limit: std::time::Duration,
) {
    if let Some(whole) = whole {
        // The user gave up half-way: there is nothing to compare.
        let Ok(bytes) = whole.await else { return };
        *copy.body_mut() = RequestBody::Whole(Some(bytes));
    }
    let started = Instant::now();
    let micros = || u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let tally = canary.tally(worker.index);
    match exchange(worker, canary, copy, limit).await {
        Ok(mut reply) => {
            let (status, head_micros) = (reply.response.status().as_u16(), micros());
            let outcome = loop {
                match reply.response.body_mut().frame().await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => break Outcome::Unanswered(502),
                    None => break Outcome::Answered(status),
                }
            };
            tally.mirrored(outcome, head_micros);
            if matches!(outcome, Outcome::Answered(_)) && status != 101 {
                let most = worker.shared.options.idle_upstream;
                canary.put_idle(worker.index, reply.sender, most);
            }
        }
        Err(Failure::Late) => tally.mirrored(Outcome::Unanswered(504), micros()),
        Err(_) => tally.mirrored(Outcome::Unanswered(502), micros()),
    }
}

/// One of the mirrored requests that may be on their way at one time.
struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        take_place(&shared.mirroring, shared.options.mirror_concurrency)
            .then(|| Self(shared.clone()))
    }
}
impl Drop for Slot {
    fn drop(&mut self) {
        self.0.mirroring.fetch_sub(1, Ordering::Relaxed);
    }
}
