//! What a store keeps, as plain tables with the very promises that the conformance suite names.
//! Here is what is known of services and who may ask; `lanes` is what lanes do, `record` what is
//! kept for ever.

use std::collections::BTreeMap;

use airboss_ledger::{Frontier, Hash, Record};
use airboss_model::{Digest, LaneId, ReleaseId, RolloutId, ServiceName, Timestamp};
use airboss_store::{
    ArtifactFilter, ArtifactRow, BuildRow, DeliveryRow, EventRow, EvidenceRow, InboxEntry,
    InputRow, KeptArtifact, NewAttestation, NoteRow, ReleaseFilter, ReleaseRow, RolloutRow,
    ServiceRow, StoreError, TokenRow,
};
use serde_json::Value;
use tokio::sync::watch;

use super::agents::Agents;
use super::lanes::LaneTable;
use super::shelf::Shelf;

pub(super) type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A deliberately broken store, to prove that its fault is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Broken {
    /// None.
    #[default]
    No,
    /// It takes a write under an epoch that is over.
    TakesOldEpochs,
    /// It forgets to seal an event now and then.
    ForgetsToSeal,
    /// It says that a commit is done and has thrown it away.
    LosesCommits,
}

/// Everything that a store keeps.
#[derive(Debug, Default)]
pub struct Tables {
    /// What is wrong with it.
    pub broken: Broken,
    services: BTreeMap<ServiceName, ServiceRow>,
    shelf: Shelf,
    releases: Vec<ReleaseRow>,
    pub(super) attestations: Vec<NewAttestation>,
    pub(super) builds: Vec<BuildRow>,
    pub(super) deliveries: Vec<DeliveryRow>,
    counters: BTreeMap<ServiceName, u64>,
    pub(super) lanes: BTreeMap<LaneId, LaneTable>,
    pub(super) inbox: Vec<InboxEntry>,
    pub(super) events: Vec<EventRow>,
    pub(super) records: Vec<Record>,
    pub(super) inputs: BTreeMap<(LaneId, u64), InputRow>,
    pub(super) effects: BTreeMap<(LaneId, u64, u32), (Value, Option<String>)>,
    pub(super) evidence: BTreeMap<RolloutId, BTreeMap<u64, EvidenceRow>>,
    notes: BTreeMap<(LaneId, String), NoteRow>,
    pub(super) rollouts: Vec<RolloutRow>,
    tokens: Vec<TokenRow>,
    pub(super) agents: Agents,
    pub(super) frontier: Frontier,
    pub(super) hashes: BTreeMap<(u8, u64), Hash>,
    /// How often something happened, and those who are told; see [`Tables::hints`].
    happened: u64,
    listening: Vec<watch::Sender<u64>>,
    /// Of the installation's own lane.
    pub(super) own: LaneTable,
    /// The last commit of each lane whose words were removed.
    pub(super) pruned: BTreeMap<LaneId, u64>,
}

pub(super) fn most(limit: u32, usual: usize, cap: usize) -> usize {
    match limit {
        0 => usual,
        limit => (limit as usize).min(cap),
    }
}

pub(super) fn conflict(what: &'static str, detail: String) -> StoreError {
    StoreError::Conflict { what, detail }
}

impl Tables {
    /// Every second thing that happens is hinted at: a hint may be lost. Each listener has a channel
    /// of its own, as receivers of one are woken in any order.
    pub(super) fn hints(&mut self) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(self.happened);
        self.listening.push(sender);
        receiver
    }
    pub(super) fn hint(&mut self) {
        self.happened += 1;
        if self.happened.is_multiple_of(2) {
            let count = self.happened;
            self.listening.retain(|sender| sender.send(count).is_ok());
        }
    }
    pub(super) fn put_service(&mut self, service: &ServiceRow) {
        let kept = self.services.get(&service.name);
        if kept.is_none_or(|kept| kept.text != service.text) {
            self.services.insert(service.name.clone(), service.clone());
            let message = format!("a manifest of {} is in force", service.name);
            self.tell("manifest_kept", message, service, "", service.at);
        }
    }
    pub(super) fn service(&self, name: &ServiceName) -> Option<ServiceRow> {
        self.services.get(name).cloned()
    }
    pub(super) fn services(&self) -> Vec<ServiceRow> {
        self.services.values().cloned().collect()
    }
    pub(super) fn put_artifact(&mut self, artifact: &ArtifactRow) {
        let is_new = self.shelf.get(&artifact.digest).is_none();
        self.shelf.put(artifact);
        if is_new {
            let message = format!("{} is kept, {} bytes", artifact.digest, artifact.size);
            self.tell("artifact_kept", message, artifact, "", artifact.at);
        }
    }
    pub(super) fn artifact(&self, digest: &Digest) -> Option<ArtifactRow> {
        self.shelf.get(digest)
    }
    pub(super) fn artifacts(&self, filter: &ArtifactFilter) -> Vec<KeptArtifact> {
        self.shelf.list(filter, &self.releases)
    }
    pub(super) fn shelf(&mut self) -> &mut Shelf {
        &mut self.shelf
    }
    pub(super) fn create_release(&mut self, release: &ReleaseRow) -> Result<ReleaseRow> {
        match self.release(&release.id) {
            Some(kept) if kept.digest != release.digest => Err(StoreError::VersionPinned {
                release: release.id.clone(),
                existing: kept.digest,
                offered: release.digest,
            }),
            Some(kept) => Ok(kept),
            None => {
                self.releases.push(release.clone());
                let (by, at) = (&release.created_by, release.at);
                let message = format!("{} stands for {}", release.id, release.digest);
                self.tell("release_registered", message, release, by, at);
                Ok(release.clone())
            }
        }
    }
    pub(super) fn release(&self, id: &ReleaseId) -> Option<ReleaseRow> {
        self.releases.iter().find(|row| row.id == *id).cloned()
    }
    pub(super) fn releases(&self, service: &ServiceName, limit: u32) -> Vec<ReleaseRow> {
        let prefix = format!("{service}@");
        let of = self.releases.iter().rev();
        of.filter(|row| row.id.as_str().starts_with(&prefix))
            .take(most(limit, 50, 5_000))
            .cloned()
            .collect()
    }
    pub(super) fn find_releases(&self, filter: &ReleaseFilter, limit: u32) -> Vec<ReleaseRow> {
        let fits = |row: &&ReleaseRow| match filter {
            ReleaseFilter::Version(version) => row.id.version() == version,
            ReleaseFilter::Digest(prefix) => row.digest.to_string().starts_with(prefix),
            ReleaseFilter::By(name) => row.created_by == *name,
            ReleaseFilter::Since(at) => row.at >= *at,
            ReleaseFilter::Image(prefix) => self.shelf.is_made_of(&row.digest, prefix),
            said => self.is_said(row, said),
        };
        let newest = self.releases.iter().rev().filter(fits);
        newest.take(most(limit, 50, 5_000)).cloned().collect()
    }
    pub(super) fn allocate_rollout(&mut self, service: &ServiceName) -> Result<RolloutId> {
        let last = self.counters.entry(service.clone()).or_default();
        *last += 1;
        format!("{service}-{last}")
            .parse()
            .map_err(|error| conflict("a rollout's number", format!("{error}")))
    }
    pub(super) fn put_note(&mut self, note: &NoteRow) {
        let place = (note.lane.clone(), note.topic.clone());
        if self.notes.get(&place).is_none_or(|kept| kept.at <= note.at) {
            self.notes.insert(place, note.clone());
        }
    }
    pub(super) fn note(&self, lane: &LaneId, topic: &str) -> Option<NoteRow> {
        self.notes.get(&(lane.clone(), topic.to_owned())).cloned()
    }
    pub(super) fn put_token(&mut self, token: &TokenRow) -> Result<()> {
        let taken = |kept: &TokenRow| kept.id == token.id || kept.secret == token.secret;
        if self.tokens.iter().any(taken) {
            return Err(StoreError::Unavailable {
                what: "the keeping of a token",
                source: "its id or its secret exists".into(),
            });
        }
        self.tokens.push(token.clone());
        let (by, at) = (&token.created_by, token.created_at);
        let message = format!("token {} for {} was made by {by}", token.id, token.name);
        self.tell("token_made", message, token, by, at);
        Ok(())
    }
    pub(super) fn token(&self, secret: &Digest) -> Option<TokenRow> {
        self.tokens
            .iter()
            .find(|row| row.secret == *secret)
            .cloned()
    }
    pub(super) fn tokens(&self, limit: u32) -> Vec<TokenRow> {
        let mut rows = self.tokens.clone();
        rows.reverse();
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        rows.truncate(most(limit, 500, 5_000));
        rows
    }
    pub(super) fn revoke_token(&mut self, id: &str, by: &str, at: Timestamp) -> Option<TokenRow> {
        let row = self.tokens.iter_mut().find(|row| row.id == id)?;
        let is_new = row.revoked_at.is_none();
        row.revoked_at.get_or_insert(at);
        let row = row.clone();
        if is_new {
            let message = format!("token {id} of {} was revoked by {by}", row.name);
            self.tell("token_revoked", message, &row, by, at);
        }
        Some(row)
    }
}
