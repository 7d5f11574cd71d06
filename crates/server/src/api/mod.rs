//! The words of the HTTP API, shared by the server and its clients.

pub mod requests;
pub mod views;
