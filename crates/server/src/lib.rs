//! The HTTP API.
//!
//! * **Is for**: `/api/v1` with its OpenAPI document, the live stream, and the agents' half in
//!   `/agent/v1`.
//! * **Must never**: decide. Every command goes into the inbox and is answered by the engine.
//! * **Start reading** at [`api::views`], what clients read.

pub mod api;
