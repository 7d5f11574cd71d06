//! Bodies on their way: a request's to an instance, an answer's to a client.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

use crate::forward::{Account, Busy};

/// How far a request's body has come; read by the one who waits for the response.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    /// When the last byte was taken over.
    pub(crate) ended: OnceLock<Instant>,
    /// Parts taken over so far.
    pub(crate) parts: AtomicU64,
    /// The client owes the next part (else the instance is slow to take it).
    pub(crate) client_owes: AtomicBool,
}

/// A request's body towards an instance.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None at all.
    Empty,
    /// Known in full: a mirrored copy.
    Whole(Option<Bytes>),
    /// Streamed from the client with back-pressure.
    Client {
        body: Incoming,
        upload: Arc<Upload>,
        copy: Option<Copying>,
    },
}

/// Collects a body while it passes, for the mirror.
#[derive(Debug)]
pub(crate) struct Copying {
    pub(crate) collected: BytesMut,
    pub(crate) whole: oneshot::Sender<Bytes>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Client { body, upload, copy } => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                upload
                    .client_owes
                    .store(polled.is_pending(), Ordering::Relaxed);
                let frame = ready!(polled);
                upload.parts.fetch_add(1, Ordering::Relaxed);
                if let Some(Ok(frame)) = &frame
                    && let (Some(data), Some(copy)) = (frame.data_ref(), copy.as_mut())
                {
                    copy.collected.extend_from_slice(data);
                }
                match &frame {
                    // Its error reaches the instance as a broken request, never as a whole one.
                    Some(Err(_)) => *copy = None,
                    Some(Ok(_)) if !body.is_end_stream() => {}
                    _ => {
                        let _ = upload.ended.set(Instant::now());
                        if let Some(Copying { collected, whole }) = copy.take() {
                            // The mirror may have timed out meanwhile; nobody minds.
                            let _ = whole.send(collected.freeze());
                        }
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_none(),
            Self::Client { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Client { body, .. } => body.size_hint(),
        }
    }
}

/// An answer's body towards a client.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    content: Content,
    /// Dropped last: until then the client's connection does not idle.
    _busy: Busy,
}

#[derive(Debug)]
enum Content {
    /// Said by the splitter itself, or nothing.
    Own(Option<Bytes>),
    /// Streamed from the instance with back-pressure.
    Instance {
        body: Incoming,
        account: Option<Account>,
    },
}

impl AnswerBody {
    /// The splitter's own words.
    pub(crate) fn own(text: Bytes, busy: Busy) -> Self {
        let content = Content::Own(Some(text).filter(|text| !text.is_empty()));
        Self {
            content,
            _busy: busy,
        }
    }

    /// The instance's body; `account` is settled when it ends.
    pub(crate) fn of_instance(body: Incoming, account: Option<Account>, busy: Busy) -> Self {
        let mut this = Self {
            content: Content::Instance { body, account },
            _busy: busy,
        };
        this.settle_if_ended();
        this
    }

    /// A body of known length is not polled beyond its last byte, so its end is looked for.
    fn settle_if_ended(&mut self) {
        if let Content::Instance { body, account } = &mut self.content
            && body.is_end_stream()
            && let Some(account) = account.take()
        {
            account.ended();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.content {
            Content::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Instance { body, account } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                match &frame {
                    Some(Ok(_)) => self.settle_if_ended(),
                    Some(Err(_)) => {
                        if let Some(account) = account.take() {
                            account.broken_off();
                        }
                    }
                    None => {
                        if let Some(account) = account.take() {
                            account.ended();
                        }
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(text) => text.is_none(),
            Content::Instance { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Instance { body, .. } => body.size_hint(),
        }
    }
}
