//! The words of the HTTP API, shared by the server and its clients.

pub mod agents;
pub mod artifacts;
pub mod deliveries;
pub mod evidence;
pub mod log;
pub mod report;
pub mod requests;
pub mod tokens;
pub mod trace;
pub mod views;
