//! What a request asks for, in a form that can be counted: `GET /cart/{id}`.
//!
//! A path is cut into segments, and a segment that looks like an id is written `{id}`, so that a
//! shop with a million carts has one route for them. What looks like an id is a guess; a manifest
//! that knows better names its routes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Segments of a path that tell routes apart; what is deeper is one route.
pub const SEGMENTS_MAX: usize = 8;
/// A segment longer than this is taken for an id: no route is named so.
pub const SEGMENT_BYTES_MAX: usize = 40;
/// Requests whose route is not known, and those beyond the routes that are told apart.
pub const OTHER: &str = "other";

/// A part of a path as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment<'a> {
    Word(&'a str),
    Id,
    Deeper,
}

fn segments(path: &str) -> impl Iterator<Item = Segment<'_>> {
    let parts = path.split('/').skip(1).enumerate();
    parts.take(SEGMENTS_MAX + 1).map(|(at, part)| match part {
        _ if at == SEGMENTS_MAX => Segment::Deeper,
        part if is_id(part) => Segment::Id,
        part => Segment::Word(part),
    })
}

/// A number, a hash, a UUID, a token, an address: text that is made rather than named.
fn is_id(segment: &str) -> bool {
    if segment.len() > SEGMENT_BYTES_MAX || segment.contains(['@', '%', ':', ',', ';', '=']) {
        return true;
    }
    segment.split('.').any(|part| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let hex = part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let made_up = part.bytes().filter(u8::is_ascii_uppercase).count() >= 3
            && part.bytes().any(|b| b.is_ascii_lowercase());
        digits > 0
            && (digits == part.len()
                || (part.len() >= 4 && digits * 2 >= part.len())
                || (part.len() >= 8 && hex)
                || (part.len() >= 16 && (digits >= 3 || made_up)))
    })
}

/// Methods that are told apart; any other is `OTHER`.
fn method(text: &str) -> &str {
    const KNOWN: [&str; 8] = [
        "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == text)
        .unwrap_or("OTHER")
}

/// The name of a request's route, such as `GET /cart/{id}`. `path` is without the query.
pub fn name(asked: &str, path: &str) -> String {
    let mut text = format!("{} ", method(asked));
    for segment in segments(path) {
        text.push('/');
        text.push_str(match segment {
            Segment::Word(word) => word,
            Segment::Id => "{id}",
            Segment::Deeper => "…",
        });
    }
    text
}

/// A number that requests of one route share, without making its name (FNV-1a).
pub fn key(asked: &str, path: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    feed(method(asked).as_bytes());
    for segment in segments(path) {
        feed(b"/");
        feed(match segment {
            Segment::Word(word) => word.as_bytes(),
            // Bytes that no path holds.
            Segment::Id => &[0x01],
            Segment::Deeper => &[0x02],
        });
    }
    hash
}

/// Routes as a manifest names them: `/cart/{id}`, `POST /pay`, `/api/**`.
///
/// `{name}` and `*` stand for one segment, `**` at the end for any number of them. Without a
/// method every method is meant.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^([A-Z]+ )?/", "examples" = ["/cart/{id}", "POST /pay", "/api/**"]))]
pub struct RoutePattern {
    text: String,
}

/// Why a text names no routes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no route: write a path such as `/cart/{{id}}`, with a method before it where only one is meant: `POST /pay`"
)]
pub struct InvalidRoute {
    /// The offending text.
    pub text: String,
}

impl RoutePattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn parts(&self) -> (Option<&str>, &str) {
        match self.text.split_once(' ') {
            Some((method, path)) => (Some(method), path),
            None => (None, &self.text),
        }
    }

    /// Whether a request is meant. `path` is without the query.
    pub fn matches(&self, asked: &str, path: &str) -> bool {
        let (wanted, pattern) = self.parts();
        if wanted.is_some_and(|wanted| wanted != asked) {
            return false;
        }
        let mut segments = path.split('/').skip(1);
        for part in pattern.split('/').skip(1) {
            if part == "**" {
                return true;
            }
            match segments.next() {
                Some(segment) if is_wild(part) || part == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }

    /// Whether a counted route is meant whole: one by its name, or by the pattern that counts it.
    pub fn covers(&self, route: &str) -> bool {
        if self.text == route {
            return true;
        }
        let (asked, path) = match route.split_once(' ') {
            Some((method, path)) => (Some(method), path),
            None => (None, route),
        };
        match (self.parts().0, asked) {
            // Of a route of every method only a part would be meant.
            (Some(_), None) => false,
            (_, asked) => self.matches(asked.unwrap_or_default(), path),
        }
    }

    /// How much is said literally: the more, the earlier it is tried.
    pub fn precision(&self) -> (usize, bool) {
        let (method, path) = self.parts();
        let words = path.split('/').skip(1).filter(|part| !is_wild(part));
        (words.count(), method.is_some())
    }
}

fn is_wild(part: &str) -> bool {
    part == "*" || part == "**" || (part.starts_with('{') && part.ends_with('}'))
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for RoutePattern {
    type Err = InvalidRoute;
    fn from_str(text: &str) -> Result<Self, InvalidRoute> {
        let fail = || InvalidRoute {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let (method, path) = match trimmed.split_once(' ') {
            Some((method, path)) => (Some(method), path.trim_start()),
            None => (None, trimmed),
        };
        let is_method =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
        let fits = path.starts_with('/')
            && path.len() <= 256
            && path
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
        let inner_tail = path
            .split('/')
            .skip(1)
            .position(|part| part == "**")
            .is_some_and(|at| at + 2 < path.split('/').count());
        if !fits || inner_tail || method.is_some_and(|method| !is_method(method)) {
            return Err(fail());
        }
        let text = method.map_or_else(|| path.to_owned(), |method| format!("{method} {path}"));
        Ok(Self { text })
    }
}
impl TryFrom<String> for RoutePattern {
    type Error = InvalidRoute;
    fn try_from(text: String) -> Result<Self, InvalidRoute> {
        text.parse()
    }
}
impl From<RoutePattern> for String {
    fn from(pattern: RoutePattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_collapse_and_words_stay() {
        for (path, expected) in [
            ("/", "GET /"),
            ("/cart", "GET /cart"),
            ("/cart/42", "GET /cart/{id}"),
            ("/cart/42/items/7", "GET /cart/{id}/items/{id}"),
            ("/v1/users", "GET /v1/users"),
            ("/api/v2/oauth2/token", "GET /api/v2/oauth2/token"),
            ("/o/3f2b1c9e-8d4a-4f6b-9b1e-0c2d3e4f5a6b", "GET /o/{id}"),
            ("/static/app.3f2a1b9c.js", "GET /static/{id}"),
            ("/static/app.js", "GET /static/app.js"),
            ("/orders/A-10293", "GET /orders/{id}"),
            ("/u/ann@example.com", "GET /u/{id}"),
            ("/deadbeef", "GET /deadbeef"),
            ("/t/eyJhbGciOiJIUzI1NiJ9", "GET /t/{id}"),
            ("/a/b/c/d/e/f/g/h/i/j", "GET /a/b/c/d/e/f/g/h/…"),
        ] {
            assert_eq!(name("GET", path), expected);
        }
        assert_eq!(name("BREW", "/pot"), "OTHER /pot");
    }

    #[test]
    fn a_pattern_means_what_it_says() {
        let pattern = |text: &str| text.parse::<RoutePattern>().unwrap();
        assert!(pattern("/cart/{id}").matches("GET", "/cart/red-shoes"));
        assert!(!pattern("/cart/{id}").matches("GET", "/cart"));
        assert!(!pattern("/cart/{id}").matches("GET", "/cart/1/items"));
        assert!(pattern("POST /pay").matches("POST", "/pay"));
        assert!(!pattern("POST /pay").matches("GET", "/pay"));
        assert!(pattern("/api/**").matches("GET", "/api/a/b/c"));
        assert!(!pattern("/api/**").matches("GET", "/web"));
        assert!(pattern("/cart/*").covers("GET /cart/{id}"));
        assert!(pattern("/cart/{id}").covers("/cart/{id}"));
        assert!(!pattern("POST /cart/{id}").covers("/cart/{id}"));
        assert!(!pattern("/cart/42").covers("GET /cart/{id}"));
        for wrong in ["", "cart", "get /x", "GET", "/a b", "/a?b=1", "/a/**/b"] {
            assert!(wrong.parse::<RoutePattern>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn requests_of_one_name_share_a_key_and_others_do_not(
            a in "(/[a-z0-9-]{0,12}){1,10}", b in "(/[a-z0-9-]{0,12}){1,10}",
        ) {
            prop_assert_eq!(name("GET", &a) == name("GET", &b), key("GET", &a) == key("GET", &b));
            prop_assert_ne!(key("GET", &a), key("POST", &a));
        }

        #[test]
        fn any_path_has_a_bounded_name(path in "\\PC{0,200}") {
            let bound = 8 + SEGMENTS_MAX * (SEGMENT_BYTES_MAX + 1) + 4;
            prop_assert!(name("GET", &path).len() <= bound);
        }

        #[test]
        fn a_pattern_reads_back_as_written(text in "([A-Z]{1,7} )?(/[a-z{}*]{0,8}){1,5}") {
            if let Ok(pattern) = text.parse::<RoutePattern>() {
                prop_assert_eq!(pattern.as_str(), &text);
            }
        }
    }
}
