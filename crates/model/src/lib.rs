//! The words that the rooms of Airboss exchange: ids, resources, manifests, and what a
//! target is asked for and answers.
//!
//! * **Is for**: types with their validation. Everything here is plain data.
//! * **Must never**: do I/O, read a clock, draw a random number, know an async runtime.
//! * **Start reading** at [`manifest`] (what a person writes), then [`target`] (what a
//!   target is asked to make true and what it reports back) and [`traffic`] (what the
//!   splitter measures).

pub mod evidence;
pub mod id;
pub mod manifest;
pub mod metrics;
pub mod origin;
pub mod route;
pub mod status_set;
pub mod target;
pub mod time;
pub mod traffic;

pub use id::{ArmId, Digest, EnvironmentName, LaneId, ReleaseId, RolloutId, ServiceName};
pub use origin::Origin;
pub use time::{Span, Timestamp};
