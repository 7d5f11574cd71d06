//! Agents, from their invitation to their end.

use airboss_model::{Digest, Timestamp};

use super::codec::{Columns as _, micros};
use super::db::{Db, Pool, Row, Sql};
use super::fault::Fault;
use super::journal::{self, Told, Watched};
use super::writer::Write;
use crate::{AgentRow, InviteError};

macro_rules! columns {
    () => {
        "id, name, carries, invite, invited_by, invited_at, invited_till, public_key, joined_at, revoked_by, revoked_at"
    };
}

const NAMED: &str = "SELECT count(*) AS here FROM agents WHERE name = $1 AND revoked_at IS NULL";
const PUT: &str = "INSERT INTO agents
    (id, name, carries, invite, invited_by, invited_at, invited_till)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
// Used once: by whom it was used first, who may come again because an answer was lost.
const JOIN: &str = concat!(
    "UPDATE agents SET public_key = $2, joined_at = coalesce(joined_at, $3)
    WHERE invite = $1 AND revoked_at IS NULL
        AND (public_key = $2 OR (public_key IS NULL AND invited_till > $3))
    RETURNING ",
    columns!()
);
const BY_INVITE: &str = concat!("SELECT ", columns!(), " FROM agents WHERE invite = $1");
const REVOKE: &str = concat!(
    "UPDATE agents SET revoked_by = coalesce(revoked_by, $2), revoked_at = coalesce(revoked_at, $3)
    WHERE id = $1 RETURNING ",
    columns!()
);
const ALL: &str = concat!("SELECT ", columns!(), " FROM agents ORDER BY number");

pub(super) struct Invite(pub(super) AgentRow);

impl Write for Invite {
    type Answer = ();
    const WHAT: &'static str = "the invitation of an agent";

    async fn apply(&self, db: &mut Db) -> Result<(), Fault> {
        let row = &self.0;
        let named = Sql::new(NAMED).bind(&row.name).fetch_one(&mut *db).await?;
        if named.count("here")? > 0 {
            return Err(Fault::conflict(
                Self::WHAT,
                format!(
                    "there is an agent {} already; revoke it first: airboss agent revoke {}",
                    row.name, row.name
                ),
            ));
        }
        let kept = [(&journal::AGENTS, vec![(&row.id).into()])];
        let kept = Watched::begin(db, kept).await?;
        Sql::new(PUT)
            .bind(&row.id)
            .bind(&row.name)
            .bind(&row.carries)
            .bind(row.invite.to_string())
            .bind(&row.invited_by)
            .bind(micros(row.invited_at))
            .bind(micros(row.invited_till))
            .execute(&mut *db)
            .await?;
        let told = Told {
            kind: "agent_invited",
            message: format!(
                "agent {} was invited by {}: it may carry {}",
                row.name, row.invited_by, row.carries
            ),
            by: &row.invited_by,
            at: micros(row.invited_at),
        };
        kept.seal(db, told).await
    }
}

pub(super) struct Join {
    pub(super) invite: Digest,
    pub(super) key: String,
    pub(super) at: Timestamp,
}

impl Write for Join {
    type Answer = std::result::Result<AgentRow, InviteError>;
    const WHAT: &'static str = "the joining of an agent";

    async fn apply(&self, db: &mut Db) -> Result<Self::Answer, Fault> {
        let known = Sql::new(BY_INVITE)
            .bind(self.invite.to_string())
            .fetch_optional(&mut *db)
            .await?;
        let Some(known) = known.as_ref().map(read).transpose()? else {
            return Ok(Err(InviteError::Unknown));
        };
        let join = Sql::new(JOIN)
            .bind(self.invite.to_string())
            .bind(&self.key)
            .bind(micros(self.at));
        let told = |_: &AgentRow| Told {
            kind: "agent_joined",
            message: format!("agent {} joined with a key of its own", known.name),
            by: &known.name,
            at: micros(self.at),
        };
        let joined = journal::change(db, &journal::AGENTS, &known.id, join, read, told).await?;
        if let Some(row) = joined {
            return Ok(Ok(row));
        }
        Ok(Err(match known {
            row if row.revoked_at.is_some() => InviteError::Revoked,
            AgentRow {
                joined_at: Some(at),
                ..
            } => InviteError::Used(at),
            row => InviteError::Expired(row.invited_till),
        }))
    }
}

pub(super) struct Revoke {
    pub(super) id: String,
    pub(super) by: String,
    pub(super) at: Timestamp,
}

impl Write for Revoke {
    type Answer = Option<AgentRow>;
    const WHAT: &'static str = "the revocation of an agent";

    async fn apply(&self, db: &mut Db) -> Result<Option<AgentRow>, Fault> {
        let revoke = Sql::new(REVOKE)
            .bind(&self.id)
            .bind(&self.by)
            .bind(micros(self.at));
        journal::change(db, &journal::AGENTS, &self.id, revoke, read, |row| Told {
            kind: "agent_revoked",
            message: format!("agent {} was revoked by {}", row.name, self.by),
            by: &self.by,
            at: micros(self.at),
        })
        .await
    }
}

pub(super) async fn all(db: &Pool) -> Result<Vec<AgentRow>, Fault> {
    let rows = Sql::new(ALL).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<AgentRow, Fault> {
    Ok(AgentRow {
        id: row.text("id")?,
        name: row.text("name")?,
        carries: row.text("carries")?,
        invite: row.id("invite")?,
        invited_by: row.text("invited_by")?,
        invited_at: row.time("invited_at")?,
        invited_till: row.time("invited_till")?,
        public_key: row.maybe_text("public_key")?,
        joined_at: row.maybe_time("joined_at")?,
        revoked_by: row.maybe_text("revoked_by")?,
        revoked_at: row.maybe_time("revoked_at")?,
    })
}
