//! Servers, database and agent on hosts of their own, and cables between them that are pulled.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use xtask::postgres::Server;
use xtask::versions::{self, GOOD};

use crate::harness::network::Network;
use crate::harness::{House, Manifest, processes};

/// Two servers, a database and one agent, each on its host. Servers reach the database over a
/// network of their own.
struct Hosts {
    house: House,
    network: Network,
    database: Server,
}

const DATABASE: &str = "10.83.1.1";
const SERVERS: [(&str, &str); 2] = [("one", "10.83.0.11"), ("two", "10.83.0.12")];
/// Where the agent is.
const WEB: &str = "web";

impl Hosts {
    /// With a first version that serves.
    async fn serving(mut network: Network, manifest: &Manifest) -> Self {
        network.plug("db", "data", DATABASE);
        network.plug(WEB, "app", "10.83.0.21");
        for (at, (host, address)) in SERVERS.iter().enumerate() {
            network.plug(host, "app", address);
            network.plug(host, "data", &format!("10.83.1.{}", 11 + at));
        }
        let host = network.host("db");
        let start = move || {
            let server = Server::start_on(&host, &["--listen", DATABASE]);
            server.query("postgres", "CREATE DATABASE airboss");
            server
        };
        let database = tokio::task::spawn_blocking(start).await.unwrap();
        let mut hosts = Self {
            house: House::empty(manifest),
            network,
            database,
        };
        for at in 0..SERVERS.len() {
            hosts.start_server(at).await;
        }
        hosts.talk_to(0);
        hosts.start_agent().await;
        hosts
            .house
            .ship(versions::FIRST, &["--watch"])
            .await
            .ended(0);
        hosts
    }

    fn data(&self, host: &str) -> PathBuf {
        self.house.path().join(format!("host-{host}"))
    }

    async fn start_server(&mut self, at: usize) {
        let (host, address) = SERVERS[at];
        let data = self.data(host);
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(self.house.data()).unwrap();
        if at > 0 {
            for file in ["token", "log.key"] {
                fs::copy(self.data(SERVERS[0].0).join(file), data.join(file)).unwrap();
            }
        }
        self.house.within = Some(self.network.host(host));
        let artifacts = self.house.path().join("artifacts");
        let database = format!("postgres://airboss@{DATABASE}/airboss?sslmode=disable");
        let listen = format!("{address}:7420");
        let words = [
            "serve",
            "--insecure-listen",
            "--listen",
            &listen,
            "--database",
            &database,
            "--artifacts",
            artifacts.to_str().unwrap(),
            "--data-dir",
            data.to_str().unwrap(),
        ];
        self.house.spawn(&words);
        self.house
            .until("the server made its token", async || {
                data.join("server.json").exists() && data.join("token").exists()
            })
            .await;
        fs::copy(data.join("token"), self.house.data().join("token")).unwrap();
        self.talk_to(at);
        self.house
            .until("the server answers", async || {
                self.house.run(&["status"]).await.code == Some(0)
            })
            .await;
    }

    /// Lets the agent in, for everything in production, and starts it.
    async fn start_agent(&mut self) {
        let invite = ["agent", "token", "web-1", "--carries", "*/production"];
        let invite = [&invite[..], &["--output", "json"]].concat();
        let invited = self.house.run(&invite).await.ended(0);
        let invited: Value = serde_json::from_str(&invited.out).unwrap();
        let token = invited["join_token"].as_str().unwrap().to_owned();
        let data = self.data(WEB);
        let data = data.to_str().unwrap();
        self.house.within = Some(self.network.host(WEB));
        let urls = SERVERS.map(|(_, address)| format!("http://{address}:7420"));
        let join = ["agent", "join", "--data-dir", data];
        let join = [
            &join[..],
            &["--controller", &urls[0], "--controller", &urls[1]],
        ]
        .concat();
        self.house.variables = vec![("AIRBOSS_JOIN_TOKEN", token.leak())];
        self.house.run(&join).await.ended(0).says(&["web-1"]);
        self.house
            .run(&join)
            .await
            .ended(1)
            .says(&["joined already"]);
        self.house.variables.clear();
        // Its own folder has no token of the installation's.
        self.house
            .spawn(&["agent", "--on-stop", "stop", "--data-dir", data]);
        assert!(!self.data(WEB).join("token").exists());
        self.talk_to(0);
        self.until_agent("reports").await;
    }

    /// Sends commands to this server from now on, typed on its host.
    fn talk_to(&mut self, at: usize) {
        let (host, address) = SERVERS[at];
        self.house.within = Some(self.network.host(host));
        self.house.server = Some(format!("http://{address}:7420"));
    }

    async fn until_agent(&self, state: &str) -> Value {
        let list = async || {
            let said = self.house.run(&["agent", "list", "--output", "json"]).await;
            serde_json::from_str::<Value>(&said.out).unwrap_or_default()
        };
        self.house
            .until(&format!("the agent is {state}"), async || {
                list().await["agents"][0]["state"] == state
            })
            .await;
        list().await["agents"][0].clone()
    }

    /// Which server owns the lane.
    fn owner(&self) -> Option<usize> {
        let owner = self.database.query("airboss", "SELECT owner FROM lanes");
        SERVERS.iter().position(|(host, _)| {
            let id = fs::read_to_string(self.data(host).join("controller.id"));
            id.is_ok_and(|id| id.trim() == owner)
        })
    }

    /// Half of the users on another version; nobody sends enough to prove anything.
    async fn exposed(&self, number: &'static str, id: &str) {
        let version = versions::Version { number, ..GOOD };
        self.house.ship(version, &[]).await.ended(0);
        self.house
            .until_lane("the first step is observed", |lane| {
                lane["rollout"]["id"] == id
                    && lane["rollout"]["phase"] == "observing"
                    && lane["traffic"]["confirmed"] == true
            })
            .await;
    }

    async fn until_only(&self, version: &str) {
        self.house
            .until(&format!("{version} alone answers"), async || {
                (0..20).all(|_| {
                    let answers = self.network.version(WEB, self.house.listen);
                    answers.as_deref() == Some(version)
                })
            })
            .await;
    }

    /// One instance runs, of the version that the record says; every event is there once, and every
    /// state is the one that its events lead to.
    async fn assert_sound(&self, version: &str) {
        self.until_only(version).await;
        let lane = self
            .house
            .until_lane("one arm is left", |lane| {
                lane["rollout"].is_null() && lane["arms"].as_array().is_some_and(|it| it.len() == 1)
            })
            .await;
        assert_eq!(lane["stable"]["version"], version, "{lane:#}");
        self.house
            .until("one instance runs", async || {
                let all = processes::of_folder(self.house.path());
                let runs = |(_, command): &&(u32, String)| command.contains("/checkout --port");
                all.iter().filter(runs).count() == 1
            })
            .await;
        let url = self.database.url("airboss");
        let verify = ["store", "verify", "--database", &url];
        self.house.run(&verify).await.ended(0);
        let twice = "SELECT count(*) FROM (SELECT rollout FROM events WHERE kind = 'ended' GROUP BY rollout HAVING count(*) > 1) AS twice";
        assert_eq!(self.database.query("airboss", twice), "0");
    }

    async fn ended_as(&self, id: &str, outcome: &str) {
        let rollout = self.house.until_ended(id).await;
        assert_eq!(rollout["outcome"], outcome, "{rollout:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_between_hosts_loses_nothing_runs_nothing_twice_and_traffic_ends_as_recorded() {
    let network = match Network::new(&["app", "data"]) {
        Ok(network) => network,
        Err(why) => {
            println!("skipped: this kernel or user may not make network namespaces: {why}");
            return;
        }
    };
    let manifest = Manifest {
        // By chance alone twenty requests do not all miss it.
        steps: "[50%, 100%]",
        lease: "6s",
        ..Manifest::default()
    };
    let mut hosts = Hosts::serving(network, &manifest).await;

    // The agent's host is cut off. What it means is said; its lease ends the exposure.
    hosts.exposed("1.1.0", "checkout-2").await;
    hosts.network.pull(WEB, "app");
    let lost = hosts
        .house
        .until_lane("the agent is lost", |lane| {
            lane["agent"]["lost_since"].is_string()
        })
        .await;
    let effect = lost["agent"]["effect"].as_str().unwrap();
    assert!(effect.contains("checkout-2 holds"), "{effect}");
    let status = hosts.house.run(&["status"]).await.ended(0);
    status.says(&["web-1", "checkout-2 holds", "checkout@1.0.0"]);
    hosts.until_agent("silent").await;
    hosts.until_only("1.0.0").await;
    // Acknowledged while nobody can act on it.
    hosts.house.run(&["pause", "checkout-2"]).await.ended(0);
    hosts.network.put_back(WEB, "app");
    hosts.ended_as("checkout-2", "rolled_back").await;
    let why = hosts.house.run(&["explain", "checkout-2"]).await.ended(0);
    why.says(&["lease", "paused by", "silent since"]);
    hosts.until_agent("reports").await;
    hosts.assert_sound("1.0.0").await;

    // The owner is cut off from the database, and both still reach the agent.
    hosts.exposed("1.1.1", "checkout-3").await;
    let owner = hosts.owner().unwrap();
    let other = 1 - owner;
    hosts.talk_to(other);
    hosts.network.pull(SERVERS[owner].0, "data");
    hosts.house.run(&["abort", "checkout-3"]).await;
    hosts
        .house
        .until("the other server owns the lane", async || {
            hosts.owner() == Some(other)
        })
        .await;
    hosts.ended_as("checkout-3", "aborted").await;
    hosts.until_only("1.0.0").await;
    hosts.network.put_back(SERVERS[owner].0, "data");
    hosts.talk_to(owner);
    hosts
        .house
        .until("the former owner answers again", async || {
            hosts.house.run(&["status"]).await.code == Some(0)
        })
        .await;
    hosts.assert_sound("1.0.0").await;

    // The database's host is cut off from both: nobody vouches, so users go back to stable.
    hosts.exposed("1.1.2", "checkout-4").await;
    hosts.network.pull("db", "data");
    hosts.until_only("1.0.0").await;
    hosts.network.put_back("db", "data");
    hosts
        .house
        .until("the server answers again", async || {
            hosts.house.run(&["status"]).await.code == Some(0)
        })
        .await;
    hosts.ended_as("checkout-4", "rolled_back").await;
    hosts.assert_sound("1.0.0").await;

    // A revoked agent is not heard any more, and what runs there goes on.
    let revoked = hosts.house.run(&["agent", "revoke", "web-1"]).await;
    revoked.ended(0).says(&["checkout/production"]);
    hosts.until_agent("revoked").await;
    hosts.until_only("1.0.0").await;
}
