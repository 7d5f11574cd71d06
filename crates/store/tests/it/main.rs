//! What the store promises, and that it keeps it on bad days.

mod bad_days;
mod conformance;
mod crash;
mod make;
mod sqlite;
mod world;
