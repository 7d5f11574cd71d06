//! The engine: what happens to one service in one environment, as a pure state machine.
//!
//! * **Is for**: [`decide`] turns a [`Lane`], one [`Input`] and the time into events, effects
//!   and an answer; [`evolve`] folds an event into the lane. Replay runs `evolve` only.
//! * **Must never**: do I/O, read a clock, draw a random number, or depend on how fast anything
//!   is. Every timer is an input: [`next_deadline`] says when to send [`Input::Clock`].
//! * **Start reading** at [`lane`], the state; then [`decide`], one function for each input;
//!   then [`wanted`], the only place that says what the target shall look like in each phase.
//!   `docs/rollout-table.md` shows every input in every state; a test keeps it current.
//!
//! ```text
//! Preparing ─► Shifting ─► Observing ──► … next step … ──► Draining ─► ended
//!      └────────────┴──────────┴───► RollingBack ─► ended
//! ```

mod decide;
mod decided;
mod event;
mod evolve;
mod gate;
mod input;
mod lane;
mod plan;
mod timer;
mod wanted;

pub use decide::{Decision, decide};
pub use decided::By;
pub use event::{Cause, Event, Outcome, PassedBy};
pub use evolve::evolve;
pub use gate::{Lack, differ};
pub use input::{Answer, Command, Effect, Input, Refusal, Request, Urgency};
pub use lane::{Deployed, Lane, Paused, Phase, Rollout, Seen, SeenArm, VerdictNote};
pub use plan::{Plan, Step};
pub use timer::{ROUTER_DEADLINE, next_deadline};
pub use wanted::wanted;
