//! Agents as the store of worlds keeps them.

use airboss_model::{Digest, Timestamp};
use airboss_store::{AgentRow, InviteError, StoreError};

/// Every agent, in the order of invitation.
#[derive(Debug, Default)]
pub(super) struct Agents(Vec<AgentRow>);

impl Agents {
    pub(super) fn all(&self) -> Vec<AgentRow> {
        self.0.clone()
    }

    pub(super) fn invite(&mut self, agent: &AgentRow) -> Result<(), StoreError> {
        let taken = |kept: &AgentRow| {
            kept.id == agent.id
                || kept.invite == agent.invite
                || kept.name == agent.name && kept.revoked_at.is_none()
        };
        if self.0.iter().any(taken) {
            return Err(StoreError::Conflict {
                what: "the invitation of an agent",
                detail: format!("there is an agent {} already", agent.name),
            });
        }
        self.0.push(agent.clone());
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        invite: &Digest,
        key: &str,
        at: Timestamp,
    ) -> Result<AgentRow, InviteError> {
        let row = self.0.iter_mut().find(|row| row.invite == *invite);
        let row = row.ok_or(InviteError::Unknown)?;
        match (&row.public_key, row.joined_at) {
            _ if row.revoked_at.is_some() => Err(InviteError::Revoked),
            (Some(known), _) if known == key => Ok(row.clone()),
            (_, Some(joined)) => Err(InviteError::Used(joined)),
            _ if row.invited_till <= at => Err(InviteError::Expired(row.invited_till)),
            _ => {
                row.public_key = Some(key.to_owned());
                row.joined_at = Some(at);
                Ok(row.clone())
            }
        }
    }

    pub(super) fn revoke(&mut self, id: &str, by: &str, at: Timestamp) -> Option<AgentRow> {
        let row = self.0.iter_mut().find(|row| row.id == id)?;
        row.revoked_by.get_or_insert_with(|| by.to_owned());
        row.revoked_at.get_or_insert(at);
        Some(row.clone())
    }
}
