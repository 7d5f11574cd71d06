//! A running Airboss in a folder of its own, and what a user does with it.

pub mod house;
pub mod http;
pub mod manifest;
pub mod network;
pub mod processes;
pub mod relay;
pub mod replicas;

pub use house::{House, Said};
pub use manifest::Manifest;
pub use replicas::Replicas;
