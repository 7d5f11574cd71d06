//! `cargo xtask TASK`: what the repository does with itself.

mod arrows;
mod bench;
mod demo;

use std::io::{Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use xtask::versions;

const USAGE: &str = "\
usage: cargo xtask TASK

  arrows    check that crates depend downward only, and that pure ones are pure
  demo      play the product against live processes (see `make demo`)
  bench     measure it against live processes and write docs/benchmarks.md (see `make bench`)
  sim       play seeded worlds in which everything goes wrong (--seeds N, --forever, --one SEED)
  app       the service that `bench` measures with
  pack      lay versions of examples/checkout out in target/demo, to ship by hand";

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let done = match task.as_deref() {
        Some("arrows") => arrows::check(&root()),
        Some("demo") => demo::run(&root()),
        Some("bench") => bench::run(&root(), &arguments),
        Some("sim") => sim(&arguments),
        Some("app") => bench::app::run(&arguments),
        Some("pack") => pack(),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(said) => {
            let _ = writeln!(stdout(), "{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder that cargo built this program into, and the others with it.
fn built() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    program
        .parent()
        .map(Path::to_owned)
        .context("this program lies in no folder")
}

/// Builds the worlds apart from everything else (their clock is a feature that no program of the
/// product may have), and plays them.
fn sim(arguments: &[String]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--quiet", "-p", "airboss-sim"])
        .args(["--bin", "worlds", "--"])
        .args(arguments)
        .current_dir(root())
        .status()
        .context("cannot run cargo")?;
    anyhow::ensure!(status.success(), "a promise was broken; the story is above");
    Ok("sim: every promise was kept".to_owned())
}

fn pack() -> anyhow::Result<String> {
    let program = built()?.join("checkout");
    let folder = root().join("target/demo");
    for version in [
        versions::FIRST,
        versions::GOOD,
        versions::ERRORS,
        versions::SLOW,
    ] {
        versions::pack(&program, version, &folder)?;
    }
    Ok(format!(
        "{} holds 1.0.0 and 1.1.0 (good), 1.2.0 (errors), 1.3.0 (slow)",
        folder.display()
    ))
}
