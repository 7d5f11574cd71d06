//! The engine against a world made of data: targets that follow, lag, lie and fall silent.
//!
//! Start reading at `harness`; every decision made in it is checked by `invariants`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and says where"
)]

mod borders;
mod edge_cases;
mod gates;
mod harness;
mod invariants;
mod lanes;
mod properties;
mod record;
mod table;
mod three_am;
mod timelines;
