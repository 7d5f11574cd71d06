//! Measurements on their way to the judge and to people.
//!
//! * **Is for**: what splitter and instances measured, as one [`airboss_judge::Tick`] a second ([`Gauge`]),
//!   as the recent numbers that people read ([`Recent`]), and as a recording ([`Recorder`], [`Replay`]).
//!   What a rollout may expect of that traffic is [`forecast`].
//! * **Must never**: take silence for zero. An arm that did not report is missing from a tick.
//! * **Start reading** at [`Gauge::tick`].

mod coverage;
mod forecast;
mod gauge;
mod guardrails;
mod recent;
mod record;
mod replay;

pub use coverage::{blind_spots, covered};
pub use forecast::{Forecast, Usual, forecast};
pub use gauge::Gauge;
pub use recent::{Recent, Summary};
pub use record::{Judged, Recorder};
pub use replay::{Replay, measures};
