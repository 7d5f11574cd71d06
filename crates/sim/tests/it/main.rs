//! That the worlds are what they claim to be: a store like any other, the same each time, and a
//! witness that sees what is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "helpers of tests fail like tests"
)]

mod broken;
#[path = "../../../store/tests/it/conformance/mod.rs"]
mod conformance;
mod found;
#[path = "../../../store/tests/it/make.rs"]
mod make;
mod store;
#[path = "../../../store/tests/it/world.rs"]
mod world;
mod worlds;
