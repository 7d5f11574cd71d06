//! The line between a controller and its store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airboss_store::StoreError;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep, sleep_until};

/// What is wrong with a line now.
#[derive(Debug, Clone, Default)]
pub struct WireFaults {
    /// The controller is dead: no call ever returns.
    pub dead: bool,
    /// The controller, or its store, stands still until then and goes on as if nothing was.
    pub frozen_until: Option<Instant>,
    /// Calls fail until then.
    pub away_until: Option<Instant>,
    /// The share of calls that are done and yet reported as failed.
    pub lost_answers: f64,
    /// The longest that one way takes.
    pub slow: Duration,
}

struct State {
    rng: Xoshiro256PlusPlus,
    faults: WireFaults,
}

/// A line with its faults. Clones share them.
#[derive(Clone)]
pub struct Wire(Option<Arc<Mutex<State>>>);

impl Wire {
    /// One that is always at once and never fails.
    pub fn sound() -> Self {
        Self(None)
    }

    /// One whose delays and losses are drawn from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(State {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            faults: WireFaults {
                slow: Duration::from_millis(3),
                ..WireFaults::default()
            },
        }))))
    }

    /// Changes what is wrong with it.
    pub fn change(&self, with: impl FnOnce(&mut WireFaults)) {
        if let Some(state) = &self.0 {
            with(&mut lock(state).faults);
        }
    }

    /// True where the controller is dead.
    pub fn is_dead(&self) -> bool {
        self.0.as_ref().is_some_and(|state| lock(state).faults.dead)
    }

    /// The way there: an error means that nothing was done.
    pub(super) async fn before(&self, what: &'static str) -> Result<(), StoreError> {
        let Some(state) = &self.0 else { return Ok(()) };
        self.travel(state).await;
        let away = lock(state).faults.away_until;
        if away.is_some_and(|until| until > Instant::now()) {
            return Err(unavailable(what, "it is away"));
        }
        Ok(())
    }

    /// The way back: an error says nothing about whether it was done.
    pub(super) async fn after(&self, what: &'static str) -> Result<(), StoreError> {
        let Some(state) = &self.0 else { return Ok(()) };
        self.travel(state).await;
        let lost = {
            let mut state = lock(state);
            let chance = state.faults.lost_answers;
            chance > 0.0 && state.rng.random_bool(chance)
        };
        if lost {
            return Err(unavailable(what, "its answer was lost on the way"));
        }
        Ok(())
    }

    async fn travel(&self, state: &Mutex<State>) {
        let (pause, frozen) = {
            let mut state = lock(state);
            let most = u64::try_from(state.faults.slow.as_micros()).unwrap_or(u64::MAX);
            let micros = state.rng.random_range(0..=most);
            (Duration::from_micros(micros), state.faults.frozen_until)
        };
        sleep(pause).await;
        if let Some(until) = frozen {
            sleep_until(until).await;
        }
        if lock(state).faults.dead {
            std::future::pending::<()>().await;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // What a panic leaves behind is plain data.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(what: &'static str, why: &'static str) -> StoreError {
    StoreError::Unavailable {
        what,
        source: why.into(),
    }
}
