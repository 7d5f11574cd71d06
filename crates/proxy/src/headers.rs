//! Heads on their way: what belongs to one connection only is taken out, what the instance
//! must know of the client is put in.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Uri};
use http::{Version, request, response};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Marks a mirrored copy, so that a service can spare itself the side effects.
pub(crate) static MIRRORED: HeaderName = HeaderName::from_static("x-airboss-mirrored");

/// Why a request's head cannot be served, in words for the client.
pub(crate) type BadHead = &'static str;

/// Turns a client's request head into an instance's. Returns the protocol that the client
/// wants to change to, if any.
///
/// `X-Forwarded-For` gets the client's address appended; `X-Forwarded-Proto` and
/// `X-Forwarded-Host` are set where nobody in front has set them.
pub(crate) fn prepare_request(
    head: &mut request::Parts,
    client: &HeaderValue,
) -> Result<Option<HeaderValue>, BadHead> {
    take_authority(head)?;
    let http_1 = head.version <= Version::HTTP_11;
    let upgrade = (http_1 && names(&head.headers, "upgrade"))
        .then(|| head.headers.get(UPGRADE).cloned())
        .flatten();
    strip_hop_by_hop(&mut head.headers);
    // The splitter answers `Expect` itself as soon as an instance takes the body.
    for name in [&EXPECT, &TE, &PROXY_AUTHORIZATION, &MIRRORED] {
        head.headers.remove(name);
    }
    if let Some(protocol) = &upgrade {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol.clone());
    }
    append_client(&mut head.headers, client);
    if !http_1 {
        join_cookies(&mut head.headers);
    }
    if !head.headers.contains_key(&FORWARDED_PROTO) {
        head.headers
            .insert(FORWARDED_PROTO.clone(), HeaderValue::from_static("http"));
    }
    if !head.headers.contains_key(&FORWARDED_HOST)
        && let Some(host) = head.headers.get(HOST)
    {
        let host = host.clone();
        head.headers.insert(FORWARDED_HOST.clone(), host);
    }
    head.version = Version::HTTP_11;
    Ok(upgrade)
}

/// Turns an instance's response head into a client's. `upgraded`: the two keep `Upgrade`.
pub(crate) fn prepare_response(head: &mut response::Parts, upgraded: bool) {
    let protocol = upgraded
        .then(|| head.headers.get(UPGRADE).cloned())
        .flatten();
    strip_hop_by_hop(&mut head.headers);
    if let Some(protocol) = protocol {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    head.version = Version::HTTP_11;
}

/// Gives a user an identity, unless the service has just done so itself.
pub(crate) fn give_identity(headers: &mut HeaderMap, cookie: &str, identity: &str) {
    let taken = headers.get_all(SET_COOKIE).iter().any(|line| {
        line.as_bytes()
            .strip_prefix(cookie.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"="))
    });
    if taken {
        return;
    }
    let line = format!("{cookie}={identity}; Path=/; HttpOnly; SameSite=Lax");
    if let Ok(line) = HeaderValue::try_from(line) {
        headers.append(SET_COOKIE, line);
    }
}

/// Moves the authority of the target (HTTP/2, or an absolute form) into `Host` and leaves the
/// path; checks that there is exactly one host (RFC 9112, 3.2).
fn take_authority(head: &mut request::Parts) -> Result<(), BadHead> {
    if let Some(authority) = head.uri.authority() {
        let host = HeaderValue::try_from(authority.as_str())
            .map_err(|_| "The request's target has a malformed authority.")?;
        head.headers.insert(HOST, host);
        let path = head
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = Uri::from(path);
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err("The request has more than one Host header."),
        (None, _) if head.version >= Version::HTTP_11 => Err("The request has no Host header."),
        (None, _) => {
            // HTTP/1.0 may leave it out; HTTP/1.1 towards the instance may not.
            head.headers.insert(HOST, HeaderValue::from_static(""));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// HTTP/2 may send one cookie a line, HTTP/1.1 may not (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1
        && let Ok(line) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, line);
    }
}

fn append_client(headers: &mut HeaderMap, client: &HeaderValue) {
    let mut line = Vec::new();
    for value in headers.get_all(&FORWARDED_FOR) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    let value = if line.is_empty() {
        client.clone()
    } else {
        line.extend_from_slice(client.as_bytes());
        HeaderValue::from_bytes(&line).unwrap_or_else(|_| client.clone())
    };
    headers.insert(FORWARDED_FOR.clone(), value);
}

/// Whether `Connection` names this option.
fn names(headers: &HeaderMap, option: &str) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(options)
        .any(|named| named.eq_ignore_ascii_case(option.as_bytes()))
}

fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
}

/// Takes out what RFC 9110, 7.6.1 binds to one connection. The framing of bodies is made anew
/// by the other side, so no two readers can disagree about it.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(options)
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            // A peer must not talk the splitter out of headers that it relies on.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH && *name != FORWARDED_FOR)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TRANSFER_ENCODING, &UPGRADE] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(request: http::request::Builder) -> request::Parts {
        request.body(()).unwrap().into_parts().0
    }
    fn client() -> HeaderValue {
        HeaderValue::from_static("192.0.2.7")
    }

    #[test]
    fn what_belongs_to_one_connection_is_not_passed_on() {
        let mut head = head(
            Request::get("/x?y")
                .header("host", "shop.example")
                .header("connection", "keep-alive, x-secret")
                .header("x-secret", "1")
                .header("keep-alive", "timeout=5")
                .header("te", "trailers")
                .header("proxy-authorization", "Basic x")
                .header("x-airboss-mirrored", "1")
                .header("accept", "*/*"),
        );
        assert_eq!(prepare_request(&mut head, &client()), Ok(None));
        let mut left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "accept",
                "host",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
    }

    #[test]
    fn the_chain_of_forwarders_grows_by_the_client() {
        let mut head = head(
            Request::get("/")
                .header("host", "a")
                .header("x-forwarded-for", "198.51.100.1")
                .header("x-forwarded-for", "203.0.113.9")
                .header("x-forwarded-proto", "https"),
        );
        prepare_request(&mut head, &client()).unwrap();
        assert_eq!(
            head.headers["x-forwarded-for"],
            "198.51.100.1, 203.0.113.9, 192.0.2.7"
        );
        assert_eq!(head.headers["x-forwarded-proto"], "https");
    }

    #[test]
    fn cookies_that_came_apart_in_http_2_go_on_as_one_line() {
        let request = Request::get("http://a/")
            .version(Version::HTTP_2)
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let mut head = head(request);
        prepare_request(&mut head, &client()).unwrap();
        let lines: Vec<_> = head.headers.get_all("cookie").iter().collect();
        assert_eq!(lines, ["a=1; b=2"]);
    }

    #[test]
    fn the_targets_authority_outranks_the_host_header() {
        let mut head = head(Request::get("http://real.example/a?b").header("host", "other"));
        prepare_request(&mut head, &client()).unwrap();
        assert_eq!(head.headers["host"], "real.example");
        assert_eq!(head.uri, "/a?b");
    }

    #[test]
    fn a_request_with_no_host_or_two_is_refused() {
        assert!(prepare_request(&mut head(Request::get("/")), &client()).is_err());
        let two = Request::get("/").header("host", "a").header("host", "b");
        assert!(prepare_request(&mut head(two), &client()).is_err());
    }

    #[test]
    fn a_connection_header_cannot_remove_the_host_or_the_client() {
        let mut head = head(
            Request::get("/")
                .header("host", "a")
                .header("connection", "host, x-forwarded-for"),
        );
        prepare_request(&mut head, &client()).unwrap();
        assert_eq!(head.headers["host"], "a");
        assert_eq!(head.headers["x-forwarded-for"], "192.0.2.7");
    }
}
