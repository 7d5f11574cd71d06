//! The judge: compares a canary with its baseline every second and says, with a bounded chance
//! of error, whether the release fails, passes or cannot be judged yet.
//!
//! * **Is for**: sequential tests, burn rates, data quality, verdicts with their reasons.
//! * **Must never**: do I/O, read a clock, draw a random number, keep more than O(1) state.
//! * **Start reading** at [`assessment`], what a verdict says, then [`Judge`].

pub mod absolute;
pub mod assessment;
mod blocks;
pub mod burn;
pub mod calibration;
pub mod config;
pub mod coverage;
pub mod dispersion;
pub mod events;
mod explain;
pub mod external;
pub mod gauge;
pub mod judge;
pub mod latency;
pub mod level;
pub mod member;
pub mod mixture;
pub mod plan;
pub mod ratio;
pub mod recording;
pub mod roster;
pub mod routing;
pub mod shape;
mod sli;
pub mod suggest;
pub mod suspects;
pub mod throughput;
pub mod tick;
mod verdict;
pub mod words;

pub use assessment::{Assessment, Rate, SliAssessment, Verdict};
pub use calibration::{Calibration, Calibrator};
pub use config::{Better, Config, ConfigError, Margin, SliConfig, SliKind};
pub use explain::{Explanation, MemberExplanation, SliExplanation};
pub use judge::{Judge, Silence};
pub use tick::{ArmTick, InstanceTick, Sample, Tick};
