//! The suite on PostgreSQL: one real server for the whole run, a database for each test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

use airboss_store::{PostgresOptions, PostgresStore};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// A server that `scripts/postgres.sh` runs; it ends when this does, or the process.
pub struct Server {
    child: Mutex<Child>,
    pub folder: String,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres.sh");
        let child = Command::new(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self {
            child: Mutex::new(child),
            folder: String::new(),
        };
        server.folder = server.said("ready ");
        server
    }

    fn said(&self, start: &str) -> String {
        let stdout = &mut self.child.lock().unwrap().stdout;
        let mut line = String::new();
        // The script answers each word with one line, so nothing is lost in the buffer.
        let read = BufReader::new(stdout.as_mut().unwrap()).read_line(&mut line);
        assert!(read.unwrap() > 0, "the server's script ended");
        line.trim().strip_prefix(start).unwrap().to_owned()
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?user=airboss&host={}", self.folder)
    }

    /// Makes a database and says its address.
    pub async fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))
            .await;
        self.url(&name)
    }

    /// Runs statements behind Airboss's back.
    pub async fn sql(&self, database: &str, sql: &str) {
        let options: PgConnectOptions = self.url(database).parse().unwrap();
        let mut db = options.connect().await.unwrap();
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut db).await.unwrap();
        db.close().await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

/// The server that tests share which leave it alone.
pub static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(&[]));

pub struct Home {
    pub store: PostgresStore,
}

pub async fn home() -> Home {
    let server = tokio::task::spawn_blocking(|| &*SHARED).await.unwrap();
    let url = server.database().await;
    Home {
        store: open(&url).await,
    }
}

pub async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(url, PostgresOptions::default())
        .await
        .unwrap()
}

mod suite {
    crate::conformance::suite!(crate::postgres::home);
}
