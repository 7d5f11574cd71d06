//! A rollout played before it is shipped: the user's own manifest, a fault that they choose, and
//! a clock that need not be waited for.
//!
//! * **Is for**: [`rehearse`], many seeded runs of one rollout, each decided by the engine and
//!   judged by the judge that decide and judge live ones; [`Host`], the simulated agent with its
//!   instances and its splitter; [`Traffic`], its users.
//! * **Must never**: do I/O, read a clock, or decide anything itself. The same arguments give the
//!   same rehearsal, number for number.
//! * **Start reading** at [`rehearse`], then `run`, one rollout from its start to its end.

mod fault;
mod host;
mod rehearse;
mod run;
mod summary;
mod traffic;
mod usual;

pub use fault::{Fault, FaultKind, InvalidFault};
pub use host::{Habits, Host, Nature};
pub use rehearse::{Progress, RUNS_MAX, Rehearsal, Setting, SettingError, rehearse};
pub use run::{Ending, Moment, Run};
pub use summary::{Spread, Summary};
pub use traffic::{Answers, Traffic};
pub use usual::{RecordedError, Usual};
