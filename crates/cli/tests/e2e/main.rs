//! Airboss as its users have it: the real binary, real services, real requests.
//!
//! Each test has a folder, ports and processes of its own and leaves none of them behind. What is
//! awaited is a condition, never a time.

#![allow(missing_docs, reason = "tests are described by their names")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test's helpers tell what they saw and fail by panicking, as tests do"
)]

mod audit;
mod bad_disks;
mod bad_starts;
mod contract;
mod evidence;
mod faults;
mod folder;
mod guardrails;
mod harness;
mod keys;
mod lifecycle;
mod partitions;
mod registry;
mod removed_words;
mod replicas;
mod secrets;
mod steering;
mod store;
mod strangers;
mod survival;
