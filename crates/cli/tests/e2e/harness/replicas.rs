//! Three controllers over one PostgreSQL database, and an agent that knows them all.

use std::fs;
use std::path::PathBuf;

use xtask::postgres::Server;
use xtask::versions;

use super::relay::{Relay, Way};
use super::{House, Manifest, http};

/// One of the controllers.
pub struct Replica {
    pub url: String,
    pub pid: u32,
    pub relay: Relay,
    data: PathBuf,
}

/// Controllers, database, agent and a first version that serves.
pub struct Replicas {
    pub house: House,
    pub all: Vec<Replica>,
    pub database: Server,
}

impl Replicas {
    pub async fn serving(manifest: &Manifest) -> Self {
        let database = tokio::task::spawn_blocking(|| Server::start(&[]));
        Self::on(database.await.unwrap(), manifest).await
    }

    /// On a database server that runs.
    pub async fn on(database: Server, manifest: &Manifest) -> Self {
        database.query("postgres", "CREATE DATABASE airboss");
        let mut replicas = Self {
            house: House::empty(manifest),
            all: Vec::new(),
            database,
        };
        for number in 1..=3 {
            replicas.add(number).await;
        }
        replicas.start_agent();
        replicas.talk_to(0);
        let shipped = replicas.house.ship(versions::FIRST, &["--watch"]).await;
        shipped.ended(0);
        replicas
    }

    async fn add(&mut self, number: usize) {
        let data = self.house.path().join(format!("controller-{number}"));
        fs::create_dir_all(&data).unwrap();
        // What controllers of one installation share.
        if let Some(first) = self.all.first() {
            for file in ["token", "log.key"] {
                fs::copy(first.data.join(file), data.join(file)).unwrap();
            }
        }
        let address = xtask::ports::free().unwrap();
        let replica = Replica {
            url: format!("http://{address}"),
            pid: 0,
            relay: Relay::to(&self.database.folder).await,
            data,
        };
        self.all.push(replica);
        let at = self.all.len() - 1;
        self.start(at).await;
        fs::create_dir_all(self.house.data()).unwrap();
        fs::copy(
            self.all[at].data.join("token"),
            self.house.data().join("token"),
        )
        .unwrap();
    }

    /// Starts a controller, again where it ran before, and waits until it answers.
    pub async fn start(&mut self, at: usize) {
        let replica = &self.all[at];
        let artifacts = self.house.path().join("artifacts");
        let (listen, database) = (replica.url.clone(), replica.relay.url());
        let words = [
            "serve",
            "--listen",
            listen.trim_start_matches("http://"),
            "--database",
            &database,
            "--artifacts",
            artifacts.to_str().unwrap(),
            "--data-dir",
            replica.data.to_str().unwrap(),
        ];
        self.all[at].pid = self.house.spawn(&words);
        let address = listen.trim_start_matches("http://").parse().unwrap();
        self.house
            .until("the controller answers", async || {
                http::get(address, "/healthz").await.is_ok()
            })
            .await;
    }

    /// Starts the agent, again where it ran before.
    pub fn start_agent(&mut self) {
        let mut agent = vec!["agent", "--on-stop", "stop"];
        for replica in &self.all {
            agent.extend(["--controller", &replica.url]);
        }
        self.house.spawn(&agent);
    }

    /// Sends commands to this one from now on.
    pub fn talk_to(&mut self, at: usize) {
        self.house.server = Some(self.all[at].url.clone());
    }

    /// The controller that owns the one lane. None while nobody does.
    pub fn owner(&self) -> Option<usize> {
        let owner = self.database.query("airboss", "SELECT owner FROM lanes");
        self.all.iter().position(|replica| {
            let id = fs::read_to_string(replica.data.join("controller.id"));
            id.is_ok_and(|id| id.trim() == owner)
        })
    }

    /// Waits until another than this owns the lane; which one.
    pub async fn until_taken_from(&self, before: usize) -> usize {
        self.house
            .until("another controller owns the lane", async || {
                self.owner().is_some_and(|owner| owner != before)
            })
            .await;
        self.owner().unwrap()
    }

    /// All controllers reach the database here from now on.
    pub fn lead_all(&self, way: &Way) {
        for replica in &self.all {
            replica.relay.lead(way.clone());
        }
    }

    /// Fails unless the database is sound and every event is once in its lane's order.
    pub async fn assert_sound(&self) {
        let sql = "SELECT count(*) FROM lanes AS l WHERE seq <> (SELECT count(*) FROM inputs AS i WHERE i.lane = l.lane)";
        assert_eq!(self.database.query("airboss", sql), "0");
        let sql = "SELECT (SELECT last FROM event_numbers) = count(*) AND (SELECT size FROM log) = count(*) FROM events";
        assert_eq!(self.database.query("airboss", sql), "t");
    }
}
