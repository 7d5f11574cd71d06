//! What the ledger promises, also in the eyes of others' implementations.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod bundles;
mod fuzzed;
mod make;
mod notes;
mod oracle;
mod tiles;
mod tree;
