//! What requests ask for, and of whom they are: routes and cohorts under small numbers, so that
//! counting a request costs the same however many there are.
//!
//! A splitter keeps one [`Book`]; a number in it never changes its meaning. Workers keep a copy of
//! what they looked up. A route gets a number when a request of it is first answered with anything
//! but "there is no such thing", so that scanners do not use the numbers up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use airboss_model::route::{self, OTHER, RoutePattern};
use airboss_model::traffic::{COHORTS_MAX, NAMED_ROUTES_MAX, ROUTES_MAX};
use http::Method;

/// Routes that are found, beside those that are named.
const FOUND_MAX: usize = ROUTES_MAX - NAMED_ROUTES_MAX;
/// Named routes of all tables that one splitter had; further ones count as [`OTHER`].
const NAMED_EVER_MAX: usize = 400;
/// A cohort's name is cut to this many bytes.
const COHORT_BYTES_MAX: usize = 40;
/// The number of what has none of its own.
pub(crate) const OTHER_NUMBER: u16 = 0;
/// Statuses that say that there is no such route.
const NO_SUCH: [u16; 5] = [400, 404, 405, 414, 501];

/// The numbers of one splitter.
#[derive(Debug, Default)]
pub(crate) struct Book {
    known: Mutex<Known>,
    /// No more routes are found: spares the lock.
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// Names by number, less one.
    names: Vec<String>,
    named: HashMap<String, u16>,
    found: HashMap<u64, u16>,
    cohorts: Vec<String>,
}

impl Book {
    fn with<R>(&self, ask: impl FnOnce(&mut Known) -> R) -> R {
        // A plain table: it is whole after a panic elsewhere.
        ask(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of a route that a manifest names.
    pub(crate) fn named(&self, pattern: &RoutePattern) -> u16 {
        self.with(|known| {
            if let Some(number) = known.named.get(pattern.as_str()) {
                return *number;
            }
            if known.named.len() >= NAMED_EVER_MAX {
                tracing::warn!(route = %pattern, "this splitter has had too many named routes; a restart of the agent forgets the old ones");
                return OTHER_NUMBER;
            }
            let number = known.add(pattern.as_str());
            known.named.insert(pattern.as_str().to_owned(), number);
            number
        })
    }

    fn found(&self, key: u64, name: &str) -> u16 {
        self.with(|known| {
            if let Some(number) = known.found.get(&key) {
                return *number;
            }
            if known.found.len() >= FOUND_MAX {
                self.full.store(true, Ordering::Relaxed);
                return OTHER_NUMBER;
            }
            let number = known.add(name);
            known.found.insert(key, number);
            number
        })
    }

    fn cohort(&self, name: &str) -> u16 {
        self.with(|known| {
            let at = known.cohorts.iter().position(|known| known == name);
            match at {
                Some(at) => number(at),
                None if known.cohorts.len() >= COHORTS_MAX => OTHER_NUMBER,
                None => {
                    known.cohorts.push(name.to_owned());
                    number(known.cohorts.len() - 1)
                }
            }
        })
    }

    /// The names of all routes and of all cohorts; number n is the entry before it.
    pub(crate) fn names(&self) -> Names {
        self.with(|known| Names {
            routes: known.names.clone(),
            cohorts: known.cohorts.clone(),
        })
    }
}

impl Known {
    fn add(&mut self, name: &str) -> u16 {
        self.names.push(name.to_owned());
        number(self.names.len() - 1)
    }
}

fn number(at: usize) -> u16 {
    u16::try_from(at + 1).unwrap_or(OTHER_NUMBER)
}

/// What numbers stand for.
#[derive(Debug)]
pub(crate) struct Names {
    routes: Vec<String>,
    cohorts: Vec<String>,
}

impl Names {
    pub(crate) fn route(&self, number: u16) -> &str {
        name(&self.routes, number)
    }
    pub(crate) fn cohort(&self, number: u16) -> &str {
        name(&self.cohorts, number)
    }
}

fn name(names: &[String], number: u16) -> &str {
    let at = usize::from(number).checked_sub(1);
    at.and_then(|at| names.get(at))
        .map_or(OTHER, String::as_str)
}

/// What a worker has looked up.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    routes: RefCell<HashMap<u64, u16>>,
    cohorts: RefCell<HashMap<Box<[u8]>, u16>>,
}

/// What one request asks for.
#[derive(Debug)]
pub(crate) struct Kind {
    route: Asked,
    pub(crate) cohort: Option<u16>,
}

#[derive(Debug)]
enum Asked {
    Named(u16),
    Found(u16),
    /// Gets a number once it is answered.
    New(u64, Box<str>),
}

impl Kind {
    /// A request's kind. `named` are the patterns of the table in force, the most precise first.
    pub(crate) fn of(
        method: &Method,
        path: &str,
        cohort: Option<&[u8]>,
        named: &[(RoutePattern, u16)],
        seen: &Seen,
        book: &Book,
    ) -> Self {
        let method = method.as_str();
        let by_name = named
            .iter()
            .find(|(pattern, _)| pattern.matches(method, path));
        let route = match by_name {
            Some((_, number)) => Asked::Named(*number),
            None => {
                let key = route::key(method, path);
                let known = seen.routes.borrow().get(&key).copied();
                match known {
                    Some(number) => Asked::Found(number),
                    None if book.full.load(Ordering::Relaxed) => Asked::Found(OTHER_NUMBER),
                    None => Asked::New(key, route::name(method, path).into()),
                }
            }
        };
        Self {
            route,
            cohort: cohort.map(|cohort| cohort_number(cohort, seen, book)),
        }
    }

    /// The route's number, and whether it is a named one. `status` is what the client was sent.
    pub(crate) fn route(&self, status: u16, seen: &Seen, book: &Book) -> (u16, bool) {
        match &self.route {
            Asked::Named(number) => (*number, true),
            Asked::Found(number) => (*number, false),
            Asked::New(..) if NO_SUCH.contains(&status) => (OTHER_NUMBER, false),
            Asked::New(key, name) => {
                let number = book.found(*key, name);
                if number != OTHER_NUMBER {
                    seen.routes.borrow_mut().insert(*key, number);
                }
                (number, false)
            }
        }
    }
}

fn cohort_number(cohort: &[u8], seen: &Seen, book: &Book) -> u16 {
    let cohort = &cohort[..cohort.len().min(COHORT_BYTES_MAX)];
    if let Some(number) = seen.cohorts.borrow().get(cohort) {
        return *number;
    }
    let number = book.cohort(&String::from_utf8_lossy(cohort));
    if number != OTHER_NUMBER {
        seen.cohorts.borrow_mut().insert(cohort.into(), number);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, status: u16, seen: &Seen, book: &Book) -> String {
        let kind = Kind::of(&Method::GET, path, None, &[], seen, book);
        let (number, _) = kind.route(status, seen, book);
        book.names().route(number).to_owned()
    }

    #[test]
    fn what_does_not_exist_gets_no_number() {
        let (seen, book) = (Seen::default(), Book::default());
        for n in 0..1_000 {
            assert_eq!(ask(&format!("/wp-admin-{n}x"), 404, &seen, &book), OTHER);
        }
        assert_eq!(ask("/cart/17", 200, &seen, &book), "GET /cart/{id}");
        assert_eq!(ask("/cart/18", 404, &seen, &book), "GET /cart/{id}");
    }

    #[test]
    fn beyond_the_bound_routes_are_counted_together() {
        let (seen, book) = (Seen::default(), Book::default());
        let word = |n: usize| {
            format!(
                "/{}",
                ["a", "b", "c", "d", "e", "f", "g"]
                    .map(|c| c.repeat(n % 7 + 1))
                    .join("")
                    .repeat(n / 7 % 5 + 1)
                    .get(..n % 31 + 1)
                    .unwrap_or("x")
            )
        };
        let names: std::collections::BTreeSet<String> = (0..5_000)
            .map(|n| ask(&word(n), 200, &seen, &book))
            .collect();
        assert!(names.len() <= FOUND_MAX + 1);
        let named: RoutePattern = "/late".parse().unwrap();
        let number = book.named(&named);
        assert_eq!(
            book.names().route(number),
            "/late",
            "a named route has its place"
        );
        assert_eq!(book.named(&named), number);
    }
}
