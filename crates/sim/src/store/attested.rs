//! What is said of artifacts, and where releases come from.

use airboss_model::{Digest, ReleaseId, Timestamp};
use airboss_store::{
    ATTESTATIONS_MAX, AttestationRow, BuildFilter, BuildRow, DocumentRow, NewAttestation,
    StoreError,
};

use super::tables::{Tables, conflict, most};

impl Tables {
    pub(super) fn put_attestations(
        &mut self,
        new: &[NewAttestation],
    ) -> Result<Vec<bool>, StoreError> {
        let mut kept = self.attestations.clone();
        let mut added = Vec::new();
        for it in new {
            let (digest, id) = (it.row.digest, it.row.id);
            let is = |known: &NewAttestation| (known.row.digest, known.row.id) == (digest, id);
            added.push(!kept.iter().any(is));
            if added.last() == Some(&true) {
                let mut it = it.clone();
                it.row.number = kept.len() as u64 + 1;
                kept.push(it);
            }
            let of_digest = kept.iter().filter(|it| it.row.digest == digest);
            if of_digest.count() as u64 > ATTESTATIONS_MAX {
                let detail = format!("{digest} has {ATTESTATIONS_MAX} attestations");
                return Err(conflict("the keeping of attestations", detail));
            }
        }
        self.attestations = kept;
        Ok(added)
    }
    pub(super) fn attestations(&self, digest: &Digest) -> Vec<AttestationRow> {
        let of_digest = self
            .attestations
            .iter()
            .filter(|it| it.row.digest == *digest);
        of_digest.map(|it| it.row.clone()).collect()
    }
    pub(super) fn attestations_after(&self, after: u64, limit: u32) -> Vec<AttestationRow> {
        let behind = self.attestations.iter().filter(|it| it.row.number > after);
        let rows = behind.map(|it| it.row.clone());
        rows.take(most(limit, 500, 5_000)).collect()
    }
    pub(super) fn document(&self, digest: &Digest, id: &Digest) -> Option<DocumentRow> {
        let is = |it: &&NewAttestation| (it.row.digest, it.row.id) == (*digest, *id);
        self.attestations
            .iter()
            .find(is)
            .map(|it| it.document.clone())
    }
    pub(super) fn put_check(
        &mut self,
        digest: &Digest,
        id: &Digest,
        verification: &serde_json::Value,
        at: Timestamp,
    ) {
        for NewAttestation { row, .. } in &mut self.attestations {
            if (row.digest, row.id) == (*digest, *id) && row.checked_at <= at {
                row.verification = verification.clone();
                row.checked_at = at;
            }
        }
    }
    pub(super) fn put_build(&mut self, build: &BuildRow) -> BuildRow {
        let known = self
            .builds
            .iter_mut()
            .find(|it| it.release == build.release);
        let Some(kept) = known else {
            self.builds.push(build.clone());
            return build.clone();
        };
        let fields = [
            (&mut kept.commit, &build.commit),
            (&mut kept.reference, &build.reference),
            (&mut kept.run, &build.run),
            (&mut kept.actor, &build.actor),
            (&mut kept.repository, &build.repository),
            (&mut kept.builder, &build.builder),
        ];
        for (known, told) in fields {
            if known.is_none() {
                known.clone_from(told);
            }
        }
        kept.clone()
    }
    pub(super) fn build(&self, release: &ReleaseId) -> Option<BuildRow> {
        self.builds
            .iter()
            .find(|it| it.release == *release)
            .cloned()
    }
    pub(super) fn builds(&self, filter: &BuildFilter, limit: u32) -> Vec<BuildRow> {
        let fits = |it: &&BuildRow| match filter {
            BuildFilter::Commit(prefix) => it
                .commit
                .as_ref()
                .is_some_and(|commit| commit.starts_with(prefix)),
            BuildFilter::Run(run) => it.run.as_ref() == Some(run),
        };
        let mut rows: Vec<BuildRow> = self.builds.iter().filter(fits).cloned().collect();
        rows.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.release.cmp(&b.release)));
        rows.truncate(most(limit, 50, 500));
        rows
    }
    pub(super) fn put_delivery(
        &mut self,
        id: &str,
        at: Timestamp,
        forget_before: Timestamp,
    ) -> bool {
        self.deliveries.retain(|_, kept| *kept >= forget_before);
        match self.deliveries.contains_key(id) {
            true => false,
            false => self.deliveries.insert(id.to_owned(), at).is_none(),
        }
    }
}
