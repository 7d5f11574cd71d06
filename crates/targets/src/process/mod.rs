//! The process target: an agent on the host starts, probes and stops processes and divides
//! traffic between them with the built-in splitter.
//!
//! The agent calls the controller, never the other way round, so that it works behind a
//! firewall: it fetches what shall be true and reports what is, as written in [`protocol`].

pub mod protocol;
