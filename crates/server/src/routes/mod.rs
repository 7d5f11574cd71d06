//! Handlers, one module a noun.

pub mod agents;
pub mod artifacts;
pub mod events;
pub mod lanes;
pub mod log;
pub mod releases;
pub mod retention;
pub mod rollouts;
pub mod roster;
pub mod system;
pub mod tokens;
pub mod trace;
pub mod webhooks;

use airboss_runtime::Runtime;
use axum::http::HeaderMap;

use crate::access::Caller;
use crate::problem::{Failure, Result};

/// The key of a request: the client's, or a new one.
fn key(headers: &HeaderMap) -> Result<String> {
    match headers.get("idempotency-key") {
        None => Ok(uuid::Uuid::now_v7().to_string()),
        Some(value) => match value.to_str() {
            Ok(key) if !key.is_empty() && key.len() <= 200 => Ok(key.to_owned()),
            _ => Err(Failure::invalid(
                "`Idempotency-Key` must be 1 to 200 visible characters",
            )),
        },
    }
}

/// Who asks, for the record.
fn who(caller: &Caller, by: &str) -> Result<String> {
    if by.trim().is_empty() || by.len() > 200 {
        return Err(Failure::invalid(
            "`by` must name who asks, in 1 to 200 characters",
        ));
    }
    Ok(caller.on_record(by))
}

/// A number of an event that a client names: none is larger than the store can count.
fn behind(after: Option<u64>) -> u64 {
    after.unwrap_or(0).min(i64::MAX.unsigned_abs())
}

/// The number of the newest event.
fn last_event(runtime: &Runtime) -> u64 {
    *runtime.events().borrow()
}
