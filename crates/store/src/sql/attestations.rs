//! What CI and others say of artifacts, as it was received, with the latest check of it.

use std::collections::BTreeSet;

use airboss_model::{Digest, Timestamp};

use super::codec::{Columns as _, integer, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::journal::{self, Watched};
use super::writer::Write;
use crate::{ATTESTATIONS_MAX, AttestationRow, DocumentRow, NewAttestation};

const PUT: &str = "INSERT INTO attestations
    (digest, id, form, predicate, facts, verification, source, added_by, at, checked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (digest, id) DO NOTHING";
const PUT_DOCUMENT: &str = "INSERT INTO documents (digest, id, bytes, envelope)
    VALUES ($1, $2, $3, $4) ON CONFLICT (digest, id) DO NOTHING";
const COUNT: &str = "SELECT count(*) AS n FROM attestations WHERE digest = $1";
const CHECKED: &str = "UPDATE attestations SET verification = $1, checked_at = $2
    WHERE digest = $3 AND id = $4 AND checked_at <= $2";
const OF_DIGEST: &str = "SELECT number, digest, id, form, predicate, facts, verification, source,
    added_by, at, checked_at FROM attestations WHERE digest = $1 ORDER BY number";
const BEHIND: &str = "SELECT number, digest, id, form, predicate, facts, verification, source,
    added_by, at, checked_at FROM attestations WHERE number > $1 ORDER BY number LIMIT $2";
const DOCUMENT: &str = "SELECT bytes, envelope FROM documents WHERE digest = $1 AND id = $2";

pub(super) struct Put(pub(super) Vec<NewAttestation>);

impl Write for Put {
    type Answer = Vec<bool>;
    const WHAT: &'static str = "the keeping of attestations";

    async fn apply(&self, db: &mut Db) -> Result<Vec<bool>, Fault> {
        let mut added = Vec::with_capacity(self.0.len());
        // What somebody brought at one time is one commit of the record.
        let together =
            |a: &NewAttestation, b: &NewAttestation| a.row.by == b.row.by && a.row.at == b.row.at;
        for brought in self.0.chunk_by(together) {
            put(db, brought, &mut added).await?;
        }
        Ok(added)
    }
}

/// Keeps what one person brought at one time.
async fn put(db: &mut Db, brought: &[NewAttestation], added: &mut Vec<bool>) -> Result<(), Fault> {
    let mut known = BTreeSet::new();
    let once: Vec<&AttestationRow> = brought
        .iter()
        .map(|it| &it.row)
        .filter(|row| known.insert((row.digest, row.id)))
        .collect();
    let rows = once.iter().flat_map(|row| {
        let key = || vec![row.digest.to_string().into(), row.id.to_string().into()];
        [
            (&journal::ATTESTATIONS, key()),
            (&journal::DOCUMENTS, key()),
        ]
    });
    let new = Watched::begin(db, rows).await?;
    for NewAttestation { row, document } in brought {
        let (digest, id) = (row.digest.to_string(), row.id.to_string());
        let done = Sql::new(PUT)
            .bind(&digest)
            .bind(&id)
            .bind(&row.form)
            .bind(&row.predicate)
            .bind(row.facts.to_string())
            .bind(row.verification.to_string())
            .bind(&row.source)
            .bind(&row.by)
            .bind(micros(row.at))
            .bind(micros(row.checked_at))
            .execute(&mut *db)
            .await?;
        Sql::new(PUT_DOCUMENT)
            .bind(&digest)
            .bind(&id)
            .bind(document.bytes.clone())
            .bind(&document.envelope)
            .execute(&mut *db)
            .await?;
        added.push(done > 0);
    }
    for digest in once.iter().map(|row| row.digest).collect::<BTreeSet<_>>() {
        let digest = digest.to_string();
        let count = Sql::new(COUNT).bind(&digest).fetch_one(&mut *db).await?;
        if count.count("n")? > ATTESTATIONS_MAX {
            return Err(Fault::conflict(
                Put::WHAT,
                format!("{digest} has {ATTESTATIONS_MAX} attestations, which is the most"),
            ));
        }
    }
    let Some(first) = once.first() else {
        return Ok(());
    };
    let message = |row: &&AttestationRow| {
        let AttestationRow {
            id,
            digest,
            by,
            source,
            ..
        } = row;
        format!("{id} about {digest} was added by {by} ({source})")
    };
    let messages = once.iter().map(message).collect();
    new.seal_each(
        db,
        "attestation_kept",
        messages,
        &first.by,
        micros(first.at),
    )
    .await
}

pub(super) struct Checked {
    pub(super) digest: Digest,
    pub(super) id: Digest,
    pub(super) verification: serde_json::Value,
    pub(super) at: Timestamp,
}

impl Write for Checked {
    type Answer = ();
    const WHAT: &'static str = "the keeping of a check";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        Sql::new(CHECKED)
            .bind(self.verification.to_string())
            .bind(micros(self.at))
            .bind(self.digest.to_string())
            .bind(self.id.to_string())
            .execute(db)
            .await?;
        Ok(())
    }
}

pub(super) async fn of_digest(db: &Pool, digest: &str) -> Result<Vec<AttestationRow>, Fault> {
    let rows = Sql::new(OF_DIGEST).bind(digest).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

pub(super) async fn behind(
    db: &Pool,
    after: u64,
    limit: i64,
) -> Result<Vec<AttestationRow>, Fault> {
    let rows = Sql::new(BEHIND)
        .bind(integer(after)?)
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter().map(read).collect()
}

pub(super) async fn document(
    db: &Pool,
    digest: &str,
    id: &str,
) -> Result<Option<DocumentRow>, Fault> {
    let row = Sql::new(DOCUMENT)
        .bind(digest)
        .bind(id)
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        Ok(DocumentRow {
            bytes: row.bytes("bytes")?,
            envelope: row.maybe_text("envelope")?,
        })
    })
    .transpose()
}

fn read(row: &Row) -> Result<AttestationRow, Fault> {
    Ok(AttestationRow {
        number: row.count("number")?,
        digest: row.id("digest")?,
        id: row.id("id")?,
        form: row.text("form")?,
        predicate: row.text("predicate")?,
        facts: row.json("facts")?,
        verification: row.json("verification")?,
        source: row.text("source")?,
        by: row.text("added_by")?,
        at: row.time("at")?,
        checked_at: row.time("checked_at")?,
    })
}
