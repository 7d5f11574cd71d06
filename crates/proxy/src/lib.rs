//! The splitter: the data plane of the process target. It divides HTTP requests between the
//! instances of a stable and a canary arm, and counts what came of them.
//!
//! * **Is for**: HTTP/1.1 and HTTP/2 with prior knowledge from clients, HTTP/1.1 towards
//!   instances; streamed bodies, WebSockets and other upgrades; shares in steps of 0.01 %,
//!   sticky users, a forced arm, mirroring; counts per instance and a drain to wait for.
//! * **Must never**: let a mirrored copy touch a user's answer; send a request anew that may
//!   have been carried out and must not be twice; take a lock that two workers want on the
//!   way of a request; know of rollouts, verdicts or stores.
//! * **Start reading** at [`RoutingTable`] (what is asked), then [`Splitter`] (the handle),
//!   `forward.rs` (a request from head to end) and `upstream.rs` (one attempt).
//!
//! Threads: the splitter runs its own, one for each core up to four ([`Options::workers`]),
//! each with a single-threaded runtime. A connection, its requests and the connections to
//! instances stay on one thread; no request wakes another core. The first worker accepts and
//! gives each connection to the worker with the fewest.

mod answers;
mod body;
mod client;
mod division;
mod forward;
mod headers;
mod instance;
mod kinds;
mod measure;
mod mirror;
mod options;
mod splitter;
mod table;
mod upstream;
mod worker;

pub use measure::{InstanceCounts, Measured};
pub use options::Options;
pub use splitter::{BindError, Splitter};
pub use table::{Arm, Instance, InvalidTable, RoutingTable};
