//! A release and what is said of it.

use std::collections::BTreeMap;

use airboss_server::api::evidence::{
    AttestationView, FieldView, ItemView, ReleaseList, ReleaseView,
};

use super::layout::{Chunk, Line, Style};
use super::words;

/// What `artifact add` did.
pub fn added(release: &ReleaseView, added: &[AttestationView], ci: Option<&str>) -> Vec<Line> {
    let mut lines = vec![Line::indented(
        2,
        vec![
            Chunk::styled("✓ ", Style::Good).and(&release.id, Style::Bold),
            Chunk::styled(words::short_digest(&release.digest), Style::Dim),
            Chunk::styled(
                ci.map_or(String::new(), |ci| format!("with what {ci} tells")),
                Style::Dim,
            ),
        ],
    )];
    lines.extend(added.iter().map(document));
    lines.extend(warnings(release));
    if !release.missing.is_empty() {
        let text = format!("not known: {}", release.missing.join(", "));
        lines.push(Line::guided(
            "! ",
            "  ",
            vec![Chunk::styled(text, Style::Warn)],
        ));
    }
    lines.extend(open_items(&release.required));
    let version = release
        .id
        .split_once('@')
        .map_or("", |(_, version)| version);
    let next = format!("  ship it: airboss ship --version {version}");
    lines.push(Line::indented(2, vec![Chunk::styled(next, Style::Dim)]));
    lines
}

/// A release, field by field.
pub fn release(release: &ReleaseView) -> Vec<Line> {
    let mut lines = vec![Line::indented(
        2,
        vec![
            Chunk::styled(&release.id, Style::Bold),
            Chunk::styled(words::day_and_clock(&release.at), Style::Dim),
            Chunk::styled(format!("by {}", release.by), Style::Dim),
        ],
    )];
    let width = release
        .fields
        .iter()
        .map(|it| it.name.len())
        .max()
        .unwrap_or(0);
    lines.extend(release.fields.iter().map(|it| field(it, width)));
    lines.extend(warnings(release));
    if !release.required.is_empty() {
        lines.push(Line::indented(
            2,
            vec![Chunk::new("  required by the manifest")],
        ));
        lines.extend(items(&release.required, "    "));
    }
    lines.push(Line::indented(2, vec![Chunk::new("  documents")]));
    if release.attestations.is_empty() {
        let text = "    none; add some: airboss artifact add --help";
        lines.push(Line::indented(4, vec![Chunk::styled(text, Style::Dim)]));
    }
    lines.extend(release.attestations.iter().map(document));
    lines
}

fn field(field: &FieldView, width: usize) -> Line {
    let (mark, style) = match (&field.value, &field.verified_by) {
        (Some(_), Some(_)) => ("✓", Style::Good),
        (Some(_), None) => ("·", Style::Plain),
        (None, _) if field.needed => ("✗", Style::Bad),
        (None, _) => ("–", Style::Dim),
    };
    let value = field.value.as_deref().unwrap_or("not known");
    let who = match (&field.verified_by, &field.told_by) {
        (Some(signer), Some(source)) => format!("{source}, signed by {signer}"),
        (Some(signer), None) => format!("signed by {signer}"),
        (None, Some(source)) => format!("{source}, not signed"),
        (None, None) => String::new(),
    };
    Line::indented(
        width + 6,
        vec![
            Chunk::styled(format!("  {mark} "), style)
                .and(&field.name, Style::Plain)
                .least(width + 4),
            Chunk::styled(value, style),
            Chunk::styled(who, Style::Dim),
        ],
    )
}

fn warnings(release: &ReleaseView) -> impl Iterator<Item = Line> {
    release
        .warnings
        .iter()
        .map(|text| Line::guided("! ", "  ", vec![Chunk::styled(text, Style::Warn)]))
}

/// Documents about an artifact.
pub fn documents(list: &[AttestationView]) -> Vec<Line> {
    if list.is_empty() {
        return vec![Line::indented(0, vec![Chunk::new("nothing is said of it")])];
    }
    list.iter().map(document).collect()
}

fn document(it: &AttestationView) -> Line {
    let (mark, style) = match it.verdict.as_str() {
        "verified" => ("✓", Style::Good),
        "refused" => ("✗", Style::Bad),
        _ => ("·", Style::Plain),
    };
    let who = match it.verdict.as_str() {
        "unsigned" => "not signed".to_owned(),
        "verified" if !it.signers.is_empty() => format!("signed by {}", it.signers.join(", ")),
        _ => it.reason.clone(),
    };
    Line::indented(
        6,
        vec![
            Chunk::styled(format!("    {mark} "), style)
                .and(&it.kind, Style::Plain)
                .least(16),
            Chunk::new(&it.summary),
            Chunk::styled(&it.source, Style::Dim),
            Chunk::styled(who, style),
            Chunk::styled(if it.new { "" } else { "known already" }, Style::Dim),
        ],
    )
}

/// Required items, each with what to do where it does not pass.
pub fn items(items: &[ItemView], indent: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for item in items {
        let (mark, style) = match item.state.as_str() {
            "passed" => ("✓", Style::Good),
            "missing" | "stale" => ("·", Style::Warn),
            _ => ("✗", Style::Bad),
        };
        let state = words::plain(&item.state);
        lines.push(Line::guided(
            indent,
            format!("{indent}  "),
            vec![
                Chunk::styled(format!("{mark} "), style)
                    .and(&item.name, Style::Bold)
                    .least(12),
                Chunk::styled(state, style),
                Chunk::new(&item.reason),
            ],
        ));
        for line in item.remedy.iter().flat_map(|remedy| remedy.lines()) {
            lines.push(Line::guided(
                format!("{indent}  → "),
                format!("{indent}    "),
                vec![Chunk::styled(line, Style::Plain)],
            ));
        }
    }
    lines
}

fn open_items(required: &[ItemView]) -> Vec<Line> {
    let open: Vec<ItemView> = required
        .iter()
        .filter(|it| it.state != "passed")
        .cloned()
        .collect();
    if open.is_empty() {
        return Vec::new();
    }
    let head = "! the manifest requires more before it can go:";
    let mut lines = vec![Line::indented(2, vec![Chunk::styled(head, Style::Warn)])];
    lines.extend(items(&open, "  "));
    lines
}

/// Releases with how complete they are.
pub fn list(list: &ReleaseList) -> Vec<Line> {
    if list.releases.is_empty() {
        let text =
            "no version is registered\n  register one: airboss artifact add PATH --version VERSION";
        return text
            .lines()
            .map(|line| Line::indented(2, vec![Chunk::new(line)]))
            .collect();
    }
    let width = list
        .releases
        .iter()
        .map(|it| it.id.chars().count())
        .max()
        .unwrap_or(0);
    let mut lines: Vec<Line> = list
        .releases
        .iter()
        .map(|it| {
            let commit = it.commit.as_deref().unwrap_or("–");
            let commit: String = commit.chars().take(12).collect();
            let complete = if it.missing.is_empty() {
                Chunk::styled("✓ complete", Style::Good)
            } else {
                Chunk::styled(format!("✗ without {}", it.missing.join(", ")), Style::Bad)
            };
            let signed = match it.signers.is_empty() {
                true => Chunk::styled("not signed", Style::Dim),
                false => Chunk::styled(format!("signed by {}", it.signers.join(", ")), Style::Good),
            };
            Line::indented(
                width + 2,
                vec![
                    Chunk::styled(&it.id, Style::Bold).least(width),
                    Chunk::styled(words::day_and_clock(&it.at), Style::Dim),
                    Chunk::styled(words::short_digest(&it.digest), Style::Dim),
                    Chunk::new(commit).least(12),
                    complete,
                    signed,
                ],
            )
        })
        .collect();
    let total = list.releases.len() as u64;
    let percent = list.complete * 100 / total.max(1);
    lines.push(Line::default());
    lines.push(Line::indented(
        2,
        vec![Chunk::new(format!(
            "provenance is complete for {} of {total}: {percent}%{}",
            list.complete,
            match list.more {
                true => " of the newest; there are more, see --limit",
                false => "",
            }
        ))],
    ));
    let mut without: BTreeMap<&str, usize> = BTreeMap::new();
    for field in list.releases.iter().flat_map(|it| &it.missing) {
        *without.entry(field).or_default() += 1;
    }
    if !without.is_empty() {
        let fields: Vec<String> = without
            .iter()
            .map(|(field, count)| format!("{field} in {count}"))
            .collect();
        let text = format!("missing: {}", fields.join(", "));
        lines.push(Line::indented(2, vec![Chunk::styled(text, Style::Warn)]));
    }
    lines
}
