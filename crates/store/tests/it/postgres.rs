//! The suite on PostgreSQL: one real server for the whole run, a database for each test.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use airboss_store::{PostgresOptions, PostgresStore};

#[path = "../../../../xtask/src/postgres.rs"]
#[allow(dead_code, reason = "not every user of it needs all of it")]
mod server;

pub use server::Server;

/// The server that tests share which leave it alone.
pub static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(&[]));

pub struct Home {
    pub store: PostgresStore,
}

pub async fn home() -> Home {
    let url = tokio::task::spawn_blocking(|| database(&SHARED)).await;
    Home {
        store: open(&url.unwrap()).await,
    }
}

/// The shared server.
pub fn shared() -> &'static Server {
    &SHARED
}

/// Makes a database and says its address.
pub fn database(server: &Server) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server.query("postgres", &format!("CREATE DATABASE {name}"));
    server.url(&name)
}

pub async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(url, PostgresOptions::default())
        .await
        .unwrap()
}

mod suite {
    crate::conformance::suite!(crate::postgres::home);
}
