//! `docs/benchmarks.md`, whose sections are replaced one at a time, and the words for figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::SECTIONS;

/// The page.
pub struct Page {
    path: PathBuf,
}

impl Page {
    /// The repository's.
    pub fn of(root: &Path) -> Self {
        Self {
            path: root.join("docs/benchmarks.md"),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces a section, and what is said about the machine.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let page = fs::read_to_string(&self.path).unwrap_or_else(|_| empty());
        let page = replace(&page, "machine", &machine())?;
        let page = replace(&page, name, text)?;
        fs::write(&self.path, page).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn marks(name: &str) -> (String, String) {
    (
        format!("<!-- bench:{name} -->"),
        format!("<!-- /bench:{name} -->"),
    )
}

fn empty() -> String {
    let mut page = "\
# Figures

What was measured, on which machine, beside what is promised. `make bench` measures everything
again and writes this page; `cargo xtask bench NAME…` measures single sections (`rollback`, `rollback-new`,
`weight`, `lossless`, `splitter`, `footprint`, `store`, `commands`, `scale`, `log`, `hashing`) after a `cargo build --release`; `--quick` tries
them with few runs and writes nothing. Everything runs on one machine: product, service and load share
its cores, and each section says how busy it was before: a load average far above the number of cores
means that strangers were at work too. The judge's own figures are in [judge.md](judge.md).

Words: *p99* is the value that 99 of 100 runs stay within (nearest rank; with fewer than 100 runs
it is the worst one), *n* the number of runs.

## Machine

"
    .to_owned();
    let mut section = |name: &str| {
        let (from, to) = marks(name);
        page += &format!("{from}\nNot measured yet.\n{to}\n");
        page.clone()
    };
    let mut text = section("machine");
    for each in &SECTIONS {
        let (from, to) = marks(each.name);
        text += &format!("\n## {}\n\n{from}\nNot measured yet.\n{to}\n", each.title);
    }
    text
}

fn replace(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (from, to) = marks(name);
    let (before, rest) = page
        .split_once(&from)
        .with_context(|| format!("docs/benchmarks.md has lost its mark {from}"))?;
    let (_, after) = rest
        .split_once(&to)
        .with_context(|| format!("docs/benchmarks.md has lost its mark {to}"))?;
    Ok(format!("{before}{from}\n{}\n{to}{after}", text.trim()))
}

/// When, of which commit, and how busy the machine was.
pub fn circumstances(root: &Path) -> String {
    let zoned = super::now().to_zoned(jiff::tz::TimeZone::system());
    let commit = git(root, &["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let sources = [
        "status",
        "--porcelain",
        "--",
        "crates",
        "xtask",
        "Cargo.lock",
    ];
    let changed = git(root, &sources).is_some_and(|text| !text.is_empty());
    format!(
        "{}, commit {commit}{}, load average before: {}.",
        zoned.strftime("%Y-%m-%d %H:%M %:z"),
        if changed { " with changes" } else { "" },
        load_average()
    )
}

fn git(root: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).current_dir(root).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The machine's load average over the last minute; a note tells how many cores share it.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once([':', '=']))
            .map_or("unknown".to_owned(), |(_, value)| {
                value.trim().trim_matches('"').to_owned()
            })
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rust = Command::new("rustc").arg("--version").output();
    let rust = rust.map_or("unknown".to_owned(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    });
    format!(
        "{} × {}; memory {}; {}, Linux {}; {rust}.",
        cores,
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        field("/etc/os-release", "PRETTY_NAME"),
        kernel.trim()
    )
}

/// Measured values of one kind.
pub struct Figures {
    sorted: Vec<f64>,
}

impl Figures {
    /// Of values in any order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// The value that this share of all stays within, by nearest rank. NaN where there is none.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        let last = self.sorted.last().copied().unwrap_or(f64::NAN);
        self.sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(last)
    }

    /// Half stay within it.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The largest.
    pub fn worst(&self) -> f64 {
        self.quantile(1.0)
    }

    /// How many.
    pub fn n(&self) -> usize {
        self.sorted.len()
    }
}

/// A table of figures with their targets.
pub struct Table {
    text: String,
}

impl Table {
    /// With its head.
    pub fn new() -> Self {
        Self {
            text: "| figure | target | reached | n | median | p99 | worst |\n\
                   |---|---|---|---|---|---|---|\n"
                .to_owned(),
        }
    }

    /// A row of figures in `unit`; `reached` is None where nothing is promised.
    pub fn row(
        &mut self,
        what: &str,
        target: &str,
        reached: Option<bool>,
        figures: &Figures,
        unit: &str,
    ) {
        let show = |value: f64| format!("{} {unit}", number(value));
        self.text += &format!(
            "| {what} | {target} | {} | {} | {} | {} | {} |\n",
            mark(reached),
            figures.n(),
            show(figures.median()),
            show(figures.quantile(0.99)),
            show(figures.worst())
        );
    }

    /// The finished table.
    pub fn finish(self) -> String {
        self.text
    }
}

/// `yes`, `**no**`, or nothing where nothing is promised.
pub fn mark(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    }
}

/// A number with as many digits as it deserves, and separators of thousands.
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        format!("{value:.2}")
    } else if value.abs() < 100.0 {
        format!("{value:.1}")
    } else {
        thousands(&format!("{value:.0}"))
    }
}

/// `2000000` as `2,000,000`.
pub fn thousands(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let page = replace(&empty(), "weight", "one").unwrap();
        let page = replace(&page, "store", "two").unwrap();
        let page = replace(&page, "weight", "three").unwrap();
        assert!(page.contains("<!-- bench:weight -->\nthree\n<!-- /bench:weight -->"));
        assert!(page.contains("two") && !page.contains("one\n<!--"));
        assert_eq!(page.matches("<!-- bench:").count(), SECTIONS.len() + 1);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let figures = Figures::of((1..=200).map(f64::from));
        assert_eq!(figures.median(), 100.0);
        assert_eq!(figures.quantile(0.99), 198.0);
        assert_eq!(figures.worst(), 200.0);
        assert!(Figures::of([]).median().is_nan());
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(0.123), "0.12");
    }
}
