//! Removes the content of artifacts that nothing keeps. What is known of them stays.

pub mod log;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Command, Input, Lane};
use airboss_model::manifest::{Retention, Service};
use airboss_model::{Digest, LaneId, ServiceName};
use airboss_store::{ArtifactFilter, Removal, StoreError};

use crate::Site;
use crate::api::artifacts::{FateView, RetentionReport};
use crate::problem::{Failure, Result};

pub use plan::{FRESH_FOR, Fate, Known, UNUSED_FOR, plan};

/// Time from the start to the first run: a restart is no reason to remove anything.
const FIRST_AFTER: Duration = Duration::from_secs(600);
/// Time between two runs.
const EVERY: Duration = Duration::from_secs(24 * 3_600);
/// Most artifacts that one run looks at; the next run goes on, as removed ones are not looked at.
const AT_ONCE: u32 = 10_000;
/// Most commands of a lane that wait and are looked at; above that nothing is removed.
const WAITING: u32 = 500;

/// Runs by itself, once a day, for as long as the server does.
pub async fn daily(site: Arc<Site>) {
    tokio::time::sleep(FIRST_AFTER).await;
    loop {
        match run(&site, false).await {
            Ok(report) => {
                tracing::info!(
                    removed = report.goes.len(),
                    kept = report.stays.len(),
                    bytes = report.freed,
                    "retention"
                );
            }
            Err(failure) => tracing::error!(?failure, "retention removed nothing"),
        }
        if site.keep_record.is_some() {
            let (store, now) = (site.runtime.store(), site.runtime.clock().now());
            let done = log::run(&**store, site.keep_record, now, Some("airboss")).await;
            if let Err(error) = done {
                tracing::error!(%error, "the log keeps all its words until the next run");
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes what nothing keeps, or with `dry_run` says what that is.
///
/// # Errors
/// Where the store cannot be read, or holds something about which it cannot be told what it
/// needs: then nothing is removed.
pub async fn run(site: &Site, dry_run: bool) -> Result<RetentionReport> {
    // Whoever is about to need something has recorded it by now.
    let _alone = site.blobs.unpinned().await;
    let now = site.runtime.clock().now();
    let known = gather(site).await?;
    let mut report = RetentionReport {
        dry_run,
        goes: Vec::new(),
        stays: Vec::new(),
        freed: 0,
        failed: Vec::new(),
    };
    for fate in plan(&known, now) {
        let view = FateView {
            digest: fate.digest.to_string(),
            size: fate.size,
            releases: fate.releases.iter().map(ToString::to_string).collect(),
            why: fate.why.clone(),
        };
        if fate.stays {
            report.stays.push(view);
            continue;
        }
        if !dry_run {
            let removal = Removal {
                at: now,
                why: fate.why,
            };
            // First the record, then the content: a crash in between leaves bytes behind that
            // nobody is told of, never a promise without bytes.
            let store = site.runtime.store();
            if !store.remove_artifact(&fate.digest, &removal, now).await? {
                continue;
            }
            if let Err(error) = site.blobs.remove(&fate.digest).await {
                tracing::error!(digest = %fate.digest, %error, "an artifact's content was not removed");
                report.failed.push(format!("{}: {error}", fate.digest));
            } else {
                tracing::info!(digest = %fate.digest, bytes = fate.size, why = removal.why, "an artifact's content was removed");
            }
        }
        report.freed += view.size;
        report.goes.push(view);
    }
    report.goes.reverse();
    Ok(report)
}

async fn gather(site: &Site) -> Result<Known> {
    let store = site.runtime.store();
    let filter = ArtifactFilter {
        kept: Some(true),
        limit: AT_ONCE,
        ..ArtifactFilter::default()
    };
    let artifacts = store.artifacts(&filter).await?;
    let mut policies: BTreeMap<ServiceName, Retention> = BTreeMap::new();
    let mut newest = BTreeMap::new();
    for service in store.services().await? {
        let manifest: Service = serde_json::from_value(service.manifest)
            .map_err(|error| unreadable("the manifest of", &service.name, &error))?;
        policies.insert(service.name.clone(), manifest.spec.retention);
        let releases = store
            .releases(&service.name, airboss_model::manifest::KEEP_MAX)
            .await?;
        newest.insert(service.name, releases);
    }
    let mut made_at = BTreeMap::new();
    for id in artifacts.iter().flat_map(|kept| &kept.releases) {
        if let Some(row) = store.release(id).await? {
            made_at.insert(id.clone(), row.at);
        }
    }
    let mut in_use: BTreeMap<Digest, (Need, String)> = BTreeMap::new();
    let mut needed = |digest, need: Need, id: &LaneId| {
        let why = format!("{} {id}", need.words());
        let known = in_use.entry(digest).or_insert((need, why.clone()));
        if need < known.0 {
            *known = (need, why);
        }
    };
    for row in store.lanes().await? {
        let id = row.lane.clone();
        if let Some(state) = row.state {
            let lane: Lane = serde_json::from_value(state)
                .map_err(|error| unreadable("the state of", &id, &error))?;
            for (digest, need) in needs(&lane) {
                needed(digest, need, &id);
            }
        }
        let waiting = store.inbox(&id, WAITING).await?;
        if waiting.len() >= WAITING as usize {
            return Err(StoreError::Conflict {
                what: "retention",
                detail: format!("{id} has {WAITING} commands waiting; it is tried again later"),
            }
            .into());
        }
        for entry in waiting {
            let input: Input = serde_json::from_value(entry.body)
                .map_err(|error| unreadable("a command to", &id, &error))?;
            if let Input::Command {
                command: Command::Ship(request),
                ..
            } = input
            {
                needed(request.digest, Need::Waits, &id);
            }
        }
    }
    Ok(Known {
        artifacts,
        in_use: in_use
            .into_iter()
            .map(|(digest, (_, why))| (digest, why))
            .collect(),
        policies,
        newest,
        made_at,
    })
}

/// What a lane needs an artifact for, the most telling first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Serves,
    Rollout,
    Runs,
    Waits,
    Earlier,
}

impl Need {
    fn words(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::Rollout => "is rolled out to",
            Self::Runs => "runs in",
            Self::Waits => "waits for",
            Self::Earlier => "can be returned to in",
        }
    }
}

fn needs(lane: &Lane) -> Vec<(Digest, Need)> {
    let arms = lane.desired.iter().flat_map(|desired| &desired.arms);
    let mut needs = Vec::new();
    needs.extend(lane.stable.iter().map(|it| (it.digest, Need::Serves)));
    needs.extend(
        lane.active
            .iter()
            .map(|it| (it.request.digest, Need::Rollout)),
    );
    needs.extend(arms.map(|arm| (arm.digest, Need::Runs)));
    needs.extend(lane.queue.iter().map(|it| (it.digest, Need::Waits)));
    needs.extend(lane.earlier.iter().map(|it| (it.digest, Need::Earlier)));
    needs
}

fn unreadable(what: &str, of: &dyn std::fmt::Display, error: &serde_json::Error) -> Failure {
    StoreError::Conflict {
        what: "retention",
        detail: format!("{what} {of} cannot be read, so it cannot be told what it needs: {error}"),
    }
    .into()
}
