//! The verbs that run the server and the agent on this machine.
//!
//! `up` is a small supervisor: it runs `serve` and `agent` as processes of their own, so that
//! the death of one never takes the other along, and starts a dead one again at once.

pub mod agent;
pub(crate) mod folder;
pub mod joining;
pub mod keys;
mod logging;
pub mod serve;
mod signals;
pub mod up;
