//! The evidence of artifacts: taken in, checked, weighed, and put in words of Airboss's own.
//!
//! Documents are kept as they were received. Who stands behind them is checked when they come and
//! again whenever trust changes; the latest check counts.

use std::sync::{Arc, Mutex};

use airboss_attest::{
    Document, Form, Hint, Known, Passed, ReadError, SigningKey, Trust, Verdict, Verification,
    assess, read_lines, summarise, verify,
};
use airboss_model::evidence::{ItemVerdict, Requirement};
use airboss_model::{Digest, LaneId, ReleaseId, Timestamp};
use airboss_store::{
    ArtifactFilter, AttestationRow, DocumentRow, NewAttestation, Store, StoreError,
};
use sha2::{Digest as _, Sha256};

use crate::lock;
use crate::setting::{self, Setting};

/// Whom an installation believes, and what it signs with.
pub trait Keys: Send + Sync + 'static {
    /// Whom it believes now, its own keys included.
    fn trust(&self) -> Arc<Trust>;
    /// What it signs with; None where no key can be used at `now`.
    fn signer(&self, now: Timestamp) -> Option<Arc<SigningKey>>;
}

/// Believes nobody and signs nothing: for worlds without artifacts' evidence.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn trust(&self) -> Arc<Trust> {
        Arc::default()
    }
    fn signer(&self, _now: Timestamp) -> Option<Arc<SigningKey>> {
        None
    }
}

/// A document that somebody hands in.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// The file's bytes; it may hold several documents, one a line.
    pub bytes: &'a [u8],
    /// The kind that it is said to be, such as `tests`; None: whatever it is.
    pub kind: Option<&'a str>,
    /// Where it is from, for people.
    pub source: &'a str,
    /// Who hands it in.
    pub by: &'a str,
}

/// Why a document is not kept. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It cannot be read.
    #[error("{name}: {why}")]
    Read {
        /// The document's name.
        name: String,
        /// What is wrong.
        why: ReadError,
    },
    /// It is something else than was said.
    #[error(
        "{name} was handed in as {expected}, and is {found}; hand it in with --attestation, which takes any kind"
    )]
    Kind {
        /// The document's name.
        name: String,
        /// What it was said to be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// It is about something else.
    #[error(
        "{name} is about {found}, and the artifact is {artifact}: hand in the statement that was made of this artifact; `airboss artifact digest PATH` prints the digest to have signed, and of an image its own digest is good too"
    )]
    OtherSubject {
        /// The document's name.
        name: String,
        /// What it is about.
        found: String,
        /// What it was handed in for.
        artifact: Digest,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A document that is kept.
#[derive(Debug, Clone)]
pub struct Added {
    /// What is known of it.
    pub row: AttestationRow,
    /// False where it was there before.
    pub new: bool,
}

/// The evidence of every artifact.
pub struct Evidence {
    store: Arc<dyn Store>,
    keys: Arc<dyn Keys>,
    /// When the first of the documents that are dated ahead comes to count.
    due: Mutex<Option<Timestamp>>,
}

impl Evidence {
    /// Over a store, with these keys.
    pub fn new(store: Arc<dyn Store>, keys: Arc<dyn Keys>) -> Self {
        Self {
            store,
            keys,
            due: Mutex::default(),
        }
    }

    /// True where a document that was dated ahead of now is to be checked again.
    pub fn is_due(&self, now: Timestamp) -> bool {
        lock(&self.due).is_some_and(|due| due <= now)
    }

    fn await_time(&self, checked: &Verification) {
        if let Some(from) = checked.counts_from {
            let mut due = lock(&self.due);
            *due = Some(due.map_or(from, |due| due.min(from)));
        }
    }

    /// Whom the installation believes, and what it signs with.
    pub fn keys(&self) -> &Arc<dyn Keys> {
        &self.keys
    }

    /// Takes a file about an artifact in, all of its documents or none. `name` is the artifact's,
    /// such as `checkout@1.4.0`.
    ///
    /// # Errors
    /// Where it cannot be read, is about something else, or cannot be kept.
    pub async fn add(
        &self,
        artifact: &Digest,
        name: &str,
        offered: &Offered<'_>,
        now: Timestamp,
    ) -> Result<Vec<Added>, AddError> {
        let hint = Hint {
            subject: artifact,
            name,
            form: None,
        };
        let documents = read_lines(offered.bytes, &hint).map_err(|why| AddError::Read {
            name: offered.source.to_owned(),
            why,
        })?;
        let known = self.store.attestations(artifact).await?;
        let names = self.names(artifact).await?;
        let (trust, signer) = (self.keys.trust(), self.keys.signer(now));
        let mut kept = Vec::with_capacity(documents.len());
        let mut waiting = Vec::new();
        for document in &documents {
            if let Some(kind) = offered.kind
                && kind != document.facts.kind()
            {
                return Err(AddError::Kind {
                    name: offered.source.to_owned(),
                    expected: kind.to_owned(),
                    found: format!("{} ({})", document.facts.kind(), document.form.name()),
                });
            }
            let Some(subject) = subject(document, &names) else {
                return Err(AddError::OtherSubject {
                    name: offered.source.to_owned(),
                    found: subjects(document),
                    artifact: *artifact,
                });
            };
            let seen = known.iter().find(|row| row.id == document.id);
            let seen = seen.map_or(now, |row| row.at);
            let checked = checked(document, artifact, &subject, &trust, seen, now);
            if checked.counts_from.is_some() {
                waiting.push(checked.clone());
            }
            kept.push(NewAttestation {
                row: row(artifact, document, &checked, offered, now)?,
                document: DocumentRow {
                    bytes: own_bytes(document, offered.bytes, documents.len()),
                    envelope: signer
                        .as_ref()
                        .filter(|_| is_report(document.form))
                        .map(|key| key.sign(&document.statement).to_json()),
                },
            });
        }
        let new = self.store.put_attestations(&kept).await?;
        waiting.iter().for_each(|it| self.await_time(it));
        let mut added = Vec::with_capacity(kept.len());
        for (NewAttestation { row, .. }, new) in kept.into_iter().zip(new) {
            if !new {
                // What was there before has its latest check now.
                self.store
                    .put_check(&row.digest, &row.id, &row.verification, now)
                    .await?;
            }
            added.push(Added { row, new });
        }
        Ok(added)
    }

    /// By what statements may name an artifact: its digest, and those of the images and indexes of
    /// registries that it was made of.
    async fn names(&self, artifact: &Digest) -> Result<Vec<Digest>, StoreError> {
        let filter = ArtifactFilter {
            digest: Some(*artifact),
            ..ArtifactFilter::default()
        };
        let known = self.store.artifacts(&filter).await?;
        let origins = known.iter().flat_map(|kept| &kept.origins);
        let of = origins.flat_map(|known| [known.origin.manifest, known.origin.resolved]);
        Ok(std::iter::once(*artifact).chain(of).collect())
    }

    /// How the items that are required of a release's artifact stand at `now`.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn weigh(
        &self,
        digest: &Digest,
        release: &ReleaseId,
        required: &[Requirement],
        now: Timestamp,
    ) -> Result<Vec<ItemVerdict>, StoreError> {
        if required.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.store.attestations(digest).await?;
        let read: Vec<_> = rows
            .iter()
            .filter_map(|row| {
                // A kind that a newer Airboss wrote stands for nothing here.
                let facts = serde_json::from_value(row.facts.clone()).ok()?;
                let verification = serde_json::from_value(row.verification.clone()).ok()?;
                Some((row, facts, verification))
            })
            .collect();
        let known: Vec<Known<'_>> = read
            .iter()
            .map(|(row, facts, verification)| Known {
                id: row.id,
                facts,
                verification,
                seen: row.at,
            })
            .collect();
        let add = format!(
            "airboss artifact add --service {} --version {}",
            release.service(),
            release.version()
        );
        Ok(assess(required, &known, &add, now))
    }

    /// Seals whose signatures a controller believes, where that is not what it sealed last.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub(crate) async fn record_trust(
        &self,
        controller: &str,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let setting = Setting {
            topic: "trust",
            controller,
            body: serde_json::json!({ "controller": controller, "trust": written(trust)? }),
            is_default: *trust == Trust::default(),
        };
        let told = |_: Option<&_>| believed(trust);
        setting::record(
            &*self.store,
            &setting,
            "trust_changed",
            told,
            controller,
            now,
        )
        .await?;
        Ok(())
    }

    /// Checks every signed document again; the artifacts of which something stands otherwise now.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn check_again(&self, now: Timestamp) -> Result<Vec<Digest>, StoreError> {
        let trust = self.keys.trust();
        *lock(&self.due) = None;
        let mut changed = Vec::new();
        let mut after = 0;
        loop {
            let rows = self.store.attestations_after(after, 100).await?;
            let Some(last) = rows.last() else {
                return Ok(changed);
            };
            after = last.number;
            for row in &rows {
                if self.check_one(row, &trust, now).await? && !changed.contains(&row.digest) {
                    changed.push(row.digest);
                }
            }
        }
    }

    async fn check_one(
        &self,
        row: &AttestationRow,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let before = serde_json::from_value::<Verification>(row.verification.clone()).ok();
        if before
            .as_ref()
            .is_some_and(|it| it.verdict == Verdict::Unsigned)
        {
            return Ok(false);
        }
        let Some(document) = self.store.document(&row.digest, &row.id).await? else {
            return Ok(false);
        };
        let hint = Hint {
            subject: &row.digest,
            name: "",
            form: None,
        };
        let read = match airboss_attest::read(&document.bytes, &hint) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(artifact = %row.digest, document = %row.id, %error, "a document cannot be read any more; its last check stands");
                return Ok(false);
            }
        };
        let names = self.names(&row.digest).await?;
        let subject = subject(&read, &names).unwrap_or(row.digest);
        let checked = checked(&read, &row.digest, &subject, trust, row.at, now);
        self.await_time(&checked);
        let same = before.is_some_and(|before| {
            (before.verdict, &before.signatures) == (checked.verdict, &checked.signatures)
        });
        if !same {
            tracing::info!(artifact = %row.digest, document = %row.id, verdict = ?checked.verdict, "a document stands otherwise after another check: {}", checked.reason);
            let verification = written(&checked)?;
            self.store
                .put_check(&row.digest, &row.id, &verification, now)
                .await?;
        }
        Ok(!same)
    }

    /// Puts on record, signed, that an artifact had the evidence that was required of it. The same
    /// decision gives the same bytes, so doing it twice keeps it once.
    ///
    /// # Errors
    /// Where the store does not answer. Without a key nothing is signed, and the log says so.
    pub(crate) async fn vouch(
        &self,
        release: &ReleaseId,
        digest: &Digest,
        lane: &LaneId,
        items: &[ItemVerdict],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(signer) = self.keys.signer(at) else {
            tracing::warn!(%release, %lane, "no key can be used, so no summary is signed");
            return Ok(());
        };
        let manifest = self
            .store
            .release(release)
            .await?
            .map(|it| it.manifest_hash);
        let statement = summarise(&Passed {
            name: release.as_str(),
            artifact: digest,
            resource: &format!("airboss:{lane}"),
            verifier: &format!("airboss:{}", signer.public_key().id()),
            version: env!("CARGO_PKG_VERSION"),
            policy: &format!("airboss:{}/manifest", lane.service()),
            policy_digest: &manifest.unwrap_or(*digest),
            items,
            at,
        });
        let envelope = signer.sign(&statement).to_json();
        let offered = Offered {
            bytes: envelope.as_bytes(),
            kind: None,
            source: "airboss",
            by: "airboss",
        };
        match self.add(digest, release.as_str(), &offered, at).await {
            Ok(_) => Ok(()),
            Err(AddError::Store(error @ StoreError::Conflict { .. })) => {
                tracing::warn!(%release, %error, "a summary is not kept");
                Ok(())
            }
            Err(AddError::Store(error)) => Err(error),
            Err(error) => {
                tracing::error!(%release, %error, "a summary is not kept");
                Ok(())
            }
        }
    }
}

/// Which of an artifact's names a document is about.
pub fn subject(document: &Document, names: &[Digest]) -> Option<Digest> {
    let mut names = names.iter();
    names.find(|it| document.statement.is_about(it)).copied()
}

/// Who stands behind a document. Where it is about an image, that is said: that the artifact was
/// made of it is the word of whoever brought the artifact.
pub fn checked(
    document: &Document,
    artifact: &Digest,
    subject: &Digest,
    trust: &Trust,
    seen: Timestamp,
    now: Timestamp,
) -> Verification {
    let mut checked = verify(document, subject, trust, seen, now);
    if subject != artifact {
        checked.reason += &format!("; it is about the image {subject}, which this was made of");
    }
    checked
}

/// Whose signatures are believed, in one line.
fn believed(trust: &Trust) -> String {
    let keys = trust.keys.iter().map(|it| (&it.name, it.revoked.is_some()));
    let identities = trust.identities.iter();
    let identities = identities.map(|it| (&it.name, it.revoked.is_some()));
    let (revoked, good): (Vec<_>, Vec<_>) = keys.chain(identities).partition(|it| it.1);
    let names = |of: Vec<(&String, bool)>| {
        let names: Vec<_> = of.iter().map(|(name, _)| name.as_str()).collect();
        match names.is_empty() {
            true => "nobody".to_owned(),
            false => names.join(", "),
        }
    };
    let mut text = format!("believed are the signatures of {}", names(good));
    if !revoked.is_empty() {
        text += &format!("; revoked: {}", names(revoked));
    }
    text
}

/// True for what Airboss puts in words of its own.
fn is_report(form: Form) -> bool {
    !matches!(form, Form::Dsse | Form::SigstoreBundle | Form::Statement)
}

/// What a document is about, in one line.
fn subjects(document: &Document) -> String {
    let named: Vec<String> = document
        .statement
        .subject
        .iter()
        .take(3)
        .map(|subject| match subject.digest.get("sha256") {
            Some(hex) => format!("sha256:{hex}"),
            None => subject
                .name
                .clone()
                .unwrap_or_else(|| "nothing with a SHA-256".to_owned()),
        })
        .collect();
    match named.as_slice() {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    }
}

/// The bytes of one document of a file.
fn own_bytes(document: &Document, file: &[u8], documents: usize) -> Vec<u8> {
    let is = |bytes: &[u8]| Digest::from_sha256(Sha256::digest(bytes).into()) == document.id;
    if documents == 1 && is(file) {
        return file.to_vec();
    }
    let lines = file.split(|byte| *byte == b'\n');
    lines
        .flat_map(|line| [line, line.trim_ascii()])
        .find(|line| is(line))
        .unwrap_or(file)
        .to_vec()
}

fn written(value: &impl serde::Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| StoreError::Unavailable {
        what: "write a document's facts",
        source: Box::new(error),
    })
}

fn row(
    artifact: &Digest,
    document: &Document,
    checked: &Verification,
    offered: &Offered<'_>,
    now: Timestamp,
) -> Result<AttestationRow, StoreError> {
    Ok(AttestationRow {
        number: 0,
        digest: *artifact,
        id: document.id,
        form: written(&document.form)?
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        predicate: document.statement.predicate_type.clone(),
        facts: written(&document.facts)?,
        verification: written(checked)?,
        source: offered.source.chars().take(200).collect(),
        by: offered.by.chars().take(200).collect(),
        at: now,
        checked_at: now,
    })
}
