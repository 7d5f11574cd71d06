//! What is wrong with a manifest, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::secrets::masked;

/// Longest piece of a source line that is shown, in characters; longer lines are cut around
/// the place of interest.
const EXCERPT: usize = 100;
/// Bytes of a line that are looked at on each side of a finding: more than an excerpt shows.
const REACH: usize = 8 * EXCERPT;
/// Longest offending text that is quoted in full, in characters.
const QUOTE: usize = 80;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The manifest is refused.
    Error,
    /// The manifest is taken, though it probably does not mean what its author wants.
    Warning,
}

/// One finding in a manifest: what, where, why, and what to write instead. `Display` gives the
/// place and the message on one line, the source line with carets under the offending text,
/// and the help. It never holds the value of an inline secret, nor control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file's name as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The offending text, up to the end of its line.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The source line, cut to a readable width.
    pub excerpt: String,
    /// Where the offending text starts in `excerpt`, in characters from 0.
    pub caret: usize,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file, line, column, ..
        } = self;
        write!(f, "{file}:{line}:{column}: ")?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.message)?;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        if !self.excerpt.is_empty() {
            let carets = "^".repeat(self.text.chars().count().clamp(1, EXCERPT));
            let indent = " ".repeat(self.caret);
            write!(f, "\n{number} | {}", self.excerpt)?;
            write!(f, "\n{margin} | {indent}{carets}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// A finding before its place is turned into line and column.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// The offending bytes of the source.
    pub at: Range<usize>,
    pub severity: Severity,
    pub message: String,
    pub help: Option<String>,
}

impl Finding {
    pub fn error(at: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            at,
            severity: Severity::Error,
            message: message.into(),
            help: None,
        }
    }
    pub fn warning(at: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(at, message)
        }
    }
    pub fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// Gives the finding its place in `text`, with every byte in `secrets` shown as `*`.
    pub fn place(self, file: &str, text: &str, secrets: &[Range<usize>]) -> Diagnostic {
        let floor = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(self.at.start);
        let line_start = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let line_end = text[start..]
            .find('\n')
            .map_or(text.len(), |end| start + end);
        let column = text[line_start..start].chars().count() + 1;
        // A line may be as long as the file: only what is near can be shown anyway.
        let line_start = line_start.max(floor(start.saturating_sub(REACH)));
        let line_end = line_end.min(floor(start + REACH));
        let end = floor(self.at.end.clamp(start, line_end));
        let secrets: Vec<&Range<usize>> = secrets
            .iter()
            .filter(|secret| secret.start < line_end && line_start < secret.end)
            .collect();
        let shown = |from: usize, to: usize| -> String {
            text[from..to]
                .char_indices()
                .map(|(offset, c)| {
                    let at = from + offset;
                    match c {
                        _ if secrets.iter().any(|secret| secret.contains(&at)) => '*',
                        '\t' | '\r' => ' ',
                        c if c.is_control() => '\u{fffd}',
                        c => c,
                    }
                })
                .collect()
        };
        let line = shown(line_start, line_end);
        let before = text[line_start..start].chars().count();
        let (excerpt, caret) = cut(line.trim_end(), before);
        Diagnostic {
            severity: self.severity,
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column,
            text: shown(start, end).trim_end().to_owned(),
            message: printable(&masked(&self.message)),
            help: self.help.as_deref().map(printable),
            excerpt,
            caret,
        }
    }
}

/// Cuts a line to [`EXCERPT`] characters around `caret`; gives the caret's new place.
fn cut(line: &str, caret: usize) -> (String, usize) {
    let count = line.chars().count();
    if count <= EXCERPT {
        return (line.to_owned(), caret);
    }
    let from = caret.saturating_sub(EXCERPT / 2).min(count - EXCERPT);
    let dots = |wanted: bool| if wanted { "…" } else { "" };
    let piece: String = line.chars().skip(from).take(EXCERPT).collect();
    let (left, right) = (dots(from > 0), dots(from + EXCERPT < count));
    (
        format!("{left}{piece}{right}"),
        caret - from + left.chars().count(),
    )
}

/// A manifest may come from anybody: its text must not steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// The offending text in back quotes, cut where it is long.
pub(super) fn quote(text: &str) -> String {
    if text.chars().count() <= QUOTE {
        return format!("`{text}`");
    }
    let start: String = text.chars().take(QUOTE).collect();
    format!("`{start}…`")
}

/// Names for a sentence: `a`, `b` and `c`.
pub(super) fn listed<S: AsRef<str>>(names: &[S], last: &str) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    match quoted.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// The name that a person most likely meant, if one is near: at most one slip (a letter
/// missing, added, wrong or swapped) for each three letters, case and `-`/`_` left aside.
pub(super) fn nearest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .take(QUOTE)
            .filter(|c| !matches!(c, '-' | '_' | ' '))
            .flat_map(char::to_lowercase)
            .collect()
    };
    let wanted = plain(text);
    names
        .into_iter()
        .map(|name| (slips(&wanted, &plain(name)), name))
        .filter(|(slips, name)| *slips <= (name.len() / 3).max(1) && *slips < wanted.len())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// Edit distance with swaps of neighbours (optimal string alignment).
fn slips(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(left != right);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name_that_was_meant() {
        let names = ["instances", "command", "listen", "port", "under"];
        let near = |text| nearest(text, names);
        assert_eq!(near("instanses"), Some("instances"));
        assert_eq!(near("comand"), Some("command"));
        assert_eq!(near("Listen"), Some("listen"));
        assert_eq!(near("lisetn"), Some("listen"));
        assert_eq!(near("prot"), Some("port"));
        assert_eq!(near("replicas"), None);
        assert_eq!(near(""), None);
    }
}
