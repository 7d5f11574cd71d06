//! The judge: compares a canary with its baseline every second and says, with a bounded chance
//! of error, whether the release fails, passes or cannot be judged yet.
//!
//! * **Is for**: sequential tests, burn rates, data quality, verdicts with their reasons.
//! * **Must never**: do I/O, read a clock, draw a random number, keep more than O(1) state.
//! * **Start reading** at [`assessment`], what a verdict says, then [`Judge`].

pub mod assessment;

pub use assessment::{Assessment, Rate, SliAssessment, Verdict};
