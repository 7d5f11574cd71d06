//! How fast an artifact of 1 GB is hashed and packed, beside `openssl dgst -sha256` on the same
//! file in the same run. Prints the rows of a table; `-- quick` takes 100 MB.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends with the reason"
)]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use airboss_targets::process::artifact::{hash, pack};

/// Runs of each, one after the other in turn, so that a busy moment meets all of them.
const RUNS: usize = 7;

fn main() {
    let quick = std::env::args().any(|word| word == "quick");
    let size: u64 = if quick { 100_000_000 } else { 1_000_000_000 };
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist");
    std::fs::create_dir(&dist).unwrap();
    let file = dist.join("artifact");
    fill(&file, size);
    let out = folder.path().join("out");

    let (mut theirs, mut ours, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    let expected = openssl(&file);
    for _ in 0..RUNS {
        theirs.push(seconds(|| assert_eq!(openssl(&file), expected)));
        ours.push(seconds(|| {
            let (digest, length) = hash(File::open(&file).unwrap()).unwrap();
            assert_eq!((digest.hex(), length), (expected.clone(), size));
        }));
        packed.push(seconds(|| assert!(pack(&dist, &out).unwrap().size > size)));
    }
    let gigabytes = size as f64 / 1e9;
    let row = |name: &str, target: &str, reached: &str, seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let worst = seconds.last().unwrap();
        println!(
            "| {name} | {target} | {reached} | {} | {:.2} GB/s | {:.2} GB/s |",
            seconds.len(),
            gigabytes / median,
            gigabytes / worst
        );
        median
    };
    println!("| figure | target | reached | n | median | worst |\n|---|---|---|---|---|---|");
    let theirs = row("`openssl dgst -sha256`", "–", "–", &mut theirs);
    let mut sorted = ours.clone();
    sorted.sort_by(f64::total_cmp);
    let ratio = theirs / sorted[sorted.len() / 2];
    let reached = if ratio >= 0.9 { "✓" } else { "✗" };
    row(
        "hashing, as before every start",
        "≥ 0.9 × openssl",
        reached,
        &mut ours,
    );
    row(
        "packing a folder with it: read, hash, write",
        "–",
        "–",
        &mut packed,
    );
    println!("\nHashing has {ratio:.2} × the speed of openssl (medians).");
}

fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

/// Bytes that no compression and no sparse file makes shorter.
fn fill(path: &Path, size: u64) {
    let mut file = File::create(path).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = vec![0_u8; 1 << 20];
    let mut left = size;
    while left > 0 {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        file.write_all(&piece[..most]).unwrap();
        left -= most as u64;
    }
    file.sync_all().unwrap();
}

fn openssl(file: &Path) -> String {
    let output = Command::new("openssl")
        .args(["dgst", "-sha256", "-r"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split(' ').next().unwrap_or_default().to_owned()
}
