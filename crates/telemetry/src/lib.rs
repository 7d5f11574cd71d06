//! Measurements on their way to the judge and to people.
//!
//! * **Is for**: what the splitter counted, as one [`airboss_judge::Tick`] a second ([`Gauge`]),
//!   as the recent numbers that people read ([`Recent`]), and as a recording ([`Recorder`]).
//!   What a rollout may expect of that traffic is [`forecast`].
//! * **Must never**: take silence for zero. An arm that did not report is missing from a tick.
//! * **Start reading** at [`Gauge::tick`].

mod coverage;
mod forecast;
mod gauge;
mod recent;
mod record;

pub use coverage::{blind_spots, covered};
pub use forecast::{Forecast, Usual, forecast};
pub use gauge::Gauge;
pub use recent::{Recent, Summary};
pub use record::{Judged, Recorder};
