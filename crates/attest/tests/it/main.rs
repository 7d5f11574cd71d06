//! What attestations promise to whoever relies on them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod assessing;
mod bad_input;
mod fuzzed;
mod keyless;
mod keys;
mod make;
mod oracles;
mod reading;
mod verifying;
