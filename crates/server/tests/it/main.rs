//! The API as clients meet it: the real router, runtime and store, with an agent played by the
//! test. End-to-end tests with a real agent are the binary's.

mod commands;
mod document;
mod harness;
mod record;
mod streams;
