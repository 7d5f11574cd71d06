//! The judge: compares a canary with its baseline every second and says, with a bounded chance
//! of error, whether the release fails, passes or cannot be judged yet.
//!
//! * **Is for**: sequential tests, burn rates, data quality, verdicts with their reasons.
//! * **Must never**: do I/O, read a clock, draw a random number, keep more than O(1) state.
//! * **Start reading** at [`assessment`], what a verdict says, then [`Judge`], then [`ratio`], where
//!   the evidence of one second comes from, and [`mixture`], where it grows.
//!
//! # Example
//! ```
//! use airboss_judge::{ArmTick, Config, InstanceTick, Judge, Sample, SliConfig, Tick, Verdict};
//!
//! let config = Config { slis: vec![SliConfig::errors("errors")], ..Config::default() };
//! let mut judge = Judge::new(config)?;
//! judge.start_step(0.1, Some(0.5))?;
//! let arm = |instance: &str, requests, bad| ArmTick {
//!     instances: vec![InstanceTick {
//!         instance: instance.to_owned(),
//!         requests,
//!         samples: vec![Sample::Count(bad)],
//!         latency: Vec::new(),
//!     }],
//! };
//! let mut verdict = Verdict::NotEnoughData;
//! for t in 0..30 {
//!     let (canary, baseline) = (arm("c1", 50, 5), Some(arm("b1", 450, 1)));
//!     verdict = judge.observe(&Tick { t, weight: Some(0.1), canary, baseline }).verdict;
//! }
//! assert_eq!(verdict, Verdict::Fail);
//! # Ok::<(), airboss_judge::ConfigError>(())
//! ```
//!
//! # What is promised, and under which assumptions
//! *Evidence* is a nonnegative supermartingale that starts at 1 while the release is within its
//! margins. By Ville's inequality (1939) it ever reaches `1/alpha` with probability at most
//! `alpha`, so it may be looked at every second, for as long as one likes, over all steps and SLIs
//! together: the SLIs' evidence is averaged with weights that add up to 1.
//!
//! 1. *Null.* In every second the canary's ratio is at most `rho * p + delta`, `p` being stable's
//!    ratio in the same second. `p` may drift at will; outages that both arms share stay inside.
//! 2. *Independence.* Given that second's ratios, requests are independent of each other. Where
//!    they are not (retries, stalls), the discount of [`calibration`] replaces the theorem by an
//!    empirical bound.
//! 3. *Assignment.* Requests fall to the arms by chance or by a hash of the user. A canary that
//!    gets other users than stable is compared with the wrong thing; [`coverage`] measures that.
//! 4. *Counting.* A request is counted once, in the second in which it ended, in both arms alike.
//!
//! A step *passes* when the reversed tests reach `1/beta`; each is restarted with the step. All
//! critical SLIs must agree, so the chance that a step beyond any pass margin passes is at most
//! `beta` (an intersection-union test needs no correction).
//!
//! # Known limits
//! * The latency histogram's null is equality, so within the margin it is only nearly valid; a gate
//!   (p50 or p99 was 5 % above stable's) and its share of a fifth of alpha's capital bound the harm.
//!   Exceedances have a margin and are exact.
//! * Gauges rest on an asymptotic argument, see [`gauge`].
//! * A calibration knows what its history shows. Without one, clumped errors cause more false
//!   rollbacks than `alpha`; `docs/judge.md` has the measured numbers.
//! * With one canary instance, a fault of that instance is told from a regression only by what the
//!   history says of such faults.
//! * Floating point: replays are identical on the same build; other platforms may differ in the last
//!   digit of `ln` and `exp`.
//!
//! # References
//! Ville 1939; Wald 1945; Turner, Ly, Grünwald 2024 (safe two-sample tests); Turner, Grünwald 2022
//! (nulls with a margin); Lindon, Malek 2022 (counts); Howard, Ramdas, McAuliffe, Sekhon 2021
//! (confidence sequences); Waudby-Smith et al. 2024 (asymptotic ones); Shin, Ramdas, Rinaldo 2024
//! (e-detectors); Beyer et al., The Site Reliability Workbook, chapter 5 (burn rates).

pub mod absolute;
pub mod alerts;
pub mod assessment;
pub mod backtest;
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
mod narrow;
pub mod plan;
mod powers;
pub mod ratio;
pub mod recording;
mod ring;
pub mod roster;
pub mod routing;
pub mod season;
pub mod shape;
mod shapes;
mod sli;
mod strangers;
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
