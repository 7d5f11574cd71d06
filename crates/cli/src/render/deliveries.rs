//! Events that others pushed.

use airboss_server::api::deliveries::DeliveryList;

use super::layout::{Chunk, Line, Style};
use super::words;

/// Events, each with what became of it; then what is configured.
pub fn deliveries(list: &DeliveryList) -> Vec<Line> {
    let mut lines = Vec::new();
    for it in &list.deliveries {
        lines.push(Line::indented(
            2,
            vec![
                Chunk::styled(words::day_and_clock(&it.at), Style::Dim),
                Chunk::styled(&it.sender, Style::Name),
                Chunk::styled(&it.event, Style::Bold),
                Chunk::styled(&it.id, Style::Dim),
            ],
        ));
        let style = match it.outcome.split_whitespace().next() {
            Some("noted") => Style::Good,
            Some("kept:") => Style::Warn,
            _ => Style::Dim,
        };
        let outcome = Chunk::styled(&it.outcome, style);
        lines.push(Line::guided("  ", "  ", vec![outcome]));
    }
    if list.deliveries.is_empty() {
        let text = "No events came within the last 30 days.";
        lines.push(Line::indented(0, vec![Chunk::new(text)]));
    }
    let configured = match list.senders.as_slice() {
        [] => "no sender may push: start the server with --webhook github=file:PATH; docs/ci.md"
            .to_owned(),
        some => format!("may push: {}", some.join(", ")),
    };
    lines.push(Line::indented(
        2,
        vec![Chunk::styled(configured, Style::Dim)],
    ));
    lines
}
