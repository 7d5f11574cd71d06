//! The process target: an agent on the host starts, probes and stops processes and divides
//! traffic between them with the built-in splitter.
//!
//! The agent calls the controller, never the other way round, so that it works behind a
//! firewall: it fetches what shall be true and reports what is, as written in [`protocol`].
//!
//! Inside: `agent` is the loop, `lane` one service on this host and the steps towards what is
//! desired, `routing` when users may be sent where, `instance` one supervised process,
//! `journal` what survives the agent's death. Processes lead groups of their own and write
//! their logs themselves, so they live on while no agent runs.
//!
//! Below the data folder, the agent has `agent/` with `state.json` (the journal), `blobs/`,
//! `artifacts/`, `logs/INSTANCE.log` and `run/INSTANCE/`, each instance's own writable folder
//! (`AIRBOSS_WORK_DIR`).

mod agent;
pub mod artifact;
mod child;
mod client;
mod config;
mod environment;
mod health;
pub mod identity;
mod instance;
mod journal;
mod lane;
mod launch;
mod link;
mod lock;
mod logs;
mod meter;
mod poll;
mod ports;
pub mod protocol;
mod report;
mod router;
mod routing;

pub use agent::{AgentError, MAX_LANES, run};
pub use client::{ClientError, SESSION_UNKNOWN, join, trusting};
pub use config::{AgentConfig, Clock, StopMode};
pub use routing::{needs_a_watch, routed, waits_for};
