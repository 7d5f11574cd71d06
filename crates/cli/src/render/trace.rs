//! Traces: each release with what is linked to it.

use airboss_server::api::trace::{ReleaseTrace, Trace};

use super::layout::{Chunk, Line, Style};
use super::table::outcome_style;
use super::words;

/// A trace's lines.
pub fn trace(trace: &Trace) -> Vec<Line> {
    let mut lines = Vec::new();
    for found in &trace.releases {
        if !lines.is_empty() {
            lines.push(Line::indented(0, vec![Chunk::new("")]));
        }
        release(&mut lines, found);
    }
    if trace.more {
        let text = "there are more: see --limit";
        lines.push(Line::indented(2, vec![Chunk::styled(text, Style::Dim)]));
    }
    lines
}

fn release(lines: &mut Vec<Line>, found: &ReleaseTrace) {
    let made = format!(
        "made {} by {}",
        words::day_and_clock(&found.created_at),
        found.created_by
    );
    lines.push(Line::indented(
        0,
        vec![
            Chunk::styled(&found.release, Style::Name),
            Chunk::styled(&made, Style::Dim),
        ],
    ));
    for why in &found.found_by {
        fact(lines, "found by", Chunk::new(why));
    }
    fact(lines, "artifact", Chunk::new(artifact(found)));
    let build = &found.build;
    for (name, value) in [
        ("commit", &build.commit),
        ("ref", &build.reference),
        ("repository", &build.repository),
        ("run", &build.run),
        ("actor", &build.actor),
        ("builder", &build.builder),
    ] {
        if let Some(value) = value {
            fact(lines, name, Chunk::new(value));
        }
    }
    for run in &found.tests {
        let name = run.name.as_deref().unwrap_or(&run.source);
        let text = format!("{name}: {} ({})", run.summary, words::short_digest(&run.id));
        fact(lines, "tests", Chunk::new(text));
    }
    for other in &found.same_content {
        fact(lines, "same content", Chunk::styled(other, Style::Name));
    }
    for environment in &found.serves_in {
        fact(lines, "serves in", Chunk::styled(environment, Style::Good));
    }
    for rollout in &found.rollouts {
        let word = rollout.outcome.as_deref().unwrap_or(&rollout.phase);
        let chunk = Chunk::styled(&rollout.id, Style::Name)
            .and(" ", Style::Plain)
            .and(words::plain(word), outcome_style(word))
            .and(
                format!(
                    " in {}, {} by {}",
                    rollout.environment,
                    words::day_and_clock(&rollout.created_at),
                    rollout.by
                ),
                Style::Plain,
            );
        fact(lines, "rollout", chunk);
    }
    for deed in &found.people {
        let text = format!(
            " {}: {} (event {})",
            words::day_and_clock(&deed.at),
            deed.what,
            deed.event
        );
        let chunk = Chunk::styled(&deed.who, Style::Bold).and(text, Style::Plain);
        fact(lines, "person", chunk);
    }
    for what in &found.missing {
        fact(lines, "missing", Chunk::styled(what, Style::Warn));
    }
}

fn fact(lines: &mut Vec<Line>, name: &str, value: Chunk) {
    let name = Chunk::styled(name, Style::Dim).least(12);
    lines.push(Line::indented(2, vec![name, value]));
}

fn artifact(found: &ReleaseTrace) -> String {
    let mut text = found.digest.clone();
    if let Some(size) = found.size {
        text += &format!(", {}", words::bytes(size));
    }
    if let Some(source) = &found.source {
        text += &format!(", from {source}");
    }
    text
}
