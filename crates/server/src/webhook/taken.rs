//! What becomes of a build that somebody told of.
//!
//! What is known of a release stays; what is not is added. So an event that comes twice, late, or
//! before the version is registered, leaves the same behind.

use airboss_model::{Digest, ReleaseId};
use airboss_store::{ArtifactFilter, BuildRow, DeliveryFilter, ReleaseFilter};

use super::{Sender, event::Built};
use crate::Site;
use crate::api::evidence::BuildView;
use crate::problem::Result;
use crate::routes::releases::{ensure, remember};

/// Most releases of one commit or run that an event is noted for.
const RELEASES_MAX: u32 = 50;
/// Most events that are looked at when a release is registered.
const DELIVERIES_MAX: u32 = 50;

/// Takes what was told in; what became of it, in one sentence.
///
/// # Errors
/// Where it contradicts what is known, such as a version that is pinned to another content; and
/// where the store does not answer. It may be sent again.
pub async fn take(site: &Site, sender: Sender, built: &Built) -> Result<String> {
    let releases = match &built.release {
        Some(id) => {
            if let Some(waits) = register(site, sender, id, built).await? {
                return Ok(waits);
            }
            vec![id.clone()]
        }
        None => concerned(site, &built.build).await?,
    };
    if releases.is_empty() {
        let commit = built.build.commit.as_deref().unwrap_or("its run");
        return Ok(format!(
            "kept: no version of {commit} is registered yet; it is noted when one is"
        ));
    }
    let mut noted = Vec::new();
    for release in &releases {
        let lines = note(site, release, built).await?;
        noted.push(match lines.as_slice() {
            [] => format!("nothing new for {release}"),
            lines => format!("noted for {release}: {}", lines.join(", ")),
        });
    }
    Ok(noted.join("; "))
}

/// Sees to it that a release is there. What it waits for, where it cannot be made yet.
async fn register(
    site: &Site,
    sender: Sender,
    id: &ReleaseId,
    built: &Built,
) -> Result<Option<String>> {
    let digest = match (built.digest, built.image) {
        (Some(digest), _) => Some(digest),
        (None, Some(image)) => match made_of(site, &image).await?.as_slice() {
            [only] => Some(*only),
            [] => None,
            several => {
                return Ok(Some(format!(
                    "kept: {} artifacts were made of {image}, for several platforms; {id} is registered by `airboss artifact add`",
                    several.len()
                )));
            }
        },
        (None, None) => None,
    };
    let store = site.runtime.store();
    if let Some(known) = store.release(id).await? {
        if let Some(digest) = digest.filter(|digest| *digest != known.digest) {
            // The same refusal as everywhere, with both digests.
            ensure(site, id, Some(digest), sender.as_str()).await?;
        }
        return Ok(None);
    }
    let kept = match digest {
        Some(digest) => store.artifact(&digest).await?.is_some(),
        None => false,
    };
    if !kept {
        let what = match built.image {
            Some(_) => "oci://IMAGE",
            None => "PATH",
        };
        return Ok(Some(format!(
            "kept: {id} has no content here yet; it is noted when somebody hands that in: airboss artifact add {what} --service {} --version {}",
            id.service(),
            id.version()
        )));
    }
    ensure(site, id, digest, &format!("webhook {sender}")).await?;
    Ok(None)
}

/// The artifacts that were made of an image or index.
async fn made_of(site: &Site, image: &Digest) -> Result<Vec<Digest>> {
    let filter = ArtifactFilter {
        manifest: Some(*image),
        kept: Some(true),
        ..ArtifactFilter::default()
    };
    let found = site.runtime.store().artifacts(&filter).await?;
    Ok(found.into_iter().map(|it| it.artifact.digest).collect())
}

/// The releases that a build without a name may be of: those of its run and of its commit.
async fn concerned(site: &Site, build: &BuildView) -> Result<Vec<ReleaseId>> {
    let filters = [
        build
            .run
            .as_deref()
            .map(|run| ReleaseFilter::Run(whole_run(run).to_owned())),
        build.commit.clone().map(ReleaseFilter::Commit),
    ];
    let mut releases: Vec<ReleaseId> = Vec::new();
    for filter in filters.into_iter().flatten() {
        let found = site.runtime.store().find_releases(&filter, RELEASES_MAX);
        for row in found.await? {
            if !releases.contains(&row.id) {
                releases.push(row.id);
            }
        }
    }
    Ok(releases)
}

/// Notes for a release what it did not know, and says what.
async fn note(site: &Site, release: &ReleaseId, built: &Built) -> Result<Vec<String>> {
    let known = site.runtime.store().build(release).await?;
    let news = news(known.as_ref(), built);
    let said = told(&news);
    // Where the release is named, what contradicts is handed on too, and told.
    let build = match built.release {
        Some(_) => &built.build,
        None => &news,
    };
    let warnings = remember(site, release, build).await?;
    Ok(said
        .into_iter()
        .map(str::to_owned)
        .chain(warnings)
        .collect())
}

/// What of a build is news for a release. The run, and who started it, only where it is the run
/// that built this release: a commit leads to many runs.
fn news(known: Option<&BuildRow>, built: &Built) -> BuildView {
    let of = |field: fn(&BuildRow) -> &Option<String>| known.and_then(|it| field(it).as_deref());
    let run = of(|it| &it.run);
    let told = built.build.run.as_deref();
    let is_its_run = built.release.is_some()
        || match run {
            Some(run) => told.is_some_and(|told| whole_run(told) == whole_run(run)),
            None => built.builds,
        };
    let from = &built.build;
    let fresh = |is: Option<&str>, told: &Option<String>| match is {
        Some(_) => None,
        None => told.clone(),
    };
    let mut news = BuildView {
        commit: fresh(of(|it| &it.commit), &from.commit),
        repository: fresh(of(|it| &it.repository), &from.repository),
        ..BuildView::default()
    };
    if is_its_run {
        news.reference = fresh(of(|it| &it.reference), &from.reference);
        news.run = fresh(run, &from.run);
        news.actor = fresh(of(|it| &it.actor), &from.actor);
        news.builder = fresh(of(|it| &it.builder), &from.builder);
    }
    news
}

/// The address of a run without the attempt.
fn whole_run(run: &str) -> &str {
    run.split("/attempts/").next().unwrap_or(run)
}

fn told(build: &BuildView) -> Vec<&'static str> {
    [
        ("commit", &build.commit),
        ("ref", &build.reference),
        ("run", &build.run),
        ("actor", &build.actor),
        ("repository", &build.repository),
        ("builder", &build.builder),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|_| name))
    .collect()
}

/// Notes for a release that was just registered what events told before.
///
/// # Errors
/// Where the store does not answer.
pub async fn fill(site: &Site, release: &ReleaseId) -> Result<()> {
    let store = site.runtime.store();
    let known = store.build(release).await?;
    let filter = DeliveryFilter::About {
        release: Some(release.clone()),
        commit: known.as_ref().and_then(|it| it.commit.clone()),
        run: known.as_ref().and_then(|it| it.run.clone()),
    };
    // The oldest first: what was told first stays.
    for delivery in store
        .deliveries(&filter, DELIVERIES_MAX)
        .await?
        .iter()
        .rev()
    {
        let built = delivery.build.clone();
        let built: Option<Built> = built.and_then(|it| serde_json::from_value(it).ok());
        let Some(built) = built else { continue };
        if built.release.as_ref().is_some_and(|named| named != release) {
            continue;
        }
        let known = store.build(release).await?;
        remember(site, release, &news(known.as_ref(), &built)).await?;
    }
    Ok(())
}
