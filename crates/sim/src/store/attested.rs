//! What is said of artifacts, and where releases come from.

use airboss_model::{Digest, ReleaseId, Timestamp};
use airboss_store::{
    ATTESTATIONS_MAX, AttestationRow, BuildRow, DOCUMENTS_SEARCHED, DeliveryFilter, DeliveryRow,
    DocumentRow, NewAttestation, ReleaseFilter, ReleaseRow, StoreError,
};

use super::tables::{Tables, conflict, most};

impl Tables {
    pub(super) fn put_attestations(
        &mut self,
        new: &[NewAttestation],
    ) -> Result<Vec<bool>, StoreError> {
        let mut kept = self.attestations.clone();
        let (mut added, mut notes) = (Vec::new(), Vec::new());
        for it in new {
            let (digest, id) = (it.row.digest, it.row.id);
            let is = |known: &NewAttestation| (known.row.digest, known.row.id) == (digest, id);
            added.push(!kept.iter().any(is));
            if added.last() == Some(&true) {
                let mut it = it.clone();
                it.row.number = kept.len() as u64 + 1;
                notes.push(it.row.clone());
                kept.push(it);
            }
            let of_digest = kept.iter().filter(|it| it.row.digest == digest);
            if of_digest.count() as u64 > ATTESTATIONS_MAX {
                let detail = format!("{digest} has {ATTESTATIONS_MAX} attestations");
                return Err(conflict("the keeping of attestations", detail));
            }
        }
        self.attestations = kept;
        for row in notes {
            let message = format!("{} about {} was added by {}", row.id, row.digest, row.by);
            self.tell("attestation_kept", message, &row, &row.by, row.at);
        }
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
        let before = self.build(&build.release);
        let kept = self.merge_build(build);
        if before.as_ref() != Some(&kept) {
            let message = format!("it was told where {} comes from", build.release);
            let by = build.actor.as_deref().unwrap_or_default();
            self.tell("build_told", message, &kept, by, build.at);
        }
        kept
    }
    fn merge_build(&mut self, build: &BuildRow) -> BuildRow {
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
    pub(super) fn put_delivery(
        &mut self,
        delivery: &DeliveryRow,
        forget_before: Timestamp,
    ) -> bool {
        self.deliveries.retain(|kept| kept.at >= forget_before);
        let new = !self.deliveries.iter().any(|kept| kept.id == delivery.id);
        if new {
            self.deliveries.push(delivery.clone());
        }
        new
    }
    pub(super) fn deliveries(&self, filter: &DeliveryFilter, limit: u32) -> Vec<DeliveryRow> {
        let fits = |it: &&DeliveryRow| match filter {
            DeliveryFilter::All => true,
            DeliveryFilter::Id(id) => it.id == *id,
            DeliveryFilter::About {
                release,
                commit,
                run,
            } => {
                (release.is_some() && it.release == *release)
                    || (commit.is_some() && it.commit == *commit)
                    || (run.is_some() && it.run == *run)
            }
        };
        let mut rows: Vec<DeliveryRow> = self.deliveries.iter().filter(fits).cloned().collect();
        rows.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
        rows.truncate(most(limit, 50, 500));
        rows
    }
    /// True where a release belongs to what is looked for by what is said of it.
    pub(super) fn is_said(&self, row: &ReleaseRow, filter: &ReleaseFilter) -> bool {
        let build = || self.build(&row.id);
        let newest = self.attestations.iter().rev();
        let mut documents = newest
            .take(DOCUMENTS_SEARCHED as usize)
            .map(|it| &it.row)
            .filter(|it| it.digest == row.digest);
        match filter {
            ReleaseFilter::Commit(prefix) => {
                let commit = build().and_then(|it| it.commit);
                commit.is_some_and(|it| it.starts_with(prefix))
            }
            ReleaseFilter::Run(run) => build().and_then(|it| it.run).is_some_and(|it| {
                let is_number = run.bytes().all(|digit| digit.is_ascii_digit());
                it == *run
                    || it.starts_with(&format!("{run}/"))
                    || (is_number && format!("{it}/").contains(&format!("/{run}/")))
            }),
            ReleaseFilter::Actor(name) => build().and_then(|it| it.actor).as_ref() == Some(name),
            ReleaseFilter::Document(prefix) => {
                documents.any(|it| it.id.to_string().starts_with(prefix))
            }
            ReleaseFilter::Said(text) => documents.any(|it| it.facts.to_string().contains(text)),
            _ => false,
        }
    }
}
