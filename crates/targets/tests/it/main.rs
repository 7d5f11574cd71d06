//! The agent with real processes, a real splitter and a controller of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and the shipped service writes a log"
)]

mod app;
mod artifacts;
mod controller;
mod drain;
mod exposure;
mod hostile;
mod layers;
mod life;
mod recovery;
mod reports;
mod world;
