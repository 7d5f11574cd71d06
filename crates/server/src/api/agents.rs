//! Agents, as clients invite them and read of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Invites an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// Its name: 1 to 63 small letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// The lanes that it carries, as `SERVICE/ENVIRONMENT`; `*` stands for any.
    pub carries: Vec<String>,
    /// How long the join token can be used, such as `1h`; at most 30 days.
    pub expires_in: String,
    /// Whether it may carry lanes that run on the installation's own agent now.
    #[serde(default)]
    pub take_over: bool,
    /// Who invites it, for the record.
    pub by: String,
}

/// An agent that is invited. The join token is told here and never again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InvitedAgent {
    /// What is known of it from now on.
    pub agent: HostAgent,
    /// What `airboss agent join` needs on its host.
    pub join_token: String,
}

/// Who revokes an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeAgent {
    /// For the record.
    pub by: String,
}

/// An agent and its host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HostAgent {
    /// Its id.
    pub id: String,
    /// Its name. None: the installation's own agent, which shows a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `reports`, `silent`, `invited`, `expired` (the invitation was not used in time) or `revoked`.
    pub state: String,
    /// What it may carry, as patterns; empty for the installation's own agent: everything else.
    pub carries: Vec<String>,
    /// The lanes that it carries now.
    pub lanes: Vec<String>,
    /// Lanes that run on its host and that it is not asked for: they were another's before, or
    /// are another's now.
    pub strays: Vec<String>,
    /// Its version of Airboss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its last report to this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// Who invited it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_by: Option<String>,
    /// Until when it may join, while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invited_till: Option<String>,
    /// When it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<String>,
    /// Who revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_by: Option<String>,
    /// Since when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// Agents in the order of their invitation, the installation's own at the front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// The server's clock.
    pub now: String,
    /// The server's version.
    pub version: String,
    /// The agents.
    pub agents: Vec<HostAgent>,
}
