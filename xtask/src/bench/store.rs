//! The store's own bench, whose table belongs beside the other figures.

use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::Ground;

pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let mut words = vec![
        "bench",
        "--quiet",
        "-p",
        "airboss-store",
        "--bench",
        "store",
    ];
    if ground.quick {
        words.extend(["--", "commits"]);
    }
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(&words)
        .current_dir(ground.root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    anyhow::ensure!(
        output.status.success(),
        "`cargo {}` failed",
        words.join(" ")
    );
    let table = String::from_utf8_lossy(&output.stdout);
    Ok(format!(
        "{}\n\n\
         `cargo {}`: every commit is durable (`synchronous = FULL`) before it is answered, beside bare inserts of the \
         same bytes on the same disk in the same run.",
        table.trim_end(),
        words.join(" ")
    ))
}
