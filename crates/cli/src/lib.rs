//! The `airboss` program, as a library so that its parts can be tested.
//!
//! * **Is for**: the face that people and scripts see: verbs, tables, the live tree, exit codes.
//!   The verbs of [`host`] run the server and the agent; every other one is a client of
//!   `/api/v1` and of nothing else.
//! * **Must never**: decide anything about a rollout, or read the server's store.
//! * **Start reading** at [`args`], the verbs; then [`app`], which runs them.

pub mod app;
pub mod args;
pub mod client;
pub mod commands;
pub mod exit;
pub mod home;
pub mod host;
pub mod identity;
pub mod render;
pub mod terminal;
