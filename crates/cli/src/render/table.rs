//! Tables: `history`, and `status` over several services.

use airboss_server::api::agents::AgentList;
use airboss_server::api::tokens::TokenView;
use airboss_server::api::views::{LaneView, RolloutView};

use super::layout::{Chunk, Line, Style};
use super::words;

/// A table's lines, columns as wide as their widest cell.
pub(super) fn table(head: &[&str], rows: Vec<Vec<Chunk>>) -> Vec<Line> {
    let mut all = vec![
        head.iter()
            .map(|name| Chunk::styled(name, Style::Dim))
            .collect::<Vec<_>>(),
    ];
    all.extend(rows);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            all.iter()
                .filter_map(|row| row.get(column).map(Chunk::width))
                .max()
                .unwrap_or(0)
        })
        .collect();
    all.into_iter()
        .map(|row| {
            let cells = row
                .into_iter()
                .zip(&widths)
                .map(|(cell, width)| cell.least(*width))
                .collect();
            Line::indented(4, cells)
        })
        .collect()
}

/// How an outcome or phase is meant.
pub(super) fn outcome_style(word: &str) -> Style {
    match word {
        "shipped" => Style::Good,
        "rolled_back" | "failed" | "rolling_back" => Style::Bad,
        "aborted" | "superseded" | "paused" => Style::Warn,
        _ => Style::Plain,
    }
}

/// Rollouts, one a line.
pub fn history(rollouts: &[RolloutView]) -> Vec<Line> {
    let rows = rollouts
        .iter()
        .map(|rollout| {
            let word = rollout.outcome.as_deref().unwrap_or(&rollout.phase);
            let took = rollout
                .ended_at
                .as_deref()
                .and_then(|end| words::between(&rollout.created_at, end))
                .unwrap_or_else(|| "–".to_owned());
            vec![
                Chunk::styled(&rollout.id, Style::Name),
                Chunk::new(&rollout.version),
                Chunk::new(&rollout.environment),
                Chunk::styled(words::plain(word), outcome_style(word)),
                Chunk::new(words::day_and_clock(&rollout.created_at)),
                Chunk::new(took),
                Chunk::new(&rollout.by),
                Chunk::styled(&rollout.reason, Style::Dim),
            ]
        })
        .collect();
    table(
        &[
            "ROLLOUT",
            "VERSION",
            "ENVIRONMENT",
            "RESULT",
            "ASKED FOR",
            "TOOK",
            "BY",
            "REASON",
        ],
        rows,
    )
}

/// Lanes, one a line.
pub fn lanes(lanes: &[LaneView]) -> Vec<Line> {
    let rows = lanes
        .iter()
        .map(|lane| {
            let stable = lane.stable.as_ref().map_or("–", |stable| &stable.version);
            let (rollout, phase, traffic) = match &lane.rollout {
                Some(rollout) => {
                    let observed = lane.traffic.observed.as_deref().unwrap_or("unknown");
                    let set = &lane.traffic.set;
                    let style = if lane.traffic.confirmed {
                        Style::Plain
                    } else {
                        Style::Warn
                    };
                    (
                        Chunk::styled(format!("{} {}", rollout.id, rollout.version), Style::Name),
                        Chunk::styled(words::plain(&rollout.phase), outcome_style(&rollout.phase)),
                        Chunk::styled(format!("set {set}, observed {observed}"), style),
                    )
                }
                None => (Chunk::new("–"), Chunk::new("–"), Chunk::new("stable")),
            };
            let (ready, wanted) = lane.arms.iter().fold((0, 0), |(ready, wanted), arm| {
                (ready + arm.ready, wanted + arm.wanted)
            });
            let instances = Chunk::styled(
                format!("{ready}/{wanted}"),
                if ready < wanted {
                    Style::Warn
                } else {
                    Style::Plain
                },
            );
            let trouble = if lane.agent.lost_since.is_some() {
                "agent silent".to_owned()
            } else {
                lane.problems.first().cloned().unwrap_or_default()
            };
            vec![
                Chunk::styled(
                    format!("{}/{}", lane.service, lane.environment),
                    Style::Name,
                ),
                Chunk::new(stable),
                rollout,
                phase,
                traffic,
                instances,
                Chunk::new(lane.queue.len().to_string()),
                Chunk::styled(trouble, Style::Bad),
            ]
        })
        .collect();
    table(
        &[
            "SERVICE", "STABLE", "ROLLOUT", "PHASE", "TRAFFIC", "READY", "QUEUED", "TROUBLE",
        ],
        rows,
    )
}

/// Agents, the installation's own first.
pub fn agents(list: &AgentList) -> Vec<Line> {
    let rows = list.agents.iter().map(|agent| {
        let style = match agent.state.as_str() {
            "reports" => Style::Good,
            "revoked" => Style::Dim,
            "invited" => Style::Warn,
            _ => Style::Bad,
        };
        let version = agent.version.as_deref().unwrap_or("");
        let is_alike = version.is_empty() || version == list.version;
        let when = match (&agent.revoked_at, &agent.invited_till, &agent.last_seen) {
            (Some(at), ..) => words::day_and_clock(at),
            (_, Some(till), _) => format!("until {}", words::day_and_clock(till)),
            (_, _, Some(at)) => words::day_and_clock(at),
            _ => String::new(),
        };
        let carries = match agent.carries.is_empty() {
            true => "everything else".to_owned(),
            false => agent.carries.join(" "),
        };
        let mut lanes = agent.lanes.join(" ");
        if !agent.strays.is_empty() {
            lanes += &format!(" (still runs {})", agent.strays.join(" "));
        }
        vec![
            Chunk::styled(agent.name.as_deref().unwrap_or("(own)"), Style::Name),
            Chunk::new(&agent.id),
            Chunk::styled(&agent.state, style),
            Chunk::new(when),
            Chunk::styled(version, if is_alike { Style::Plain } else { Style::Warn }),
            Chunk::new(carries),
            Chunk::new(lanes),
        ]
    });
    table(
        &[
            "AGENT",
            "ID",
            "STATE",
            "HEARD",
            "VERSION",
            "CARRIES",
            "LANES NOW",
        ],
        rows.collect(),
    )
}

/// Tokens, newest first.
pub fn tokens(tokens: &[TokenView]) -> Vec<Line> {
    let rows = tokens
        .iter()
        .map(|token| {
            let style = match token.state.as_str() {
                "valid" => Style::Good,
                "revoked" => Style::Bad,
                _ => Style::Warn,
            };
            let end = token.revoked_at.as_ref().or(token.expires_at.as_ref());
            vec![
                Chunk::styled(&token.id, Style::Name),
                Chunk::new(&token.name),
                Chunk::new(token.scopes.join(" ")),
                Chunk::styled(&token.state, style),
                Chunk::new(end.map_or_else(|| "never".to_owned(), |at| words::day_and_clock(at))),
                Chunk::new(words::day_and_clock(&token.created_at)),
                Chunk::new(&token.created_by),
            ]
        })
        .collect();
    table(
        &["TOKEN", "HOLDER", "SCOPES", "STATE", "ENDS", "MADE", "BY"],
        rows,
    )
}
