//! Whether tags point to what they pointed to.

use std::collections::BTreeMap;
use std::time::Duration;

use airboss_oci::{Credentials, Registry, Source};
use airboss_server::api::artifacts::ArtifactDetail;
use airboss_server::api::requests::{ArtifactQuery, TagRequest};
use airboss_server::api::views::LaneView;
use serde::Serialize;

use super::{DriftArgs, LOOKED_AT};
use crate::client::Client;
use crate::commands::{Context, subject};
use crate::exit::Exit;
use crate::render;

/// How long a registry may take to say what a tag points to.
const WITHIN: Duration = Duration::from_secs(15);

/// A tag that something which serves or is rolled out was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Such as `ghcr.io/acme/shop:1.4.0`.
    pub reference: String,
    /// The release, such as `checkout@1.4.0`.
    pub release: String,
    /// Where it serves or is rolled out, such as `checkout/production`.
    pub lane: String,
    /// What the tag pointed to when the release was made.
    pub pinned: String,
    /// What it points to now; None where the registry could not be asked.
    pub now: Option<String>,
    /// Why the registry could not be asked.
    pub problem: Option<String>,
}

impl Drift {
    /// True where the tag was moved.
    pub fn is_moved(&self) -> bool {
        self.now.as_ref().is_some_and(|now| *now != self.pinned)
    }
}

/// What `--output json` prints.
#[derive(Serialize)]
struct Report<'a> {
    moved: bool,
    tags: &'a [Drift],
}

/// Asks, tells, and lets the server know.
pub(super) async fn run(args: &DriftArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let lanes = subject::lanes(&client, args.service.as_deref(), None).await?;
    let found = look(&client, &lanes, &args.auth.credentials()).await?;
    let moved = found.iter().any(Drift::is_moved);
    if args.output.is_json() {
        let tags = &found;
        context.json(&Report { moved, tags })?;
    } else if found.is_empty() {
        context
            .console
            .text("Nothing that serves was made of a registry's tag.")?;
    } else {
        context.console.lines(&render::drift(&found))?;
    }
    Ok(if moved {
        Exit::RolledBack
    } else if found.iter().any(|tag| tag.problem.is_some()) {
        Exit::Error
    } else {
        Exit::Done
    })
}

/// Asks the registries about every tag behind what serves or is rolled out in these lanes, and
/// tells the server what they say.
///
/// # Errors
/// Where the server cannot be asked. A registry that cannot is told in the list.
pub async fn look(
    client: &Client,
    lanes: &[LaneView],
    credentials: &Credentials,
) -> anyhow::Result<Vec<Drift>> {
    let query = ArtifactQuery {
        limit: Some(LOOKED_AT),
        ..ArtifactQuery::default()
    };
    let artifacts = client.artifacts(&query).await?.artifacts;
    let mut found = in_lanes(&artifacts, lanes);
    let mut asked: BTreeMap<String, Result<String, String>> = BTreeMap::new();
    for tag in &mut found {
        if !asked.contains_key(&tag.reference) {
            let answer = ask(&tag.reference, credentials).await;
            if let (Ok(digest), Some((repository, name))) =
                (&answer, tag.reference.rsplit_once(':'))
            {
                let seen = TagRequest {
                    repository: repository.to_owned(),
                    tag: name.to_owned(),
                    digest: digest.clone(),
                };
                client.put_tag(&seen).await?;
            }
            asked.insert(tag.reference.clone(), answer);
        }
        match asked.get(&tag.reference) {
            Some(Ok(digest)) => tag.now = Some(digest.clone()),
            Some(Err(why)) => tag.problem = Some(why.clone()),
            None => {}
        }
    }
    Ok(found)
}

fn in_lanes(artifacts: &[ArtifactDetail], lanes: &[LaneView]) -> Vec<Drift> {
    let mut found = Vec::new();
    for lane in lanes {
        let stable = lane.stable.iter().map(|it| (&it.digest, &it.version));
        let active = lane.rollout.iter().map(|it| (&it.digest, &it.version));
        for (digest, version) in stable.chain(active) {
            let origins = artifacts
                .iter()
                .filter(|artifact| artifact.digest == *digest)
                .flat_map(|artifact| &artifact.origins)
                .filter(|origin| origin.tag.is_some());
            for origin in origins {
                let drift = Drift {
                    reference: origin.reference.clone(),
                    release: format!("{}@{version}", lane.service),
                    lane: format!("{}/{}", lane.service, lane.environment),
                    pinned: origin.resolved.clone(),
                    now: None,
                    problem: None,
                };
                if !found.contains(&drift) {
                    found.push(drift);
                }
            }
        }
    }
    found
}

async fn ask(reference: &str, credentials: &Credentials) -> Result<String, String> {
    let asking = async {
        let source: Source = reference.parse()?;
        Registry::new(source, credentials)?.look().await
    };
    match tokio::time::timeout(WITHIN, asking).await {
        Ok(Ok(digest)) => Ok(digest.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "the registry did not answer within {} s",
            WITHIN.as_secs()
        )),
    }
}
