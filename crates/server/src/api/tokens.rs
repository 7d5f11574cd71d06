//! Tokens, as clients ask for them and read them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Who will hold it: 1 to 100 characters. The record names it with everything that is asked
    /// with the token.
    pub name: String,
    /// What it allows: `read`, `ship`, `approve`, `admin`, `agent`.
    pub scopes: Vec<String>,
    /// For how long, such as `90d`; `never` for one without an end.
    pub expires_in: String,
    /// Who asks for it, for the record.
    pub by: String,
}

/// A token that was made. Its text is told here and never again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// What is known of it from now on.
    pub token: TokenView,
    /// What its holder shows: `Authorization: Bearer …`.
    pub secret: String,
}

/// A token without its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Names it for its revocation.
    pub id: String,
    /// Who holds it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// `valid`, `expired` or `revoked`.
    pub state: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: String,
    /// From when on it is of no use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Since when it is of no use, because somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
}

/// Tokens, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// At most 5,000.
    pub tokens: Vec<TokenView>,
}
