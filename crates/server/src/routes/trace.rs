//! From anything to the releases it belongs to, and from those to everything else.

use std::collections::BTreeSet;
use std::sync::Arc;

use airboss_engine::{By, Event, Lane};
use airboss_model::{ReleaseId, RolloutId};
use airboss_store::{EventFilter, EventRow, ReleaseFilter, ReleaseRow, RolloutFilter, Store};
use axum::Json;
use axum::extract::{Query, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::evidence::BuildView;
use crate::api::trace::{Deed, ReleaseTrace, TestRun, Trace, TraceQuery};
use crate::api::views::Problem;
use crate::problem::{Failure, Result};
use crate::{Here, Site, dossier, draw};

/// Rollouts of a release that are listed at most.
const ROLLOUTS_MAX: u32 = 50;
/// Deeds that are listed at most for a release.
const DEEDS_MAX: usize = 100;
/// Events of a rollout that are read for them.
const EVENTS_MAX: u32 = 2_000;
/// Digits of a digest that are taken for one.
const DIGITS_MIN: usize = 7;

pub fn router() -> OpenApiRouter<Arc<Site>> {
    OpenApiRouter::new().routes(routes!(trace))
}

/// Everything linked to something: a release, rollout, version, digest, commit, run of CI, test report,
/// person or environment.
#[utoipa::path(
    get, path = "/api/v1/trace", tag = "trace", params(TraceQuery),
    responses((status = 200, body = Trace), (status = 404, body = Problem), (status = 422, body = Problem))
)]
async fn trace(State(site): Here, Query(query): Query<TraceQuery>) -> Result<Json<Trace>> {
    let about = query.about.trim();
    if about.is_empty() || about.len() > 500 {
        return Err(Failure::invalid("name what to trace, in 1 to 500 bytes"));
    }
    let limit = query.limit.unwrap_or(20).clamp(1, 100) as usize;
    let store = site.runtime.store();
    // One more than is shown, to know whether there are more.
    let mut finder = Finder {
        store: &**store,
        most: limit as u32 + 1,
        found: Vec::new(),
    };
    finder.find(about).await?;
    let mut found = finder.found;
    if found.is_empty() {
        return Err(Failure::not_found(format!(
            "nothing is recorded of `{about}`: it is no release, rollout, version, digest or commit (or the first {DIGITS_MIN} digits of one), run, test report, environment or person"
        )));
    }
    found.sort_by(|(a, _), (b, _)| (b.at, &b.id).cmp(&(a.at, &a.id)));
    let more = found.len() > limit;
    let mut releases = Vec::new();
    for (row, found_by) in found.into_iter().take(limit) {
        releases.push(linked(&**store, row, found_by).await?);
    }
    Ok(Json(Trace {
        about: about.to_owned(),
        releases,
        more,
    }))
}

/// Releases on the way of being found, each with what led to it.
struct Finder<'a> {
    store: &'a dyn Store,
    most: u32,
    found: Vec<(ReleaseRow, Vec<String>)>,
}

impl Finder<'_> {
    /// Whatever it may be is tried: a name can be a version and an environment at once.
    async fn find(&mut self, about: &str) -> Result<()> {
        if let Ok(id) = about.parse::<ReleaseId>() {
            self.release(&id, "named so").await?;
        }
        if let Ok(id) = about.parse::<RolloutId>()
            && let Some(row) = self.store.rollout(&id).await?
        {
            self.release(&row.release, &format!("rolled out by {id}"))
                .await?;
        }
        let digits = about.strip_prefix("sha256:").unwrap_or(about);
        let is_digest =
            digits.len() >= DIGITS_MIN && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_digest {
            let prefix = format!("sha256:{}", digits.to_ascii_lowercase());
            self.releases(
                ReleaseFilter::Digest(prefix.clone()),
                "its artifact has this digest",
            )
            .await?;
            let image = ReleaseFilter::Image(prefix.clone());
            self.releases(image, "made of an image with this digest")
                .await?;
            let document = ReleaseFilter::Document(prefix);
            self.releases(document, "a document about its artifact has this digest")
                .await?;
        }
        if is_digest && digits == about {
            let commit = ReleaseFilter::Commit(about.to_ascii_lowercase());
            self.releases(commit, "built from this commit").await?;
        }
        let owned = || about.to_owned();
        for (filter, why) in [
            (ReleaseFilter::Version(owned()), "its version"),
            (ReleaseFilter::By(owned()), "made by this person"),
            (ReleaseFilter::Run(owned()), "built by this run"),
            (
                ReleaseFilter::Actor(owned()),
                "built by a run of this person",
            ),
            (
                ReleaseFilter::Said(quoted(about)),
                "a document about its artifact names it",
            ),
        ] {
            self.releases(filter, why).await?;
        }
        self.rollouts(about).await?;
        self.events(about).await
    }

    async fn rollouts(&mut self, about: &str) -> Result<()> {
        let by = RolloutFilter {
            by: Some(about.to_owned()),
            limit: self.most,
            ..Default::default()
        };
        let environment = about.parse().ok().map(|environment| RolloutFilter {
            environment: Some(environment),
            limit: self.most,
            ..Default::default()
        });
        for (filter, words) in [(Some(by), "asked for"), (environment, "went there")] {
            let Some(filter) = filter else { continue };
            for row in self.store.rollouts(&filter).await? {
                let why = match words {
                    "asked for" => format!("{} was asked for by this person", row.id),
                    _ => format!("{} went to this environment", row.id),
                };
                self.release(&row.release, &why).await?;
            }
        }
        Ok(())
    }

    /// Events that name it: what a person decided, for instance.
    async fn events(&mut self, about: &str) -> Result<()> {
        for row in self.store.events_naming(&quoted(about), self.most).await? {
            if let Some(id) = &row.rollout
                && let Some(rollout) = self.store.rollout(id).await?
            {
                let why = format!("event {} names it: {}", row.number, row.message);
                self.release(&rollout.release, &why).await?;
            }
        }
        Ok(())
    }

    async fn releases(&mut self, filter: ReleaseFilter, why: &str) -> Result<()> {
        for row in self.store.find_releases(&filter, self.most).await? {
            self.add(row, why);
        }
        Ok(())
    }

    async fn release(&mut self, id: &ReleaseId, why: &str) -> Result<()> {
        if let Some(row) = self.store.release(id).await? {
            self.add(row, why);
        }
        Ok(())
    }

    fn add(&mut self, row: ReleaseRow, why: &str) {
        let known = self.found.iter_mut().find(|(known, _)| known.id == row.id);
        match known {
            Some((_, reasons)) if reasons.len() < 5 => reasons.push(why.to_owned()),
            Some(_) => {}
            None => self.found.push((row, vec![why.to_owned()])),
        }
    }
}

/// As it stands in a JSON text, quotes and all, so that a part of a name is not enough.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Everything that is linked to a release.
async fn linked(store: &dyn Store, row: ReleaseRow, found_by: Vec<String>) -> Result<ReleaseTrace> {
    let artifact = store.artifact(&row.digest).await?;
    let same = ReleaseFilter::Digest(row.digest.to_string());
    let same_content = store.find_releases(&same, ROLLOUTS_MAX).await?;
    let filter = RolloutFilter {
        release: Some(row.id.clone()),
        limit: ROLLOUTS_MAX,
        ..Default::default()
    };
    let rollouts = store.rollouts(&filter).await?;
    let mut serves_in = Vec::new();
    let lanes: BTreeSet<_> = rollouts.iter().map(|it| it.lane.clone()).collect();
    for lane in lanes {
        let state = store.lane(&lane).await?.and_then(|it| it.state);
        let lane_now = state.and_then(|state| serde_json::from_value::<Lane>(state).ok());
        let stable = lane_now.and_then(|it| it.stable);
        if stable.is_some_and(|stable| stable.release == row.id) {
            serves_in.push(lane.environment().to_string());
        }
    }
    let (mut people, mut wordless) = (Vec::new(), Vec::new());
    for rollout in &rollouts {
        let filter = EventFilter {
            rollout: Some(rollout.id.clone()),
            limit: EVENTS_MAX,
            ..Default::default()
        };
        let events = store.events(&filter).await?;
        if events.iter().any(EventRow::is_wordless) {
            wordless.push(rollout.id.as_str());
        }
        people.extend(events.into_iter().rev().filter_map(deed));
        if people.len() >= DEEDS_MAX {
            people.truncate(DEEDS_MAX);
            break;
        }
    }
    let mut missing = Vec::new();
    if !wordless.is_empty() {
        missing.push(format!(
            "what people decided in {}: retention removed these words from the log",
            wordless.join(", ")
        ));
    }
    if artifact.is_none() {
        missing.push("the artifact: its content is not kept here".to_owned());
    }
    let build = store.build(&row.id).await?;
    if build.is_none() {
        missing.push("the build: nobody told commit, run or actor".to_owned());
    }
    let documents = store.attestations(&row.digest).await?;
    let tests: Vec<TestRun> = documents
        .into_iter()
        .filter_map(dossier::Known::read)
        .filter_map(|known| known.test_run())
        .collect();
    if tests.is_empty() {
        missing.push("test results: nobody handed any in".to_owned());
    }
    if rollouts.is_empty() {
        missing.push("rollouts: it was never rolled out".to_owned());
    }
    Ok(ReleaseTrace {
        release: row.id.to_string(),
        found_by,
        digest: row.digest.to_string(),
        size: artifact.as_ref().map(|it| it.size),
        source: artifact.map(|it| it.source).filter(|it| !it.is_empty()),
        created_at: row.at.to_string(),
        created_by: row.created_by,
        same_content: same_content
            .into_iter()
            .filter(|other| other.id != row.id)
            .map(|other| other.id.to_string())
            .collect(),
        build: build.map(BuildView::from).unwrap_or_default(),
        tests,
        rollouts: rollouts.iter().map(draw::rollout).collect(),
        serves_in,
        people,
        missing,
    })
}

fn deed(row: EventRow) -> Option<Deed> {
    let event: Event = serde_json::from_value(row.body).ok()?;
    match event.decided_by()? {
        (By::Person(who), _) => Some(Deed {
            who,
            what: row.message,
            rollout: row.rollout?.to_string(),
            at: row.at.to_string(),
            event: row.number,
        }),
        _ => None,
    }
}
