//! Where output goes: what the streams are, and drawing over the last picture on a terminal.

use std::io::{self, IsTerminal as _, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::render::{Line, Paper, paint, visible_width};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Never.
    Never,
}

/// What commands write to.
pub struct Console {
    out: Box<dyn Write + Send>,
    paper: PaperKind,
    colour: bool,
}

#[derive(Clone, Copy)]
enum PaperKind {
    Terminal,
    /// A pipe or a file: lines are as long as they are.
    Endless,
}

/// Columns where a terminal does not tell.
const USUAL_WIDTH: usize = 80;
/// Below this, breaking lines helps nobody.
const LEAST_WIDTH: usize = 20;

impl Console {
    /// Standard output.
    pub fn stdout(choice: ColorChoice) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            out: Box::new(io::stdout()),
            paper: if is_terminal && !dumb {
                PaperKind::Terminal
            } else {
                PaperKind::Endless
            },
            colour: match choice {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => is_terminal && !dumb && !no_color,
            },
        }
    }

    /// Any other writer, as if it were a pipe.
    pub fn of(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            paper: PaperKind::Endless,
            colour: false,
        }
    }

    /// True where a picture can be drawn over the last one.
    pub fn is_terminal(&self) -> bool {
        matches!(self.paper, PaperKind::Terminal)
    }

    /// What to lay lines out on, as wide as the terminal is now.
    pub fn paper(&self) -> Paper {
        Paper {
            width: match self.paper {
                PaperKind::Terminal => size().0,
                PaperKind::Endless => usize::MAX,
            },
            colour: self.colour,
        }
    }

    /// Writes lines.
    ///
    /// # Errors
    /// Where the output is gone or full.
    pub fn lines(&mut self, lines: &[Line]) -> io::Result<()> {
        let rows = paint(lines, self.paper());
        for row in rows {
            writeln!(self.out, "{row}")?;
        }
        self.out.flush()
    }

    /// Writes text as it is, and a line end.
    ///
    /// # Errors
    /// Where the output is gone or full.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    fn raw(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Columns and rows of the terminal at standard output.
fn size() -> (usize, usize) {
    let told = termios::tcgetwinsize(io::stdout()).ok();
    let columns = told.map_or(0, |size| usize::from(size.ws_col));
    let rows = told.map_or(0, |size| usize::from(size.ws_row));
    (
        if columns == 0 {
            USUAL_WIDTH
        } else {
            columns.max(LEAST_WIDTH)
        },
        if rows == 0 { 24 } else { rows },
    )
}

/// A picture on a terminal that is drawn over again and again. While it lives the cursor is hidden
/// and typing is not echoed; dropping it gives both back and leaves the last picture standing.
pub struct Screen<'a> {
    console: &'a mut Console,
    /// Widths of the rows that stand there, to know how many rows they are after a resize.
    standing: Vec<usize>,
    echo: Option<Termios>,
}

impl<'a> Screen<'a> {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Where the output is gone.
    pub fn new(console: &'a mut Console) -> io::Result<Self> {
        let echo = io::stdin()
            .is_terminal()
            .then(|| termios::tcgetattr(io::stdin()).ok())
            .flatten();
        if let Some(before) = &echo {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            // Without it a key press shifts the picture by a line: unpleasant, not wrong.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &quiet);
        }
        let screen = Self {
            console,
            standing: Vec::new(),
            echo,
        };
        screen.console.raw("\x1b[?25l")?;
        Ok(screen)
    }

    /// Draws over what stood there.
    ///
    /// # Errors
    /// Where the output is gone.
    pub fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let (width, height) = size();
        let rows = fit(paint(lines, self.console.paper()), height);
        let frame = frame(&self.standing, &rows, width);
        self.standing = rows.iter().map(|row| visible_width(row)).collect();
        self.console.raw(&frame)
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // Nothing can be done where the terminal is gone.
        let _ = self.console.raw("\r\x1b[K\x1b[?25h");
        if let Some(before) = &self.echo {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// At most one row fewer than the terminal has: what scrolls out of sight cannot be drawn over.
fn fit(mut rows: Vec<String>, height: usize) -> Vec<String> {
    let most = height.saturating_sub(1).max(1);
    if rows.len() > most {
        let hidden = rows.len() - (most - 1);
        rows.truncate(most - 1);
        rows.push(format!("… {hidden} more rows: make the window taller"));
    }
    rows
}

/// The bytes that put `rows` where rows of the widths `standing` stood.
fn frame(standing: &[usize], rows: &[String], width: usize) -> String {
    // A terminal that was made narrower has broken rows in several.
    let up: usize = standing
        .iter()
        .map(|used| used.div_ceil(width.max(1)).max(1))
        .sum();
    let mut text = String::from("\r");
    if up > 0 {
        text += &format!("\x1b[{up}A");
    }
    for row in rows {
        text += row;
        // Clearing after a full row would take its last letter on some terminals.
        if visible_width(row) < width {
            text += "\x1b[K";
        }
        text += "\r\n";
    }
    text += "\x1b[J";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screen that knows the codes of a frame and refuses any other.
    #[derive(Default)]
    struct Emulator {
        rows: Vec<Vec<char>>,
        row: usize,
        column: usize,
    }

    impl Emulator {
        fn show(&mut self, frame: &str) {
            let mut rest = frame;
            while let Some(character) = rest.chars().next() {
                rest = &rest[character.len_utf8()..];
                while self.rows.len() <= self.row {
                    self.rows.push(Vec::new());
                }
                match character {
                    '\r' => self.column = 0,
                    '\n' => self.row += 1,
                    '\x1b' => {
                        let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                        let (code, after) = rest.split_at(end + 1);
                        rest = after;
                        match (&code[1..end], &code[end..]) {
                            (up, "A") => self.row -= up.parse::<usize>().unwrap(),
                            ("", "K") => self.rows[self.row].truncate(self.column),
                            ("", "J") => {
                                self.rows[self.row].truncate(self.column);
                                self.rows.truncate(self.row + 1);
                            }
                            other => panic!("unknown code {other:?}"),
                        }
                    }
                    character => {
                        let row = &mut self.rows[self.row];
                        row.resize(row.len().max(self.column + 1), ' ');
                        row[self.column] = character;
                        self.column += 1;
                    }
                }
            }
        }

        fn text(&self) -> Vec<String> {
            let rows = self.rows.iter();
            rows.map(|row| row.iter().collect()).collect()
        }
    }

    fn rows(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_picture_leaves_nothing_of_the_one_before() {
        let pictures = [
            rows(&["one two three", "four", "five", "six"]),
            rows(&["1", "four and more"]),
            rows(&["ten", "", "eleven, full"]),
        ];
        let mut screen = Emulator::default();
        screen.show("$ airboss watch\r\n");
        let mut standing = Vec::new();
        for picture in &pictures {
            screen.show(&frame(&standing, picture, 13));
            standing = picture.iter().map(|row| visible_width(row)).collect();
            let mut expected = rows(&["$ airboss watch"]);
            expected.extend(picture.iter().cloned());
            expected.push(String::new());
            assert_eq!(screen.text(), expected);
        }
    }

    #[test]
    fn a_narrower_window_is_drawn_over_from_the_first_broken_row() {
        assert!(frame(&[20, 5, 0], &[], 10).starts_with("\r\x1b[4A"));
        assert!(frame(&[20, 5, 0], &[], 20).starts_with("\r\x1b[3A"));
        assert!(!frame(&[], &[], 20).contains('A'));
    }

    #[test]
    fn a_picture_taller_than_the_window_says_so() {
        assert_eq!(
            fit(rows(&["a", "b", "c", "d"]), 4),
            ["a", "b", "… 2 more rows: make the window taller"]
        );
        assert_eq!(fit(rows(&["a", "b", "c"]), 4), ["a", "b", "c"]);
    }
}
