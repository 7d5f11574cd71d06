//! What the store promises, and that it keeps it on bad days.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod bad_days;
mod conformance;
mod crash;
mod ledger;
mod make;
mod postgres;
mod previous;
mod sqlite;
mod tampering;
mod tls;
mod world;
