//! One controller: the real runtime on its own line to the store, which can die, stand still and
//! come back with another clock.

use std::sync::Arc;
use std::time::Duration;

use airboss_model::Timestamp;
use airboss_model::time::after;
use airboss_runtime::evidence::NoKeys;
use airboss_runtime::{Clock, Hub, Runtime};
use tokio::time::{Instant, sleep};

use crate::store::{Observer, SimStore, Wire};

/// How long a controller that cannot start waits to try again, as a supervisor does.
const START_AGAIN: Duration = Duration::from_millis(500);

/// A controller process.
pub struct Controller {
    /// The process's own name.
    pub name: String,
    /// Its line to the store.
    pub wire: Wire,
    /// Where the agent meets it.
    pub hub: Arc<Hub>,
    /// Its clock, as far as it is wrong.
    pub clock: Clock,
    /// The controller at work; None while it starts.
    pub runtime: Option<Arc<Runtime>>,
    /// The agent does not reach it until then.
    pub cut_until: Option<Instant>,
}

impl Controller {
    /// A process that is about to start, with a clock that shows `skew` seconds too many.
    pub fn new(name: String, seed: u64, wall: Timestamp, skew: i64) -> Self {
        let by = Duration::from_secs(skew.unsigned_abs());
        let wrong = if skew >= 0 {
            after(wall, by)
        } else {
            wall.checked_sub(by).unwrap_or(wall)
        };
        let clock = Clock::anchored(wrong);
        Self {
            hub: Arc::new(Hub::new(name.clone(), clock.now())),
            wire: Wire::seeded(seed),
            clock,
            runtime: None,
            cut_until: None,
            name,
        }
    }

    /// Starts the real runtime, as often as it takes. None where the process died before.
    pub async fn start(
        name: String,
        wire: Wire,
        hub: Arc<Hub>,
        clock: Clock,
        store: &SimStore,
        observer: Arc<dyn Observer>,
    ) -> Option<Arc<Runtime>> {
        let line = Arc::new(store.line(&name, wire.clone(), Some(observer)));
        while !wire.is_dead() {
            let (store, hub) = (Arc::clone(&line), Arc::clone(&hub));
            match Runtime::start(store, hub, Arc::new(NoKeys), clock.clone(), name.clone()).await {
                Ok(runtime) => return Some(runtime),
                Err(_) => sleep(START_AGAIN).await,
            }
        }
        None
    }

    /// True where the agent reaches it.
    pub fn is_reached(&self) -> bool {
        !self.wire.is_dead() && self.cut_until.is_none_or(|until| until <= Instant::now())
    }
}
