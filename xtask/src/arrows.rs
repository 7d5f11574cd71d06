//! The crates' arrows point down only, and the pure crates are pure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Each room and the rooms that it may use, as `ARCHITECTURE.md` draws them.
const ROOMS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("judge", &[]),
    ("flags", &[]),
    ("engine", &["model", "judge"]),
    ("ledger", &["model"]),
    ("attest", &["model"]),
    ("store", &["model", "ledger", "attest"]),
    ("proxy", &["model"]),
    ("targets", &["model", "proxy"]),
    ("oci", &["model", "targets"]),
    ("telemetry", &["model", "judge"]),
    (
        "runtime",
        &[
            "model",
            "judge",
            "flags",
            "engine",
            "ledger",
            "attest",
            "store",
            "proxy",
            "targets",
            "telemetry",
        ],
    ),
    (
        "rehearsal",
        &[
            "model",
            "judge",
            "engine",
            "targets",
            "telemetry",
            "runtime",
        ],
    ),
    (
        "server",
        &[
            "model",
            "judge",
            "flags",
            "engine",
            "ledger",
            "attest",
            "store",
            "proxy",
            "targets",
            "telemetry",
            "runtime",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "judge",
            "flags",
            "engine",
            "ledger",
            "attest",
            "store",
            "proxy",
            "targets",
            "telemetry",
            "runtime",
            "rehearsal",
            "oci",
            "server",
        ],
    ),
    (
        "sim",
        &[
            "model",
            "judge",
            "engine",
            "ledger",
            "store",
            "targets",
            "telemetry",
            "runtime",
            "rehearsal",
        ],
    ),
];

/// Rooms that do no I/O, read no clock, draw no random number and know no async runtime.
const PURE: &[&str] = &["model", "judge", "flags", "engine", "ledger", "attest"];

/// Crates that a pure room may not depend on.
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "hyper",
    "reqwest",
    "axum",
    "sqlx",
    "rand",
    "fastrand",
    "getrandom",
    "rustix",
    "libc",
    "tempfile",
];

/// Words that a pure room's code may not hold.
const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "net::Tcp",
    "net::Udp",
    "ToSocketAddrs",
    "RandomState",
    "tokio",
    "reqwest",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "println!",
];

/// Checks every crate of the workspace; the text says how many.
///
/// # Errors
/// Every arrow and word that breaks a rule, one a line, with the rule.
pub fn check(root: &Path) -> anyhow::Result<String> {
    let packages = packages(root)?;
    let mut faults = Vec::new();
    for package in &packages {
        faults.extend(package.upward());
        if PURE.contains(&package.room.as_str()) {
            faults.extend(package.impure_crates());
            for file in sources(&package.folder.join("src"))? {
                let text = fs::read_to_string(&file)?;
                let shown = file.strip_prefix(root).unwrap_or(&file);
                faults.extend(impure_words(&shown.display().to_string(), &text));
            }
        }
    }
    if !faults.is_empty() {
        bail!("arrows: {} faults\n{}", faults.len(), faults.join("\n"));
    }
    Ok(format!(
        "arrows: {} crates depend downward only; {} are pure",
        packages.len(),
        packages
            .iter()
            .filter(|package| PURE.contains(&package.room.as_str()))
            .count()
    ))
}

/// A crate of the product.
struct Package {
    /// Its name without `airboss-`.
    room: String,
    folder: PathBuf,
    /// Name, and whether it is for tests only.
    uses: Vec<(String, bool)>,
}

fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root)
        .output()
        .context("cannot run cargo")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array().context("no packages")? {
        let Some(room) = text(&package["name"])
            .strip_prefix("airboss-")
            .map(str::to_owned)
        else {
            continue;
        };
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        packages.push(Package {
            room,
            folder: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            uses: package["dependencies"]
                .as_array()
                .context("no dependencies")?
                .iter()
                .map(|used| (text(&used["name"]), text(&used["kind"]) == "dev"))
                .collect(),
        });
    }
    Ok(packages)
}

impl Package {
    fn upward(&self) -> Vec<String> {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == self.room) else {
            return vec![format!(
                "airboss-{}: no such room; give it a row in ARCHITECTURE.md and in xtask/src/arrows.rs",
                self.room
            )];
        };
        self.uses
            .iter()
            .filter_map(|(name, _)| name.strip_prefix("airboss-"))
            .filter(|used| !allowed.contains(used))
            .map(|used| {
                format!(
                    "airboss-{} uses airboss-{used}; it may use {}",
                    self.room,
                    if allowed.is_empty() {
                        "no other room".to_owned()
                    } else {
                        allowed.join(", ")
                    }
                )
            })
            .collect()
    }

    fn impure_crates(&self) -> Vec<String> {
        self.uses
            .iter()
            .filter(|(name, for_tests)| !for_tests && IMPURE_CRATES.contains(&name.as_str()))
            .map(|(name, _)| format!("airboss-{} is pure and depends on {name}", self.room))
            .collect()
    }
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// Comments may speak of what the code may not do; unit tests, last in a file, may do it.
fn impure_words(file: &str, text: &str) -> Vec<String> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            IMPURE_WORDS
                .iter()
                .filter(|word| line.contains(**word))
                .map(move |word| format!("{file}:{}: `{word}` in a pure crate", number + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_that_points_up_is_named_with_the_rule() {
        let package = |room: &str, used: &str| Package {
            room: room.to_owned(),
            folder: PathBuf::new(),
            uses: vec![(used.to_owned(), false)],
        };
        assert_eq!(package("engine", "airboss-judge").upward(), [""; 0]);
        assert_eq!(
            package("engine", "airboss-store").upward(),
            ["airboss-engine uses airboss-store; it may use model, judge"]
        );
        assert_eq!(package("cellar", "serde").upward().len(), 1);
        assert_eq!(package("judge", "tokio").impure_crates().len(), 1);
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found_and_one_in_a_comment_is_not() {
        let text = "// no Instant::now here\nlet t = Instant::now();\n#[cfg(test)]\nuse std::fs;";
        assert_eq!(
            impure_words("a.rs", text),
            ["a.rs:2: `Instant::now` in a pure crate"]
        );
    }

    #[test]
    fn the_rooms_themselves_have_no_circle() {
        for (at, (room, allowed)) in ROOMS.iter().enumerate() {
            for used in *allowed {
                let before = ROOMS.iter().position(|(other, _)| other == used);
                assert!(
                    before.is_some_and(|before| before < at),
                    "{room} uses {used}"
                );
            }
        }
    }
}
