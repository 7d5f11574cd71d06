//! What a command and a list cost a client, on SQLite and on PostgreSQL.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use xtask::postgres::Server;

use super::api::Api;
use super::page::{Figures, Table};
use super::stage::{Up, free};
use super::{Ground, say};

/// Services with a rollout in progress; each has a client of its own.
const SERVICES: u32 = 8;
/// Commands a second, of all clients together.
const RATE: u32 = 200;
/// Past rollouts that lists are read beside.
const PAST: u32 = 100_000;
/// Past rollouts are made in PostgreSQL, where one statement does it.
const MAKE_PAST: &str = "INSERT INTO rollouts (id, lane, service, environment, release, digest, phase, outcome, reason, created_by, created_at, updated_at, ended_at) \
    SELECT 'past-' || n, lane, service, environment, release, digest, 'ended', 'shipped', reason, created_by, created_at, updated_at, updated_at \
    FROM rollouts, generate_series(1, 100000) AS n WHERE id = 's1-1'";

/// Commands and lists on both databases.
pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let seconds = ground.runs(60, 5) as u32;
    let mut table = Table::new();
    let on_sqlite = Site::start(&ground.airboss, None)?;
    let took = on_sqlite.commands(seconds)?;
    row(&mut table, "command at 200 a second, SQLite", 20.0, &took);
    on_sqlite.up.stop()?;

    let server = Server::start(&[]);
    server.query("postgres", "CREATE DATABASE bench");
    let on_postgres = Site::start(&ground.airboss, Some(&server.url("bench")))?;
    let took = on_postgres.commands(seconds)?;
    row(
        &mut table,
        "command at 200 a second, PostgreSQL",
        40.0,
        &took,
    );
    say("making past rollouts");
    server.query("bench", MAKE_PAST);
    server.query("bench", "ANALYZE rollouts");
    let middle = format!("/api/v1/rollouts?before=past-{}&limit=50", PAST / 2);
    for (what, path) in [
        ("list, newest page", "/api/v1/rollouts?limit=50"),
        ("list, a page in the middle", middle.as_str()),
        ("list, of a service", "/api/v1/rollouts?service=s2&limit=50"),
        ("status of every service", "/api/v1/lanes"),
        ("one past rollout", "/api/v1/rollouts/past-4711"),
    ] {
        let took = on_postgres.reads(path, ground.runs(500, 20))?;
        let what = format!("{what}, beside {PAST} past rollouts");
        row(&mut table, &what, 50.0, &took);
    }
    on_postgres.up.stop()?;
    Ok(format!(
        "{}\n\
         `airboss up` with {SERVICES} services, each with a canary in progress that is judged every second meanwhile. A client for each pauses \
         and resumes it in turns, {RATE} commands a second in all for {seconds} s, each on a connection of its own over HTTP. A time goes from when the command was due to \
         its whole answer, so it holds more than the acceptance: connection, durable acceptance, decision and durable commit of the decision. \
         PostgreSQL runs on the same machine with `synchronous_commit = on`.",
        table.finish()
    ))
}

fn row(table: &mut Table, what: &str, most: f64, took: &Figures) {
    let reached = took.quantile(0.99) < most;
    let target = format!("p99 < {most} ms");
    table.row(what, &target, Some(reached), took, "ms");
}

struct Site {
    up: Up,
    _folder: tempfile::TempDir,
}

impl Site {
    /// Everything at work, and a rollout of every service in its first step.
    fn start(airboss: &Path, database: Option<&str>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("airboss-bench-")
            .tempdir()?;
        let up = Up::on(airboss, folder.path(), database)?;
        up.agent()?;
        fs::write(folder.path().join("airboss.yaml"), manifests()?)?;
        for version in ["1.0.0", "2.0.0"] {
            let artifact = folder.path().join(version);
            fs::create_dir(&artifact)?;
            let start = artifact.join("start");
            let program = std::env::current_exe()?;
            let script = format!(
                "#!/bin/sh\n# {version}\nexec '{}' app \"$@\"\n",
                program.display()
            );
            fs::write(&start, script)?;
            fs::set_permissions(&start, fs::Permissions::from_mode(0o755))?;
            for number in 1..=SERVICES {
                let service = format!("s{number}");
                let mut ship = up.airboss();
                ship.arg("ship").arg(&artifact);
                ship.args(["--version", version, "--service", &service]);
                if version == "1.0.0" {
                    ship.arg("--watch");
                }
                let done = ship.output()?;
                let error = String::from_utf8_lossy(&done.stderr);
                anyhow::ensure!(
                    done.status.success(),
                    "`airboss ship` of {service}: {error}"
                );
            }
        }
        for number in 1..=SERVICES {
            until_observing(&up.api, &rollout(number))?;
        }
        Ok(Self {
            up,
            _folder: folder,
        })
    }

    /// Milliseconds that commands took.
    fn commands(&self, seconds: u32) -> anyhow::Result<Figures> {
        say(&format!("{RATE} commands a second for {seconds} s"));
        let each = Duration::from_secs(1) * SERVICES / RATE;
        let count = RATE * seconds / SERVICES;
        let begin = Instant::now() + Duration::from_millis(100);
        let clients: Vec<_> = (1..=SERVICES)
            .map(|number| {
                let api = self.up.api.clone();
                // Evenly spaced over all clients.
                let first = begin + each * (number - 1) / SERVICES;
                std::thread::spawn(move || client(&api, &rollout(number), first, each, count))
            })
            .collect();
        let mut took = Vec::new();
        for client in clients {
            let done = client.join();
            took.extend(done.map_err(|_| anyhow::anyhow!("a client panicked"))??);
        }
        Ok(Figures::of(took))
    }

    /// Milliseconds that reads took.
    fn reads(&self, path: &str, count: usize) -> anyhow::Result<Figures> {
        let mut took = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            self.up.api.get(path)?;
            took.push(began.elapsed().as_secs_f64() * 1_000.0);
        }
        Ok(Figures::of(took))
    }
}

fn rollout(number: u32) -> String {
    format!("s{number}-2")
}

fn manifests() -> anyhow::Result<String> {
    let mut text = String::new();
    for number in 1..=SERVICES {
        write!(
            text,
            "---\n\
             apiVersion: airboss/v1\n\
             kind: Service\n\
             metadata: {{ name: s{number} }}\n\
             spec:\n\
             \x20 target:\n\
             \x20   process:\n\
             \x20     command: [\"{{artifact}}/start\", --port, \"{{port}}\", --version, \"{{version}}\", --faults, /nowhere]\n\
             \x20     listen: {}\n\
             \x20     health: {{ http: /healthz, ready_within: 20s }}\n\
             \x20 slos:\n\
             \x20   - {{ name: availability, objective: 99.9%, bad: \"status >= 500\" }}\n\
             \x20 rollout:\n\
             \x20   canary: {{ steps: [10%, 100%], bake: 30m, at_most: 60m, hold_old: 1ms }}\n",
            free()?
        )?;
    }
    Ok(text)
}

fn until_observing(api: &Api, rollout: &str) -> anyhow::Result<()> {
    let most = Instant::now() + Duration::from_secs(60);
    loop {
        let view = api.get(&format!("/api/v1/rollouts/{rollout}"))?;
        if view["phase"] == "observing" {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < most, "{rollout} is not observed: {view}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn client(
    api: &Api,
    rollout: &str,
    first: Instant,
    each: Duration,
    count: u32,
) -> anyhow::Result<Vec<f64>> {
    let mut took = Vec::new();
    for number in 0..count {
        let due = first + each * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let verb = if number % 2 == 0 { "pause" } else { "resume" };
        let path = format!("/api/v1/rollouts/{rollout}/{verb}");
        api.post(&path, &json!({ "by": "bench" }))
            .with_context(|| format!("command {number} of {rollout}"))?;
        took.push(due.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(took)
}
