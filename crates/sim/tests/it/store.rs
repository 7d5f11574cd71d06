//! The suite that SQLite is held to, over the store in memory.

use airboss_sim::store::SimStore;

pub struct Home {
    pub store: SimStore,
}

pub async fn home() -> Home {
    Home {
        store: SimStore::alone(),
    }
}

crate::conformance::suite!(crate::store::home);
