//! Benches of crates, whose tables belong beside the other figures; the store's is one.

use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::Ground;

/// Commits, evidence, claims and lists.
pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let (table, command) = cargo_bench(ground, "airboss-store", "store", "commits")?;
    Ok(format!(
        "{table}\n\n\
         `{command}`: every commit is durable (`synchronous = FULL`) before it is answered, beside bare inserts of the \
         same bytes on the same disk in the same run. A commit of the bench brings two events, so twice as many are sealed."
    ))
}

/// A log of a million events.
pub fn measure_log(ground: &Ground<'_>) -> anyhow::Result<String> {
    let (table, command) = cargo_bench(ground, "airboss-store", "log", "10000")?;
    Ok(format!(
        "{table}\n\n\
         `{command}`: in one process, on SQLite, without the way over HTTP. Peak memory is the process's own (`VmHWM`), \
         counted from the beginning of each row; MB are 10⁶ bytes."
    ))
}

/// What a crate's bench prints, and the command that it was; `few` is what a short trial measures.
pub fn cargo_bench(
    ground: &Ground<'_>,
    package: &str,
    bench: &str,
    few: &str,
) -> anyhow::Result<(String, String)> {
    let mut words = vec!["bench", "--quiet", "-p", package, "--bench", bench];
    if ground.quick {
        words.extend(["--", few]);
    }
    let command = format!("cargo {}", words.join(" "));
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(&words)
        .current_dir(ground.root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    anyhow::ensure!(output.status.success(), "`{command}` failed");
    let table = String::from_utf8_lossy(&output.stdout);
    Ok((table.trim_end().to_owned(), command))
}
