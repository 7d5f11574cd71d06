//! Where the tables go: the terminal, and with `--write` the page that people read, after every world,
//! so that a run that is cut off loses nothing.

use std::{fmt::Write as _, path::PathBuf, process::Command, time::Instant};

const BEGIN: &str = "<!-- written by make bench-judge: begin -->";
const END: &str = "<!-- written by make bench-judge: end -->";

pub struct Document {
    page: Option<PathBuf>,
    head: String,
    text: String,
    started: Instant,
}

impl Document {
    /// Of a run with this seed and so many releases per world.
    pub fn new(write: bool, seed: u64, runs: usize) -> Self {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/judge.md");
        let build = Command::new("git")
            .args(["rev-parse", "--short=10", "HEAD"])
            .output();
        let build = build
            .ok()
            .and_then(|output| String::from_utf8(output.stdout).ok());
        let build = build.map_or_else(|| "unknown".to_owned(), |build| build.trim().to_owned());
        let head = format!("Seed {seed}, {runs} releases per world, build `{build}`");
        println!("{head}");
        Self {
            page: write.then(|| page.into()),
            head,
            text: String::new(),
            started: Instant::now(),
        }
    }

    /// Adds a line, or several.
    pub fn add(&mut self, text: &str) {
        println!("{text}");
        self.text.push_str(text);
        self.text.push('\n');
        if let Some(page) = &self.page
            && let Err(error) = self.write(page)
        {
            println!("{} was not written: {error}", page.display());
        }
    }

    fn write(&self, page: &PathBuf) -> std::io::Result<()> {
        let whole = std::fs::read_to_string(page)?;
        let parts = whole.split_once(BEGIN);
        let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let Some((before, after)) = parts else {
            return Err(std::io::Error::other(format!(
                "`{BEGIN}` or `{END}` is missing"
            )));
        };
        let minutes = self.started.elapsed().as_secs().div_ceil(60);
        let mut written = format!("{before}{BEGIN}\n{}, {minutes} minutes.\n", self.head);
        let _ = write!(written, "{}\n{END}{after}", self.text.trim_end());
        std::fs::write(page, written)
    }
}
