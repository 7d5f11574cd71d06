//! Tokens, by the hash of their text.

use airboss_model::{Digest, Timestamp};

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::journal::{self, Told, Watched};
use super::writer::Write;
use crate::TokenRow;

const PUT: &str = "INSERT INTO tokens
    (id, name, scopes, secret, created_by, created_at, expires_at, revoked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const REVOKE: &str = "UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
    RETURNING id, name, scopes, secret, created_by, created_at, expires_at, revoked_at";
const BY_SECRET: &str =
    "SELECT id, name, scopes, secret, created_by, created_at, expires_at, revoked_at
    FROM tokens WHERE secret = $1";
const ALL: &str = "SELECT id, name, scopes, secret, created_by, created_at, expires_at, revoked_at
    FROM tokens ORDER BY created_at DESC, id LIMIT $1";

pub(super) struct Put(pub(super) TokenRow);

impl Write for Put {
    type Answer = ();
    const WHAT: &'static str = "the keeping of a token";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let row = &self.0;
        let kept = [(&journal::TOKENS, vec![(&row.id).into()])];
        let kept = Watched::begin(db, kept).await?;
        Sql::new(PUT)
            .bind(&row.id)
            .bind(&row.name)
            .bind(&row.scopes)
            .bind(row.secret.to_string())
            .bind(&row.created_by)
            .bind(micros(row.created_at))
            .bind(row.expires_at.map(micros))
            .bind(row.revoked_at.map(micros))
            .execute(&mut *db)
            .await?;
        let told = Told {
            kind: "token_made",
            message: format!(
                "token {} for {} was made by {}: it may {}",
                row.id, row.name, row.created_by, row.scopes
            ),
            by: &row.created_by,
            at: micros(row.created_at),
        };
        kept.seal(db, told).await
    }
}

pub(super) struct Revoke {
    pub(super) id: String,
    pub(super) by: String,
    pub(super) at: Timestamp,
}

impl Write for Revoke {
    type Answer = Option<TokenRow>;
    const WHAT: &'static str = "the revocation of a token";

    async fn apply(&self, db: &mut Db) -> Result<Option<TokenRow>, Fault> {
        let revoke = Sql::new(REVOKE).bind(&self.id).bind(micros(self.at));
        journal::change(db, &journal::TOKENS, &self.id, revoke, read, |row| Told {
            kind: "token_revoked",
            message: format!(
                "token {} of {} was revoked by {}",
                row.id, row.name, self.by
            ),
            by: &self.by,
            at: micros(self.at),
        })
        .await
    }
}

pub(super) async fn by_secret(db: &Pool, secret: &Digest) -> Result<Option<TokenRow>, Fault> {
    let row = Sql::new(BY_SECRET)
        .bind(secret.to_string())
        .fetch_optional(db)
        .await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(db: &Pool, limit: i64) -> Result<Vec<TokenRow>, Fault> {
    let rows = Sql::new(ALL).bind(limit).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<TokenRow, Fault> {
    Ok(TokenRow {
        id: row.text("id")?,
        name: row.text("name")?,
        scopes: row.text("scopes")?,
        secret: row.id("secret")?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.maybe_time("expires_at")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}
