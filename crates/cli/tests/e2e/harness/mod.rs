//! A running Airboss in a folder of its own, and what a user does with it.

pub mod house;
pub mod http;
pub mod manifest;
pub mod processes;

pub use house::{House, Said};
pub use manifest::Manifest;
