//! Events: restarts, panics, OOM kills, per instance and second.
//!
//! Poisson counts of two arms with a margin are the limit of the ratio test: each instance's
//! second is cut into a thousand slots that hold one event at most. For rates below ten a second
//! the binomial of the slots is the Poisson distribution to half a percent.

use crate::{Rate, config::Margin};

/// Slots of an instance's second.
pub const SLOTS: u64 = 1000;

/// Events of `instances` in one second, as slots; more events than slots are refused.
pub fn slots(events: u64, instances: u64) -> Option<Rate> {
    let requests = instances.saturating_mul(SLOTS);
    (events <= requests).then_some(Rate {
        bad: events,
        requests,
    })
}

/// A margin on events per second, per slot.
pub fn margin(per_second: Margin) -> Margin {
    Margin {
        delta: per_second.delta / SLOTS as f64,
        ..per_second
    }
}
