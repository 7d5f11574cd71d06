//! Airboss as its users have it: the real binary, real services, real requests.
//!
//! Each test has a folder, ports and processes of its own and leaves none of them behind. What is
//! awaited is a condition, never a time.

#![allow(missing_docs, reason = "tests are described by their names")]

mod audit;
mod bad_starts;
mod folder;
mod harness;
mod lifecycle;
mod steering;
mod strangers;
mod survival;
