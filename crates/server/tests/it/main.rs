//! The API as clients meet it: the real router, runtime and store, with an agent played by the
//! test. End-to-end tests with a real agent are the binary's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test's helpers fail by panicking, as tests do"
)]

mod access;
mod agents;
mod artifacts;
mod blame;
mod bucket;
mod commands;
mod connections;
mod document;
mod evidence;
mod harness;
mod limits;
mod log;
mod record;
mod recording;
mod retention;
mod streams;
mod trace;
mod webhooks;
