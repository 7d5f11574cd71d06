//! Which agent carries which lane.
//!
//! Agents that have keys of their own carry the lanes that their invitation names, from the invitation
//! on; of several whose patterns fit a lane, the one that was invited first. So a lane moves only where
//! somebody revokes an agent, never because another one came. What nobody was invited for is
//! carried by the installation's own agent, the one that shows a token.

use std::fmt;
use std::str::FromStr;

use airboss_model::{LaneId, Timestamp};
use airboss_store::AgentRow;

/// Most agents that are invited or have joined and are not revoked.
pub const AGENTS_MAX: usize = 500;
/// Most patterns of one agent.
pub const PATTERNS_MAX: usize = 50;

/// Lanes by service and environment; `*` stands for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    service: String,
    environment: String,
}

/// A word that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no lanes; write SERVICE/ENVIRONMENT, where * stands for any: checkout/production, */staging, *"
)]
pub struct BadPattern(String);

impl FromStr for Pattern {
    type Err = BadPattern;
    fn from_str(word: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(word.to_owned());
        let (service, environment) = match word {
            "*" => ("*", "*"),
            word => word.split_once('/').ok_or_else(bad)?,
        };
        // What is a name of either is the model's to say.
        let lane = format!("{service}/{environment}").replace('*', "x");
        let stars = |part: &str| part.contains('*') && part != "*";
        if stars(service) || stars(environment) || lane.parse::<LaneId>().is_err() {
            return Err(bad());
        }
        Ok(Self {
            service: service.to_owned(),
            environment: environment.to_owned(),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.environment)
    }
}

impl Pattern {
    /// True where it names this lane.
    pub fn fits(&self, lane: &LaneId) -> bool {
        let fits = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        fits(&self.service, lane.service().as_str())
            && fits(&self.environment, lane.environment().as_str())
    }
}

/// An agent with a key of its own that is not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The lanes that it carries.
    pub carries: Vec<Pattern>,
    /// Its public key in hexadecimal digits; None before it joined.
    pub public_key: Option<String>,
    /// Until when it may join.
    pub invited_till: Timestamp,
}

/// Agents with keys of their own, those invited first at the front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster(Vec<Member>);

impl Roster {
    /// Of rows in the order of invitation. A pattern of a newer Airboss fits nothing here.
    pub fn of(rows: &[AgentRow]) -> Self {
        let members = rows.iter().filter(|row| row.revoked_at.is_none());
        Self(
            members
                .map(|row| Member {
                    id: row.id.clone(),
                    name: row.name.clone(),
                    carries: patterns(&row.carries),
                    public_key: row.public_key.clone(),
                    invited_till: row.invited_till,
                })
                .collect(),
        )
    }

    /// An agent by its id.
    pub fn member(&self, id: &str) -> Option<&Member> {
        self.0.iter().find(|member| member.id == id)
    }

    /// Who carries a lane; None where that is the installation's own agent.
    pub fn carrier(&self, lane: &LaneId) -> Option<&Member> {
        let fits = |member: &&Member| member.carries.iter().any(|pattern| pattern.fits(lane));
        self.0.iter().find(fits)
    }

    /// True where the agent, whoever it is, carries this lane.
    pub fn is_carried_by(&self, agent: &str, lane: &LaneId) -> bool {
        match self.carrier(lane) {
            Some(carrier) => carrier.id == agent,
            None => self.member(agent).is_none(),
        }
    }

    /// Everybody.
    pub fn members(&self) -> &[Member] {
        &self.0
    }
}

/// The patterns of a row.
pub fn patterns(carries: &str) -> Vec<Pattern> {
    let words = carries.split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make::at;

    fn row(id: &str, carries: &str, revoked: bool) -> AgentRow {
        AgentRow {
            id: id.to_owned(),
            name: id.to_owned(),
            carries: carries.to_owned(),
            invite: airboss_model::Digest::from_sha256([1; 32]),
            invited_by: "ann".to_owned(),
            invited_at: at(0),
            invited_till: at(9),
            public_key: None,
            joined_at: None,
            revoked_by: None,
            revoked_at: revoked.then(|| at(1)),
        }
    }

    #[test]
    fn a_lane_belongs_to_who_was_invited_for_it_first() {
        let roster = Roster::of(&[
            row("gone", "*", true),
            row("one", "*/production", false),
            row("two", "shop/production shop/staging", false),
        ]);
        let carrier = |lane: &str| {
            let lane = lane.parse().unwrap();
            roster.carrier(&lane).map(|member| member.id.clone())
        };
        assert_eq!(carrier("shop/production").as_deref(), Some("one"));
        assert_eq!(carrier("shop/staging").as_deref(), Some("two"));
        assert_eq!(carrier("cart/staging"), None);
        let lane = "cart/staging".parse().unwrap();
        for (agent, carries) in [("one", false), ("two", false), ("local", true)] {
            assert_eq!(roster.is_carried_by(agent, &lane), carries, "{agent}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_form() {
        for good in ["*", "*/*", "shop/*", "*/production", "shop/production"] {
            assert!(good.parse::<Pattern>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "shop",
            "sh*p/production",
            "shop/",
            "/",
            "a/b/c",
            "Shop/x y",
        ] {
            let error = bad.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("SERVICE/ENVIRONMENT"), "{error}");
        }
    }
}
