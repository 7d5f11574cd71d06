//! What rollouts in progress cost as they grow, on one controller with a real SQLite.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use super::Ground;

/// Rollouts in progress, one row each.
const SIZES: [u32; 3] = [100, 1_000, 10_000];

/// Measures each size in a process of its own.
pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let sizes = &SIZES[..ground.runs(SIZES.len(), 1)];
    let seconds = ground.runs(60, 10);
    let mut text = String::from(
        "Rollouts that all observe a step, each judged every second by two SLOs (errors and latency), recorded in SQLite; the targets \
         are simulated and report every second. \"Late\" is what lies between two judged seconds of a lane beyond one second, seen from outside, \
         for up to 500 lanes. Memory is the whole process with the simulated targets in it, what those take is said beside it. Reach for 10,000: p99 below 1 s, memory below 600 MB, \
         on two processors.\n\n\
         | rollouts in progress | judged | late p50 | late p99 | memory | of it targets | processors busy | per rollout |\n|---|---|---|---|---|---|---|---|\n",
    );
    for size in sizes {
        let row = run(ground, *size, seconds)?;
        let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        writeln!(
            text,
            "| {size} | {} | {:.0} ms | {:.0} ms | {:.0} MB | {:.0} MB | {:.2} | {:.2} ms of a processor a second, {:.0} KB |",
            row["judged"],
            number("late_p50_ms"),
            number("late_p99_ms"),
            number("memory_mb"),
            number("targets_mb"),
            number("processors"),
            number("processors") * 1_000.0 / f64::from(*size),
            (number("memory_mb") - number("targets_mb")) * 1_024.0 / f64::from(*size),
        )?;
    }
    Ok(text.trim_end().to_owned())
}

fn run(ground: &Ground<'_>, size: u32, seconds: usize) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "run",
            "--quiet",
            "--release",
            "-p",
            "airboss-sim",
            "--bin",
            "scale",
            "--",
        ])
        .args([size.to_string(), seconds.to_string()])
        .current_dir(ground.root)
        .output()
        .context("cannot run cargo")?;
    anyhow::ensure!(
        output.status.success(),
        "scale {size}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("scale printed no row")
}
