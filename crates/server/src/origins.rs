//! What is known of where artifacts were taken from, in words.

use airboss_model::{Digest, ReleaseId};
use airboss_store::{ArtifactFilter, KeptArtifact, Store};

use crate::api::artifacts::{ArtifactDetail, OriginView, RemovalView};
use crate::problem::Result;

/// Most artifacts of one tag that are looked at.
const LOOKED_AT: u32 = 100;

/// An artifact as clients read it.
pub fn draw(kept: &KeptArtifact) -> ArtifactDetail {
    ArtifactDetail {
        digest: kept.artifact.digest.to_string(),
        size: kept.artifact.size,
        source: kept.artifact.source.clone(),
        at: kept.artifact.at.to_string(),
        kept_at: kept.kept_at.to_string(),
        removed: kept.removed.as_ref().map(|removal| RemovalView {
            at: removal.at.to_string(),
            why: removal.why.clone(),
        }),
        releases: kept.releases.iter().map(ToString::to_string).collect(),
        origins: kept
            .origins
            .iter()
            .map(|known| OriginView {
                reference: known.origin.reference(),
                repository: known.origin.repository.clone(),
                tag: known.origin.tag.clone(),
                resolved: known.origin.resolved.to_string(),
                manifest: known.origin.manifest.to_string(),
                platform: known.origin.platform.clone(),
                at: known.at.to_string(),
                moved_to: known
                    .seen
                    .filter(|seen| seen.digest != known.origin.resolved)
                    .map(|seen| seen.digest.to_string()),
                looked_at: known.seen.map(|seen| seen.at.to_string()),
            })
            .collect(),
    }
}

/// One artifact with all that is known of it.
pub async fn find(store: &dyn Store, digest: &Digest) -> Result<Option<KeptArtifact>> {
    let filter = ArtifactFilter {
        digest: Some(*digest),
        ..ArtifactFilter::default()
    };
    Ok(store.artifacts(&filter).await?.pop())
}

/// Which tags explain that a version was to become another artifact.
pub async fn tags_between(
    store: &dyn Store,
    release: &ReleaseId,
    existing: &Digest,
    offered: &Digest,
) -> Result<Vec<String>> {
    let (Some(old), Some(new)) = (find(store, existing).await?, find(store, offered).await?) else {
        return Ok(Vec::new());
    };
    Ok(moved(&old, &new, release))
}

/// Where both were taken from the same tag, and it pointed to something else.
fn moved(old: &KeptArtifact, new: &KeptArtifact, release: &ReleaseId) -> Vec<String> {
    let mut lines = Vec::new();
    for before in &old.origins {
        for now in &new.origins {
            let same = before.origin.tag.is_some()
                && before.origin.tag == now.origin.tag
                && before.origin.repository == now.origin.repository;
            if same && before.origin.resolved != now.origin.resolved {
                lines.push(format!(
                    "the tag {} was moved: it pointed to {} when {release} was made, and points to {} now",
                    before.origin.reference(),
                    before.origin.resolved,
                    now.origin.resolved
                ));
            }
        }
    }
    lines
}

/// The tags that were moved since an artifact was made of them, as far as somebody looked.
pub fn moved_tags(kept: &KeptArtifact, release: &str) -> Vec<String> {
    kept.origins
        .iter()
        .filter_map(|known| {
            let seen = known
                .seen
                .filter(|seen| seen.digest != known.origin.resolved)?;
            Some(format!(
                "{} was moved since {release} was made of it: it points to {}; what serves is {}",
                known.origin.reference(),
                seen.digest,
                known.origin.resolved
            ))
        })
        .collect()
}

/// What a person who ships should know of the artifact: that another version is the same
/// content, that its tag was moved since an earlier version of the service.
pub async fn to_know(
    store: &dyn Store,
    release: &ReleaseId,
    digest: &Digest,
) -> Result<Vec<String>> {
    let Some(kept) = find(store, digest).await? else {
        return Ok(Vec::new());
    };
    let mut lines = Vec::new();
    let others: Vec<&str> = kept
        .releases
        .iter()
        .filter(|other| *other != release)
        .map(|other| other.as_str())
        .collect();
    if !others.is_empty() {
        lines.push(format!(
            "{release} has the same content as {}: {digest}",
            others.join(", ")
        ));
    }
    for known in &kept.origins {
        let Some(tag) = &known.origin.tag else {
            continue;
        };
        let filter = ArtifactFilter {
            tag: Some((known.origin.repository.clone(), tag.clone())),
            limit: LOOKED_AT,
            ..ArtifactFilter::default()
        };
        let earlier = store.artifacts(&filter).await?;
        let newest = earlier
            .iter()
            .filter(|other| other.artifact.digest != *digest)
            .find_map(|other| {
                let of_service = |id: &&ReleaseId| id.service() == release.service();
                Some((other, other.releases.iter().rfind(of_service)?))
            });
        if let Some((other, other_release)) = newest {
            let moved = moved(other, &kept, other_release);
            lines.extend(
                moved
                    .into_iter()
                    .filter(|line| !lines.contains(line))
                    .collect::<Vec<_>>(),
            );
        }
    }
    Ok(lines)
}
