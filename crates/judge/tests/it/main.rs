//! The judge as its users see it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod traffic;

mod absurd;
mod backtests;
mod chances;
mod clumps;
mod golden;
mod guarantee;
mod kept;
mod kinds;
mod outages;
mod plans;
mod recordings;
mod verdicts;
