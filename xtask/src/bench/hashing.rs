//! Artifacts: hashing beside openssl, and what a large one costs from the folder to the server.

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use anyhow::Context as _;

use super::page::{Figures, Table};
use super::stage::Up;
use super::{Ground, store};

/// Bytes of the large artifact (1 GB).
const LARGE: usize = 1_000_000_000;

pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let (rows, command) = store::cargo_bench(ground, "airboss-targets", "hashing", "quick")?;
    let runs = ground.runs(5, 1);
    let size = if ground.quick { LARGE / 10 } else { LARGE };
    let folder = tempfile::Builder::new()
        .prefix("airboss-bench-")
        .tempdir()?;
    let dist = folder.path().join("dist");
    std::fs::create_dir(&dist)?;
    let manifest = "apiVersion: airboss/v1\nkind: Service\nmetadata: { name: large }\nspec:\n  target:\n    process:\n      \
         command: [\"{artifact}/large\", \"{port}\"]\n      listen: 127.0.0.1:0\n";
    let listen = xtask::ports::free()?.to_string();
    std::fs::write(
        folder.path().join("airboss.yaml"),
        manifest.replace("127.0.0.1:0", &listen),
    )?;
    let up = Up::start(&ground.airboss, folder.path())?;
    up.agent()?;
    let mut took = Vec::new();
    for run in 0..runs {
        // Other bytes each time, or the server would know them already.
        let mut file = File::create(dist.join("large"))?;
        let piece: Vec<u8> = (0..1_000_000_usize)
            .map(|at| ((at * (2 * run + 7919)) >> 7) as u8)
            .collect();
        for number in 0..size / piece.len() {
            file.write_all(&number.to_le_bytes())?;
            file.write_all(&piece[8..])?;
        }
        file.sync_all()?;
        let began = Instant::now();
        let output = up
            .airboss()
            .args(["ship", "dist", "--version", &format!("1.0.{run}")])
            .output()
            .context("cannot run airboss")?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        took.push(began.elapsed().as_secs_f64());
    }
    up.stop()?;
    let took = Figures::of(took);
    let mut table = Table::new();
    table.row(
        "`airboss ship` of a folder with 1 GB, until it is accepted",
        "–",
        None,
        &took,
        "s",
    );
    Ok(format!(
        "{rows}\n\n{}\n\
         The first table is `{command}`. The file is in the page cache in all runs. SHA-256 uses the processor's own instructions where it has them, which \
         is found out at run time. `ship` reads and hashes the folder while it writes the archive to a temporary file, reads that again to send \
         it, and the server hashes what arrives and has it on disk (`fsync`) before it answers: two hashes, three writes and reads of every \
         byte, on one machine and one disk here.",
        table.finish()
    ))
}
