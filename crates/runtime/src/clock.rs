//! The one place where time is read.

use std::time::Duration;

use airboss_model::Timestamp;
use airboss_model::time::{after, since};
use tokio::time::Instant;

/// A clock that never jumps: wall time at its start, moved on by the monotonic clock, so that a
/// step of the system's clock changes no duration. Cut to milliseconds.
#[derive(Debug, Clone)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

/// A difference between the system's clock and ours that is worth a line in the log.
const JUMP: Duration = Duration::from_secs(2);

impl Clock {
    /// Anchored at the system's clock now.
    pub fn system() -> Self {
        Self::anchored(wall_now())
    }

    /// Anchored at a given time, for simulations.
    pub fn anchored(wall: Timestamp) -> Self {
        Self {
            wall,
            started: Instant::now(),
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        cut(after(self.wall, self.started.elapsed()))
    }

    /// When a time comes, for sleeping; at once where it has passed.
    pub fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + since(self.now(), at)
    }

    /// How far the system's clock has moved away from this one, where that is worth telling.
    pub fn drift(&self) -> Option<Duration> {
        let (ours, system) = (self.now(), wall_now());
        let apart = since(ours, system).max(since(system, ours));
        (apart > JUMP).then_some(apart)
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the system's clock is read"
)]
fn wall_now() -> Timestamp {
    cut(Timestamp::now())
}

fn cut(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
