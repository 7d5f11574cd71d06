//! A user's request from its head to the end of its answer.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use hyper::body::{Body, Incoming};

use crate::answers;
use crate::body::{AnswerBody, RequestBody, Upload};
use crate::client::{ClientState, Tunnel};
use crate::headers;
use crate::instance::{InstanceState, Sender, Ticket};
use crate::kinds::Kind;
use crate::measure::{Cause, Outcome, Place};
use crate::mirror;
use crate::table::{Decision, Routes, Side};
use crate::upstream::{Failure, Reply, exchange};
use crate::worker::Worker;

/// Serves one request; never fails, since every failure has an answer.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    client: Rc<ClientState>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let started = Instant::now();
    let busy = Busy::new(client.clone());
    let (mut head, body) = request.into_parts();
    if head.method == Method::CONNECT {
        worker.reject();
        let text = "CONNECT is not served here.";
        return Ok(answers::last(StatusCode::METHOD_NOT_ALLOWED, text, busy));
    }
    let upgrade = match headers::prepare_request(&mut head, &client.address) {
        Ok(upgrade) => upgrade,
        Err(text) => {
            worker.reject();
            return Ok(answers::last(StatusCode::BAD_REQUEST, text, busy));
        }
    };
    let (routes, ticket, decision) = match admit(&worker, &head) {
        Ok(admitted) => admitted,
        Err(why) => {
            worker.shared.unrouted.fetch_add(1, Ordering::Relaxed);
            let text = format!("{why} Please try again in a moment.");
            return Ok(answers::own(StatusCode::SERVICE_UNAVAILABLE, &text, busy));
        }
    };
    let kind = Kind::of(
        &head.method,
        head.uri.path(),
        routes.cohort(&head.headers),
        &routes.named,
        &worker.seen,
        &worker.shared.book,
    );
    let has_body = !body.is_end_stream();
    let copy = if decision.side == Side::Stable
        && upgrade.is_none()
        && routes.wants_copy(&mut worker.chance.borrow_mut())
    {
        mirror::start(&worker, &routes, &head, has_body.then_some(&body))
    } else {
        None
    };
    let mut upload = None;
    let body = if has_body {
        let progress = Arc::new(Upload::default());
        upload = Some(progress.clone());
        RequestBody::Client {
            body,
            upload: progress,
            copy,
        }
    } else {
        RequestBody::Empty
    };
    let mut account = Account {
        worker,
        ticket,
        cause: decision.cause,
        kind,
        started,
        answered: None,
        sender: None,
        upload,
        settled: false,
    };
    let request = Request::from_parts(head, body);
    let reply = match ask(&mut account, &routes, decision.side, request).await {
        Ok(reply) => reply,
        Err(failure) => return Ok(failed(account, &failure, busy)),
    };
    Ok(answer(
        account,
        reply,
        &routes,
        &decision,
        upgrade.is_some(),
        busy,
    ))
}

/// Chooses an instance and enters the request there.
fn admit(
    worker: &Worker,
    head: &request::Parts,
) -> Result<(Arc<Routes>, Ticket, Decision), &'static str> {
    loop {
        let routes = worker.shared.routes.load();
        let decision = {
            let mut chance = worker.chance.borrow_mut();
            routes.decide(&head.headers, &mut chance)?
        };
        let Some(instance) = worker.pick(routes.ready(decision.side)) else {
            return Err("No instance of the service is ready.");
        };
        let ticket = Ticket::new(instance);
        // Entered first, looked again second: whoever waits for the drain after a change of
        // the table either sees this request or this request sees the change.
        if Arc::ptr_eq(&routes, &worker.shared.routes.load()) {
            return Ok((Arc::clone(&routes), ticket, decision));
        }
    }
}

/// Asks the chosen instance, and one other of the same arm if it refuses the connection.
async fn ask(
    account: &mut Account,
    routes: &Routes,
    side: Side,
    request: Request<RequestBody>,
) -> Result<Reply, Failure> {
    let limit = routes.table.response_timeout;
    let worker = account.worker.clone();
    let first = account.ticket.instance().clone();
    match exchange(&worker, &first, request, limit).await {
        Err(Failure::Refused(request)) => {
            // The newest table: the reason for the refusal may be known by now.
            let newest = worker.shared.routes.load_full();
            let others: Vec<Arc<InstanceState>> = newest
                .ready(side)
                .iter()
                .filter(|other| other.arm == first.arm && !Arc::ptr_eq(other, &first))
                .cloned()
                .collect();
            let Some(other) = worker.pick(&others) else {
                return Err(Failure::Refused(request));
            };
            first.tally(worker.index).retried();
            account.ticket = Ticket::new(other.clone());
            exchange(&worker, &other, *request, limit).await
        }
        result => result,
    }
}

/// The answer where the instance gave none.
fn failed(mut account: Account, failure: &Failure, busy: Busy) -> Response<AnswerBody> {
    let (status, text) = match failure {
        Failure::Refused(_) => (
            StatusCode::BAD_GATEWAY,
            "The service did not accept the request. It was not carried out.",
        ),
        Failure::Broken => (
            StatusCode::BAD_GATEWAY,
            "The service ended the connection without a valid answer.",
        ),
        Failure::Late => (
            StatusCode::GATEWAY_TIMEOUT,
            "The service did not answer in time.",
        ),
        Failure::ClientStalled => {
            account.settle(Outcome::GivenUp);
            let text = "The rest of the request did not arrive in time.";
            return answers::last(StatusCode::REQUEST_TIMEOUT, text, busy);
        }
    };
    account.answered = Some((status, account.started.elapsed()));
    account.settle(Outcome::Unanswered(status.as_u16()));
    if account.upload.is_some() {
        // Part of the body may be unread.
        answers::last(status, text, busy)
    } else {
        answers::own(status, text, busy)
    }
}

/// The instance's answer.
fn answer(
    mut account: Account,
    reply: Reply,
    routes: &Routes,
    decision: &Decision,
    wants_upgrade: bool,
    busy: Busy,
) -> Response<AnswerBody> {
    let Reply {
        mut response,
        sender,
    } = reply;
    let status = response.status();
    account.answered = Some((status, account.started.elapsed()));
    let upgraded = status == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !wants_upgrade {
        return failed(account, &Failure::Broken, busy);
    }
    if upgraded {
        let on_upgrade = hyper::upgrade::on(&mut response);
        account.count(Outcome::Answered(status.as_u16()));
        let (mut head, _) = response.into_parts();
        headers::prepare_response(&mut head, true);
        busy.client().tunnel.replace(Some(Tunnel {
            on_upgrade,
            _account: account,
        }));
        return Response::from_parts(head, AnswerBody::own(bytes::Bytes::new(), busy));
    }
    account.sender = Some(sender);
    let (mut head, body) = response.into_parts();
    headers::prepare_response(&mut head, false);
    if let (Some(identity), Some(cookie)) = (&decision.new_identity, routes.cookie_name()) {
        headers::give_identity(&mut head.headers, cookie, identity);
    }
    if is_event_stream(head.headers.get(CONTENT_TYPE)) {
        // It ends when the client leaves, which would count as given up.
        account.count(Outcome::Answered(status.as_u16()));
    }
    Response::from_parts(head, AnswerBody::of_instance(body, Some(account), busy))
}

fn is_event_stream(content_type: Option<&HeaderValue>) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    content_type.is_some_and(|value| {
        value
            .as_bytes()
            .get(..EVENT_STREAM.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
    })
}

/// What a request owes when it ends: one count, the place in its instance, the connection.
/// Dropped unsettled, it means that the client left.
#[derive(Debug)]
pub(crate) struct Account {
    worker: Rc<Worker>,
    ticket: Ticket,
    cause: Cause,
    kind: Kind,
    started: Instant,
    answered: Option<(StatusCode, std::time::Duration)>,
    sender: Option<Sender>,
    upload: Option<Arc<Upload>>,
    settled: bool,
}

impl Account {
    /// The answer has come to its end.
    pub(crate) fn ended(mut self) {
        let status = self.answered.map_or(0, |(status, _)| status.as_u16());
        self.settle(Outcome::Answered(status));
        let uploaded = self
            .upload
            .as_ref()
            .is_none_or(|upload| upload.ended.get().is_some());
        if uploaded && let Some(sender) = self.sender.take() {
            let most = self.worker.shared.options.idle_upstream;
            self.ticket
                .instance()
                .put_idle(self.worker.index, sender, most);
        }
    }

    /// The instance broke its answer off.
    pub(crate) fn broken_off(mut self) {
        self.settle(Outcome::Unanswered(StatusCode::BAD_GATEWAY.as_u16()));
    }

    fn settle(&mut self, outcome: Outcome) {
        if !self.settled {
            self.count(outcome);
        }
    }

    fn count(&mut self, outcome: Outcome) {
        self.settled = true;
        let took = match self.answered {
            Some((_, took)) => took,
            None => self.started.elapsed(),
        };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let status = match outcome {
            Outcome::Answered(status) | Outcome::Unanswered(status) => status,
            Outcome::GivenUp => 0,
        };
        let (seen, book) = (&self.worker.seen, &self.worker.shared.book);
        let (route, named) = self.kind.route(status, seen, book);
        let place = Place {
            route,
            named,
            cohort: self.kind.cohort,
        };
        self.ticket
            .instance()
            .tally(self.worker.index)
            .user(outcome, micros, self.cause, place);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle(Outcome::GivenUp);
    }
}

/// Marks a client's connection as at work; without one it idles.
#[derive(Debug)]
pub(crate) struct Busy(Rc<ClientState>);

impl Busy {
    fn new(client: Rc<ClientState>) -> Self {
        client.begin_request();
        Self(client)
    }
    fn client(&self) -> &ClientState {
        &self.0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end_request();
    }
}
