//! Lines of styled chunks, broken to a width. Nothing is cut off: what does not fit goes on below.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What a piece of text means; colour follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// As the terminal writes.
    #[default]
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// A name to use in commands.
    Name,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Bold => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
            Self::Name => "\x1b[36m",
        }
    }
}

/// What is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paper {
    /// Columns; `usize::MAX` where lines may be as long as they like.
    pub width: usize,
    /// Whether to colour.
    pub colour: bool,
}

/// A piece of a line that stays together if it can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    parts: Vec<(String, Style)>,
    least: usize,
}

impl Chunk {
    /// Plain text. Control characters are shown as `�`, so that no answer can steer the terminal.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::styled(text, Style::Plain)
    }
    /// Text with a meaning.
    pub fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self::default().and(text, style)
    }
    /// More text without a gap.
    #[must_use]
    pub fn and(mut self, text: impl AsRef<str>, style: Style) -> Self {
        self.parts.push((harmless(text.as_ref()), style));
        self
    }
    /// At least so many columns, to line up with other lines.
    #[must_use]
    pub fn least(mut self, columns: usize) -> Self {
        self.least = columns;
        self
    }
    /// Columns of its text.
    pub fn width(&self) -> usize {
        self.parts.iter().map(|(text, _)| text.width()).sum()
    }
}

/// `text` without control characters (tabs become spaces, line ends ` ⏎ `).
pub fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.trim_end_matches('\n').chars() {
        match character {
            '\n' => clean.push_str(" ⏎ "),
            '\t' => clean.push_str("    "),
            character if character.is_control() => clean.push('\u{fffd}'),
            character => clean.push(character),
        }
    }
    clean
}

/// A logical line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// What stands before the first row, such as `├─ `.
    pub guide: String,
    /// What stands before further rows, such as `│  `.
    pub below: String,
    /// The text.
    pub chunks: Vec<Chunk>,
}

impl Line {
    /// A line whose further rows are indented by `indent` columns.
    pub fn indented(indent: usize, chunks: Vec<Chunk>) -> Self {
        Self {
            guide: String::new(),
            below: " ".repeat(indent),
            chunks,
        }
    }
    /// A line behind a guide; further rows stand behind `below`.
    pub fn guided(guide: impl Into<String>, below: impl Into<String>, chunks: Vec<Chunk>) -> Self {
        Self {
            guide: guide.into(),
            below: below.into(),
            chunks,
        }
    }
}

/// Columns between two chunks.
const GAP: usize = 2;

/// Breaks lines into rows of at most `paper.width` columns and colours them.
pub fn paint(lines: &[Line], paper: Paper) -> Vec<String> {
    lines.iter().flat_map(|line| rows(line, paper)).collect()
}

struct Row {
    text: String,
    used: usize,
    /// Columns of the guide: a row that holds no more than it is empty.
    start: usize,
    /// Spaces that are written only if something follows.
    owed: usize,
}

impl Row {
    /// A row behind a guide, of which at most half the paper is used: text goes first.
    fn new(guide: &str, paper: Paper) -> Self {
        let guide = if guide.width() > paper.width / 2 {
            &guide[..prefix(guide, paper.width / 2)]
        } else {
            guide
        };
        let mut row = Self {
            text: String::new(),
            used: 0,
            start: guide.width(),
            owed: 0,
        };
        // A guide's own trailing space may be all that it has.
        let seen = guide.trim_end();
        row.push(seen, Style::Dim, paper.colour);
        row.owed = guide.width() - seen.width();
        row
    }
    fn push(&mut self, text: &str, style: Style, colour: bool) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(&" ".repeat(self.owed));
        self.used += self.owed;
        self.owed = 0;
        let code = if colour { style.code() } else { "" };
        self.text.push_str(code);
        self.text.push_str(text);
        if !code.is_empty() {
            self.text.push_str("\x1b[0m");
        }
        self.used += text.width();
    }
    fn at(&self) -> usize {
        self.used + self.owed
    }
    fn is_empty(&self) -> bool {
        self.at() <= self.start
    }
}

fn rows(line: &Line, paper: Paper) -> Vec<String> {
    let mut done = Vec::new();
    let mut row = Row::new(&line.guide, paper);
    for chunk in &line.chunks {
        let width = chunk.width();
        if width == 0 && chunk.least == 0 {
            continue;
        }
        if !row.is_empty() && row.at().saturating_add(width) > paper.width {
            done.push(row.text);
            row = Row::new(&line.below, paper);
        }
        for (text, style) in &chunk.parts {
            for piece in words(text) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let room = paper.width.saturating_sub(row.at());
                    let whole = rest.trim_end().width() <= room;
                    if !whole && !row.is_empty() {
                        done.push(row.text);
                        row = Row::new(&line.below, paper);
                        continue;
                    }
                    let end = if whole {
                        rest.len()
                    } else {
                        prefix(rest, room)
                    };
                    let (part, after) = rest.split_at(end);
                    let bare = part.trim_end_matches(' ');
                    row.push(bare, *style, paper.colour);
                    row.owed += part.len() - bare.len();
                    rest = after;
                }
            }
        }
        row.owed += chunk.least.saturating_sub(width) + GAP;
    }
    done.push(row.text);
    done
}

/// Words, each with the spaces behind it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let body = rest
            .char_indices()
            .skip_while(|(_, character)| *character == ' ')
            .find(|(_, character)| *character == ' ')
            .map_or(rest.len(), |(at, _)| at);
        let end = body
            + rest[body..]
                .find(|character| character != ' ')
                .unwrap_or(rest.len() - body);
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

/// Bytes of the longest start of `text` that takes at most `room` columns; one letter at least.
fn prefix(text: &str, room: usize) -> usize {
    let mut used = 0;
    text.char_indices()
        .find(|(at, character)| {
            used += character.width().unwrap_or(0);
            used > room && *at > 0
        })
        .map_or(text.len(), |(at, _)| at)
}

/// Columns that a painted row takes, its colour codes left out.
pub fn visible_width(row: &str) -> usize {
    let mut width = 0;
    let mut characters = row.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            for code in characters.by_ref() {
                if code.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            width += character.width().unwrap_or(0);
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line::guided(
            "├─ ",
            "│    ",
            vec![
                Chunk::styled("checkout-7.0", Style::Name).least(14),
                Chunk::styled("ready", Style::Good),
                Chunk::new(
                    "exec format error: the file averyveryverylongname/of/a/file is for another machine",
                ),
            ],
        )
    }

    #[test]
    fn no_row_is_wider_than_the_paper_and_no_letter_is_lost() {
        let whole: String = [
            "checkout-7.0",
            "ready",
            "exec format error: the file averyveryverylongname/of/a/file is for another machine",
        ]
        .concat()
        .replace(' ', "");
        for width in 8..140 {
            for colour in [false, true] {
                let rows = paint(&[line()], Paper { width, colour });
                let mut seen = String::new();
                for row in &rows {
                    assert!(visible_width(row) <= width, "{width}: {row:?}");
                    assert_eq!(row.trim_end(), row);
                    if !colour {
                        seen += &row.replace([' ', '│', '├', '─'], "");
                    }
                }
                assert!(colour || seen == whole, "{width}: {seen}");
            }
        }
    }

    #[test]
    fn an_answer_cannot_steer_the_terminal() {
        let rows = paint(
            &[Line::indented(
                0,
                vec![Chunk::new("a\x1b[2Jb\rc\nd\u{9b}e")],
            )],
            Paper {
                width: 80,
                colour: false,
            },
        );
        assert_eq!(rows, ["a\u{fffd}[2Jb\u{fffd}c ⏎ d\u{fffd}e"]);
    }
}
