//! Structured logs on standard error: text on a terminal, one JSON object a line elsewhere.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Starts logging. `$AIRBOSS_LOG` filters as usual (`info`, `airboss_runtime=debug`).
pub fn start() {
    let filter = EnvFilter::try_from_env("AIRBOSS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false)
        // A line that cannot be written, such as on a full disk, is lost; telling of it would be
        // written there too, and end the task that logs.
        .log_internal_errors(false);
    // A second start in one process (tests) keeps the first logger.
    let _ = if io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
