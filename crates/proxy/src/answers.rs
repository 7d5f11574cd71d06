//! What the splitter says by itself. The texts are for people; they name no inner address.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::body::AnswerBody;
use crate::forward::Busy;

/// An answer of the splitter's own.
pub(crate) fn own(status: StatusCode, text: &str, busy: Busy) -> Response<AnswerBody> {
    let mut line = Vec::with_capacity(text.len() + 1);
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    let mut answer = Response::new(AnswerBody::own(Bytes::from(line), busy));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// The same, where the rest of the request cannot be read: the connection ends with it.
pub(crate) fn last(status: StatusCode, text: &str, busy: Busy) -> Response<AnswerBody> {
    let mut answer = own(status, text, busy);
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An answer in bytes, for a connection that speaks no HTTP yet or no more.
pub(crate) fn raw(status: &str, extra: &str, text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n{extra}\
         cache-control: no-store\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}\n",
        text.len() + 1
    )
    .into_bytes()
}
