//! Artifacts with their origins, in memory.

use std::collections::BTreeMap;

use airboss_model::{Digest, Origin, Timestamp};
use airboss_store::{
    ArtifactFilter, ArtifactRow, KeptArtifact, KnownOrigin, ReleaseRow, Removal, TagSeen,
};

/// Artifacts by digest, and what tags point to.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    artifacts: BTreeMap<Digest, KeptArtifact>,
    tags: BTreeMap<(String, String), TagSeen>,
}

impl Shelf {
    pub fn put(&mut self, artifact: &ArtifactRow) {
        let kept = self
            .artifacts
            .entry(artifact.digest)
            .or_insert_with(|| KeptArtifact {
                artifact: artifact.clone(),
                kept_at: artifact.at,
                removed: None,
                origins: Vec::new(),
                releases: Vec::new(),
            });
        kept.kept_at = artifact.at;
        kept.removed = None;
    }

    pub fn get(&self, digest: &Digest) -> Option<ArtifactRow> {
        let kept = self.artifacts.get(digest)?;
        kept.removed.is_none().then(|| kept.artifact.clone())
    }

    /// True where it is new.
    pub fn put_origin(&mut self, digest: &Digest, origin: &Origin, at: Timestamp) -> bool {
        if let Some(tag) = &origin.tag {
            let digest = origin.resolved;
            self.put_tag(&origin.repository, tag, &TagSeen { digest, at });
        }
        if let Some(kept) = self.artifacts.get_mut(digest) {
            let same = |known: &KnownOrigin| {
                let known = &known.origin;
                (&known.repository, &known.tag, known.resolved)
                    == (&origin.repository, &origin.tag, origin.resolved)
            };
            if !kept.origins.iter().any(same) {
                kept.origins.push(KnownOrigin {
                    origin: origin.clone(),
                    at,
                    seen: None,
                });
                return true;
            }
        }
        false
    }

    pub fn put_tag(&mut self, repository: &str, tag: &str, seen: &TagSeen) {
        let key = (repository.to_owned(), tag.to_owned());
        let known = self.tags.entry(key).or_insert(*seen);
        if seen.at >= known.at {
            *known = *seen;
        }
    }

    pub fn remove(&mut self, digest: &Digest, removal: &Removal, planned: Timestamp) -> bool {
        match self.artifacts.get_mut(digest) {
            Some(kept) if kept.removed.is_none() && kept.kept_at <= planned => {
                kept.removed = Some(removal.clone());
                true
            }
            _ => false,
        }
    }

    /// True where an artifact was made of an image with a digest that begins so.
    pub fn is_made_of(&self, digest: &Digest, prefix: &str) -> bool {
        let origins = self.artifacts.get(digest).map(|kept| &kept.origins);
        origins.into_iter().flatten().any(|known| {
            let of = [known.origin.resolved, known.origin.manifest];
            of.iter().any(|it| it.to_string().starts_with(prefix))
        })
    }

    pub fn list(&self, filter: &ArtifactFilter, releases: &[ReleaseRow]) -> Vec<KeptArtifact> {
        let wanted = |kept: &&KeptArtifact| {
            let from = |is: &dyn Fn(&Origin) -> bool| kept.origins.iter().any(|it| is(&it.origin));
            filter
                .digest
                .is_none_or(|digest| digest == kept.artifact.digest)
                && filter
                    .kept
                    .is_none_or(|there| there == kept.removed.is_none())
                && filter.manifest.is_none_or(|manifest| {
                    from(&|it| it.manifest == manifest || it.resolved == manifest)
                })
                && filter.tag.as_ref().is_none_or(|(repository, tag)| {
                    from(&|origin| {
                        origin.repository == *repository && origin.tag.as_ref() == Some(tag)
                    })
                })
        };
        let mut all: Vec<KeptArtifact> = self.artifacts.values().filter(wanted).cloned().collect();
        all.sort_by(|a, b| {
            let later = b.kept_at.cmp(&a.kept_at);
            later.then_with(|| a.artifact.digest.cmp(&b.artifact.digest))
        });
        all.truncate(match filter.limit {
            0 => 100,
            limit => limit.min(10_000) as usize,
        });
        for kept in &mut all {
            let of = releases
                .iter()
                .filter(|row| row.digest == kept.artifact.digest);
            kept.releases = of.map(|row| row.id.clone()).collect();
            kept.origins
                .sort_by_key(|known| std::cmp::Reverse(known.at));
            for known in &mut kept.origins {
                let tag = known.origin.tag.clone();
                let key = tag.map(|tag| (known.origin.repository.clone(), tag));
                known.seen = key.and_then(|key| self.tags.get(&key).copied());
            }
        }
        all
    }
}
