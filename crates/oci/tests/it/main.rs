//! Images and artifacts of a real registry: Debian's, on a port of the test's own.

#![allow(missing_docs, reason = "tests are described by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test's helpers fail by panicking, as tests do"
)]

mod attached;
mod pull;
mod refused;
mod shop;
