//! Measurements on their way to the judge and to people.
//!
//! * **Is for**: what the splitter counted, as one [`airboss_judge::Tick`] a second ([`Gauge`]),
//!   and as the recent numbers that people read ([`Recent`]).
//! * **Must never**: take silence for zero. An arm that did not report is missing from a tick.
//! * **Start reading** at [`Gauge::tick`].

mod gauge;
mod recent;

pub use gauge::Gauge;
pub use recent::{Recent, Summary};
