//! The splitter's promises, over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests and their helpers report by panicking"
)]

mod division;
mod drain;
mod failure;
mod limits;
mod mirror;
mod protocols;
mod routes;
mod support;
