//! The product's figures, measured against its real processes and written to
//! `docs/benchmarks.md`.
//!
//! * **Is for**: `cargo xtask bench [--quick] [NAME…]`; each section of the page is measured and
//!   written alone, with its own date, commit and load of the machine.
//! * **Must never**: fail because a figure misses its target: the page says so instead. It fails
//!   where something did not happen at all.
//! * **Start reading** at [`run`]; [`stage`] starts the processes, [`load`] is the users.

mod api;
pub mod app;
mod commands;
mod footprint;
mod hashing;
mod load;
mod lossless;
mod page;
mod rollback;
mod scale;
mod splitter;
mod stage;
mod store;
mod weight;

use std::io::{Write as _, stdout};
use std::path::Path;

use jiff::Timestamp;

use page::Page;

/// A section of the page.
struct Section {
    name: &'static str,
    title: &'static str,
    measure: fn(&Ground<'_>) -> anyhow::Result<String>,
}

const SECTIONS: [Section; 11] = [
    Section {
        name: "rollback",
        title: "From a fault to 0 %: a service that Airboss knows",
        measure: rollback::of_a_known_service,
    },
    Section {
        name: "rollback-new",
        title: "From a fault to 0 %: a service seen for the first time",
        measure: rollback::of_a_new_service,
    },
    Section {
        name: "weight",
        title: "From a weight asked for to its confirmation",
        measure: weight::measure,
    },
    Section {
        name: "lossless",
        title: "Requests failed because of Airboss",
        measure: lossless::measure,
    },
    Section {
        name: "splitter",
        title: "The splitter beside HAProxy",
        measure: splitter::measure,
    },
    Section {
        name: "footprint",
        title: "Start, memory, size",
        measure: footprint::measure,
    },
    Section {
        name: "store",
        title: "The store",
        measure: store::measure,
    },
    Section {
        name: "commands",
        title: "Commands and lists",
        measure: commands::measure,
    },
    Section {
        name: "scale",
        title: "Many rollouts in progress",
        measure: scale::measure,
    },
    Section {
        name: "log",
        title: "The log",
        measure: store::measure_log,
    },
    Section {
        name: "hashing",
        title: "Artifacts",
        measure: hashing::measure,
    },
];

/// What every measurement stands on.
struct Ground<'a> {
    /// The repository.
    root: &'a Path,
    /// The release binary.
    airboss: std::path::PathBuf,
    /// True for a short trial, whose figures are printed and not kept.
    quick: bool,
}

impl Ground<'_> {
    /// How many runs: all, or a few for a trial.
    fn runs(&self, all: usize, few: usize) -> usize {
        if self.quick { few } else { all }
    }
}

/// Measures the sections named, or all of them, and writes each to the page as soon as it is
/// there. With `--quick` a few runs each are printed instead, to see that all works.
///
/// # Errors
/// Where a name is unknown, the release binary is not built, or a process does not do its part.
pub fn run(root: &Path, arguments: &[String]) -> anyhow::Result<String> {
    let quick = arguments.iter().any(|word| word == "--quick");
    let names: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--quick")
        .collect();
    if let Some(unknown) = names
        .iter()
        .find(|name| SECTIONS.iter().all(|section| section.name != **name))
    {
        let known: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
        anyhow::bail!(
            "there is no measurement `{unknown}`; there are: {}",
            known.join(", ")
        );
    }
    let airboss = crate::built()?.join("airboss");
    anyhow::ensure!(
        airboss.exists(),
        "{} is not built; run `make bench`, or `cargo build --release` first",
        airboss.display()
    );
    let ground = Ground {
        root,
        airboss,
        quick,
    };
    let page = Page::of(root);
    for section in &SECTIONS {
        if !names.is_empty() && !names.contains(&section.name) {
            continue;
        }
        say(&format!("── {} ({})", section.title, section.name));
        let circumstances = page::circumstances(root);
        let text = format!("{circumstances}\n\n{}", (section.measure)(&ground)?);
        say(&text);
        if !quick {
            page.write(section.name, &text)?;
        }
    }
    Ok(if quick {
        "a trial: nothing was written".to_owned()
    } else {
        format!("written to {}", page.path().display())
    })
}

/// One line on the terminal; where nobody reads, the page has it all.
fn say(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// The wall clock. Figures are compared with the times of the server's events.
#[allow(
    clippy::disallowed_methods,
    reason = "an observer outside the product reads its own clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Milliseconds from one moment to a later one; negative where the order is reversed.
fn ms_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1_000.0
}
