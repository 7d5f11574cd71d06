//! Whole worlds on one seeded thread: controllers, their store, an agent, users, operators, and
//! everything that goes wrong between them.
//!
//! * **Is for**: running the real code of `runtime` (lanes, judging, hub, claims) on a clock that
//!   stands still and jumps, with a checker that sees every step ([`Witness`](witness::Witness)).
//! * **Must never**: be used by a crate of the product; read the system's clock; draw a random
//!   number that its seed does not give. A seed and a story give the same world each time.
//! * **Start reading** at [`story`], what can go wrong; then [`world`], which lets it happen; then
//!   [`witness`], what must hold after every step.

pub mod agent;
pub mod controller;
pub mod shrink;
pub mod store;
pub mod story;
pub mod witness;
pub mod world;

pub use shrink::shrink;
pub use story::Story;
pub use witness::{Finding, Promise};
pub use world::{Ended, Tally, play};
