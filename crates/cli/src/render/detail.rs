//! `explain`, `doctor`, `logs`, and the lines that `watch` appends.

use airboss_server::api::views::{EventView, Explanation, LogView, RolloutView};

use super::layout::{Chunk, Line, Style, harmless};
use super::table::outcome_style;
use super::tree::{gate_chunks, verdict_style};
use super::{dossier, promises, words};
use crate::commands::doctor::{Finding, Level};

/// One event on one line: time, rollout, message.
pub fn event_line(event: &EventView) -> Line {
    let subject = event.rollout.as_deref().unwrap_or(&event.service);
    let style = match event.kind.as_str() {
        "rollback_started" | "stalled" | "target_lost" => Style::Bad,
        "promoted" | "returned_to_stable" => Style::Good,
        _ => Style::Plain,
    };
    Line::indented(
        11,
        vec![
            Chunk::styled(words::clock(&event.at), Style::Dim),
            Chunk::styled(subject, Style::Name),
            Chunk::styled(&event.message, style),
        ],
    )
}

/// How a rollout ended, and where to look further.
pub fn final_line(rollout: &RolloutView) -> Vec<Line> {
    let outcome = rollout.outcome.as_deref().unwrap_or(&rollout.phase);
    let mark = if outcome == "shipped" { "✓" } else { "✗" };
    let took = rollout
        .ended_at
        .as_deref()
        .and_then(|end| words::between(&rollout.created_at, end))
        .map_or_else(String::new, |span| format!(" after {span}"));
    let said = format!("{mark} {} {}{took}:", rollout.id, words::plain(outcome));
    vec![
        Line::indented(
            2,
            vec![
                Chunk::styled(said, outcome_style(outcome))
                    .and(" ", Style::Plain)
                    .and(
                        format!(
                            "{} in {}/{}",
                            rollout.version, rollout.service, rollout.environment
                        ),
                        Style::Plain,
                    )
                    .and(format!(", {}", rollout.reason), Style::Plain),
            ],
        ),
        Line::indented(
            2,
            vec![Chunk::styled(
                format!("  why: airboss explain {}", rollout.id),
                Style::Dim,
            )],
        ),
    ]
}

/// Why a rollout went as it did; `full` adds the numbers behind each decision.
pub fn explanation(explanation: &Explanation, full: bool) -> Vec<Line> {
    let rollout = &explanation.rollout;
    let word = rollout.outcome.as_deref().unwrap_or(&rollout.phase);
    let mut lines = vec![
        Line::indented(
            2,
            vec![
                Chunk::styled(&rollout.id, Style::Name),
                Chunk::styled(&rollout.version, Style::Bold),
                Chunk::new(format!("{}/{}", rollout.service, rollout.environment)),
                Chunk::styled(words::plain(word), outcome_style(word)),
                Chunk::styled(format!("asked for by {}", rollout.by), Style::Dim),
                Chunk::styled(words::day_and_clock(&rollout.created_at), Style::Dim),
                Chunk::styled(words::short_digest(&rollout.digest), Style::Dim),
            ],
        ),
        Line::indented(0, vec![Chunk::new(&explanation.summary)]),
    ];
    lines.extend(dossier::items(&explanation.lacking, "  "));
    lines.push(Line::default());
    let by = explanation
        .decisions
        .iter()
        .map(|decision| decision.by.chars().count())
        .max()
        .unwrap_or(0);
    for decision in &explanation.decisions {
        lines.push(Line::indented(
            13 + by,
            vec![
                Chunk::styled(words::clock(&decision.at), Style::Dim),
                Chunk::styled(&decision.by, Style::Name).least(by),
                Chunk::new(&decision.what),
            ],
        ));
        let Some(verdict) = decision.verdict.as_ref().filter(|_| full) else {
            continue;
        };
        lines.push(Line::guided(
            " ".repeat(11),
            " ".repeat(13),
            vec![
                Chunk::styled(
                    words::plain(&verdict.verdict),
                    verdict_style(&verdict.verdict),
                ),
                Chunk::new(&verdict.reason),
                Chunk::styled(
                    format!("odds {} : 1", words::odds(verdict.odds)),
                    Style::Dim,
                ),
                Chunk::styled(format!("{} s of data", verdict.ticks), Style::Dim),
            ],
        ));
        if let Some(mix) = &verdict.mix {
            let chunk = Chunk::styled(&mix.reason, Style::Dim);
            lines.push(Line::guided(" ".repeat(11), " ".repeat(13), vec![chunk]));
        }
        for gate in &verdict.gates {
            lines.push(Line::guided(
                " ".repeat(13),
                " ".repeat(15),
                gate_chunks(gate, verdict.fail_at_odds),
            ));
        }
    }
    lines.extend(promises::blind_spots(&explanation.blind_spots));
    if let Some(computation) = explanation.computation.as_ref().filter(|_| full) {
        lines.push(Line::default());
        let head = Chunk::styled("The judge's computation as it stood last:", Style::Bold);
        lines.push(Line::indented(2, vec![head]));
        for line in computation.lines() {
            let text = line.trim_start();
            let indent = 2 + line.len() - text.len();
            lines.push(Line::guided(
                " ".repeat(indent),
                " ".repeat(indent + 2),
                vec![Chunk::new(text)],
            ));
        }
    }
    if !full
        && explanation
            .decisions
            .iter()
            .any(|decision| decision.verdict.is_some())
    {
        lines.push(Line::default());
        lines.push(Line::indented(
            2,
            vec![Chunk::styled(
                format!(
                    "the numbers behind it: airboss explain {} --full",
                    rollout.id
                ),
                Style::Dim,
            )],
        ));
    }
    lines
}

/// What `doctor` found, one line each with what to do.
pub fn doctor(findings: &[Finding]) -> Vec<Line> {
    let what = findings
        .iter()
        .map(|finding| finding.what.chars().count())
        .max()
        .unwrap_or(0);
    let mut lines = Vec::new();
    for finding in findings {
        let (mark, style) = match finding.level {
            Level::Good => ("✓", Style::Good),
            Level::Warning => ("!", Style::Warn),
            Level::Wrong => ("✗", Style::Bad),
        };
        lines.push(Line::indented(
            what + 4,
            vec![
                Chunk::styled(mark, style)
                    .and(" ", Style::Plain)
                    .and(&finding.what, Style::Bold)
                    .least(what + 2),
                Chunk::new(&finding.told),
            ],
        ));
        if let Some(next) = &finding.next {
            lines.push(Line::guided(
                format!("{}→ ", " ".repeat(what + 4)),
                " ".repeat(what + 6),
                vec![Chunk::new(next)],
            ));
        }
    }
    lines
}

/// Log lines as text: the instance, then what it wrote. `raw` leaves control characters in, for
/// files and other programs; a terminal gets none.
pub fn lines_of_log(view: &LogView, raw: bool) -> Vec<String> {
    view.lines
        .iter()
        .map(|line| {
            let text = if raw {
                line.text.clone()
            } else {
                harmless(&line.text)
            };
            format!("{}  {text}", line.instance)
        })
        .collect()
}
