//! Artifacts: lists, one of them, moved tags, what retention does.

use airboss_server::api::artifacts::{ArtifactDetail, FateView, RetentionReport};

use super::layout::{Chunk, Line, Style};
use super::table::table;
use super::words;
use crate::commands::artifact::Drift;

/// Artifacts, one a line.
pub fn artifacts(all: &[ArtifactDetail]) -> Vec<Line> {
    let rows = all
        .iter()
        .map(|artifact| {
            let content = match &artifact.removed {
                Some(_) => Chunk::styled("removed", Style::Dim),
                None => Chunk::new(words::bytes(artifact.size)),
            };
            vec![
                Chunk::styled(words::short_digest(&artifact.digest), Style::Name),
                content,
                Chunk::new(words::day_and_clock(&artifact.kept_at)),
                Chunk::new(releases(&artifact.releases)),
                Chunk::styled(from(artifact), Style::Dim),
            ]
        })
        .collect();
    table(&["ARTIFACT", "SIZE", "KEPT", "RELEASES", "FROM"], rows)
}

fn releases(all: &[String]) -> String {
    if all.is_empty() {
        "–".to_owned()
    } else {
        all.join(", ")
    }
}

fn from(artifact: &ArtifactDetail) -> String {
    match artifact.origins.first() {
        Some(origin) => origin.reference.clone(),
        None => artifact.source.clone(),
    }
}

/// One artifact, field by field.
pub fn artifact(artifact: &ArtifactDetail) -> Vec<Line> {
    let mut lines = vec![Line::indented(
        0,
        vec![Chunk::styled(&artifact.digest, Style::Name)],
    )];
    let mut field = |name: &str, value: String, style: Style| {
        lines.push(Line::indented(
            14,
            vec![
                Chunk::styled(format!("  {name}"), Style::Dim).least(12),
                Chunk::styled(value, style),
            ],
        ));
    };
    let content = match &artifact.removed {
        Some(removal) => (
            format!(
                "removed {}: {}",
                words::day_and_clock(&removal.at),
                removal.why
            ),
            Style::Warn,
        ),
        None => (
            format!("kept, {}", words::bytes(artifact.size)),
            Style::Plain,
        ),
    };
    field("content", content.0, content.1);
    field("releases", releases(&artifact.releases), Style::Plain);
    if artifact.releases.len() > 1 {
        field(
            "",
            "the same content under several versions".to_owned(),
            Style::Warn,
        );
    }
    field(
        "registered",
        format!(
            "{} from {}",
            words::day_and_clock(&artifact.at),
            artifact.source
        ),
        Style::Plain,
    );
    for origin in &artifact.origins {
        let platform = origin
            .platform
            .as_deref()
            .map_or(String::new(), |it| format!(" for {it}"));
        field(
            "origin",
            format!("{}{platform}", origin.reference),
            Style::Plain,
        );
        if origin.tag.is_some() {
            field("", format!("pointed to {}", origin.resolved), Style::Plain);
        }
        if origin.manifest != origin.resolved {
            field("", format!("manifest {}", origin.manifest), Style::Plain);
        }
        if let Some(moved) = &origin.moved_to {
            field(
                "",
                format!("the tag was moved: it points to {moved}"),
                Style::Warn,
            );
        }
    }
    lines
}

/// What the registries say of tags.
pub fn drift(tags: &[Drift]) -> Vec<Line> {
    let mut lines = Vec::new();
    for tag in tags {
        let (mark, style, told) = if tag.is_moved() {
            ("✗ ", Style::Bad, "was moved")
        } else if tag.problem.is_some() {
            ("! ", Style::Warn, "could not be looked up")
        } else {
            ("✓ ", Style::Good, "points to what was shipped")
        };
        lines.push(Line::indented(
            2,
            vec![
                Chunk::styled(mark, style).and(&tag.reference, Style::Name),
                Chunk::new(format!("{told}  ({}, {})", tag.release, tag.lane)),
            ],
        ));
        let mut more = |text: String| {
            lines.push(Line::indented(
                4,
                vec![Chunk::styled(format!("  {text}"), Style::Dim)],
            ));
        };
        match (&tag.now, &tag.problem) {
            (Some(now), _) if tag.is_moved() => {
                more(format!("then {}", tag.pinned));
                more(format!("now  {now}"));
                more(
                    "what runs is what was shipped; the new content needs a version of its own"
                        .to_owned(),
                );
            }
            (_, Some(problem)) => problem
                .lines()
                .for_each(|line| more(line.trim().to_owned())),
            _ => {}
        }
    }
    lines
}

/// What retention removes, and why the rest stays.
pub fn retention(report: &RetentionReport) -> Vec<Line> {
    let mut rows = Vec::new();
    let word = if report.dry_run { "would go" } else { "gone" };
    let row = |fate: &FateView, word: &str, style| {
        vec![
            Chunk::styled(word, style),
            Chunk::styled(words::short_digest(&fate.digest), Style::Name),
            Chunk::new(words::bytes(fate.size)),
            Chunk::new(releases(&fate.releases)),
            Chunk::styled(&fate.why, Style::Dim),
        ]
    };
    rows.extend(report.goes.iter().map(|fate| row(fate, word, Style::Warn)));
    rows.extend(
        report
            .stays
            .iter()
            .map(|fate| row(fate, "stays", Style::Good)),
    );
    let mut lines = if rows.is_empty() {
        vec![Line::indented(
            0,
            vec![Chunk::new("No artifacts are kept.")],
        )]
    } else {
        table(&["", "ARTIFACT", "SIZE", "RELEASES", "WHY"], rows)
    };
    let verb = if report.dry_run { "would be" } else { "were" };
    lines.push(Line::indented(
        2,
        vec![Chunk::styled(
            format!(
                "{} of {} {verb} removed, {}",
                report.goes.len(),
                report.goes.len() + report.stays.len(),
                words::bytes(report.freed)
            ),
            Style::Dim,
        )],
    ));
    lines.extend(
        report.failed.iter().map(|failed| {
            Line::indented(2, vec![Chunk::styled(format!("✗ {failed}"), Style::Bad)])
        }),
    );
    lines
}
