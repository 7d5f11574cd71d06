//! `airboss doctor`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use airboss_model::Timestamp;
use airboss_model::time::after;
use airboss_oci::Credentials;
use airboss_runtime::Clock;
use airboss_server::api::views::{AgentView, LaneView, SystemView};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Context, artifact};
use crate::args::DoctorArgs;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::home::LOG_KEY_FILE;
use crate::host::keys::{KeyFolder, Rest};
use crate::render::{self, words};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at, such as `server`.
    pub what: String,
    /// How it was found.
    pub told: String,
    /// What to do about it.
    pub next: Option<String>,
}

impl Finding {
    fn good(what: &str, told: impl Into<String>) -> Self {
        Self {
            level: Level::Good,
            what: what.to_owned(),
            told: told.into(),
            next: None,
        }
    }
    fn bad(level: Level, what: &str, told: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            level,
            what: what.to_owned(),
            told: told.into(),
            next: Some(next.into()),
        }
    }
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    healthy: bool,
    findings: Vec<Finding>,
}

/// Below this, ships may fail soon.
const DISK_LOW: u64 = 2_000_000_000;
/// Below this, the store itself is in danger.
const DISK_FULL: u64 = 200_000_000;
/// How long a service's address may take to answer.
const KNOCK: Duration = Duration::from_secs(2);

/// Looks at everything and says what to do. The exit code is 1 where something is wrong.
///
/// # Errors
/// Where the output is gone or full.
pub async fn run(args: DoctorArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let findings = examine(context).await;
    let healthy = findings.iter().all(|finding| finding.level != Level::Wrong);
    if args.output.is_json() {
        context.json(&Report { healthy, findings })?;
    } else {
        context.console.lines(&render::doctor(&findings))?;
    }
    Ok(if healthy { Exit::Done } else { Exit::Error })
}

async fn examine(context: &Context) -> Vec<Finding> {
    let places = &context.places;
    let mut findings = Vec::new();
    let home = places.home.display();
    findings.push(if places.home.is_dir() {
        Finding::good("data folder", home.to_string())
    } else if places.server.is_some() {
        Finding::good("data folder", format!("none here ({home}), none needed"))
    } else {
        Finding::bad(
            Level::Wrong,
            "data folder",
            format!("{home} does not exist"),
            "start Airboss here with `airboss up`, set $AIRBOSS_HOME, or name a server with --server",
        )
    });
    if let Some(file) = places.exposed_token() {
        findings.push(Finding::bad(
            Level::Warning,
            "token file",
            format!("{} can be read by others than its owner", file.display()),
            format!("chmod 600 {}", file.display()),
        ));
    }
    findings.extend(keys(&places.home, Clock::system().now()));
    let client = match context.client() {
        Ok(client) => client,
        Err(error) => {
            findings.push(told("server", &error.to_string()));
            return findings;
        }
    };
    let system = match client.system().await {
        Ok(system) => system,
        Err(error) => {
            findings.push(unanswered(&error));
            return findings;
        }
    };
    findings.push(Finding::good(
        "server",
        format!("answers at {}", client.url()),
    ));
    findings.push(match &client.server().token_from {
        Some(from) => Finding::good("token", format!("accepted (from {from})")),
        None => Finding::good("token", "none needed"),
    });
    findings.extend(of_system(&system, env!("CARGO_PKG_VERSION")));
    match client.lanes().await {
        Ok(list) => {
            for lane in &list.lanes {
                findings.extend(of_lane(lane));
                findings.extend(of_address(&client, lane).await);
            }
            findings.extend(of_tags(&client, &list.lanes).await);
        }
        Err(error) => findings.push(unanswered(&error)),
    }
    findings
}

fn unanswered(error: &ClientError) -> Finding {
    let what = match error {
        ClientError::Problem { status: 401, .. } => "token",
        _ => "server",
    };
    told(what, &error.to_string())
}

/// An error's text as a finding: its first line tells, the others say what to do.
fn told(what: &str, text: &str) -> Finding {
    let mut lines = text.lines().map(str::trim);
    let told = lines.next().unwrap_or_default().to_owned();
    let next = lines.collect::<Vec<_>>().join("; ");
    Finding {
        level: Level::Wrong,
        what: what.to_owned(),
        told,
        next: (!next.is_empty()).then_some(next),
    }
}

/// What the server says of itself, as seen by a client of version `client`.
pub fn of_system(system: &SystemView, client: &str) -> Vec<Finding> {
    let mut findings = vec![if system.version == client {
        Finding::good("version", format!("{client} on both sides"))
    } else {
        Finding::bad(
            Level::Warning,
            "version",
            format!("the server has {}, this program {client}", system.version),
            "use the same on both sides; update the server first",
        )
    }];
    if system.store_findings.is_empty() {
        findings.push(Finding::good("store", &system.store));
    }
    findings.extend(system.store_findings.iter().map(|finding| {
        Finding::bad(
            Level::Wrong,
            "store",
            finding,
            format!(
                "stop the server, keep a copy of {}, and restore the newest backup from its folder `backups`",
                system.data_dir
            ),
        )
    }));
    findings.extend(system.free_bytes.map(|free| {
        let text = format!("{} free in {}", words::bytes(free), system.data_dir);
        let next = "remove what is not needed there, or move the folder to a larger disk";
        match free {
            free if free < DISK_FULL => Finding::bad(Level::Wrong, "disk", text, next),
            free if free < DISK_LOW => Finding::bad(Level::Warning, "disk", text, next),
            _ => Finding::good("disk", text),
        }
    }));
    if system.agents.is_empty() {
        findings.push(Finding::bad(
            Level::Wrong,
            "agent",
            "none has ever reported: nothing can be started",
            "start one with `airboss up`, or `airboss agent` on the host that carries services",
        ));
    }
    findings.extend(
        system
            .agents
            .iter()
            .map(|agent| of_agent(agent, &system.version, &system.now)),
    );
    findings.extend(system.warnings.iter().map(|warning| Finding {
        level: Level::Warning,
        what: "server".to_owned(),
        told: warning.clone(),
        next: None,
    }));
    findings
}

fn of_agent(agent: &AgentView, server: &str, now: &str) -> Finding {
    let id = agent.name.as_ref().or(agent.id.as_ref());
    let id = id.map_or("without a name", String::as_str);
    if let Some(since) = &agent.lost_since {
        let silent = words::between(since, now).unwrap_or_default();
        return Finding::bad(
            Level::Wrong,
            "agent",
            format!("{id} has been silent for {silent}; services go on as they were"),
            "see whether it runs on its host and reaches the server: `airboss up` or `airboss agent` brings it back",
        );
    }
    match agent.version.as_deref() {
        Some(version) if version != server => Finding::bad(
            Level::Warning,
            "agent",
            format!("{id} has version {version}, the server {server}"),
            "use the same on both sides; update the server first",
        ),
        _ => Finding::good("agent", format!("{id} reports")),
    }
}

/// What a lane says of itself.
pub fn of_lane(lane: &LaneView) -> Vec<Finding> {
    let what = format!("{}/{}", lane.service, lane.environment);
    let mut findings: Vec<Finding> = lane
        .problems
        .iter()
        .map(|problem| Finding {
            level: Level::Wrong,
            what: what.clone(),
            told: problem.clone(),
            next: None,
        })
        .collect();
    if let Some(rollout) = &lane.rollout
        && let Some(since) = &rollout.stalled_since
    {
        findings.push(Finding::bad(
            Level::Wrong,
            &what,
            format!(
                "{} has stalled since {}: set {}, observed {}",
                rollout.id,
                words::clock(since),
                lane.traffic.set,
                lane.traffic.observed.as_deref().unwrap_or("unknown")
            ),
            format!(
                "look with `airboss status {}`; end it with `airboss abort {}`",
                lane.service, rollout.id
            ),
        ));
    }
    for arm in lane.arms.iter().filter(|arm| arm.role == "stable") {
        findings.push(if arm.ready < arm.wanted {
            Finding::bad(
                Level::Warning,
                &what,
                format!("{} of {} stable instances are ready", arm.ready, arm.wanted),
                format!("see why with `airboss logs {}`", arm.arm),
            )
        } else {
            Finding::good(&what, format!("{} stable instances ready", arm.ready))
        });
    }
    findings
}

/// Whether the address that users connect to takes connections. Only asked where the server is on
/// this machine: another host's addresses mean nothing here.
async fn of_address(client: &Client, lane: &LaneView) -> Option<Finding> {
    let listen = lane.listen.as_deref()?;
    lane.stable.as_ref()?;
    let (host, port) = listen.rsplit_once(':')?;
    let local = client
        .url()
        .split("://")
        .nth(1)
        .and_then(|rest| rest.rsplit_once(':'))
        .is_some_and(|(host, _)| is_loopback(host));
    if !local {
        return None;
    }
    let host = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1",
        Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1",
        _ => host.trim_matches(['[', ']']),
    };
    let what = format!("{}/{}", lane.service, lane.environment);
    let knock = TcpStream::connect((host, port.parse::<u16>().ok()?));
    Some(match timeout(KNOCK, knock).await {
        Ok(Ok(_)) => Finding::good(&what, format!("{listen} takes connections")),
        Ok(Err(error)) => Finding::bad(
            Level::Wrong,
            &what,
            format!("{listen} takes no connections: {error}"),
            "see whether the agent runs, and what it says of the address above",
        ),
        Err(_) => Finding::bad(
            Level::Wrong,
            &what,
            format!("{listen} does not answer within {} s", KNOCK.as_secs()),
            "see whether a firewall stands between",
        ),
    })
}

/// Whether the tags of registries behind what serves point to what was shipped. The registries
/// are asked from here, with this person's credentials.
async fn of_tags(client: &Client, lanes: &[LaneView]) -> Vec<Finding> {
    let found = match artifact::look(client, lanes, &Credentials::DockerConfig).await {
        Ok(found) => found,
        Err(error) => return vec![told("registries", &error.to_string())],
    };
    found.iter().map(of_tag).collect()
}

/// What a registry says of a tag.
pub fn of_tag(tag: &artifact::Drift) -> Finding {
    let what = &tag.lane;
    match &tag.problem {
        Some(problem) => Finding {
            level: Level::Warning,
            ..told(what, &format!("{}: {problem}", tag.reference))
        },
        None if tag.is_moved() => Finding::bad(
            Level::Warning,
            what,
            format!(
                "{} was moved since {} was made of it; what serves is what was shipped",
                tag.reference, tag.release
            ),
            format!(
                "see what it points to with `airboss artifact drift {}`, and ship that under a version of its own",
                what.split('/').next().unwrap_or_default()
            ),
        ),
        None => Finding::good(
            what,
            format!("{} points to what was shipped", tag.reference),
        ),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// How the keys of a data folder are kept; None where it has none yet.
fn keys(home: &Path, now: Timestamp) -> Option<Finding> {
    /// A key that ends within this time is told of.
    const SOON: Duration = Duration::from_secs(30 * 86_400);
    let what = "keys";
    let folder = match KeyFolder::of(home) {
        Ok(folder) => folder,
        Err(error) => return Some(told(what, &format!("{error:#}"))),
    };
    let ring = match folder.ring() {
        Ok(ring) if ring.own.is_empty() => return None,
        Ok(ring) => ring,
        Err(error) => return Some(told(what, &format!("{error:#}"))),
    };
    let warning = |told: String, next: &str| Finding::bad(Level::Warning, what, told, next);
    let Some(own) = ring.current(now) else {
        let told = "no key signs now: the last one ended or was revoked".to_owned();
        return Some(warning(told, "airboss keys rotate"));
    };
    if let Some(until) = own.until.filter(|until| *until < after(now, SOON)) {
        let told = format!("`{}` signs until {until}", own.name);
        return Some(warning(told, "airboss keys rotate"));
    }
    if folder.rest(&own.secret) == Rest::Plain
        || folder.rest_of_file(&home.join(LOG_KEY_FILE)) == Rest::Plain
    {
        return Some(warning(
            "private keys in the data folder are not sealed: a copy of it can sign".to_owned(),
            "set AIRBOSS_KEY_PASSPHRASE to env:NAME or file:PATH for the server, and start it again",
        ));
    }
    Some(Finding::good(
        what,
        format!(
            "`{}` signs; private keys are not open to readers of the data folder",
            own.name
        ),
    ))
}
