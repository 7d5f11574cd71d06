//! Drivers that make the desired state true on a target and report what they see.
//!
//! * **Is for**: one module a target; today [`process`], processes on a host behind the splitter.
//! * **Must never**: decide. A target carries out [`airboss_model::target::Desired`], answers
//!   with [`airboss_model::target::Observed`] and measurements; what follows is the engine's.
//! * **Start reading** at [`process`].

pub mod process;
pub mod secret;
